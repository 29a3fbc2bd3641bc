"""The command log as it ships, beside what the disk and the core alone can do, in one process.

    durable_throughput   sequencer + log + core + event log at saturation, beside a bare loop of pwrite
                         and fdatasync of the very blocks that it wrote, into files of the same kind; both
                         sides' files are made before (as many as the log keeps ahead)    mark 0.7
    latency_p50          one command at a low rate, from submit to its events being published, beside
                         pwrite and fdatasync of one block of 4,096 bytes at that rate     mark at most 2
    replay               recovery from the log (read from the medium, checked, judged, events written over
                         those that stand there) beside the core alone on the same commands        mark 0.5

Besides: recovery with a snapshot each million commands, and what a snapshot of many resting orders costs
traders. Ratios are medians of rounds in which both sides take turns. Commands are limit orders of 64 funded
accounts around one price in one book, a third of them immediate-or-cancel, by rising reference.
"""

import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.blocks import BLOCK_COMMANDS_MAX, HEADER, HEADER_BYTES, padded
from engine.clock import WallClock
from engine.command_log import SEGMENT_BYTES, CommandLog
from engine.core.layout import Capacity
from engine.disk import PosixDisk, write_whole
from engine.event_log import EventLog
from engine.exchange import Exchange, stamped
from engine.records import COMMAND, INSTRUMENT_TERMS, Records, commands_of, joined
from engine.recovery import recover
from engine.sequencer import Sequencer
from engine.snapshot import Snapshot, Snapshots
from engine.snapshot_taker import SnapshotTaker
from engine.state_hash import state_hash
from engine.vocabulary import RECORD_VERSION, Command, Flag, Mode, Phase, Side, TimeInForce
from loadtest.bench import commit, machine

MARKS: Final = {"durable_throughput": 0.7, "latency_p50": 2.0, "replay": 0.5}
SEED: Final = 20150708
ACCOUNTS: Final = 64
LEVELS: Final = 4000
MIDDLE: Final = 2 * LEVELS
AROUND: Final = 20  # ticks from the middle, of orders that trade
AHEAD_COMMANDS: Final = 4 * BLOCK_COMMANDS_MAX  # handed to the sequencer before they are durable
SNAPSHOT_EACH: Final = 1_000_000
LATENCY_COMMANDS: Final = 400
PAUSE_S: Final = 0.002  # between two commands at a low rate
BURST_COMMANDS: Final = 20  # at once, while a snapshot is taken
MS: Final = 1e3


def set_up() -> Records:
    """One open book, 64 accounts with money and a lot each."""
    terms = np.zeros(1, INSTRUMENT_TERMS)
    terms["version"], terms["kind"], terms["mode"] = RECORD_VERSION, Command.DEFINE_INSTRUMENT, Mode.BOOK
    terms["tick_fen_per_tonne"], terms["step_kg"], terms["minimum_kg"] = 1, 1, 1
    terms["lower_fen_per_tonne"], terms["upper_fen_per_tonne"] = MIDDLE - LEVELS, MIDDLE + LEVELS
    terms["reference_fen_per_tonne"], terms["maximum_kg"] = MIDDLE, 10**6
    terms["buyer_deposit_bp"], terms["fee_fen_per_tonne"] = 10_000, 50
    rows: list[dict[str, int]] = [{"kind": Command.SET_PHASE, "instrument": -1, "phase": Phase.CONTINUOUS}]
    for account in range(1, ACCOUNTS + 1):
        rows.append({"kind": Command.OPEN_ACCOUNT, "account": account})
        rows.append({"kind": Command.DEPOSIT, "account": account, "amount_fen": 10**16})
        rows.append(
            {"kind": Command.REGISTER_LOT, "account": account, "lot": account, "quantity_kg": 4 * 10**9}
        )
    return joined([terms.view(COMMAND), commands_of(*rows)])


def orders(count: int, first: int, *, resting: bool = False) -> Records:
    """`count` orders with references from `first`: such as trade, or buys that rest below everything."""
    chance = np.random.default_rng((SEED, first))
    number = np.arange(first, first + count)
    commands = np.zeros(count, COMMAND)
    commands["version"], commands["kind"] = RECORD_VERSION, Command.NEW_ORDER
    commands["account"], commands["flags"] = 1 + number % ACCOUNTS, Flag.BY_REFERENCE
    commands["client_order_id_0"] = number + 1
    commands["quantity_kg"] = chance.integers(1, 1000, count)
    if resting:
        commands["price_fen_per_tonne"] = MIDDLE - LEVELS + chance.integers(0, LEVELS - 2 * AROUND, count)
        return commands
    sells = chance.integers(0, 2, count) == 1
    commands["side"] = np.where(sells, int(Side.SELL), int(Side.BUY))
    commands["lot"] = np.where(sells, commands["account"], 0)
    immediate = chance.integers(0, 3, count) == 0
    commands["time_in_force"] = np.where(immediate, int(TimeInForce.IOC), int(TimeInForce.DAY))
    commands["price_fen_per_tonne"] = MIDDLE + chance.integers(-AROUND, AROUND + 1, count)
    return commands


class Bench:
    """Exchange, logs and sequencer in a folder, as the engine wires them, without sockets."""

    def __init__(self, folder: Path, every: int = 0) -> None:
        """Recover what lies in `folder`; snapshots every so many commands."""
        capacity = Capacity(orders=1 << 21, levels=1 << 15, instruments=4, accounts=128, lots=128, day=16)
        self.exchange = Exchange(capacity)
        self.exchange.apply(np.zeros(0, COMMAND))
        self.log = CommandLog(PosixDisk(folder / "commands"))
        self.events = EventLog(folder / "events.log")
        self.snapshots = Snapshots(PosixDisk(folder / "snapshots"))
        started = time.perf_counter()
        self.begun = recover(self.log, self.exchange, self.events, self.snapshots)
        self.recovery_s = time.perf_counter() - started
        self.taker = SnapshotTaker(self.snapshots, self, every, wake=self._wake)
        self.sequencer: Sequencer | None = None
        self._work: asyncio.Future[None]  # of the sequencer, once it runs

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Sequencer]:
        """The sequencer at work, ended at the end."""
        self.log.resume(self.log.epoch + 1)
        sequencer = self.sequencer = Sequencer(self.exchange, self.log, self.events, WallClock())
        sequencer.rest_is_due, sequencer.at_rest = self.taker.is_due, self.taker.at_rest
        work = self._work = asyncio.ensure_future(sequencer.run())
        work.add_done_callback(lambda _: sequencer.grown.set())  # who waits for it must not wait for ever
        try:
            if self.exchange.sequence == 0:
                await self.through(set_up())
            yield sequencer
        finally:
            sequencer.stop()
            await work
            self.taker.close()
            self.close()

    async def through(self, commands: Records) -> None:
        """Send commands, as many ahead as keeps the disk busy, until all are durable and published."""
        sequencer, sent = self.sequencer, 0
        assert sequencer is not None, "it runs"
        first = sequencer.sequence
        while sequencer.sequence - first < len(commands):
            ahead = sent - (sequencer.sequence - first)
            if sent < len(commands) and ahead <= AHEAD_COMMANDS - BLOCK_COMMANDS_MAX:
                part = commands[sent : sent + BLOCK_COMMANDS_MAX]
                if sequencer.submit(part) is None:
                    sent += len(part)
                    continue
            await self.grown()

    async def grown(self) -> None:
        """Return when the event log has grown. Raises what the sequencer died of."""
        assert self.sequencer is not None, "it runs"
        await self.sequencer.grown.wait()
        if self._work.done():
            self._work.result()

    async def made_ahead(self) -> None:
        """Return when the log has its segments ahead, as it has after a quiet second."""
        assert self.sequencer is not None, "it runs"
        while not self.log.is_ahead() and not self._work.done():
            self.sequencer.wake()
            await asyncio.sleep(PAUSE_S)

    def _wake(self) -> None:
        if self.sequencer is not None:
            self.sequencer.wake()

    def close(self) -> None:
        """Let go of the files."""
        self.log.close()
        self.events.close()


def emptied(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def blocks_of(folder: Path) -> list[bytes]:
    """The blocks of a log, padding included, in order."""
    found = []
    for path in sorted((folder / "commands").glob("*.log")):
        raw, at = path.read_bytes(), 0
        while at < len(raw):
            header = np.frombuffer(raw, HEADER, 1, at)[0]
            if not header["magic"]:
                break
            length = padded(int(header["length"]))
            found.append(raw[at : at + length])
            at += length
    return found


def bare(folder: Path, blocks: list[bytes], pause_s: float = 0.0) -> list[float]:
    """Seconds of each pwrite + fdatasync of `blocks` into files filled with zeroes beforehand."""
    disk = PosixDisk(emptied(folder))
    per_file = SEGMENT_BYTES // max(map(len, blocks))
    times = []
    for number, first in enumerate(range(0, len(blocks), per_file)):
        disk.create(str(number), SEGMENT_BYTES)
        descriptor, offset = os.open(folder / str(number), os.O_RDWR), 0
        for block in blocks[first : first + per_file]:
            started = time.perf_counter()
            write_whole(descriptor, offset, block)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
            offset += len(block)
            if pause_s:
                time.sleep(pause_s)
        os.close(descriptor)
    shutil.rmtree(folder)
    return times


async def throughput(folder: Path, commands: int, rounds: int) -> dict[str, Any]:
    """Durable commands a second beside the bare disk, taking turns."""
    pairs, sizes = [], []
    stream = orders(commands, 0)
    for _ in range(rounds):
        bench = Bench(emptied(folder / "log"))
        async with bench.running() as sequencer:
            await bench.made_ahead()
            before = sequencer.sequence
            started = time.perf_counter()
            await bench.through(stream)
            ours = time.perf_counter() - started
        blocks = [block for block in blocks_of(folder / "log") if _first(block) > before]
        sizes.append(commands / len(blocks))
        pairs.append((ours, sum(bare(folder / "bare", blocks))))
    return {
        "ratio": round(statistics.median(peer / ours for ours, peer in pairs), 3),
        "durable_commands_per_second": round(commands / statistics.median(ours for ours, _ in pairs)),
        "bare_commands_per_second": round(commands / statistics.median(peer for _, peer in pairs)),
        "commands_per_block": round(statistics.median(sizes)),
        "commands": commands,
        "state_hash": state_hash(bench.exchange.state).hex()[:16],
    }


def _first(block: bytes) -> int:
    return int(np.frombuffer(block[:HEADER_BYTES], HEADER)[0]["first_sequence"])


async def latency(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """One command at a low rate beside one block at the same rate, taking turns."""
    pairs = []
    block = [os.urandom(padded(128))] * count
    for number in range(rounds):
        bench, times = Bench(emptied(folder / "log")), []
        async with bench.running() as sequencer:
            for at in range(count):
                command = orders(1, number * count + at)
                started = time.perf_counter()
                assert sequencer.submit(command) is None
                await bench.grown()
                times.append(time.perf_counter() - started)
                await asyncio.sleep(PAUSE_S)
        pairs.append((statistics.median(times), statistics.median(bare(folder / "bare", block, PAUSE_S))))
    return {
        "ratio": round(statistics.median(ours / peer for ours, peer in pairs), 3),
        "command_ms_p50": round(MS * statistics.median(ours for ours, _ in pairs), 3),
        "bare_sync_ms_p50": round(MS * statistics.median(peer for _, peer in pairs), 3),
        "commands": count,
    }


def replay(folder: Path, rounds: int) -> dict[str, Any]:
    """Recovery of the log in `folder` beside the core on the same commands, taking turns."""
    pairs, hashes = [], set()
    for _ in range(rounds):
        found = Bench(folder)
        hashes.add(state_hash(found.exchange.state))
        batches = [block.copy() for block in CommandLog(PosixDisk(folder / "commands")).recover()]
        alone = Exchange(found.exchange.capacity)
        started = time.perf_counter()
        for batch in batches:
            alone.apply(batch)
        pairs.append((found.recovery_s, time.perf_counter() - started))
        hashes.add(state_hash(alone.state))
        found.close()
    assert len(hashes) == 1, "a replay decides as the first run did"
    commands = found.exchange.sequence
    return {
        "ratio": round(statistics.median(peer / ours for ours, peer in pairs), 3),
        "replayed_commands_per_second": round(commands / statistics.median(ours for ours, _ in pairs)),
        "core_commands_per_second": round(commands / statistics.median(peer for _, peer in pairs)),
        "commands": commands,
    }


async def recovery(folder: Path, commands: int, every: int) -> dict[str, Any]:
    """How long a start takes behind `commands` commands with a snapshot each `every`."""
    bench = Bench(emptied(folder), every)
    async with bench.running():
        for first in range(0, commands, every):
            await bench.through(orders(min(every, commands - first), first))
        expected = state_hash(bench.exchange.state)
    started = time.perf_counter()
    found = Bench(folder)
    seconds = time.perf_counter() - started
    found.close()
    assert state_hash(found.exchange.state) == expected, "what was recovered is what was acknowledged"
    return {
        "commands": commands,
        "snapshot_each": every,
        "seconds": round(seconds, 3),
        "began_with_command": found.begun.sequence if found.begun else 0,
        "commands_replayed": found.exchange.sequence - (found.begun.sequence if found.begun else 0),
    }


async def pause(folder: Path, resting: int) -> dict[str, Any]:
    """What traders see of a snapshot of `resting` orders: bursts of commands before it and while it lasts."""
    bench = Bench(emptied(folder))
    _fill(bench.exchange, resting)
    bench.log.sequence = bench.exchange.sequence  # its first block comes behind what was filled in
    async with bench.running():
        quiet = await _bursts(bench, resting, seconds=2.0)
        answer: asyncio.Future[Snapshot | None] = asyncio.get_running_loop().create_future()
        bench.taker.ask(answer.set_result)
        started = time.perf_counter()
        beside = await _bursts(bench, 2 * resting, until=answer)
        seconds = time.perf_counter() - started
        snapshot = answer.result()
    assert snapshot is not None, "the snapshot was taken"
    started = time.perf_counter()
    digest = state_hash(bench.exchange.state)
    return {
        "resting_orders": resting,
        "state_hash_seconds": round(time.perf_counter() - started, 3),
        "state_hash": digest.hex()[:16],
        "snapshot_seconds": round(seconds, 3),
        "snapshot_bytes": (folder / "snapshots" / "0.snapshot").stat().st_size,
        "longest_ms_without": round(MS * max(quiet), 2),
        "longest_ms_beside_it": round(MS * max(beside), 2),
        "p50_ms_without": round(MS * statistics.median(quiet), 2),
        "p50_ms_beside_it": round(MS * statistics.median(beside), 2),
    }


def _fill(exchange: Exchange, resting: int) -> None:
    exchange.apply(stamped(set_up(), 1, 1))
    for first in range(0, resting, BLOCK_COMMANDS_MAX):
        part = orders(min(BLOCK_COMMANDS_MAX, resting - first), first, resting=True)
        exchange.apply(stamped(part, exchange.sequence + 1, 1))
    assert exchange.state.head["live_orders"][0] == resting, "all rest"


async def _bursts(
    bench: Bench, first: int, seconds: float = 60.0, until: "asyncio.Future[Any] | None" = None
) -> list[float]:
    """Seconds from submit to publication of bursts, one after another."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and not (until is not None and until.done()):
        burst = orders(BURST_COMMANDS, first + BURST_COMMANDS * len(times))
        started = time.perf_counter()
        await bench.through(burst)
        times.append(time.perf_counter() - started)
        await asyncio.sleep(PAUSE_S)
    return times


def measure(folder: Path, *, commands: int, recovered: int, resting: int, rounds: int) -> dict[str, Any]:
    """The object that --json prints: the ratios with their figures, then recovery and pause."""
    import uvloop

    sys.setswitchinterval(1e-4)  # as the engine sets it (design law 3)
    with contextlib.redirect_stdout(sys.stderr):  # what is said of snapshots is no part of the result
        figures = {
            "durable_throughput": uvloop.run(throughput(folder, commands, rounds)),
            "latency_p50": uvloop.run(latency(folder / "latency", LATENCY_COMMANDS, rounds)),
            "replay": replay(folder / "log", rounds),
        }
        besides = {
            "recovery": uvloop.run(recovery(folder / "recovery", recovered, SNAPSHOT_EACH)),
            "snapshot_pause": uvloop.run(pause(folder / "pause", resting)),
        }
    shutil.rmtree(folder)
    return {
        "ratios": {name: part["ratio"] for name, part in figures.items()},
        "marks": MARKS,
        "figures": figures | besides,
        "machine": machine(),
        "commit": commit(),
        "at": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people: each ratio beside its mark, then its figures."""
    text = [f"{result['at']} · commit {result['commit']} · {result['machine']}", ""]
    for name, figures in result["figures"].items():
        ratio, mark = result["ratios"].get(name), MARKS.get(name)
        bound = "at most" if name == "latency_p50" else "at least"
        text.append(f"{name}: {ratio} (mark: {bound} {mark})" if mark else f"{name}:")
        text += [f"    {key}: {value}" for key, value in figures.items() if key != "ratio"]
    return text
