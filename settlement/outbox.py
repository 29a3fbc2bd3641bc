"""Commands that settlement asks the engine to apply: committed, then sent until answered (design 5).

    transaction: row + outbox number ─▶ commit ─▶ send, in order ─▶ engine ─▶ event ─▶ posted ─▶ waiter
    answered

Law: numbers rise without a gap in the order of commit, and are sent in that order. The engine remembers the
highest that it applied and passes over repeats, so after any break everything unanswered is sent again,
lowest first: applied at least once by us, at most once by the engine (law 8).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import structlog

from engine.records import COMMAND, Records
from settlement.clearing import Outcomes
from settlement.queries import QUERIES
from settlement.store import OUTBOX_APPLIED, Connection, DatabaseDown

WINDOW_MAX: Final = 256  # commands in flight; the next window waits for the answers to this one
WAITERS_MAX: Final = 4096
RETRY_S: Final = 0.2
RETRY_MAX_S: Final = 1.0
LOOK_S: Final = 1.0  # between two looks for what was committed unheard: a COMMIT may outlive who sent it

log = structlog.get_logger("outbox")


class Link(Protocol):
    """What the outbox needs of engine.link.CommandLink."""

    on_refused: Callable[[Records], None]

    def send(self, commands: Records) -> None:
        """Send one frame of commands."""

    async def closed(self) -> None:
        """Return when the engine is gone."""

    def close(self) -> None:
        """Hang up."""


@dataclass(frozen=True)
class Answered:
    """What the engine made of a command: applied, or refused for a vocabulary.Reason."""

    number: int
    applied: bool
    reason: int
    sequence: int


async def add(connection: Any, command: Records) -> int:
    """Within the caller's transaction: give the command the next number and store it. Returns the number."""
    number: int = await connection.fetchval(QUERIES["next_outbox_number"])
    command["outbox"] = number
    command["tag"] = number  # gateway number 0: no gateway takes the answer for its own
    await connection.execute(QUERIES["add_outbox"], number, command.tobytes())
    return number


class Outbox:
    """Sends what is committed and tells who waits what became of it."""

    def __init__(self, connection: Connection, connect: Callable[[], Awaitable[Link]]) -> None:
        """Read through `connection`; `connect` opens the engine's command link or raises OSError."""
        self._connection = connection
        self._connect = connect
        self._work = asyncio.Event()
        self._waiters: dict[int, asyncio.Future[Answered | None]] = {}  # None: look it up again
        self._answered = 0  # the highest number whose answer was posted since the start
        self._doubtful = False  # whether more may have been posted than was told
        self.connected = False

    def notice(self) -> None:
        """A command was committed: send it."""
        self._work.set()

    def settle(self, outcomes: Outcomes) -> None:
        """The engine's answers are posted: tell who waits for them, and go on sending."""
        rows = zip(*(getattr(outcomes, name).tolist() for name in Answered.__annotations__), strict=True)
        for answered in (Answered(*row) for row in rows):
            waiter = self._waiters.pop(answered.number, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(answered)
        if len(outcomes.number):
            self._answered = int(outcomes.number[-1])
            self._work.set()

    def look_again(self) -> None:
        """Answers may stand in the books that nobody was told of: a COMMIT whose outcome was unknown."""
        self._doubtful = True
        self._work.set()
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def answer(self, number: int, seconds: float) -> Answered | None:
        """What became of command `number`; None when nothing was heard within `seconds`, or too many wait."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + seconds
        while number in self._waiters or len(self._waiters) < WAITERS_MAX:
            waiter = self._waiters.setdefault(number, loop.create_future())
            if answered := await self._look_up(number):  # behind it, so that no answer falls between the two
                self._waiters.pop(number, None)
                return answered
            try:
                heard = await asyncio.wait_for(asyncio.shield(waiter), deadline_s - loop.time())
            except TimeoutError:
                self._waiters.pop(number, None)
                return None
            if heard is not None:
                return heard
        return None

    async def _look_up(self, number: int) -> Answered | None:
        async with self._connection.transaction() as connection:
            row = await connection.fetchrow(QUERIES["outbox_answer"], number)
        if row is None:
            return None
        return Answered(row["number"], row["state"] == OUTBOX_APPLIED, row["reason"], row["sequence"])

    async def run(self) -> None:
        """Send for ever; a lost engine or database is waited for."""
        pause_s = RETRY_S
        while True:
            try:
                link = await self._connect()
            except OSError as error:
                log.info("engine is not reachable, commands wait", error=str(error), retry_s=pause_s)
            else:
                pause_s = RETRY_S
                await self._serve(link)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    async def _serve(self, link: Link) -> None:
        """Send window after window until the engine or the database is gone."""
        refused = asyncio.Event()
        link.on_refused = lambda rows: refused.set()
        closed = asyncio.ensure_future(link.closed())
        self.connected = True
        try:
            while not closed.done():
                self._work.clear()
                self._doubtful = False
                window = await self._waiting()
                if len(window):
                    link.send(window)
                await self._until_answered(window, refused, closed)
        except (DatabaseDown, OSError) as error:
            log.info("outbox pauses", error=str(error))
        finally:
            self.connected = False
            closed.cancel()
            link.close()

    async def _waiting(self) -> Records:
        """The lowest unanswered commands, in order."""
        async with self._connection.transaction() as connection:
            rows = await connection.fetch(QUERIES["outbox_waiting"], 0, WINDOW_MAX)
        return np.frombuffer(b"".join(row["command"] for row in rows), COMMAND)

    async def _until_answered(
        self, window: Records, refused: asyncio.Event, closed: asyncio.Future[None]
    ) -> None:
        """Return when it is time to look again: the window is answered, or was empty and there is work, or
        may be.

        A command that the engine refused at its door (queue full) was not sequenced: the window is sent
        again.
        """
        last = int(window["outbox"][-1]) if len(window) else 0
        while not closed.done():
            idle = () if len(window) else (asyncio.sleep(LOOK_S),)
            await _first_of(closed, self._work.wait(), refused.wait(), *idle)
            if refused.is_set():
                refused.clear()
                await asyncio.sleep(RETRY_S)
                return
            if not len(window) or self._answered >= last or self._doubtful:
                return
            self._work.clear()


async def _first_of(closed: asyncio.Future[None], *waits: Any) -> None:
    """Wait until the link is closed or one of `waits` is done."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait([closed, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
