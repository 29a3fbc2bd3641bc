"""The sequencer: numbers and time that only rise, and nothing out before it is durable."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.clerk import Job
from engine.clock import SteppedClock
from engine.disk import PosixDisk
from engine.inbox import BATCH_COMMANDS
from engine.records import COMMAND, Records, commands_of
from engine.sequencer import AT_ONCE_COMMANDS, FLIGHTS_MAX, INBOX_COMMANDS_MAX, QUESTIONS_MAX
from engine.snapshot import Snapshots
from engine.vocabulary import SEQUENCE_MAX, Command, Event, Reason
from tests.engine.fakes import MemoryDisk, SetClock, Shard, deposit, running

OPEN = {"kind": Command.OPEN_ACCOUNT, "account": 1}
MANY = AT_ONCE_COMMANDS + 1  # of them the disk's thread takes care, so that the test can hold it up
TURNS = 20  # of the loop, for anything that could leak to leak


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0.002)


def many(**fields: int) -> Records:
    return np.repeat(commands_of(deposit(**fields)), MANY)


async def test_commands_get_the_next_numbers_and_their_events_are_published(tmp_path: Path) -> None:
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        events = await shard.sequenced(OPEN, deposit(amount_fen=500), {"kind": 77})

    assert events["sequence"].tolist() == [1, 2, 3]
    assert events["kind"].tolist() == [Event.ACCOUNT_OPENED, Event.DEPOSITED, Event.REJECTED]
    assert shard.log.sequence == 3


async def test_nothing_leaves_before_its_command_is_durable(tmp_path: Path) -> None:
    disk = MemoryDisk()
    async with running(Shard(disk, tmp_path)) as shard:
        await shard.sequenced(OPEN)
        size, answers = shard.events.size, list[Records]()
        disk.gate.clear()
        shard.sequencer.submit(many())
        shard.sequencer.ask(commands_of({"kind": Command.QUERY_BALANCES, "account": 1}), answers.append)

        await turns()

        assert shard.exchange.sequence == 1 + MANY, "matching overlaps the sync"
        assert (shard.events.size, shard.sequencer.sequence, answers) == (size, 1, [])
        disk.gate.set()
        await shard.reaches(1 + MANY)
        await turns()
        assert shard.events.size > size
        assert [int(answer["sequence"][-1]) for answer in answers] == [1 + MANY]


async def test_next_batches_are_judged_while_the_first_is_synced_and_wait_for_their_own_syncs(
    tmp_path: Path,
) -> None:
    disk = MemoryDisk()
    async with running(Shard(disk, tmp_path, segment_bytes=1 << 20)) as shard:
        await shard.sequenced(OPEN)
        size = shard.events.size
        disk.gate.clear()
        for number in range(FLIGHTS_MAX + 2):
            shard.sequencer.submit(many(tag=number))
            await turns()

        judged, published = shard.exchange.sequence, (shard.events.size, shard.sequencer.sequence)
        disk.gate.set()
        await shard.reaches(1 + MANY * (FLIGHTS_MAX + 2))

        assert judged == 1 + MANY * FLIGHTS_MAX
        assert published == (size, 1)
        tags = shard.events.read(shard.events.position_after(1))["tag"].tolist()
        assert tags == [number for number in range(FLIGHTS_MAX + 2) for _ in range(MANY)]


async def test_few_commands_alone_are_written_on_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        given, give = list[Job](), shard.sequencer._disk.give

        def noted(job: Job) -> None:
            given.append(job)
            give(job)

        monkeypatch.setattr(shard.sequencer._disk, "give", noted)
        await shard.sequenced(OPEN)
        shard.sequencer.submit(many()[:AT_ONCE_COMMANDS])
        await shard.reaches(1 + AT_ONCE_COMMANDS)
        alone = len(given)
        shard.sequencer.submit(many())
        await shard.reaches(1 + AT_ONCE_COMMANDS + MANY)

    assert (alone, len(given)) == (0, 1)


async def test_question_is_answered_between_batches_when_nothing_is_on_its_way(tmp_path: Path) -> None:
    answers = list[Records]()
    async with running(Shard(MemoryDisk(), tmp_path, segment_bytes=64 << 20)) as shard:
        await shard.sequenced(OPEN)
        shard.sequencer.submit(np.repeat(commands_of(deposit()), 12 * BATCH_COMMANDS))
        await asyncio.sleep(0)

        shard.sequencer.ask(commands_of({"kind": Command.QUERY_BALANCES, "account": 1}), answers.append)
        await shard.reaches(1 + 12 * BATCH_COMMANDS)

    row = answers[0][0]
    assert 1 < row["sequence"] < 1 + 12 * BATCH_COMMANDS
    assert row["available_fen"] == row["sequence"] - 1, "what was judged by then, and no more"


async def test_block_behind_one_that_failed_is_never_written(tmp_path: Path) -> None:
    disk = MemoryDisk()
    shard = Shard(disk, tmp_path)
    disk.gate.clear()
    work = asyncio.ensure_future(shard.sequencer.run())
    for number in range(2):
        shard.sequencer.submit(many(tag=number))
        await turns()
    written = disk.image()

    disk.fail_at_sync = disk.syncs + 1
    disk.gate.set()

    with pytest.raises(OSError, match="Input/output"):
        await work
    assert disk.image() == written
    assert shard.exchange.sequence == 2 * MANY, "it was judged"


@pytest.mark.parametrize("sync", [1, 2, 4])
async def test_failed_sync_ends_the_sequencer_and_nothing_after_it_is_published(
    tmp_path: Path, sync: int
) -> None:
    disk = MemoryDisk()
    shard = Shard(disk, tmp_path)
    disk.fail_at_sync = sync
    work = asyncio.ensure_future(shard.sequencer.run())

    for number in range(1, 6):
        shard.sequencer.submit(commands_of(deposit(tag=number)))
        await asyncio.sleep(0.02)

    with pytest.raises(OSError, match="Input/output"):
        await work
    assert shard.sequencer.sequence == sync - 1
    assert shard.events.sequence == sync - 1
    after = Shard(disk.crashed(), tmp_path)
    assert after.log.sequence == sync - 1


async def test_time_never_falls_when_the_clock_jumps_back(tmp_path: Path) -> None:
    clock = SetClock(1_000)
    async with running(Shard(MemoryDisk(), tmp_path, clock)) as shard:
        times = []
        for clock.time_ns in (1_000, 2_000, 500, 1_999, 2_001):
            times += (await shard.sequenced(deposit()))["time_ns"].tolist()

    assert times == [1_000, 2_000, 2_000, 2_000, 2_001]


async def test_time_does_not_fall_over_a_restart(tmp_path: Path) -> None:
    disk = MemoryDisk()
    async with running(Shard(disk, tmp_path, SetClock(5_000))) as shard:
        await shard.sequenced(OPEN)

    async with running(Shard(disk.crashed(), tmp_path, SetClock(10))) as shard:
        events = await shard.sequenced(deposit())

    assert events["time_ns"].tolist() == [5_000]


@pytest.mark.parametrize("snapshot", [False, True])
async def test_time_never_falls_over_a_restart_whose_clock_is_behind(tmp_path: Path, snapshot: bool) -> None:
    disk, snapshots = MemoryDisk(), Snapshots(PosixDisk(tmp_path / "snapshots"))
    snapshots.look()
    async with running(Shard(disk, tmp_path, SetClock(5_000))) as shard:
        await shard.sequenced(deposit())
        if snapshot:
            assert shard.log.position is not None
            snapshots.write(0, shard.exchange.state, shard.log.position, shard.events.size)

    again = Shard(disk.crashed(), tmp_path, SetClock(3_000), snapshots=snapshots)
    async with running(again):
        events = await again.sequenced(deposit())

    assert events["time_ns"].tolist() == [5_000]


async def test_stepped_clock_moves_at_its_command_within_the_batch(tmp_path: Path) -> None:
    async with running(Shard(MemoryDisk(), tmp_path, SteppedClock(100))) as shard:
        step: dict[str, Any] = {"kind": Command.SET_CLOCK, "due_ns": 900}
        events = await shard.sequenced(
            deposit(), step, deposit(), {"kind": Command.SET_CLOCK, "due_ns": 5}, deposit()
        )

    assert events["time_ns"].tolist() == [100, 900, 900, 900, 900]
    assert events["kind"][1] == Event.CLOCK_SET


async def test_wall_clock_rejects_a_step(tmp_path: Path) -> None:
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        events = await shard.sequenced({"kind": Command.SET_CLOCK, "due_ns": 2**60})

    assert events["reason"].tolist() == [Reason.CLOCK_NOT_STEPPED]


async def test_what_does_not_fit_into_the_inbox_is_refused_and_not_sequenced(tmp_path: Path) -> None:
    shard = Shard(MemoryDisk(), tmp_path, segment_bytes=64 << 20)
    commands = np.zeros(INBOX_COMMANDS_MAX, COMMAND)
    one = commands_of(deposit(account=7, tag=99))

    first, second = shard.sequencer.submit(commands), shard.sequencer.submit(one)

    assert first is None
    assert second is not None
    fields = [second[name].tolist() for name in ("kind", "reason", "tag", "account", "sequence")]
    assert fields == [[Event.REFUSED], [Reason.QUEUE_FULL], [99], [7], [0]]
    async with running(shard):
        await shard.reaches(INBOX_COMMANDS_MAX)
        assert shard.sequencer.submit(one) is None
        await shard.reaches(INBOX_COMMANDS_MAX + 1)


async def test_full_disk_takes_cancels_only_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    disk = MemoryDisk()
    disk.full_after = 1
    cancel = {"kind": Command.CANCEL_ORDER, "account": 1, "order_id": 5}
    async with running(Shard(disk, tmp_path)) as shard:
        while not shard.log.nearly_full():
            await shard.sequenced(deposit())
        sequence = shard.sequencer.sequence

        start = {"kind": Command.START_SESSION, "account": 1}  # who cancels must be able to log on
        refused = shard.sequencer.submit(commands_of(deposit(tag=1), cancel, start, deposit(tag=2)))
        await shard.reaches(sequence + 2)

        assert refused is not None
        assert refused["tag"].tolist() == [1, 2]
        assert refused["reason"].tolist() == [Reason.DISK_FULL] * 2
        disk.full_after = None
        shard.sequencer.submit(commands_of(deposit()))
        await turns()
        events = await shard.sequenced(*[deposit()] * 40)
        assert len(events) == 40


async def test_cancels_are_refused_before_the_last_block_and_the_engine_lives(tmp_path: Path) -> None:
    disk = MemoryDisk()
    disk.full_after = 1
    cancel = commands_of({"kind": Command.CANCEL_ORDER, "account": 1, "order_id": 5})
    async with running(Shard(disk, tmp_path)) as shard:
        while not shard.log.nearly_full():
            await shard.sequenced(deposit())

        while (refused := shard.sequencer.submit(cancel)) is None:
            await shard.reaches(shard.sequencer.sequence + 1)

        assert refused["reason"].tolist() == [Reason.DISK_FULL]
        disk.full_after = None
        shard.sequencer.submit(cancel)
        await turns()
        await shard.sequenced(*[deposit()] * 3)
    assert Shard(disk.crashed(), tmp_path).log.sequence == shard.sequencer.sequence


async def test_burst_of_commands_never_outgrows_a_full_disk(tmp_path: Path) -> None:
    disk = MemoryDisk()
    disk.full_after = 1
    shard = Shard(disk, tmp_path)
    assert shard.log._segments._work is not None
    shard.log._segments.join()
    taken = 0

    for _ in range(700):
        taken += shard.sequencer.submit(commands_of(deposit())) is None
    async with running(shard):
        await shard.reaches(taken)
        refused = shard.sequencer.submit(commands_of(*[deposit()] * 200))

    assert 0 < taken < 512
    assert refused is not None
    assert set(refused["reason"].tolist()) == {Reason.DISK_FULL}


async def test_event_log_without_space_takes_cancels_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        await shard.sequenced(OPEN)
        monkeypatch.setattr(os, "posix_fallocate", full)
        while not shard.events.nearly_full():
            await shard.sequenced(*[deposit()] * 100)
        refused = shard.sequencer.submit(commands_of(deposit()))
        monkeypatch.undo()
        shard.sequencer.submit(commands_of(deposit()))
        await shard.sequenced(deposit())

    assert refused is not None
    assert refused["reason"].tolist() == [Reason.DISK_FULL]


async def test_stopping_engine_finishes_what_it_took_and_refuses_the_rest(tmp_path: Path) -> None:
    shard, answers = Shard(MemoryDisk(), tmp_path), list[Records]()
    shard.sequencer.submit(commands_of(OPEN, deposit()))
    shard.sequencer.ask(commands_of({"kind": Command.QUERY_BALANCES, "account": 1}), answers.append)
    shard.sequencer.stop()

    refused = shard.sequencer.submit(commands_of(deposit()))
    await shard.sequencer.run()

    assert refused is not None
    assert refused["reason"].tolist() == [Reason.SHUTTING_DOWN]
    assert shard.events.sequence == 2
    assert [int(answer["sequence"][-1]) for answer in answers] == [2]


async def test_questions_beyond_the_maximum_are_answered_at_once_with_the_reason(tmp_path: Path) -> None:
    shard, answers = Shard(MemoryDisk(), tmp_path), list[Records]()
    question = commands_of({"kind": Command.QUERY_BALANCES, "account": 1, "tag": 5})

    for _ in range(QUESTIONS_MAX + 1):
        shard.sequencer.ask(question, answers.append)

    assert len(answers) == 1
    assert answers[0]["kind"].tolist() == [Event.END]
    assert answers[0]["reason"].tolist() == [Reason.QUEUE_FULL]
    assert answers[0]["tag"].tolist() == [5]


async def test_sequence_numbers_end_before_order_ids_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = Shard(MemoryDisk(), tmp_path)
    monkeypatch.setattr(shard.sequencer, "sequence", SEQUENCE_MAX - 2)

    assert shard.sequencer.submit(commands_of(deposit(), deposit())) is None
    refused = shard.sequencer.submit(commands_of(deposit()))

    assert refused is not None
    assert refused["reason"].tolist() == [Reason.SEQUENCE_EXHAUSTED]


async def test_replay_gives_the_same_arrays_and_the_same_event_log(tmp_path: Path) -> None:
    disk = MemoryDisk()
    generator = np.random.default_rng(20150708)
    async with running(Shard(disk, tmp_path)) as shard:
        await shard.sequenced(*({"kind": Command.OPEN_ACCOUNT, "account": a} for a in range(1, 9)))
        for _ in range(20):
            count = int(generator.integers(1, 60))
            await shard.sequenced(
                *(
                    deposit(int(generator.integers(0, 12)), int(generator.integers(-5, 10**6)))
                    for _ in range(count)
                )
            )
    before = (tmp_path / "events.log").read_bytes()[: shard.events.size]

    again = Shard(disk.crashed(), tmp_path)

    assert again.exchange.sequence == shard.exchange.sequence
    for name in shard.exchange.state._fields:
        first, second = getattr(shard.exchange.state, name), getattr(again.exchange.state, name)
        assert first.tobytes() == second.tobytes(), name
    assert (tmp_path / "events.log").read_bytes()[: again.events.size] == before
