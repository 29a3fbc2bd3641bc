"""The engine's two sockets and its life: recover, listen, sequence, stop.

Law: nothing is served before the log has been replayed; the process ends when the disk fails, and answers
nothing more.
"""

import asyncio
import signal
from collections import deque
from pathlib import Path
from typing import Final, cast

import numpy as np
import structlog

from engine.clock import Clock, SteppedClock
from engine.command_log import CommandLog, LogError, LogFullError
from engine.epoch import next_epoch
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.frames import COMMANDS_MAX, FRAME_RECORDS_MAX, Frame, FrameReader, LinkError, frame
from engine.link import hello
from engine.location import Location, lock_folder
from engine.machine import MACHINE, Machine
from engine.records import EVENT, Records, commands_of, empty_commands, joined
from engine.recovery import recover, replay
from engine.retention import Retention
from engine.schedule import Schedule, set_phase
from engine.sequencer import Sequencer
from engine.sessions import Sessions
from engine.settings import Settings, SettingsError
from engine.snapshot import Snapshot, Snapshots
from engine.snapshot_taker import SnapshotTaker
from engine.subscribers import Subscribers, wanted_events
from engine.vocabulary import RECORD_VERSION, Event, Phase

LOCK_WAIT_S: Final = 3.0
STOP_S: Final = 0.3  # for clients to read what was finished; then they are cut off
WRITE_BUFFER_BYTES_MAX: Final = 8 << 20  # of one client in its transport; then answers wait in a queue
ANSWER_ROWS: Final = 1 << 13  # of one REPLY frame
ANSWER_ROWS_MAX: Final = (
    2 * FRAME_RECORDS_MAX
)  # waiting for one client; one that does not read them is cut off
CLIENTS_MAX: Final = 1 << 10  # of the command socket


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
            archive=machine.disk(location.engine / "archive"),
            spares=machine.disk(location.engine / "spares"),
            beside=machine.beside,
            now_s=machine.now_s,
        )
        self.exchange = exchange or Exchange()
        self.exchange.apply(empty_commands(0))  # loads the compiled kernels before anybody waits for them
        self.events = EventLog(folder.grow("events.log"), settings.reserve_bytes)
        self.snapshots = Snapshots(machine.disk(location.engine / "snapshots"))
        recover(self.log, self.exchange, self.events, self.snapshots, machine.ahead)
        self.epoch = next_epoch(folder, self.log.epoch)
        self.log.resume(self.epoch)
        clock: Clock = SteppedClock(self.exchange.time_ns) if settings.stepped else machine.clock()
        self._schedule = Schedule(self.exchange, settings.calendar, clock.now_ns())
        self.sequencer = Sequencer(self.exchange, self.log, self.events, clock, machine.clerk, self._schedule)
        self.stopping = False
        self.doors: set[CommandDoor] = set()
        self.subscribers = Subscribers(self)
        self._keep(settings, machine)
        self.sessions = Sessions(self.sequencer.submit)
        self.sequencer.on_durable = self.sessions.note
        self.sessions.end_all(self.exchange.state)
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
            self.taker.close()
            await self._say_goodbye()
            self.log.close()
            self.events.close()

    async def _listen_commands(self) -> asyncio.Server:
        path = _vacant(self._location.engine_commands)
        return await asyncio.get_running_loop().create_unix_server(lambda: CommandDoor(self), path)

    async def _listen_events(self) -> asyncio.Server:
        path = _vacant(self._location.engine_events)
        return await asyncio.start_unix_server(self.subscribers.arrived, path)

    async def _say_goodbye(self) -> None:
        """Let every client read what was published, for STOP_S at most, then hang up."""
        self.stopping = True
        self.sequencer.grown.set()
        self.subscribers.say_goodbye()
        for door in self.doors:
            door.finish()
        leaving = [*self.subscribers.tasks, *(asyncio.ensure_future(door.gone.wait()) for door in self.doors)]
        if leaving:
            await asyncio.wait(leaving, timeout=STOP_S)
        for door in list(self.doors):
            door.abort()
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)

    def _keep(self, settings: Settings, machine: Machine) -> None:
        """Wire what takes snapshots and what clears away behind them."""
        retention = Retention(
            self.snapshots,
            self.log,
            self.events,
            self.subscribers.cursors,
            self.subscribers.first_read,
            settings.events_kept,
        )
        self.taker = SnapshotTaker(
            self.snapshots,
            self,
            every=settings.snapshot_commands,
            begin=machine.begin,
            taken=retention.clear,
            wake=self.sequencer.wake,
        )
        self.sequencer.rest_is_due, self.sequencer.at_rest = self.taker.is_due, self.taker.at_rest

    def _admit_instruments(self, settings: Settings) -> None:
        """Products of instruments.csv that the exchange does not know yet are its first commands; open them
        if always open, or begin as the calendar says. Raises LogFullError.
        """
        defined = self.exchange.state.instruments["defined"]
        new = [product for product in settings.products if not defined[product.number]]
        if not new:
            return
        commands = [product.terms() for product in new]
        if settings.always_open:
            phases = [set_phase(product.number, Phase.CONTINUOUS) for product in new]
        else:
            phases = self._schedule.first_phases([product.number for product in new])
        if phases:
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
        self._number = 0  # of this link; 0 while it is not accepted
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        if self._engine.stopping or len(self._engine.doors) >= CLIENTS_MAX:
            self._transport.close()
            return
        self._engine.doors.add(self)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self._number = self._engine.sessions.accept()
        self._transport.write(hello(self._engine.epoch, self._engine.sequencer.sequence, self._number))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        self._engine.doors.discard(self)
        if self._number:
            self._engine.sessions.lost(self._number)
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
            self._engine.sessions.check(records, self._number)
            refused = self._engine.sequencer.submit(records)
            if refused is not None:
                self._engine.sessions.refused(records)
                self._send(Frame.REFUSED, refused)
        elif kind is Frame.QUERY:
            for at in range(len(records)):
                self._engine.sequencer.ask(records[at : at + 1], self._reply)
        elif kind is Frame.SNAPSHOT:
            self._snapshot(int(records["tag"][0]))
        else:
            raise LinkError(f"frame {kind.name} has no business on the command socket")

    def _snapshot(self, tag: int) -> None:
        """Have a snapshot taken; the answer is its sequence, or the reason."""

        def answer(snapshot: Snapshot | None) -> None:
            row = np.zeros(1, EVENT)
            row["version"], row["kind"], row["tag"] = RECORD_VERSION, Event.END, tag
            row["sequence"] = snapshot.sequence if snapshot else 0
            self._reply(row)

        self._engine.taker.ask(answer)

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


def _vacant(path: Path) -> str:
    """The path of a socket, free of what a killed engine left there."""
    path.unlink(missing_ok=True)
    return str(path)


async def run(location: Location) -> None:
    """The whole engine, from lock to clean end. Raises SettingsError, CalendarError, LocationError,
    LogError, OSError.
    """
    settings = Settings()
    location.create()
    with lock_folder(location.engine, "engine", wait_s=LOCK_WAIT_S):
        engine = Engine(location, settings)
        await engine.serve()


__all__ = [
    "Engine",
    "LogError",
    "Settings",
    "SettingsError",
    "next_epoch",
    "replay",
    "run",
    "wanted_events",
]
