"""Doubles for the engine's rooms: a disk in memory that forgets what was not synced, and small helpers."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from engine.calendar import Calendar
from engine.clock import Clock, WallClock
from engine.command_log import CommandLog
from engine.core.layout import Capacity
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.records import EVENT, Records, commands_of, empty_commands, joined
from engine.recovery import recover
from engine.schedule import Schedule
from engine.sequencer import Sequencer
from engine.snapshot import Snapshots
from engine.vocabulary import Command

SMALL = Capacity(orders=256, levels=1 << 10, instruments=2, accounts=16, lots=16, day=256)
SEGMENT = 1 << 16  # bytes: sixteen blocks of few commands

Mix = Callable[[bytes, bytes], bytes]  # of a file: (synced, written) -> what a crash leaves


class MemoryFile:
    """A file whose unsynced bytes a crash may lose."""

    def __init__(self, disk: "MemoryDisk", content: bytes) -> None:
        self.disk, self.written, self.synced = disk, bytearray(content), bytes(content)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        assert offset + len(data) <= len(self.written), "the log never grows a file"
        self.written[offset : offset + len(data)] = data

    def sync(self) -> None:
        self.disk.before_sync()
        self.synced = bytes(self.written)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.written[offset : offset + length])

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryDisk:
    """The port of engine.disk: counts syncs, and fails, fills up or waits when it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, MemoryFile] = {}
        self.syncs = 0
        self.named: list[str] = []  # what the folder held when it was last synced
        self.fail_at_sync: int | None = None
        self.full_after: int | None = None  # files that fit
        self.create_error: int = errno.ENOSPC
        self.room = 1 << 40  # bytes that it says are free
        self.gate = threading.Event()  # a sync waits until it is set
        self.gate.set()

    def before_sync(self) -> None:
        assert self.gate.wait(30), "the test opens the gate"
        self.syncs += 1
        if self.fail_at_sync is not None and self.syncs >= self.fail_at_sync:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def names(self) -> list[str]:
        return sorted(self.files)

    def size(self, name: str) -> int:
        return len(self.files[name].written)

    def open(self, name: str, *, reread: bool = True) -> MemoryFile:
        return self.files[name]

    def create(self, name: str, size: int) -> None:
        if self.full_after is not None and len(self.files) >= self.full_after:
            raise OSError(self.create_error, os.strerror(self.create_error))
        self.files[name] = MemoryFile(self, bytes(size))

    def replace(self, name: str, data: bytes | bytearray) -> None:
        self.files[name] = MemoryFile(self, bytes(data))

    def move(self, name: str, to: "MemoryDisk") -> None:
        to.files[name] = self.files.pop(name)

    def sync_names(self) -> None:
        self.named = sorted(self.files)

    def free(self) -> int:
        return self.room

    def crashed(self, mix: Mix = lambda synced, written: synced) -> "MemoryDisk":
        """The disk as a restart finds it; `mix` decides which unsynced bytes had reached the medium."""
        after = MemoryDisk()
        for name, file in self.files.items():
            after.files[name] = MemoryFile(after, mix(file.synced, bytes(file.written)))
        return after

    def image(self) -> dict[str, bytes]:
        """All that is written."""
        return {name: bytes(file.written) for name, file in self.files.items()}


class SetClock:
    """A clock that says what the test says."""

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns

    def now_ns(self) -> int:
        return self.time_ns

    def step_to(self, time_ns: int) -> None:
        """Does not obey."""


class Shard:
    """Exchange, logs and sequencer over a disk, as the service wires them, without sockets."""

    def __init__(
        self,
        disk: MemoryDisk,
        folder: Path,
        clock: Clock | None = None,
        *,
        segment_bytes: int = SEGMENT,
        snapshots: Snapshots | None = None,
        calendar: Calendar | None = None,
        capacity: Capacity = SMALL,
    ) -> None:
        self.log = CommandLog(disk, segment_bytes, retry_s=0.0)
        self.exchange = Exchange(capacity)
        self.exchange.apply(empty_commands(0))  # loads the compiled kernels before anybody waits for them
        self.events = EventLog(folder / "events.log", reserve_bytes=1 << 20)
        recover(self.log, self.exchange, self.events, snapshots)
        self.log.resume(self.log.epoch + 1)
        clock = clock or WallClock()
        schedule = Schedule(self.exchange, calendar, clock.now_ns())
        self.sequencer = Sequencer(self.exchange, self.log, self.events, clock, schedule=schedule)

    async def sequenced(self, *rows: dict[str, Any]) -> Records:
        """Submit commands, wait until they are published, return their events."""
        after = self.sequencer.sequence
        assert self.sequencer.submit(commands_of(*rows)) is None
        await self.reaches(after + len(rows))
        return self.events.read(self.events.position_after(after))

    async def reaches(self, sequence: int) -> None:
        async with asyncio.timeout(10):
            while self.sequencer.sequence < sequence:
                await self.sequencer.grown.wait()


@asynccontextmanager
async def running(shard: Shard) -> AsyncIterator[Shard]:
    """The shard's sequencer at work; stopped at the end."""
    work = asyncio.ensure_future(shard.sequencer.run())
    try:
        yield shard
    finally:
        shard.sequencer.stop()
        await asyncio.gather(work, return_exceptions=True)
        shard.log.close()
        shard.events.close()


def deposits(count: int, first: int = 1) -> Records:
    """Stamped commands with numbers from `first`: what they say does not matter to a log."""
    rows = ({"kind": Command.DEPOSIT, "sequence": first + i, "amount_fen": first + i} for i in range(count))
    return commands_of(*rows)


def deposit(account: int = 1, amount_fen: int = 1, **fields: Any) -> dict[str, Any]:
    return {"kind": Command.DEPOSIT, "account": account, "amount_fen": amount_fen} | fields


def events_of(*commands: tuple[int, int]) -> Records:
    """EVENT rows of (sequence, number of events) pairs, the account's number running."""
    rows = np.zeros(sum(count for _, count in commands), EVENT)
    rows["sequence"] = [sequence for sequence, count in commands for _ in range(count)]
    rows["index"] = [index for _, count in commands for index in range(count)]
    return rows


def bytes_of(blocks: Iterable[Records]) -> bytes:
    """All records of an iterator, as bytes."""
    parts = list(blocks)
    return joined(parts).tobytes() if parts else b""
