"""The trading calendar: which phase begins when, in Beijing time, read from a TOML file (semantics E1, E6).

    [days]        weekdays, holidays, working_days (a holiday's make-up), roll_day (local time; may be absent)
    [[schedule]]  instruments ("all", "book", "listed" or codes) and phases ({at, phase}, one day's, rising)

Law: pure: from the file and a time follows what comes next; no clock is read. Beijing has had UTC+8 without
daylight saving since 1991, so the offset stands here: zoneinfo finds no zone on a machine without tzdata.

    CalendarError    the file cannot be used; the message names the file, the key and what to do
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from engine.instruments import Instrument
from engine.vocabulary import Mode, Phase, wire_name

BEIJING: Final = timezone(timedelta(hours=8), "Beijing")
NS_PER_S: Final = 1_000_000_000
DAYS_MAX: Final = 3_660  # that are looked at for the next or the last trading day
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PHASES: Final = {wire_name(phase): phase for phase in Phase}
MODES: Final = {"book": Mode.BOOK, "listed": Mode.LISTED}


class CalendarError(Exception):
    """The calendar's file cannot be used; the message names the file, the key and what to do."""


@dataclass(frozen=True)
class Moment:
    """What the calendar changes at one instant."""

    time_ns: int  # Unix, UTC
    phases: Mapping[int, Phase]  # that begin, by instrument
    rolls: bool = False  # the day rolls, behind them


@dataclass(frozen=True)
class Days:
    """Which days are traded on."""

    weekdays: frozenset[int]  # 0 is Monday
    holidays: frozenset[date]
    working_days: frozenset[date]

    def traded(self, day: date) -> bool:
        """Whether there is trading on a day: a working day is, a holiday is not, else the weekday decides."""
        if day in self.working_days:
            return True
        return day.weekday() in self.weekdays and day not in self.holidays


@dataclass(frozen=True)
class Calendar:
    """The days, and the moments of one of them in their order (`time_ns` since its midnight)."""

    days: Days
    programme: tuple[Moment, ...]

    @property
    def instruments(self) -> frozenset[int]:
        """The instruments whose phases it changes."""
        return frozenset(number for moment in self.programme for number in moment.phases)

    def after(self, time_ns: int) -> Moment | None:
        """The first moment later than `time_ns`, or None when DAYS_MAX days have none."""
        return next(self._from(time_ns), None)

    def between(self, after_ns: int, until_ns: int) -> Iterator[Moment]:
        """The moments later than `after_ns` up to `until_ns`, in their order."""
        for moment in self._from(after_ns):
            if moment.time_ns > until_ns:
                return
            yield moment

    def phase_at(self, instrument: int, time_ns: int) -> Phase | None:
        """The phase that the last change at or before `time_ns` began; None when there is none."""
        today = _day_of(time_ns)
        for back in range(DAYS_MAX):
            day = today - timedelta(days=back)
            if not self.days.traded(day):
                continue
            for moment in reversed(self.programme):
                if instrument in moment.phases and _midnight_ns(day) + moment.time_ns <= time_ns:
                    return moment.phases[instrument]
        return None

    def _from(self, after_ns: int) -> Iterator[Moment]:
        """All moments later than `after_ns`, until DAYS_MAX days have none."""
        day, idle = _day_of(after_ns), 0
        while idle < DAYS_MAX:
            idle += 1
            if self.days.traded(day):
                idle, midnight_ns = 0, _midnight_ns(day)
                for moment in self.programme:
                    if midnight_ns + moment.time_ns > after_ns:
                        yield Moment(midnight_ns + moment.time_ns, moment.phases, moment.rolls)
            day += timedelta(days=1)


def _day_of(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // NS_PER_S, BEIJING).date()


def _midnight_ns(day: date) -> int:
    return int(datetime.combine(day, time(), BEIJING).astimezone(UTC).timestamp()) * NS_PER_S


def load_calendar(path: Path, products: Sequence[Instrument]) -> Calendar:
    """The calendar of a file, for the instruments that there are. Raises CalendarError."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CalendarError(f"the calendar {path} cannot be read ({error}); correct it") from error
    return _Reader(path, products).calendar(content)


class _Reader:
    """Turns what TOML says into a calendar, or names what is wrong with it."""

    def __init__(self, path: Path, products: Sequence[Instrument]) -> None:
        self._path, self._products = path, products

    def calendar(self, content: dict[str, Any]) -> Calendar:
        self._only(content, "", ("days", "schedule"))
        days = self._typed(content, "days", "", dict)
        schedules = self._typed(content, "schedule", "", list)
        if not schedules:
            raise self._wrong("schedule", "is empty; write at least one [[schedule]]")
        changes: dict[int, dict[int, Phase]] = {}  # by nanoseconds since midnight
        lasts: dict[int, tuple[int, Phase]] = {}  # by instrument
        for at, schedule in enumerate(schedules):
            self._schedule(f"schedule[{at}]", schedule, changes, lasts)
        rolls_ns = self._roll(days, lasts)
        moments = {ns: Moment(ns, phases, ns == rolls_ns) for ns, phases in changes.items()}
        if rolls_ns is not None:
            moments.setdefault(rolls_ns, Moment(rolls_ns, {}, True))
        return Calendar(self._days(days), tuple(moments[ns] for ns in sorted(moments)))

    def _days(self, days: dict[str, Any]) -> Days:
        self._only(days, "days.", ("weekdays", "holidays", "working_days", "roll_day"))
        names = self._typed(days, "weekdays", "days.", list)
        for name in names:
            if name not in WEEKDAYS:
                raise self._wrong("days.weekdays", f"has {name!r}; it may have {', '.join(WEEKDAYS)}")
        holidays, working = self._dates(days, "holidays"), self._dates(days, "working_days")
        if both := sorted(holidays & working):
            raise self._wrong("days.working_days", f"has {both[0]}, a holiday too; take it out of one list")
        if not names and not working:
            raise self._wrong("days.weekdays", "is empty, and no working day is listed; name the days")
        return Days(frozenset(WEEKDAYS.index(name) for name in names), holidays, working)

    def _dates(self, days: dict[str, Any], key: str) -> frozenset[date]:
        found = self._typed(days, key, "days.", list) if key in days else []
        for each in found:
            if not isinstance(each, date) or isinstance(each, datetime):
                raise self._wrong(f"days.{key}", f"has {each!r}; write dates without quotes, as 2026-10-01")
        return frozenset(found)

    def _schedule(
        self,
        key: str,
        schedule: Any,
        changes: dict[int, dict[int, Phase]],
        lasts: dict[int, tuple[int, Phase]],
    ) -> None:
        """Add what one [[schedule]] says."""
        self._only(schedule, f"{key}.", ("instruments", "phases"))
        numbers = self._instruments(f"{key}.instruments", schedule.get("instruments"))
        if twice := sorted(numbers & lasts.keys()):
            code = self._products[twice[0]].code
            raise self._wrong(f"{key}.instruments", f"names {code} again; leave it in one schedule")
        rows, before_ns = self._typed(schedule, "phases", f"{key}.", list), -1
        if not rows:
            raise self._wrong(f"{key}.phases", "is empty; write at least one change")
        for at, row in enumerate(rows):
            place = f"{key}.phases[{at}]"
            self._only(row, f"{place}.", ("at", "phase"))
            at_ns, phase = self._time(f"{place}.at", row.get("at")), row.get("phase")
            if not isinstance(phase, str) or phase not in PHASES:
                raise self._wrong(f"{place}.phase", f"is {phase!r}; it must be one of {', '.join(PHASES)}")
            if at_ns <= before_ns:
                raise self._wrong(f"{place}.at", "is not later than the one before; put them in order")
            before_ns = at_ns
            changes.setdefault(at_ns, {}).update(dict.fromkeys(sorted(numbers), PHASES[phase]))
            lasts.update(dict.fromkeys(numbers, (at_ns, PHASES[phase])))

    def _instruments(self, key: str, named: Any) -> set[int]:
        """The numbers of "all", of a mode, or of a list of codes."""
        if named == "all":
            return {product.number for product in self._products}
        if isinstance(named, str) and named in MODES:
            return {product.number for product in self._products if product.mode is MODES[named]}
        if not isinstance(named, list) or not named:
            raise self._wrong(key, f"is {named!r}; it must be 'all', 'book', 'listed' or a list of codes")
        numbers = {product.code: product.number for product in self._products}
        for code in named:
            if not isinstance(code, str) or code not in numbers:
                raise self._wrong(key, f"has {code!r}; codes stand in engine/instruments.csv")
        return {numbers[code] for code in named}

    def _roll(self, days: dict[str, Any], lasts: Mapping[int, tuple[int, Phase]]) -> int | None:
        """When the day rolls, since midnight: behind the close of everything, or the core would refuse."""
        if "roll_day" not in days:
            return None
        rolls_ns = self._time("days.roll_day", days["roll_day"])
        for number, (at_ns, phase) in sorted(lasts.items()):
            if phase is not Phase.CLOSED or at_ns > rolls_ns:
                code = self._products[number].code
                raise self._wrong("days.roll_day", f"comes while {code} is not closed; close it before")
        return rolls_ns

    def _time(self, key: str, value: Any) -> int:
        """A local time as nanoseconds since midnight."""
        if not isinstance(value, time) or value.tzinfo is not None:
            raise self._wrong(key, f"is {value!r}; write a time without quotes, as 09:00:00")
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return seconds * NS_PER_S + value.microsecond * 1_000

    def _only(self, table: Any, prefix: str, keys: Sequence[str]) -> None:
        """Raise CalendarError unless `table` is one, with no other keys than these."""
        if not isinstance(table, dict):
            raise self._wrong(prefix.rstrip("."), f"is {table!r}; it must be a table")
        for key in table:
            if key not in keys:
                raise self._wrong(f"{prefix}{key}", f"is unknown; known here are {', '.join(keys)}")

    def _typed(self, table: dict[str, Any], key: str, prefix: str, kind: type[Any]) -> Any:
        if not isinstance(value := table.get(key), kind):
            word = "a table" if kind is dict else "a list"
            raise self._wrong(f"{prefix}{key}", f"is {value!r}; it must be {word}")
        return value

    def _wrong(self, key: str, what: str) -> CalendarError:
        return CalendarError(f"the calendar {self._path} cannot be used: {key} {what}")
