"""The settlement program: composition of settler, outbox and door, and its life (design 1, 5).

wait for PostgreSQL ─▶ migrate ─▶ books at rest ─▶ door opens ─▶ settler + outbox + furnish, until a signal
or a fault
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from engine.frames import LinkDownError
from engine.link import SETTLEMENT, CommandLink, EventLink
from engine.location import Location, lock_folder
from settlement.busts import BustDesk
from settlement.clearing import Batch, default_terms
from settlement.database import DatabaseUnavailableError, check_server, wait_until_ready
from settlement.door import Door
from settlement.migrate import migrate
from settlement.outbox import Outbox
from settlement.reads import Reader
from settlement.register import Refusal, Register
from settlement.sandbox import furnish
from settlement.settler import Settler
from settlement.store import Connection, DatabaseDown, Dial, Store, connect

LOCK_WAIT_S: Final = 3.0
DATABASE_WAIT_S: Final = 5.0
RETRY_S: Final = 0.5
TELL_S: Final = 1.0  # between two times that the engine is told the cursor
FIRST_ANSWER_S: Final = 60.0  # at the first start the engine may still be compiling

log = structlog.get_logger("settlement")


class Service:
    """Settlement's parts, wired to one location and one database."""

    def __init__(self, location: Location, dsn: str, dial: Dial = connect) -> None:
        """Wire the parts; nothing is opened yet."""
        self._location = location
        self._connections = [Connection(dsn, dial) for _ in range(4)]
        sending, registering, reading, furnishing = self._connections
        self._dsn = dsn
        self._store = Store(dsn, dial)
        self.outbox = Outbox(sending, self._command_link)
        busts = BustDesk(registering, self.outbox)
        self.door = Door(Register(registering, self.outbox), busts, Reader(reading))
        self.settler = Settler(self._store, self._event_link, default_terms(), self._posted, self._doubted)
        self._events: EventLink | None = None
        self._told_s = 0.0  # the loop's time at which the engine was last told the cursor
        self._first = Register(furnishing, self.outbox, FIRST_ANSWER_S)

    async def run(self, *, traders: bool) -> None:
        """Wait for the database, then serve. Raises as `serve` does, and DatabaseError."""
        waiting = "waiting for the database"
        await _patiently(self._prepare, waiting, DatabaseUnavailableError, DatabaseDown)
        await self.serve(traders=traders)

    async def serve(self, *, traders: bool) -> None:
        """Serve until canceled. Raises what ends the settler, and OSError for the socket.

        Nothing is read or promised before the books stand still: a batch that a killed run has sent could
        answer it when it is committed, and nobody here would be told.
        """
        await _patiently(
            self._store.position, "waiting for the database, or for who still posts", DatabaseDown
        )
        await self.door.open(self._location.settlement_requests)
        log.info("ready", requests=str(self._location.settlement_requests))
        try:
            await _first_fault(
                self.settler.run(), self.outbox.run(), self._furnish(traders), name="settlement"
            )
        finally:
            await self.door.close()
            for connection in self._connections:
                await connection.close()
            await self._store.close()

    async def _prepare(self) -> None:
        """See that the database may be used, and bring its schema to this version."""
        await wait_until_ready(self._dsn, DATABASE_WAIT_S)
        connection = await connect(self._dsn)
        try:
            await check_server(connection)
        finally:
            await connection.close()
        await migrate(self._dsn)

    async def _furnish(self, traders: bool) -> None:
        """Give an empty exchange its operator (and traders); tried until it is done."""
        work = partial(furnish, self._first, self._location.keys, traders=traders)
        await _patiently(work, "furnishing waits", DatabaseDown, Refusal)
        log.info("furnished", traders=traders)
        await asyncio.Event().wait()

    async def _posted(self, batch: Batch) -> None:
        self.outbox.settle(batch.outcomes)
        await self.door.posted(batch)
        if asyncio.get_running_loop().time() - self._told_s >= TELL_S:
            self._tell(batch.after.sequence)

    def _tell(self, sequence: int) -> None:
        """Let the engine know what is in the books: it archives what it has and everybody has booked."""
        self._told_s = asyncio.get_running_loop().time()
        with contextlib.suppress(LinkDownError):  # the settler notices by itself
            if self._events is not None:
                self._events.booked(sequence, SETTLEMENT)

    def _doubted(self) -> None:
        """The books are further than was told: whoever waits or keeps a copy looks again."""
        self.outbox.look_again()
        self.door.look_again()

    async def _command_link(self) -> CommandLink:
        return await CommandLink.connect(self._location.engine_commands)

    async def _event_link(self, after: int) -> EventLink:
        self._events = await EventLink.connect(self._location.engine_events, after=after)
        if self._events.sequence >= after:  # else the settler refuses it
            self._tell(after)
        return self._events


async def _patiently(work: Callable[[], Awaitable[object]], waiting: str, *passing: type[Exception]) -> None:
    """Do the work; while one of `passing` says that it cannot be done yet, say so and do it again."""
    while True:
        try:
            await work()
            return
        except passing as error:
            log.info(waiting, error=str(error))
            await asyncio.sleep(RETRY_S)


async def _first_fault(*parts: Awaitable[None], name: str) -> None:
    """Run parts that should never end until one of them raises."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise AssertionError(f"a part of {name} ended by itself")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def sandbox_wanted() -> bool:
    """LECONG_SANDBOX: anything but 0 asks for the sandbox's traders."""
    return os.environ.get("LECONG_SANDBOX", "1") != "0"


async def serve(location: Location, dsn: str) -> None:
    """Run until SIGINT or SIGTERM. Raises LocationError, DatabaseError, OSError, the settler's faults."""
    location.create()
    with lock_folder(location.settlement, "settlement", wait_s=LOCK_WAIT_S):
        work = asyncio.ensure_future(Service(location, dsn).run(traders=sandbox_wanted()))
        _on_signals(work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            log.info("stopped")


def _on_signals(stop: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
