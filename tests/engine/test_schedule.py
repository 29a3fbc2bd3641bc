"""What is due comes by itself, before every command that gets the same time or a later one (semantics E6)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.clock import SteppedClock
from engine.command_log import CommandLog
from engine.exchange import Exchange
from engine.records import Records, commands_of
from engine.state_hash import state_hash
from engine.vocabulary import Command, Reason, Scope, TimeInForce
from tests.engine.fakes import SEGMENT, SMALL, MemoryDisk, SetClock, Shard, deposit, running
from tests.engine.timed import SECOND_NS, furnished, gtd, since, step, told

START_NS = 1_000 * SECOND_NS
SOON_S = 0.9  # far more than an alarm is late on a busy machine, and less than LOOK_S


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START_NS)


@pytest.fixture
async def shard(tmp_path: Path, clock: SetClock) -> AsyncIterator[Shard]:
    """One open instrument and a rich account, number 1."""
    async with running(Shard(MemoryDisk(), tmp_path, clock)) as shard:
        await furnished(shard)
        yield shard


async def test_order_ends_by_itself_while_no_commands_come(shard: Shard, clock: SetClock) -> None:
    due_ns = START_NS + SECOND_NS // 10
    await shard.sequenced(gtd(1, due_ns))
    before = shard.sequencer.sequence

    clock.time_ns = due_ns
    events = await asyncio.wait_for(since(shard, before, 1), SOON_S)

    assert told(events) == [("CANCELED", due_ns), ("TIME_REACHED", due_ns)]
    assert events["reason"][0] == Reason.EXPIRED
    assert int(shard.exchange.state.head["live_orders"][0]) == 0


async def test_nothing_ends_before_its_time(shard: Shard, clock: SetClock) -> None:
    due_ns = START_NS + SECOND_NS // 20
    await shard.sequenced(gtd(1, due_ns))
    before = shard.sequencer.sequence

    clock.time_ns = due_ns - 1
    await asyncio.sleep(0.2)
    events = await shard.sequenced(deposit())

    assert (shard.sequencer.sequence, told(events)) == (before + 1, [("DEPOSITED", due_ns - 1)])


async def test_what_is_due_stands_before_the_command_of_that_instant(shard: Shard, clock: SetClock) -> None:
    """semantics B5, E6: the expiry comes before anything else of its instant."""
    due_ns = START_NS + 5 * SECOND_NS
    await shard.sequenced(gtd(1, due_ns))
    before = shard.sequencer.sequence

    clock.time_ns = due_ns
    assert shard.sequencer.submit(commands_of(deposit())) is None
    events = await since(shard, before, 2)

    assert told(events) == [("CANCELED", due_ns), ("TIME_REACHED", due_ns), ("DEPOSITED", due_ns)]
    assert events["sequence"].tolist() == [before + 1, before + 1, before + 2]


async def test_an_order_of_the_same_batch_cannot_be_due_within_it(shard: Shard, clock: SetClock) -> None:
    before = shard.sequencer.sequence

    assert shard.sequencer.submit(commands_of(gtd(1, START_NS), gtd(2, START_NS + 1), deposit())) is None
    events = await since(shard, before, 3)
    clock.time_ns = START_NS + 1
    late = await shard.sequenced(deposit())

    assert [name for name, _ in told(events)] == ["REJECTED", "ACCEPTED", "DEPOSITED"]
    assert events["reason"][0] == Reason.INVALID_EXPIRY
    assert [name for name, _ in told(late)][:2] == ["CANCELED", "TIME_REACHED"]


async def test_timer_of_a_session_runs_out_by_itself(shard: Shard, clock: SetClock) -> None:
    """semantics C7, E6."""
    started = await shard.sequenced(
        {"kind": Command.START_SESSION, "account": 1, "scope": Scope.SESSION}, deposit()
    )
    session, due_ns = int(started["order_id"][0]), START_NS + SECOND_NS // 10
    timer = {"kind": Command.CANCEL_ALL_AFTER, "account": 1, "session": session, "due_ns": due_ns}
    order = gtd(1, 0, time_in_force=TimeInForce.DAY, session=session)
    await shard.sequenced(order, timer)
    before = shard.sequencer.sequence

    clock.time_ns = due_ns
    events = await asyncio.wait_for(since(shard, before, 1), SOON_S)

    assert [name for name, _ in told(events)] == ["CANCELED", "TIME_REACHED"]
    assert events["reason"][0] == Reason.TIMER_EXPIRED


async def test_clock_that_jumps_back_neither_expires_twice_nor_stops_time(
    shard: Shard, clock: SetClock
) -> None:
    first_ns, second_ns = START_NS + SECOND_NS, START_NS + 2 * SECOND_NS
    await shard.sequenced(gtd(1, first_ns), gtd(2, second_ns))

    one = await at_instant(shard, clock, first_ns)
    clock.time_ns = START_NS - 3_600 * SECOND_NS
    back = await shard.sequenced(deposit())
    two = await at_instant(shard, clock, second_ns)

    assert told(one) == [("CANCELED", first_ns), ("TIME_REACHED", first_ns)]
    assert told(back) == [("DEPOSITED", first_ns)]
    assert told(two) == [("CANCELED", second_ns), ("TIME_REACHED", second_ns)]


async def at_instant(shard: Shard, clock: SetClock, time_ns: int) -> Records:
    """The events of what an engine does by itself when the clock shows `time_ns`."""
    before, clock.time_ns = shard.sequencer.sequence, time_ns
    shard.sequencer.wake()
    return await asyncio.wait_for(since(shard, before, 1), 2.0)


async def test_clock_that_is_set_forward_is_noticed_by_an_idle_engine(shard: Shard, clock: SetClock) -> None:
    due_ns = START_NS + 3_600 * SECOND_NS
    await shard.sequenced(gtd(1, due_ns))
    before = shard.sequencer.sequence

    clock.time_ns = due_ns
    events = await asyncio.wait_for(since(shard, before, 1), 2.0)

    assert told(events)[0] == ("CANCELED", due_ns)


async def test_stepped_clock_stops_at_all_that_is_due_on_its_way(tmp_path: Path) -> None:
    """semantics E6: each expiry has its own time, although one step passes them all."""
    async with running(Shard(MemoryDisk(), tmp_path, SteppedClock(START_NS))) as shard:
        await furnished(shard)
        await shard.sequenced(gtd(1, START_NS + 10), gtd(2, START_NS + 30), gtd(3, START_NS + 99))
        before = shard.sequencer.sequence
        assert shard.sequencer.submit(step(START_NS + 40)) is None
        events = await since(shard, before, 3)

    assert [(name, time_ns - START_NS) for name, time_ns in told(events)] == [
        ("CANCELED", 10), ("TIME_REACHED", 10), ("CANCELED", 30), ("TIME_REACHED", 30), ("CLOCK_SET", 40),
    ]  # fmt: skip


async def test_stepped_clock_that_steps_onto_an_expiry_lets_it_go_first(tmp_path: Path) -> None:
    async with running(Shard(MemoryDisk(), tmp_path, SteppedClock(START_NS))) as shard:
        await furnished(shard)
        await shard.sequenced(gtd(1, START_NS + 10))
        before = shard.sequencer.sequence
        assert shard.sequencer.submit(step(START_NS + 10)) is None
        events = await since(shard, before, 2)

    assert [name for name, _ in told(events)] == ["CANCELED", "TIME_REACHED", "CLOCK_SET"]


async def test_order_that_came_due_while_the_engine_was_down_ends_before_the_first_command(
    tmp_path: Path, clock: SetClock
) -> None:
    disk, due_ns = MemoryDisk(), START_NS + SECOND_NS
    async with running(Shard(disk, tmp_path, clock)) as shard:
        await furnished(shard)
        await shard.sequenced(gtd(1, due_ns))
        before = shard.sequencer.sequence

    again = Shard(disk.crashed(), tmp_path, SetClock(due_ns + SECOND_NS))
    assert again.sequencer.submit(commands_of(deposit())) is None
    async with running(again):
        events = await since(again, before, 2)

    assert [name for name, _ in told(events)] == ["CANCELED", "TIME_REACHED", "DEPOSITED"]


async def test_full_disk_admits_an_expiry_because_it_only_ends_things(
    tmp_path: Path, clock: SetClock
) -> None:
    disk = MemoryDisk()
    disk.full_after = 1
    async with running(Shard(disk, tmp_path, clock)) as shard:
        await furnished(shard)
        await shard.sequenced(gtd(1, START_NS + SECOND_NS))
        while not shard.log.nearly_full():
            await shard.sequenced(deposit())
        before = shard.sequencer.sequence
        clock.time_ns = START_NS + SECOND_NS

        events = await asyncio.wait_for(since(shard, before, 1), 2.0)
        refused = shard.sequencer.submit(commands_of(deposit()))

    assert told(events)[0] == ("CANCELED", START_NS + SECOND_NS)
    assert refused is not None
    assert refused["reason"].tolist() == [Reason.DISK_FULL]


async def test_expiry_waits_for_space_when_there_is_none_left_at_all(tmp_path: Path, clock: SetClock) -> None:
    disk = MemoryDisk()
    disk.full_after = 1
    cancel = commands_of({"kind": Command.CANCEL_ORDER, "account": 1, "order_id": 5})
    async with running(Shard(disk, tmp_path, clock)) as shard:
        await furnished(shard)
        await shard.sequenced(gtd(1, START_NS + SECOND_NS))
        while not shard.log.nearly_full():
            await shard.sequenced(deposit())
        while shard.sequencer.submit(cancel) is None:
            await shard.reaches(shard.sequencer.sequence + 1)
        before = shard.sequencer.sequence

        clock.time_ns = START_NS + SECOND_NS
        await asyncio.sleep(1.2)
        waited = shard.sequencer.sequence
        disk.full_after = None
        events = await asyncio.wait_for(since(shard, before, 1), 5.0)

    assert waited == before
    assert told(events)[0][0] == "CANCELED"


async def test_log_alone_gives_the_state_back_with_its_expiries(tmp_path: Path, clock: SetClock) -> None:
    """Law 1: an EXPIRE is a command like any other; a replay asks no clock."""
    disk = MemoryDisk()
    async with running(Shard(disk, tmp_path, clock)) as shard:
        await furnished(shard)
        await shard.sequenced(*(gtd(number, START_NS + number * SECOND_NS) for number in range(1, 40)))
        for second in (3, 4, 11, 30, 31):
            clock.time_ns = START_NS + second * SECOND_NS
            await shard.sequenced(deposit())
    replayed = Exchange(SMALL)

    for block in CommandLog(disk.crashed(), SEGMENT).recover():
        replayed.apply(block.copy())

    assert int(shard.exchange.state.head["live_orders"][0]) == 8
    assert state_hash(replayed.state) == state_hash(shard.exchange.state)
