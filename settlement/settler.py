"""The consumer: reads the engine's events from the cursor on, one transaction per batch (law 8).

    cursor ─▶ event link "after: cursor" ─▶ queue ─▶ whatever waits, at most a batch ─▶ clear ─▶ post ─▶ tell

Law: nothing is told before it is committed, and nothing is posted twice or left out. After any break the
cursor, read anew, says where to go on. Batches form by themselves: while one is posted the next gathers (law
9).

    EngineRegressed    the engine's log ends before the books, or its epoch fell: stop (exit status 2)
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import numpy as np
import structlog

from engine.records import Records, joined
from settlement.clearing import Batch, Position, clear
from settlement.continuity import Continuity
from settlement.fills import Terms
from settlement.store import DatabaseDown, Store

BATCH_COMMANDS_MAX: Final = 1000
BATCH_EVENTS_MAX: Final = 8192  # but one command is never divided
QUEUE_FRAMES_MAX: Final = 64  # behind it the engine's socket fills, and then the engine drops and we resume
RETRY_S: Final = 0.2
RETRY_MAX_S: Final = 1.0

log = structlog.get_logger("settler")


class EngineRegressed(Exception):
    """The engine knows less than the books: an older log was restored, or it is another exchange."""


class EventLink(Protocol):
    """What the settler needs of engine.link.EventLink."""

    epoch: int
    sequence: int

    def __aiter__(self) -> AsyncIterator[Records]:
        """EVENT arrays of whole commands, until the engine goes away."""

    def close(self) -> None:
        """Hang up."""


Connect = Callable[[int], Awaitable[EventLink]]
Posted = Callable[[Batch], Awaitable[None]]


async def nobody(batch: Batch) -> None:
    """Tell nobody."""


def nothing() -> None:
    """Nobody asks."""


class Settler:
    """Keeps the books complete; runs until the books and the engine contradict each other."""

    def __init__(
        self,
        store: Store,
        connect: Connect,
        terms: Terms,
        posted: Posted = nobody,
        doubted: Callable[[], None] = nothing,
    ) -> None:
        """Post to `store` what `connect(after)` delivers; `posted` is awaited after each commit, `doubted`
        is called when the books turn out to be further than was told.
        """
        self._store = store
        self._connect = connect
        self._terms = terms
        self._posted = posted
        self._doubted = doubted
        self._moved = asyncio.Condition()
        self.position: Position | None = None
        self.engine_sequence = 0
        self.database_up = False

    @property
    def lag_commands(self) -> int:
        """How many durable commands the books are behind, as far as is known."""
        return max(0, self.engine_sequence - self.position.sequence) if self.position else 0

    async def run(self) -> None:
        """Settle for ever. Raises EngineRegressed, ClearingFault or LedgerFault: the process must end."""
        pause_s = RETRY_S
        while True:
            before = self.position
            try:
                await self._settle()
            except DatabaseDown as error:
                self.database_up = False
                log.warning("database is down, trading goes on and is booked later", error=str(error))
            except OSError as error:
                log.info("engine is not reachable", error=str(error))
            pause_s = RETRY_S if self.position != before else min(2 * pause_s, RETRY_MAX_S)
            await asyncio.sleep(pause_s)

    async def reached(self, sequence: int, seconds: float) -> bool:
        """Whether the books are complete up to `sequence` within `seconds`."""

        def complete() -> bool:
            return self.position is not None and self.position.sequence >= sequence

        async with self._moved:
            try:
                await asyncio.wait_for(self._moved.wait_for(complete), seconds)
            except TimeoutError:
                return complete()
        return True

    async def _settle(self) -> None:
        """From the cursor on, until the engine hangs up."""
        known, self.position = self.position, await self._store.position()
        self.database_up = True
        if known is not None and known != self.position:  # a COMMIT succeeded and its connection broke
            self._doubted()
        link = await self._connect(self.position.sequence)
        try:
            check_regress(self.position, link)
            self.engine_sequence = link.sequence
            log.info("settling", after=self.position.sequence, engine=link.sequence, epoch=link.epoch)
            await self._consume(link)
        finally:
            link.close()

    async def _consume(self, link: EventLink) -> None:
        frames: asyncio.Queue[Records | None] = asyncio.Queue(QUEUE_FRAMES_MAX)
        reader = asyncio.ensure_future(_read(link, frames))
        continuity = Continuity()
        try:
            while (events := await _gather(frames)) is not None:
                continuity.check(events)
                for part in batches(events):
                    await self._post(part, link.epoch)
            await reader  # raises what ended it
        finally:
            reader.cancel()

    async def _post(self, events: Records, epoch: int) -> None:
        assert self.position is not None
        batch = clear(events, self.position, epoch, self._terms)
        await self._store.post(batch)
        async with self._moved:
            self.position = batch.after
            self.engine_sequence = max(self.engine_sequence, batch.after.sequence)
            self._moved.notify_all()
        await self._posted(batch)


def check_regress(position: Position, link: EventLink) -> None:
    """Raise EngineRegressed if the engine's log ends before the books, or its epoch fell."""
    if link.epoch < position.epoch:
        raise EngineRegressed(
            f"the engine's epoch is {link.epoch}, the books know {position.epoch}: an older engine folder "
            "was restored; restore the newest one, or the database that belongs to this one"
        )
    if link.sequence < position.sequence:
        raise EngineRegressed(
            f"the engine's log ends at command {link.sequence}, the books at {position.sequence}: what was "
            "booked is gone; restore the newest engine folder, or the database that belongs to this one"
        )


async def _read(link: EventLink, frames: asyncio.Queue[Records | None]) -> None:
    """Move frames from the link to the queue; None at the end."""
    try:
        async for events in link:
            await frames.put(events)
    finally:
        await frames.put(None)


async def _gather(frames: asyncio.Queue[Records | None]) -> Records | None:
    """All that waits, up to a batch, at least one frame; None when the engine has hung up."""
    first = await frames.get()
    if first is None:
        return None
    parts, count = [first], len(first)
    while count < BATCH_EVENTS_MAX and not frames.empty():
        following = frames.get_nowait()
        if following is None:
            frames.put_nowait(None)
            break
        parts.append(following)
        count += len(following)
    return joined(parts)


def batches(events: Records) -> list[Records]:
    """The events in parts of whole commands: at most BATCH_COMMANDS_MAX, about BATCH_EVENTS_MAX events."""
    starts = np.flatnonzero(np.diff(events["sequence"], prepend=events["sequence"][:1] - 1))
    cuts, last = [0], 0
    for number, start in enumerate(starts.tolist()):
        if number - last >= BATCH_COMMANDS_MAX or (start - cuts[-1] >= BATCH_EVENTS_MAX):
            cuts.append(start)
            last = number
    return [events[a:b] for a, b in zip(cuts, [*cuts[1:], len(events)], strict=True)]
