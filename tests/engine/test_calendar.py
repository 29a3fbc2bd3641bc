"""The trading calendar: from a file and a time follows what comes next (semantics E1, E6; domain 2)."""

from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.calendar import BEIJING, Calendar, CalendarError, Moment, load_calendar
from engine.instruments import load_instruments
from engine.vocabulary import Mode, Phase

FOSHAN = Path(__file__).parents[2] / "engine" / "calendar_foshan.toml"
PRODUCTS = load_instruments()
REBAR = next(product.number for product in PRODUCTS if product.mode is Mode.BOOK)
COIL = next(product.number for product in PRODUCTS if product.mode is Mode.LISTED)
NS = 1_000_000_000
HOUR_NS = 3_600 * NS
SHORT = """
[days]
weekdays = ["monday", "friday"]
holidays = [2026-10-02]
working_days = [2026-10-04]
roll_day = 17:00:00

[[schedule]]
instruments = "all"
phases = [{ at = 09:00:00, phase = "continuous" }, { at = 16:00:00, phase = "closed" }]
"""


def at(text: str) -> int:
    """Unix nanoseconds of a time in Beijing."""
    return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp()) * NS


def loaded(tmp_path: Path, text: str) -> Calendar:
    file = tmp_path / "calendar.toml"
    file.write_text(text, encoding="utf-8")
    return load_calendar(file, PRODUCTS)


@cache
def shipped() -> Calendar:
    return load_calendar(FOSHAN, PRODUCTS)


@pytest.fixture
def foshan() -> Calendar:
    return shipped()


def clock_of(moment: Moment) -> str:
    return f"{datetime.fromtimestamp(moment.time_ns / NS, BEIJING):%m-%d %H:%M}"


def test_day_of_foshan_goes_through_its_phases(foshan: Calendar) -> None:
    """domain 2."""
    moments = list(foshan.between(at("2026-11-23 00:00"), at("2026-11-24 00:00")))

    assert [(clock_of(moment)[6:], moment.phases.get(REBAR)) for moment in moments] == [
        ("08:45", Phase.PRE_OPEN),
        ("08:55", Phase.AUCTION),
        ("08:59", Phase.NO_CANCEL),
        ("09:00", Phase.CONTINUOUS),
        ("11:30", Phase.HALTED),
        ("13:30", Phase.CONTINUOUS),
        ("16:00", Phase.CLOSED),
        ("17:30", None),
    ]
    assert [moment.rolls for moment in moments] == [False] * 7 + [True]


def test_listed_goods_are_never_auctioned(foshan: Calendar) -> None:
    moments = foshan.between(at("2026-11-23 00:00"), at("2026-11-24 00:00"))
    phases = [moment.phases[COIL] for moment in moments if COIL in moment.phases]

    assert phases == [Phase.PRE_OPEN, Phase.CONTINUOUS, Phase.HALTED, Phase.CONTINUOUS, Phase.CLOSED]


@pytest.mark.parametrize(
    ("day", "traded"),
    [
        ("2026-11-20", True),  # a Friday
        ("2026-11-21", False),  # a Saturday
        ("2026-10-01", False),  # the National Day, a Thursday
        ("2026-10-07", False),  # its last day off
        ("2026-10-08", True),
        ("2026-10-10", True),  # a Saturday that makes up for it
        ("2026-02-14", True),
        ("2026-02-16", False),  # the Spring Festival
        ("2026-02-23", False),
        ("2026-02-24", True),
    ],
)
def test_holidays_and_make_up_days_decide_before_the_weekday(
    foshan: Calendar, day: str, traded: bool
) -> None:
    assert foshan.days.traded(date.fromisoformat(day)) is traded


def test_next_change_reaches_over_a_long_holiday(foshan: Calendar) -> None:
    moment = foshan.after(at("2026-02-14 17:30"))

    assert moment is not None
    assert clock_of(moment) == "02-24 08:45"


def test_moment_itself_is_not_later_than_itself(tmp_path: Path) -> None:
    calendar, nine = loaded(tmp_path, SHORT), at("2026-10-05 09:00")

    assert calendar.after(nine - 1) == Moment(nine, dict.fromkeys(range(len(PRODUCTS)), Phase.CONTINUOUS))
    assert [clock_of(moment) for moment in calendar.between(nine - 1, nine)] == ["10-05 09:00"]
    assert [clock_of(moment) for moment in calendar.between(nine, at("2026-10-05 16:00"))] == ["10-05 16:00"]


def test_phase_is_that_of_the_last_change_also_over_days_off(tmp_path: Path) -> None:
    open_ended = SHORT.replace(', { at = 16:00:00, phase = "closed" }', "").replace("roll_day = 17:00:00", "")
    calendar = loaded(tmp_path, SHORT)

    assert calendar.phase_at(REBAR, at("2026-10-05 08:59")) is Phase.CLOSED
    assert calendar.phase_at(REBAR, at("2026-10-05 09:00")) is Phase.CONTINUOUS
    assert calendar.phase_at(REBAR, at("2026-10-07 12:00")) is Phase.CLOSED
    assert loaded(tmp_path, open_ended).phase_at(REBAR, at("2026-10-07 12:00")) is Phase.CONTINUOUS


def test_midnight_and_the_last_second_belong_to_their_days(tmp_path: Path) -> None:
    text = SHORT.replace("09:00:00", "00:00:00").replace("16:00:00", "23:59:59").replace("17:00", "23:59")
    calendar = loaded(tmp_path, text.replace("roll_day = 23:59:00", "roll_day = 23:59:59"))

    moments = calendar.between(at("2026-10-01 00:00"), at("2026-10-05 23:59"))

    assert [clock_of(moment) for moment in moments] == ["10-04 00:00", "10-04 23:59", "10-05 00:00"]
    rolled = calendar.after(at("2026-10-04 12:00"))
    assert rolled is not None
    assert (rolled.rolls, rolled.phases[REBAR]) == (True, Phase.CLOSED)


def test_calendar_without_a_day_left_says_so(tmp_path: Path) -> None:
    calendar = loaded(tmp_path, SHORT.replace('["monday", "friday"]', "[]"))

    assert calendar.after(at("2026-10-04 17:00")) is None
    assert calendar.phase_at(REBAR, at("2026-10-04 08:00")) is None


def test_beijing_is_what_the_zone_of_shanghai_has_been_since_1991() -> None:
    try:
        zone = ZoneInfo("Asia/Shanghai")
    except ZoneInfoNotFoundError:
        pytest.skip("no tzdata on this machine, which is why the offset stands in the code")
    noons = [datetime.combine(date(1992, 1, 1) + timedelta(days=n), time(12)) for n in range(0, 20_000, 7)]

    assert {noon.replace(tzinfo=zone).utcoffset() for noon in noons} == {BEIJING.utcoffset(None)}


@given(st.integers(at("1992-01-01 00:00"), at("2100-01-01 00:00")))
def test_moments_rise_and_follow_one_another(time_ns: int) -> None:
    calendar = shipped()
    first = calendar.after(time_ns)
    assert first is not None
    second = calendar.after(first.time_ns)
    assert second is not None

    assert time_ns < first.time_ns < second.time_ns
    assert list(calendar.between(time_ns, second.time_ns)) == [first, second]
    assert list(calendar.between(time_ns, first.time_ns - 1)) == []


@given(st.integers(at("1992-01-01 00:00"), at("2100-01-01 00:00")), st.integers(1, 40 * 24))
def test_phase_is_what_the_changes_lead_to(time_ns: int, hours: int) -> None:
    calendar, until_ns = shipped(), time_ns + hours * HOUR_NS
    phase = calendar.phase_at(REBAR, time_ns)

    for moment in calendar.between(time_ns, until_ns):
        phase = moment.phases.get(REBAR, phase)

    assert calendar.phase_at(REBAR, until_ns) is phase


@given(st.integers(at("1992-01-01 00:00"), at("2100-01-01 00:00")))
def test_changes_fall_on_trading_days_only_in_beijing_time(time_ns: int) -> None:
    calendar = shipped()
    moment = calendar.after(time_ns)
    assert moment is not None
    local = datetime.fromtimestamp(moment.time_ns // NS, BEIJING)

    assert calendar.days.traded(local.date())
    assert time(8, 45) <= local.time() <= time(17, 30)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[days]", "[days", "cannot be read"),
        ('["monday", "friday"]', '["monday", "fryday"]', "days.weekdays has 'fryday'; it may have monday, "),
        ('["monday", "friday"]', '"monday"', "days.weekdays is 'monday'; it must be a list"),
        ('weekdays = ["monday", "friday"]\n', "", "days.weekdays is None; it must be a list"),
        ("[2026-10-02]", '["2026-10-02"]', "days.holidays has '2026-10-02'; write dates without quotes"),
        ("[2026-10-02]", "[2026-10-02T00:00:00]", "days.holidays has datetime"),
        ("[2026-10-04]", "[2026-10-02]", "days.working_days has 2026-10-02, a holiday too"),
        ("holidays", "hollidays", "days.hollidays is unknown; known here are weekdays, holidays"),
        ("17:00:00", "15:59:59", "days.roll_day comes while .* is not closed; close it before"),
        ('"closed"', '"halted"', "days.roll_day comes while .* is not closed"),
        ("17:00:00", '"17:00"', "days.roll_day is '17:00'; write a time without quotes, as 09:00:00"),
        ("16:00:00", "09:00:00", r"schedule\[0\].phases\[1\].at is not later than the one before"),
        (
            '"closed"',
            '"shut"',
            r"schedule\[0\].phases\[1\].phase is 'shut'; it must be one of closed, halted",
        ),
        ('"closed"', "[]", r"schedule\[0\].phases\[1\].phase is \[\]; it must be one of"),
        ("phases = [{", "phases = [3, {", r"schedule\[0\].phases\[0\] is 3; it must be a table"),
        ('"all"', '["RB20-12-SG", "XX"]', r"schedule\[0\].instruments has 'XX'; codes stand in"),
        (
            '"all"',
            '"everything"',
            "instruments is 'everything'; it must be 'all', 'book', 'listed' or a list",
        ),
        ("[[schedule]]", "[schedule]", "schedule is {.*}; it must be a list"),
        ("[[schedule]]", "[[sessions]]", "sessions is unknown; known here are days, schedule"),
        ('phase = "closed" }]', 'phase = "closed", zone = 8 }]', r"phases\[1\].zone is unknown"),
    ],
)
def test_mistake_is_named_by_file_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SHORT

    with pytest.raises(CalendarError, match=says) as error:
        loaded(tmp_path, SHORT.replace(old, new))

    assert f"the calendar {tmp_path / 'calendar.toml'} cannot be " in str(error.value)


def test_instrument_stands_in_one_schedule_only(tmp_path: Path) -> None:
    again = SHORT[SHORT.index("[[schedule]]") :].replace('"all"', '"listed"')

    with pytest.raises(CalendarError, match=r"schedule\[1\].instruments names .* again; leave it in one"):
        loaded(tmp_path, SHORT + again)


def test_empty_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(CalendarError, match=r"days.weekdays is empty, and no working day is listed"):
        loaded(tmp_path, SHORT.replace('["monday", "friday"]', "[]").replace("[2026-10-04]", "[]"))
    with pytest.raises(CalendarError, match=r"schedule is empty; write at least one"):
        loaded(tmp_path, 'schedule = []\n[days]\nweekdays = ["monday"]\n')
    with pytest.raises(CalendarError, match=r"schedule\[0\].phases is empty"):
        loaded(tmp_path, SHORT[: SHORT.index("phases")].replace("roll_day = 17:00:00", "") + "phases = []")
