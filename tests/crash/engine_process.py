"""The engine as a real process, and a client that drives it over its sockets and remembers what it heard."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from engine.command_log import CommandLog
from engine.disk import PosixDisk
from engine.frames import LinkDownError
from engine.link import CommandLink, EventLink
from engine.location import Location
from engine.records import EVENT, Records, joined
from tests.crash.history import History
from tests.crash.tally import Tally

BURST_MAX = 12
WINDOW_COMMANDS = 200  # sent and not yet acknowledged
SILENCE_S = 20.0
STOP_S = 20.0


class Engine:
    """A process of `python -m engine serve`, perhaps behind a prefix as strace."""

    def __init__(self, location: Location, prefix: Sequence[str], settings: dict[str, str]) -> None:
        """Start it; `ready` waits for it."""
        self.location = location
        self._said = (location.data / "engine.out").open("ab")
        environment = {"LECONG_DATA": str(location.data), "LECONG_LOG_SEGMENT_MIB": "1", **settings}
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *prefix, sys.executable, "-m", "engine", "serve"],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def ready(self) -> bool:
        """Wait until it serves; False when it ended instead."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().startswith("ready: ")

    def wait(self, seconds: float = STOP_S) -> int:
        """Its exit status; -9 when it was killed. Raises TimeoutExpired."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """kill -9, whatever it does."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._said.close()

    def said(self) -> str:
        """What all starts in this folder wrote on standard error."""
        return (self.location.data / "engine.out").read_text(errors="replace")


@contextmanager
def engine(data: Path, prefix: Sequence[str] = (), **settings: str) -> Iterator[Engine]:
    """An engine on `data`, killed at the end if it still runs."""
    running = Engine(Location(data).create(), prefix, settings)
    try:
        yield running
    finally:
        running.end()


class Driver:
    """One client with a command link and an event link, while the engine lives."""

    def __init__(self, location: Location, history: History, chance: random.Random) -> None:
        """Nothing is dialled yet."""
        self._location, self._history, self._chance = location, history, chance
        self._changed = asyncio.Event()
        self._first = history.sent  # tags up to here belong to other connections
        self._answered = 0
        self.gone = False

    async def connect(self) -> None:
        """Dial, and furnish the accounts the first time. Raises LinkDownError."""
        self._commands = await CommandLink.connect(self._location.engine_commands)
        self._commands.on_refused = self._refused
        try:
            events = await EventLink.connect(self._location.engine_events, after=self._history.sequence)
        except LinkDownError:
            self._commands.close()
            raise
        self._reading = asyncio.create_task(self._read(events))
        if self._history.sent == 0:
            self._send(self._history.furnished())

    async def run(self, commands: int, window: int = WINDOW_COMMANDS) -> None:
        """Send until so many commands were sent or the engine is gone; up to `window` wait for an answer."""
        last = self._history.sent + commands
        while self._history.sent < last and not self.gone:
            self._send(self._history.orders(self._chance.randint(1, BURST_MAX), self._chance))
            await self.catch_up(self._chance.randrange(window))

    async def catch_up(self, unheard_max: int = 0) -> None:
        """Wait until at most so many commands are unanswered, or the engine is gone. Raises TimeoutError."""
        async with asyncio.timeout(SILENCE_S):
            while not self.gone and self.unheard > unheard_max:
                await self._changed.wait()
                self._changed.clear()

    @property
    def unheard(self) -> int:
        """Commands without an answer of either kind."""
        return self._history.sent - self._first - self._answered

    async def hear_the_rest(self, seconds: float) -> None:
        """Hear what a frozen engine had said."""
        await asyncio.sleep(seconds)

    async def ended(self) -> None:
        """Hear everything that a dying engine said. Raises TimeoutError when it does not die."""
        async with asyncio.timeout(SILENCE_S):
            await self._reading

    async def close(self) -> None:
        """Hang up."""
        self._commands.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def send(self, commands: Records) -> None:
        """Send what the history has noted."""
        self._send(commands)

    def _send(self, commands: Records) -> None:
        with suppress(LinkDownError):  # noted as sent: nobody knows how far it came
            self._commands.send(commands)

    def _refused(self, rows: Records) -> None:
        self._history.refuse(rows)
        self._answered += len(rows)
        self._changed.set()

    async def _read(self, events: EventLink) -> None:
        try:
            async for batch in events:
                self._history.hear(batch)
                own = (batch["index"] == 0) & (batch["tag"] > self._first)
                self._answered += int(own.sum())
                self._changed.set()
        finally:
            self.gone = True
            self._changed.set()
            events.close()


async def recovered(location: Location) -> Records:
    """All events of a running engine, from the first."""
    link = await CommandLink.connect(location.engine_commands)
    until = link.sequence
    link.close()
    stream = await EventLink.connect(location.engine_events, after=0, until=until)
    batches = [batch async for batch in stream] if until else []
    return joined(batches) if batches else np.zeros(0, EVENT)


async def check_restart(data: Path, history: History) -> Tally:
    """Start an engine on what a crash left and compare all that it knows with the client's memory."""
    with engine(data) as again:
        if not again.ready():
            tally = Tally()
            tally.lose(history.sequence, f"the engine does not start again: {again.said()[-400:]}")
            return tally
        return history.check_events(await recovered(again.location))


def blocks_of(folder: Path) -> list[Records]:
    """The commands of every block of a log that nobody writes to. Raises LogError."""
    return list(CommandLog(PosixDisk(folder)).recover())
