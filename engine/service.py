"""The engine's two sockets and its life: recover, listen, sequence, stop.

Law: nothing is served before the log has been replayed; the process ends when the disk fails, and answers
nothing more.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from pathlib import Path
from typing import Final, cast

import numpy as np
import structlog

from engine.clock import Clock, SteppedClock
from engine.command_log import SEGMENT_BYTES, CommandLog, CorruptLogError, LogError, LogFullError
from engine.disk import NO_SPACE, Disk
from engine.event_log import RESERVE_BYTES, EventLog
from engine.exchange import Exchange
from engine.frames import COMMANDS_MAX, FRAME_RECORDS_MAX, Frame, FrameReader, LinkError, frame
from engine.instruments import load_instruments
from engine.link import hello
from engine.location import Location, lock_folder
from engine.machine import MACHINE, Machine
from engine.records import COMMAND, Records, as_words, commands_of, empty_commands, joined, select
from engine.sequencer import Sequencer
from engine.vocabulary import Command, Event, Phase

LOCK_WAIT_S: Final = 3.0
STOP_S: Final = 0.3  # for clients to read what was finished; then they are cut off
READ_BYTES: Final = 1 << 18
WRITE_BUFFER_BYTES_MAX: Final = 8 << 20  # of one client in its transport; then answers wait in a queue
ANSWER_ROWS: Final = 1 << 13  # of one REPLY frame
ANSWER_ROWS_MAX: Final = (
    2 * FRAME_RECORDS_MAX
)  # waiting for one client; one that does not read them is cut off
CLIENTS_MAX: Final = 1 << 10  # of each socket
EPOCH_MAX: Final = (1 << 32) - 1
MIB: Final = 1 << 20
SEGMENT_MIB_MAX: Final = 1 << 10


class SettingsError(Exception):
    """The environment asks for what there is not; the message says which variable and what it may be."""


class Settings:
    """What the environment says: LECONG_CLOCK wall|stepped, LECONG_CALENDAR open|manual,
    LECONG_LOG_SEGMENT_MIB.
    """

    def __init__(self) -> None:
        """Read the environment. Raises SettingsError."""
        self.stepped = _choice("LECONG_CLOCK", "wall", "stepped") == "stepped"
        self.always_open = _choice("LECONG_CALENDAR", "open", "manual") == "open"
        mib = os.environ.get("LECONG_LOG_SEGMENT_MIB") or str(SEGMENT_BYTES // MIB)
        if not (mib.isascii() and mib.isdigit() and 1 <= int(mib) <= SEGMENT_MIB_MAX):
            raise SettingsError(
                f"LECONG_LOG_SEGMENT_MIB is {mib!r}; it must be a whole number from 1 to {SEGMENT_MIB_MAX}"
            )
        self.segment_bytes = int(mib) * MIB
        self.reserve_bytes = RESERVE_BYTES
        self.products = load_instruments()


def _choice(variable: str, *values: str) -> str:
    """The value of an environment variable, the first of `values` by default."""
    value = os.environ.get(variable) or values[0]
    if value not in values:
        raise SettingsError(f"{variable} is {value!r}; it must be {' or '.join(values)}")
    return value


class Engine:
    """One shard: exchange, logs, sequencer and sockets, on one event loop."""

    def __init__(
        self,
        location: Location,
        settings: Settings,
        exchange: Exchange | None = None,
        machine: Machine = MACHINE,
    ) -> None:
        """Open the data folder and replay its log. Raises LocationError, LogError, OSError."""
        self._location = location
        folder = machine.disk(location.engine)
        self.log = CommandLog(
            machine.disk(location.engine / "commands"),
            settings.segment_bytes,
            beside=machine.beside,
            now_s=machine.now_s,
        )
        self.exchange = exchange or Exchange()
        self.exchange.apply(empty_commands(0))  # loads the compiled kernels before anybody waits for them
        self.events = EventLog(folder.grow("events.log"), settings.reserve_bytes)
        replay(self.log, self.exchange, self.events)
        self.epoch = next_epoch(folder, self.log.epoch)
        self.log.resume(self.epoch)
        clock: Clock = SteppedClock(self.exchange.time_ns) if settings.stepped else machine.clock()
        self.sequencer = Sequencer(self.exchange, self.log, self.events, clock)
        self.stopping = False
        self._subscribers: set[asyncio.Task[None]] = set()
        self._undecided: set[asyncio.Task[None]] = set()  # subscribers that have not said what they want
        self.doors: set[CommandDoor] = set()
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
            for path in (self._location.engine_commands, self._location.engine_events):
                path.unlink(missing_ok=True)
            await self._say_goodbye()
            self.log.close()
            self.events.close()

    async def _listen_commands(self) -> asyncio.Server:
        path = _vacant(self._location.engine_commands)
        return await asyncio.get_running_loop().create_unix_server(lambda: CommandDoor(self), path)

    async def _listen_events(self) -> asyncio.Server:
        path = _vacant(self._location.engine_events)
        return await asyncio.start_unix_server(self._subscribed, path)

    async def _say_goodbye(self) -> None:
        """Let every client read what was published, for STOP_S at most, then hang up."""
        self.stopping = True
        self.sequencer.grown.set()
        for undecided in self._undecided:
            undecided.cancel()
        for door in self.doors:
            door.finish()
        leaving = [*self._subscribers, *(asyncio.ensure_future(door.gone.wait()) for door in self.doors)]
        if leaving:
            await asyncio.wait(leaving, timeout=STOP_S)
        for door in list(self.doors):
            door.abort()
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)

    def _subscribed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.stopping or len(self._subscribers) >= CLIENTS_MAX:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._stream(reader, writer))
        for tasks in (self._subscribers, self._undecided):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send one subscriber what it asked for, from the event log, at its own pace, while it is there."""
        try:
            writer.write(hello(self.epoch, self.sequencer.sequence))
            wish = await _read_wish(reader)
            self._undecided -= {asyncio.current_task()}
            feed = asyncio.ensure_future(
                self._feed(writer, int(wish["sequence"]), int(wish["account"]), int(wish["due_ns"]))
            )
            gone = asyncio.ensure_future(_hung_up(reader))
            try:
                await asyncio.wait((feed, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                feed.cancel()
                gone.cancel()
                await asyncio.gather(feed, gone, return_exceptions=True)
            if not feed.cancelled():
                feed.result()
            writer.close()
        except LinkError as error:
            structlog.get_logger().warning("a subscriber broke the rules", error=str(error))
        except (ConnectionError, asyncio.CancelledError):
            pass  # it left, or the engine ends
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    async def _feed(self, writer: asyncio.StreamWriter, after: int, account: int, until: int) -> None:
        offset = self.events.position_after(after)
        while not writer.is_closing():
            grown = self.sequencer.grown
            while offset < self.events.size:
                events = self.events.read(offset)
                offset += events.nbytes
                wanted = wanted_events(events, account, until)
                if len(wanted):
                    writer.write(frame(Frame.EVENTS, wanted))
                    await writer.drain()
                if until and int(events["sequence"][-1]) >= until:
                    return
            if self.stopping or (until and self.sequencer.sequence >= until):
                return
            await grown.wait()

    def _admit_instruments(self, settings: Settings) -> None:
        """Products of instruments.csv that the exchange does not know yet are its first commands; open them
        if always open. Raises LogFullError.
        """
        defined = self.exchange.state.instruments["defined"]
        new = [product for product in settings.products if not defined[product.number]]
        if not new:
            return
        commands = [product.terms() for product in new]
        if settings.always_open:
            phases = [
                {"kind": Command.SET_PHASE, "instrument": p.number, "phase": Phase.CONTINUOUS} for p in new
            ]
            commands.append(commands_of(*phases))
        if self.sequencer.submit(joined(commands)) is not None:
            raise LogFullError("no room in the command log for new instruments; free space and start again")


class CommandDoor(asyncio.Protocol):
    """One client of the command socket."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._reader = engine, FrameReader(COMMANDS_MAX)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[bytes] = deque()  # answers in frames that the client has not read yet
        self._waiting_bytes = 0
        self._paused = False
        self._finishing = False
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        if self._engine.stopping or len(self._engine.doors) >= CLIENTS_MAX:
            self._transport.close()
            return
        self._engine.doors.add(self)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self._transport.write(hello(self._engine.epoch, self._engine.sequencer.sequence))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        self._engine.doors.discard(self)
        self.gone.set()

    def pause_writing(self) -> None:
        """The client reads slower than the engine answers: answers wait here, up to a bound (law 10)."""
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for kind, records in self._reader.feed(data):
                self._receive(kind, records)
        except LinkError as error:
            structlog.get_logger().warning("a client of the command socket broke the rules", error=str(error))
            self.abort()

    def finish(self) -> None:
        """Hang up when the client has read its answers."""
        self._finishing = True
        self._flush()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _receive(self, kind: Frame, records: Records) -> None:
        if kind is Frame.COMMANDS:
            refused = self._engine.sequencer.submit(records)
            if refused is not None:
                self._send(Frame.REFUSED, refused)
        elif kind is Frame.QUERY:
            for at in range(len(records)):
                self._engine.sequencer.ask(records[at : at + 1], self._reply)
        else:
            raise LinkError(f"frame {kind.name} has no business on the command socket")

    def _reply(self, rows: Records) -> None:
        self._send(Frame.REPLY, rows)

    def _send(self, kind: Frame, rows: Records) -> None:
        for at in range(0, len(rows), ANSWER_ROWS):
            piece = frame(kind, rows[at : at + ANSWER_ROWS])
            self._waiting.append(piece)
            self._waiting_bytes += len(piece)
        if self._waiting_bytes > ANSWER_ROWS_MAX * rows.itemsize:
            structlog.get_logger().warning("a client does not read its answers and is cut off")
            self.abort()
        self._flush()

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            self._waiting.clear()
            return
        while self._waiting and not self._paused:
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            self._transport.write(piece)
        if self._finishing and not self._waiting:
            self._transport.close()


def replay(log: CommandLog, exchange: Exchange, events: EventLog) -> None:
    """Recover the exchange from its log, and the event log with it (law 1); the command log is not changed.
    Raises LogError, OSError.
    """
    for block in log.recover():
        commands = np.empty(len(block), COMMAND)
        as_words(commands)[:] = as_words(block)
        events.append(exchange.apply(commands))
    assert exchange.sequence == log.sequence, "the exchange has judged every command of the log"
    if events.former_sequence > log.sequence:
        raise CorruptLogError(
            f"events.log holds command {events.former_sequence}, the command log ends at {log.sequence}: its "
            "end is lost; put back what is missing, or take events.log away to give it up"
        )
    events.cut()


def next_epoch(disk: Disk, of_log: int) -> int:
    """One number per engine start, higher than any before, on the medium before anything is sequenced. Raises
    LogError, OSError.
    """
    stored = disk.open("epoch").read(0, 32).strip() if "epoch" in disk.names() else b"0"
    if not stored.isdigit() or int(stored) >= EPOCH_MAX:
        raise CorruptLogError(
            f"the file epoch says {stored!r}; write a number into it that is at least {of_log} and that no "
            f"client has seen exceeded, below {EPOCH_MAX}"
        )
    epoch = max(int(stored), of_log) + 1
    try:
        disk.replace("epoch", f"{epoch}\n".encode())
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise LogFullError(
            f"no space to start ({error}); free some, or set LECONG_DATA to another disk"
        ) from error
    return epoch


def wanted_events(events: Records, account: int, until: int) -> Records:
    """The rows up to a sequence (0: all) that concern an account (-1: all)."""
    if until and int(events["sequence"][-1]) > until:
        events = events[: int(np.searchsorted(events["sequence"], until, side="right"))]
    if account >= 0:  # only a trade has a counter account: other kinds keep another field there
        counter = (events["kind"] == Event.TRADE) & (events["counter_account"] == account)
        return select(events, (events["account"] == account) | counter)
    return events


async def _read_wish(reader: asyncio.StreamReader) -> np.void:
    frames = FrameReader(records_max=1)
    while data := await reader.read(READ_BYTES):
        for kind, records in frames.feed(data):
            if kind is not Frame.SUBSCRIBE:
                raise LinkError("the event socket takes one SUBSCRIBE frame of one record")
            wish: np.void = records[0]
            return wish
    raise ConnectionResetError("the subscriber left before it said what it wants")


async def _hung_up(reader: asyncio.StreamReader) -> None:
    """Return when the subscriber is gone; what else it says is not listened to."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(READ_BYTES):
            pass


def _vacant(path: Path) -> str:
    """The path of a socket, free of what a killed engine left there."""
    path.unlink(missing_ok=True)
    return str(path)


async def run(location: Location) -> None:
    """The whole engine, from lock to clean end. Raises SettingsError, LocationError, LogError, OSError."""
    settings = Settings()
    location.create()
    with lock_folder(location.engine, "engine", wait_s=LOCK_WAIT_S):
        engine = Engine(location, settings)
        await engine.serve()


__all__ = ["Engine", "LogError", "Settings", "SettingsError", "replay", "run"]
