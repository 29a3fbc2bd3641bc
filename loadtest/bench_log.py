"""The command log as it ships, beside what the disk and the core alone can do, in one process.

    durable_throughput   sequencer + log + core + event log at saturation, beside a bare loop of pwrite
                         and fdatasync of the very blocks that it wrote, into files of the same kind; both
                         sides' files are made before (the log's own segments ahead, which a million
                         commands do not use up), and a stretch of WARM_UP_COMMANDS comes before the clock
                         starts: a fresh exchange touches its memory for the first time   mark 0.7
    latency_p50          one command at a low rate, from submit to its events being published, beside
                         pwrite and fdatasync of one block of 4,096 bytes at that rate     mark at most 2
    replay               recovery from the log (read from the medium, checked, judged, events written over
                         those that stand there) beside the core alone on the same commands        mark 0.5
                         The log is long, because behind its end a start looks through the rest of its
                         segment and those prepared, however short it is

Besides: the same throughput beyond the segments made ahead, where the log's zeroes share the disk with its
blocks; recovery of ten million commands with a snapshot each million; and what a snapshot of many resting
orders costs traders. Ratios are medians of rounds in which both sides take turns; loadtest/logged.py says
what trades.
"""

import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.blocks import BLOCK_COMMANDS_MAX, HEADER, HEADER_BYTES, padded
from engine.command_log import SEGMENT_BYTES, CommandLog
from engine.disk import PosixDisk, write_whole
from engine.exchange import Exchange, stamped
from engine.snapshot import Snapshot
from engine.state_hash import state_hash
from loadtest.bench import commit, machine
from loadtest.logged import Bench, emptied, orders, set_up

MARKS: Final = {"durable_throughput": 0.7, "latency_p50": 2.0, "replay": 0.5}
SUSTAINED: Final = 4  # times the commands of the burst
SNAPSHOT_EACH: Final = 1_000_000
WARM_UP_COMMANDS: Final = 1 << 17
LATENCY_COMMANDS: Final = 400
PAUSE_S: Final = 0.002  # between two commands at a low rate
BURST_COMMANDS: Final = 20  # at once, while a snapshot is taken
MS: Final = 1e3


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
    stream = orders(WARM_UP_COMMANDS + commands, 0)
    warm_up, stream = stream[:WARM_UP_COMMANDS], stream[WARM_UP_COMMANDS:]
    for _ in range(rounds):
        bench = Bench(emptied(folder / "log"))
        async with bench.running() as sequencer:
            await bench.through(warm_up)
            await bench.made_ahead()
            before = sequencer.sequence
            started = time.perf_counter()
            await bench.through(stream)
            ours = time.perf_counter() - started
        blocks = [block for block in blocks_of(folder / "log") if _first(block) > before]
        sizes.append(commands / len(blocks))
        pairs.append((ours, sum(bare(folder / "bare", blocks))))
    return compared(pairs, commands, "durable", "bare") | {
        "commands_per_block": round(statistics.median(sizes)),
        "state_hash": state_hash(bench.exchange.state).hex()[:16],
    }


def compared(pairs: list[tuple[float, float]], commands: int, ours: str, peer: str) -> dict[str, Any]:
    """The median ratio of rounds, each with our seconds and the peer's, and what both did a second."""
    return {
        "ratio": round(statistics.median(theirs / mine for mine, theirs in pairs), 3),
        f"{ours}_commands_per_second": round(commands / statistics.median(mine for mine, _ in pairs)),
        f"{peer}_commands_per_second": round(commands / statistics.median(theirs for _, theirs in pairs)),
        "commands": commands,
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


async def traded(folder: Path, commands: int, every: int = 0) -> str:
    """Fill an empty folder with a log of `commands`, and snapshots every so many; the state's hash."""
    bench = Bench(emptied(folder), every)
    async with bench.running():
        for first in range(0, commands, SNAPSHOT_EACH):
            await bench.through(orders(min(SNAPSHOT_EACH, commands - first), first))
        return state_hash(bench.exchange.state).hex()


def replay(folder: Path, rounds: int, expected: str) -> dict[str, Any]:
    """Recovery of the log in `folder` beside the core on the same commands, taking turns."""
    pairs, hashes = [], {expected}
    for _ in range(rounds):
        found = Bench(folder)
        hashes.add(state_hash(found.exchange.state).hex())
        batches = [block.copy() for block in CommandLog(PosixDisk(folder / "commands")).recover()]
        alone = Exchange(found.exchange.capacity)
        started = time.perf_counter()
        for batch in batches:
            alone.apply(batch)
        pairs.append((found.recovery_s, time.perf_counter() - started))
        hashes.add(state_hash(alone.state).hex())
        found.close()
    assert len(hashes) == 1, "a replay decides as the first run did"
    return compared(pairs, found.exchange.sequence, "replayed", "core")


async def recovery(folder: Path, commands: int, every: int) -> dict[str, Any]:
    """How long a start takes behind `commands` commands with a snapshot each `every`."""
    expected = await traded(folder, commands, every)
    started = time.perf_counter()
    found = Bench(folder)
    seconds = time.perf_counter() - started
    found.close()
    assert state_hash(found.exchange.state).hex() == expected, "what was recovered is what was acknowledged"
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


def measure(
    folder: Path, *, commands: int, replayed: int, recovered: int, resting: int, rounds: int
) -> dict[str, Any]:
    """The object that --json prints: the ratios with their figures, then recovery and pause."""
    import uvloop

    sys.setswitchinterval(1e-4)  # as the engine sets it (design law 3)
    with contextlib.redirect_stdout(sys.stderr):  # what is said of snapshots is no part of the result
        figures = {
            "durable_throughput": uvloop.run(throughput(folder, commands, rounds)),
            "latency_p50": uvloop.run(latency(folder / "latency", LATENCY_COMMANDS, rounds)),
        }
        expected = uvloop.run(traded(folder / "log", replayed))
        figures["replay"] = replay(folder / "log", rounds, expected)
        shutil.rmtree(folder / "log")  # what is dirty of it need not be written beside what comes
        beyond = uvloop.run(throughput(folder, SUSTAINED * commands, 1))
        shutil.rmtree(folder / "log")
        besides = {
            "beyond_the_segments_ahead": beyond,
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
        text += [f"    {key}: {value}" for key, value in figures.items() if not (mark and key == "ratio")]
    return text
