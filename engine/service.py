"""The engine's two sockets and its life: recover, listen, sequence, stop.

Law: nothing is served before the log has been replayed; the process ends when the disk fails, and answers
nothing more.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final, cast

import numpy as np
import structlog

from engine.clock import Clock, SteppedClock, WallClock
from engine.command_log import SEGMENT_BYTES, CommandLog, LogError
from engine.disk import PosixDisk
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.frames import Frame, FrameReader, LinkError, frame
from engine.instruments import load_instruments
from engine.link import hello
from engine.location import Location, lock_folder
from engine.records import COMMAND, Records, as_words, commands_of, joined, select
from engine.sequencer import Sequencer
from engine.vocabulary import Command, Phase

LOCK_WAIT_S: Final = 3.0
READ_BYTES: Final = 1 << 18
WRITE_BUFFER_BYTES_MAX: Final = 8 << 20  # of answers to one client; one that does not read them is cut off
MIB: Final = 1 << 20


class Settings:
    """What the environment says: LECONG_CLOCK wall|stepped, LECONG_CALENDAR open|manual,
    LECONG_LOG_SEGMENT_MIB.
    """

    def __init__(self) -> None:
        self.stepped = os.environ.get("LECONG_CLOCK", "wall") == "stepped"
        self.always_open = os.environ.get("LECONG_CALENDAR", "open") == "open"
        mib = os.environ.get("LECONG_LOG_SEGMENT_MIB", "")
        self.segment_bytes = int(mib) * MIB if mib else SEGMENT_BYTES


class Engine:
    """One shard: exchange, logs, sequencer and sockets, on one event loop."""

    def __init__(self, location: Location, settings: Settings) -> None:
        """Open the data folder and replay its log. Raises LocationError, LogError, OSError."""
        self._location = location
        self.epoch = _next_epoch(PosixDisk(location.engine))
        self.log = CommandLog(PosixDisk(location.engine / "commands"), self.epoch, settings.segment_bytes)
        self.exchange = Exchange()
        self.events = EventLog(location.engine / "events.log")
        replay(self.log, self.exchange, self.events)
        clock: Clock = SteppedClock(self.exchange.time_ns) if settings.stepped else WallClock()
        self.sequencer = Sequencer(self.exchange, self.log, self.events, clock)
        self._admit_instruments(settings)

    async def serve(self) -> None:
        """Listen and work until SIGTERM or SIGINT; finish what was taken. Raises OSError, LogError."""
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, self.sequencer.stop)
        servers = [await self._listen_commands(), await self._listen_events()]
        print(f"ready: sequence {self.sequencer.sequence}, epoch {self.epoch}", flush=True)
        try:
            await self.sequencer.run()
        finally:
            for server in servers:
                server.close()
            self.log.close()

    async def _listen_commands(self) -> asyncio.Server:
        path = _vacant(self._location.engine_commands)
        return await asyncio.get_running_loop().create_unix_server(lambda: CommandDoor(self), path)

    async def _listen_events(self) -> asyncio.Server:
        path = _vacant(self._location.engine_events)
        return await asyncio.start_unix_server(self._stream, path)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send one subscriber what it asked for, from the event log, at its own pace."""
        writer.write(hello(self.epoch, self.sequencer.sequence))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, LinkError):
            wish = await _read_wish(reader)
            await self._feed(writer, int(wish["sequence"]), int(wish["account"]), int(wish["due_ns"]))
        writer.close()

    async def _feed(self, writer: asyncio.StreamWriter, after: int, account: int, until: int) -> None:
        offset = self.events.position_after(after)
        while not writer.is_closing():
            grown = self.sequencer.grown
            while offset < self.events.size:
                events = self.events.read(offset)
                offset += events.nbytes
                wanted = _wanted(events, account, until)
                if len(wanted):
                    writer.write(frame(Frame.EVENTS, wanted))
                    await writer.drain()
            if until and self.sequencer.sequence >= until:
                return
            await grown.wait()

    def _admit_instruments(self, settings: Settings) -> None:
        """Products of instruments.csv that the exchange does not know yet are its first commands; open them
        if always open.
        """
        defined = self.exchange.state.instruments["defined"]
        new = [product for product in load_instruments() if not defined[product.number]]
        if not new:
            return
        commands = [product.terms() for product in new]
        if settings.always_open:
            phases = [
                {"kind": Command.SET_PHASE, "instrument": p.number, "phase": Phase.CONTINUOUS} for p in new
            ]
            commands.append(commands_of(*phases))
        refused = self.sequencer.submit(joined(commands))
        assert refused is None, "an empty inbox takes the instruments"


class CommandDoor(asyncio.Protocol):
    """One client of the command socket."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._reader = engine, FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self._transport.write(hello(self._engine.epoch, self._engine.sequencer.sequence))

    def pause_writing(self) -> None:
        """The client does not read its answers: it is cut off, and may come back (law 10)."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for kind, records in self._reader.feed(data):
                self._receive(kind, records)
        except LinkError as error:
            structlog.get_logger().warning("a client of the command socket broke the rules", error=str(error))
            self._abort()

    def _receive(self, kind: Frame, records: Records) -> None:
        if kind is Frame.COMMANDS:
            refused = self._engine.sequencer.submit(records)
            if refused is not None and len(refused):
                self._send(Frame.REFUSED, refused)
        elif kind is Frame.QUERY:
            for at in range(len(records)):
                self._engine.sequencer.ask(records[at : at + 1], self._reply)
        else:
            raise LinkError(f"frame {kind.name} has no business on the command socket")

    def _reply(self, rows: Records) -> None:
        self._send(Frame.REPLY, rows)

    def _send(self, kind: Frame, rows: Records) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(kind, rows))

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def replay(log: CommandLog, exchange: Exchange, events: EventLog) -> None:
    """Recover the exchange from its log, and the event log with it (law 1). Raises LogError, OSError."""
    for block in log.recover():
        commands = np.empty(len(block), COMMAND)
        as_words(commands)[:] = as_words(block)
        events.append(exchange.apply(commands))
    assert exchange.sequence == log.sequence, "the exchange has judged every command of the log"


def _next_epoch(disk: PosixDisk) -> int:
    """One number per engine start, on the medium before anything else happens."""
    previous = disk.open("epoch").read(0, 32) if "epoch" in disk.names() else b"0"
    epoch = int(previous) + 1
    disk.replace("epoch", f"{epoch}\n".encode())
    return epoch


async def _read_wish(reader: asyncio.StreamReader) -> np.void:
    frames = FrameReader()
    while data := await reader.read(READ_BYTES):
        for kind, records in frames.feed(data):
            if kind is not Frame.SUBSCRIBE or len(records) != 1:
                raise LinkError("the event socket takes one SUBSCRIBE frame of one record")
            wish: np.void = records[0]
            return wish
    raise LinkError("the subscriber left before it said what it wants")


def _wanted(events: Records, account: int, until: int) -> Records:
    """The rows up to a sequence (0: all) that concern an account (-1: all)."""
    if until and int(events["sequence"][-1]) > until:
        events = events[: int(np.searchsorted(events["sequence"], until, side="right"))]
    if account >= 0:
        return select(events, (events["account"] == account) | (events["counter_account"] == account))
    return events


def _vacant(path: Path) -> str:
    path.unlink(missing_ok=True)
    return str(path)


async def run(location: Location) -> None:
    """The whole engine, from lock to clean end. Raises LocationError, LogError, OSError."""
    location.create()
    with lock_folder(location.engine, "engine", wait_s=LOCK_WAIT_S):
        engine = Engine(location, Settings())
        await engine.serve()


__all__ = ["Engine", "LogError", "Settings", "replay", "run"]
