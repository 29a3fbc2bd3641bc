"""The calendar at work: changes by themselves and in their order, halts after an outage (semantics E6)."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from engine.calendar import Calendar, Days, Moment
from engine.clock import SteppedClock
from engine.command_log import CommandLog
from engine.exchange import Exchange
from engine.records import Records, commands_of
from engine.schedule import Schedule, set_phase
from engine.state_hash import state_hash
from engine.vocabulary import Command, Event, Phase, Reason, TimeInForce
from tests.engine.fakes import SEGMENT, SMALL, MemoryDisk, SetClock, Shard, deposit, running
from tests.engine.timed import SECOND_NS, gtd, opened, since, step

MIDNIGHT_NS = 1_436_284_800 * SECOND_NS  # 8 July 2015 in Beijing
HOUR_NS = 3_600 * SECOND_NS
EVERY_DAY = Days(frozenset(range(7)), frozenset(), frozenset())
OPENS, HALTS, CLOSES, ROLLS = (hour * HOUR_NS for hour in (9, 11, 16, 17))
CALENDAR = Calendar(
    EVERY_DAY,
    (
        Moment(OPENS, {0: Phase.CONTINUOUS}),
        Moment(HALTS, {0: Phase.HALTED}),
        Moment(CLOSES, {0: Phase.CLOSED}),
        Moment(ROLLS, {}, True),
    ),
)
DAY_NS = 24 * HOUR_NS


def day(time_ns: int) -> SetClock:
    return SetClock(MIDNIGHT_NS + time_ns)


def phases(events: Records) -> list[str]:
    """What the calendar's commands did: phases by name, and whatever else by its kind."""
    names = []
    for row in events:
        kind = Event(int(row["kind"]))
        names.append(Phase(int(row["phase"])).name if kind is Event.PHASE_CHANGED else kind.name)
    return names


async def until_still(shard: Shard, sequence: int) -> Records:
    """What an idle engine does by itself behind `sequence`, until it does nothing more for a while."""
    before = -1
    while before != shard.sequencer.sequence:
        before = shard.sequencer.sequence
        shard.sequencer.wake()  # the clock may have been set
        await asyncio.sleep(0.1)
    return shard.events.read(shard.events.position_after(sequence))


async def test_calendar_opens_halts_closes_and_rolls_by_itself(tmp_path: Path) -> None:
    """semantics E1, E6."""
    clock = day(OPENS - SECOND_NS // 10)
    async with running(Shard(MemoryDisk(), tmp_path, clock, calendar=CALENDAR)) as shard:
        await opened(shard)
        found = []
        for time_ns in (OPENS, HALTS, CLOSES, ROLLS):
            before, clock.time_ns = shard.sequencer.sequence, MIDNIGHT_NS + time_ns
            events = await asyncio.wait_for(since(shard, before, 1), 2.0)
            found.append((phases(events)[-1], int(events["time_ns"][-1]) - MIDNIGHT_NS))

    assert found == [("CONTINUOUS", OPENS), ("HALTED", HALTS), ("CLOSED", CLOSES), ("DAY_ROLLED", ROLLS)]
    assert int(shard.exchange.state.head["day_number"][0]) == 1


async def test_due_changes_and_expiries_come_by_due_time_before_the_command(tmp_path: Path) -> None:
    """semantics E6: by due time; at one instant expiries, then the phase change, then orders."""
    clock = day(OPENS)
    async with running(Shard(MemoryDisk(), tmp_path, clock, calendar=CALENDAR)) as shard:
        await opened(shard)
        clock.time_ns += SECOND_NS
        await shard.sequenced({"kind": Command.SET_PHASE, "instrument": 0, "phase": Phase.CONTINUOUS})
        for number, due_ns in enumerate((HALTS - 1, HALTS, HALTS + 1, CLOSES + 1), 1):
            await shard.sequenced(gtd(number, MIDNIGHT_NS + due_ns))
        await shard.sequenced(gtd(9, 0, time_in_force=TimeInForce.DAY))
        before = shard.sequencer.sequence

        assert shard.sequencer.submit(commands_of(deposit())) is None
        clock.time_ns = MIDNIGHT_NS + CLOSES
        events = await since(shard, before, 5)

    assert phases(events) == [
        "CANCELED", "CANCELED", "TIME_REACHED", "HALTED", "CANCELED", "TIME_REACHED", "CANCELED", "CLOSED",
        "DEPOSITED",
    ]  # fmt: skip
    assert [int(reason) for reason in events["reason"] if reason] == [Reason.EXPIRED] * 3 + [Reason.DAY_END]


async def test_order_that_ends_with_the_change_ends_before_it(tmp_path: Path) -> None:
    """semantics B5, E6: at one instant expiries come before the phase change, here before the day's end."""
    clock = day(HALTS + 1)
    async with running(Shard(MemoryDisk(), tmp_path, clock, calendar=CALENDAR)) as shard:
        await opened(shard)
        await shard.sequenced(
            {"kind": Command.SET_PHASE, "instrument": 0, "phase": Phase.CONTINUOUS},
            gtd(1, MIDNIGHT_NS + CLOSES),
            gtd(2, 0, time_in_force=TimeInForce.DAY),
        )
        before, clock.time_ns = shard.sequencer.sequence, MIDNIGHT_NS + CLOSES
        events = await until_still(shard, before)

    assert phases(events) == ["CANCELED", "TIME_REACHED", "CANCELED", "CLOSED"]
    assert [int(reason) for reason in events["reason"] if reason] == [Reason.EXPIRED, Reason.DAY_END]


async def test_stepped_clock_makes_every_change_on_its_way_at_its_own_time(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with running(Shard(MemoryDisk(), tmp_path, clock, calendar=CALENDAR)) as shard:
        await opened(shard)
        await shard.sequenced({"kind": Command.SET_CLOCK, "due_ns": MIDNIGHT_NS})
        before = shard.sequencer.sequence
        assert shard.sequencer.submit(step(MIDNIGHT_NS + DAY_NS + OPENS)) is None
        events = await since(shard, before, 6)

    made = events[np.isin(events["kind"], (Event.PHASE_CHANGED, Event.DAY_ROLLED))]
    times = (made["time_ns"] - MIDNIGHT_NS).tolist()
    assert list(zip(phases(made), times, strict=True)) == [
        ("CONTINUOUS", OPENS), ("HALTED", HALTS), ("CLOSED", CLOSES), ("DAY_ROLLED", ROLLS),
        ("CONTINUOUS", DAY_NS + OPENS),
    ]  # fmt: skip
    assert phases(events)[-1] == "CLOCK_SET"


@pytest.mark.parametrize(
    ("down", "up", "does", "live"),
    [
        (OPENS + 1, HALTS - 1, [], 1),
        (OPENS + 1, HALTS, ["HALTED"], 1),
        (OPENS + 1, HALTS + 1, ["HALTED"], 1),
        (HALTS + 1, CLOSES + 1, ["CANCELED", "CLOSED", "HALTED"], 0),
        (OPENS + 1, ROLLS + 1, ["CANCELED", "CLOSED", "REFERENCE_SET", "DAY_ROLLED", "HALTED"], 0),
        (
            OPENS + 1,
            5 * DAY_NS + OPENS,
            ["CANCELED", "CLOSED", "REFERENCE_SET", "DAY_ROLLED", "HALTED"],
            0,
        ),
        (ROLLS + 1, DAY_NS + OPENS - 1, [], 1),
    ],
)
async def test_instrument_whose_phase_change_an_outage_swallowed_starts_halted(
    tmp_path: Path, down: int, up: int, does: list[str], live: int
) -> None:
    """semantics E6: the close and the roll that were missed are made good, because a day's orders end."""
    disk = MemoryDisk()
    async with running(Shard(disk, tmp_path, day(down), calendar=CALENDAR)) as shard:
        await opened(shard)
        await shard.sequenced(
            {"kind": Command.SET_PHASE, "instrument": 0, "phase": Phase.CONTINUOUS},
            gtd(1, 0, time_in_force=TimeInForce.DAY),
        )
        before = shard.sequencer.sequence

    again = Shard(disk.crashed(), tmp_path, day(up), calendar=CALENDAR)
    async with running(again):
        events = await until_still(again, before)

    assert phases(events) == does
    assert int(again.exchange.state.head["live_orders"][0]) == live
    assert len(set(events["sequence"].tolist())) == again.sequencer.sequence - before


async def test_halt_after_an_outage_ends_with_the_next_change(tmp_path: Path) -> None:
    disk, clock = MemoryDisk(), day(DAY_NS + HALTS - SECOND_NS)
    async with running(Shard(disk, tmp_path, day(OPENS), calendar=CALENDAR)) as shard:
        await opened(shard)
        before = shard.sequencer.sequence

    again = Shard(disk.crashed(), tmp_path, clock, calendar=CALENDAR)
    async with running(again):
        halted = await until_still(again, before)
        before, clock.time_ns = again.sequencer.sequence, MIDNIGHT_NS + 2 * DAY_NS + OPENS
        resumed = await until_still(again, before)

    assert phases(halted)[-1] == "HALTED"
    assert phases(resumed)[0], "the changes of the day that the clock skipped, one after the other"
    assert phases(resumed)[-1] == "CONTINUOUS"


async def test_an_outage_is_not_made_good_twice(tmp_path: Path) -> None:
    """The time of the last command tells what was done, so a crash right after the start repeats nothing."""
    disk = MemoryDisk()
    async with running(Shard(disk, tmp_path, day(OPENS + 1), calendar=CALENDAR)) as shard:
        await opened(shard)
    midway = disk.crashed()
    second = Shard(midway, tmp_path, day(ROLLS + 1), calendar=CALENDAR)
    async with running(second):
        await until_still(second, second.sequencer.sequence)

    third = Shard(midway.crashed(), tmp_path, day(ROLLS + 2), calendar=CALENDAR)
    async with running(third):
        before = third.sequencer.sequence
        events = await until_still(third, before)

    assert second.sequencer.sequence == before > shard.sequencer.sequence
    assert len(events) == 0


async def test_roll_of_the_day_closes_what_was_halted_in_the_evening(tmp_path: Path) -> None:
    """semantics E6, E7: an instrument halted after an outage would otherwise keep the day from rolling."""
    disk, clock = MemoryDisk(), day(CLOSES + 1)
    async with running(Shard(disk, tmp_path, day(OPENS + 1), calendar=CALENDAR)) as shard:
        await opened(shard)

    again = Shard(disk.crashed(), tmp_path, clock, calendar=CALENDAR)
    async with running(again):
        first = await until_still(again, shard.sequencer.sequence)
        before, clock.time_ns = again.sequencer.sequence, MIDNIGHT_NS + ROLLS
        events = await until_still(again, before)

    assert phases(first)[-1] == "HALTED"
    assert phases(events) == ["CLOSED", "REFERENCE_SET", "DAY_ROLLED"]


async def test_clock_that_jumps_back_over_a_change_does_not_repeat_it(tmp_path: Path) -> None:
    clock = day(OPENS)
    async with running(Shard(MemoryDisk(), tmp_path, clock, calendar=CALENDAR)) as shard:
        await opened(shard)
        clock.time_ns = MIDNIGHT_NS + HALTS
        await until_still(shard, shard.sequencer.sequence)
        before = shard.sequencer.sequence
        for time_ns in (OPENS - 1, OPENS, HALTS, HALTS + 1):
            clock.time_ns = MIDNIGHT_NS + time_ns
            await shard.sequenced(deposit())

    assert shard.sequencer.sequence == before + 4


async def test_change_that_the_core_refuses_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = day(OPENS)
    async with running(Shard(MemoryDisk(), tmp_path, clock, calendar=CALENDAR)) as shard:
        clock.time_ns = MIDNIGHT_NS + HALTS
        events = await until_still(shard, 0)

    assert phases(events) == ["REJECTED"]
    said = capsys.readouterr().out
    assert "the core refused changes of the calendar" in said
    assert "unknown_instrument" in said


async def test_new_exchange_has_missed_nothing_and_begins_in_the_phase_of_the_hour() -> None:
    schedule = Schedule(Exchange(SMALL), CALENDAR, MIDNIGHT_NS + OPENS + 1)

    assert schedule.next_ns == MIDNIGHT_NS + HALTS
    assert schedule.first_phases([0, 1]) == [set_phase(0, Phase.CONTINUOUS)]
    assert Schedule(Exchange(SMALL), CALENDAR, MIDNIGHT_NS + CLOSES).first_phases([0, 1]) == []


async def test_log_with_changes_of_the_calendar_gives_the_state_back_without_one(tmp_path: Path) -> None:
    """Law 1: whoever replays needs neither clock nor calendar."""
    disk, clock = MemoryDisk(), day(OPENS - 1)
    async with running(Shard(disk, tmp_path, clock, calendar=CALENDAR)) as shard:
        await opened(shard)
        for time_ns in (OPENS, HALTS, CLOSES, ROLLS, DAY_NS + OPENS + 1):
            clock.time_ns = MIDNIGHT_NS + time_ns
            await until_still(shard, 0)
            await shard.sequenced(gtd(time_ns // HOUR_NS, clock.time_ns + HOUR_NS), deposit())
    replayed = Exchange(SMALL)

    for block in CommandLog(disk.crashed(), SEGMENT).recover():
        replayed.apply(block.copy())

    assert state_hash(replayed.state) == state_hash(shard.exchange.state)
