"""Snapshots beside trading: taken by a forked child that harms nothing, told to whoever asked."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.command_log import CommandLog, LogError
from engine.core.layout import Capacity
from engine.disk import PosixDisk
from engine.exchange import Exchange
from engine.forked import Child, Ended, Job, trouble_of
from engine.records import HUGE_PAGE_BYTES
from engine.recovery import gathered
from engine.snapshot import Snapshot, Snapshots
from engine.snapshot_taker import SnapshotTaker
from engine.state_hash import state_hash
from engine.vocabulary import Command, Mode, Phase
from tests.engine.builders import REBAR, STEP_KG, terms
from tests.engine.fakes import SMALL, MemoryDisk, Shard, deposit, running

OPENED = {"kind": Command.OPEN_ACCOUNT, "account": 1}
LARGE = Capacity(orders=1 << 16, levels=1 << 12, instruments=2, accounts=1 << 15, lots=1 << 15, day=1 << 15)


class Inline:
    """A job that is done when the test says so, in this process."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Job, Ended]] = []
        self.killed = 0

    def __call__(self, job: Job, ended: Ended) -> "Inline":
        self.waiting.append((job, ended))
        return self

    def finish(self, trouble: str | None = None) -> None:
        job, ended = self.waiting.pop(0)
        if trouble is None:
            job()
        ended(trouble)

    def kill(self) -> None:
        self.killed += 1


def taking(
    shard: Shard, folder: Path, every: int, begin: Callable[[Job, Ended], Inline | Child]
) -> SnapshotTaker:
    snapshots = Snapshots(PosixDisk(folder / "snapshots"))
    snapshots.look()
    taker = SnapshotTaker(snapshots, shard, every, begin, wake=shard.sequencer.wake)
    shard.sequencer.rest_is_due, shard.sequencer.at_rest = taker.is_due, taker.at_rest
    return taker


async def asked(taker: SnapshotTaker, shard: Shard) -> Snapshot | None:
    answer: asyncio.Future[Snapshot | None] = asyncio.get_running_loop().create_future()
    taker.ask(answer.set_result)
    return await asyncio.wait_for(answer, 10)


async def test_child_writes_the_state_as_it_was_at_the_fork(tmp_path: Path) -> None:
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        await shard.sequenced(OPENED)
        taker = taking(shard, tmp_path, 0, Child)
        expected = state_hash(shard.exchange.state)

        answer = asyncio.ensure_future(asked(taker, shard))
        await asyncio.sleep(0)
        taker.at_rest()
        await shard.sequenced(deposit(), deposit())
        snapshot = await answer

    assert snapshot is not None
    assert (snapshot.sequence, snapshot.state_hash) == (1, expected)
    found, again = Snapshots(PosixDisk(tmp_path / "snapshots")), Exchange(SMALL)
    assert found.look() == []
    found.load(0, again.state)
    assert state_hash(again.state) == expected


def orders(count: int) -> list[dict[str, int]]:
    """Buys that rest, from the best price on."""
    order = {"kind": Command.NEW_ORDER, "account": 1, "instrument": REBAR, "quantity_kg": STEP_KG}
    return [order | {"price_fen_per_tonne": 220_000 + 100 * (at % 50)} for at in range(count)]


async def opened(shard: Shard) -> None:
    """An open market, an account with money, and orders that rest."""
    assert shard.sequencer.submit(terms(REBAR, Mode.BOOK)) is None
    opening = {"kind": Command.SET_PHASE, "instrument": REBAR, "phase": Phase.CONTINUOUS}
    await shard.sequenced(opening, OPENED, deposit(amount_fen=10**12))
    await shard.sequenced(*orders(200))


def replayed(disk: MemoryDisk, capacity: Capacity, until: int) -> Exchange:
    """A fresh exchange that has judged the log up to a sequence."""
    exchange = Exchange(capacity)
    for commands in gathered(CommandLog(disk).recover()):
        exchange.apply(commands[commands["sequence"] <= until])
    return exchange


async def test_tables_on_pages_of_their_own_are_written_as_they_were_at_the_fork(tmp_path: Path) -> None:
    """Shared memory there once let the child write, under a hash that matched, what its parent did later."""
    traded = tmp_path / "traded"

    def late(job: Job, ended: Ended) -> Child:
        def work() -> None:
            while not traded.exists():
                time.sleep(0.001)
            job()

        return Child(work, ended)

    disk = MemoryDisk()
    async with running(Shard(disk, tmp_path, capacity=LARGE, segment_bytes=1 << 20)) as shard:
        tables = [table.nbytes for table in shard.exchange.state if table.nbytes >= HUGE_PAGE_BYTES]
        await opened(shard)
        taker = taking(shard, tmp_path, 0, late)
        answer = asyncio.ensure_future(asked(taker, shard))
        await asyncio.sleep(0)
        taker.at_rest()
        begun = shard.sequencer.sequence
        await shard.sequenced(*orders(200), deposit())
        traded.touch()
        snapshot = await answer

    assert len(tables) >= 5, "nodes, orders, specials, accounts, lots, the day"
    assert snapshot is not None
    assert snapshot.sequence == begun
    assert snapshot.state_hash == state_hash(replayed(disk, LARGE, until=begun).state)
    found, again = Snapshots(PosixDisk(tmp_path / "snapshots")), Exchange(LARGE)
    assert found.look() == []
    found.load(0, again.state)
    assert state_hash(again.state) == snapshot.state_hash
    again.check_invariants()


async def test_one_is_taken_every_so_many_commands_and_one_at_a_time(tmp_path: Path) -> None:
    jobs = Inline()
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        taker = taking(shard, tmp_path, 5, jobs)
        begun = []
        for number in range(12):
            await shard.sequenced(OPENED if number == 0 else deposit())
            begun.append(len(jobs.waiting))
        jobs.finish()
        await shard.sequenced(deposit())

    assert begun == [0] * 4 + [1] * 8
    assert len(jobs.waiting) == 1
    assert taker._snapshots.newest() is not None


async def test_failed_child_is_told_and_the_next_one_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Inline()
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        await shard.sequenced(OPENED)
        taker = taking(shard, tmp_path, 0, jobs)
        answers: list[Snapshot | None] = []
        for trouble in ("No space left on device", None):
            taker.ask(answers.append)
            taker.at_rest()
            jobs.finish(trouble)

    assert [answer.sequence if answer else None for answer in answers] == [None, 1]
    assert "the snapshot failed; the older ones stand" in capsys.readouterr().out


async def test_state_that_contradicts_itself_is_refused_loudly_and_trading_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        await shard.sequenced(OPENED, deposit())
        taker = taking(shard, tmp_path, 0, Child)
        await asked(taker, shard)
        shard.exchange.state.accounts["available"][1] = -1

        answer = await asked(taker, shard)
        await shard.sequenced(deposit())

    assert answer is None
    assert len(list((tmp_path / "snapshots").iterdir())) == 1
    said = capfd.readouterr()
    assert "engine: the state behind command 2 contradicts itself (account 1: it owes nothing)" in said.err
    assert "the snapshot failed; the older ones stand" in said.out
    assert "it was refused, see above" in said.out


async def test_what_is_asked_while_one_is_taken_waits_for_the_next(tmp_path: Path) -> None:
    jobs = Inline()
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        taker = taking(shard, tmp_path, 0, jobs)
        answers: list[int] = []
        for _ in range(2):
            await shard.sequenced(OPENED)
            taker.ask(lambda snapshot: answers.append(snapshot.sequence if snapshot else 0))
            await asyncio.sleep(0.01)
        jobs.finish()
        assert answers == [1]
        await asyncio.sleep(0.01)  # nobody trades, and yet it is begun
        jobs.finish()

    assert answers == [1, 2]


async def test_close_gives_up_what_is_under_way(tmp_path: Path) -> None:
    jobs = Inline()
    async with running(Shard(MemoryDisk(), tmp_path)) as shard:
        await shard.sequenced(OPENED)
        taker = taking(shard, tmp_path, 1, jobs)
        taker.at_rest()

        taker.close()

    assert jobs.killed == 1
    assert not list((tmp_path / "snapshots").iterdir())


async def ends_with(job: Job, then: Callable[[Child], None] = lambda child: None) -> str | None:
    ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    child = Child(job, ended.set_result)
    then(child)
    return await asyncio.wait_for(ended, 10)


def out_of_space() -> None:
    raise OSError(28, "full")


def faulty() -> None:
    raise AssertionError("a fault in the child")


def refused() -> None:
    raise LogError("no")


async def test_child_says_how_it_ended(capfd: pytest.CaptureFixture[str]) -> None:
    assert await ends_with(lambda: None) is None
    assert await ends_with(out_of_space) == "No space left on device"
    assert await ends_with(faulty) == "a fault in the program, see above"
    assert await ends_with(refused) == "it was refused, see above"
    assert "a fault in the child" in capfd.readouterr().err
    killed = await ends_with(lambda: time.sleep(30), lambda child: os.kill(child.pid, signal.SIGKILL))
    assert killed == "it was killed by signal 9"


async def test_killed_child_leaves_no_zombie_and_tells_nobody() -> None:
    told: list[str | None] = []
    child = Child(lambda: time.sleep(30), told.append)

    child.kill()
    child.kill()
    await asyncio.sleep(0.01)

    assert told == []
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


async def test_child_holds_nothing_of_its_parent_open(tmp_path: Path) -> None:
    """Above all not the lock of the data folder: the next engine must not wait for a snapshot."""
    from engine.location import LocationInUseError, lock_folder

    (tmp_path / "held").touch()
    lock = lock_folder(tmp_path, "engine")
    child = Child(lambda: time.sleep(30), lambda trouble: None)
    await asyncio.sleep(0.2)

    with pytest.raises(LocationInUseError):
        lock_folder(tmp_path, "engine")
    lock.release()
    lock_folder(tmp_path, "engine").release()
    assert len(os.listdir(f"/proc/{child.pid}/fd")) <= 3
    child.kill()


def test_statuses_have_names() -> None:
    assert [trouble_of(status) for status in (0, -9, 28)] == [
        None,
        "it was killed by signal 9",
        "No space left on device",
    ]
