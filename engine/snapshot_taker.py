"""Taking snapshots beside trading: when, by whom, and what is told of it.

    between two batches ─▶ fork ─▶ trading goes on
                             └▶ child: sync the events, check, write, sync, rename, end ─▶ told, log archived

Law: a snapshot is taken when all that was applied is durable, published and at a block's end; one at a time.
One that fails or is killed harms nothing: the two older ones stand until a new one is whole.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog

from engine.blocks import Position
from engine.command_log import CommandLog
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.forked import Child, Ended, Job
from engine.snapshot import Snapshot, Snapshots

SNAPSHOT_COMMANDS: Final = 1_000_000  # between two snapshots
NS_PER_MS: Final = 1_000_000

Answer = Callable[[Snapshot | None], None]


def _nothing() -> None:
    """Nobody wants to know."""


class Begun(Protocol):
    """A job under way."""

    def kill(self) -> None:
        """End it now."""


Begin = Callable[[Job, Ended], Begun]


class Source(Protocol):
    """What a snapshot is taken of."""

    exchange: Exchange
    log: CommandLog
    events: EventLog


class SnapshotTaker:
    """Decides when a snapshot is due, starts it, and tells who asked."""

    def __init__(
        self,
        snapshots: Snapshots,
        source: Source,
        every: int = SNAPSHOT_COMMANDS,
        begin: Begin = Child,
        taken: Callable[[], None] = _nothing,
        wake: Callable[[], None] = _nothing,
    ) -> None:
        """Take one every so many commands (0: only when asked); `begin` starts a job beside trading, `taken`
        is called after each one that succeeded, `wake` has `at_rest` called also when nobody trades.
        """
        self._snapshots, self._source, self._every = snapshots, source, every
        self._begin, self._taken, self._wake = begin, taken, wake
        newest = snapshots.newest()
        self._last = newest.sequence if newest else 0  # sequence of the last one begun
        self._asking: list[Answer] = []
        self._work: Begun | None = None

    def ask(self, answer: Answer) -> None:
        """Take a snapshot at the next opportunity; `answer` gets it, or None when it failed."""
        self._asking.append(answer)
        self._wake()

    def is_due(self) -> bool:
        """Whether a snapshot is to be begun when the disk is at rest."""
        place = self._source.log.position
        if self._work is not None or place is None:
            return False
        return bool(self._asking or (self._every and place.sequence - self._last >= self._every))

    def at_rest(self) -> None:
        """Begin a snapshot if one is due or asked for; all that was judged is durable and published."""
        place = self._source.log.position
        if place is not None and self.is_due():
            self._start(place)

    def close(self) -> None:
        """Give up what is under way; the older snapshots stand."""
        if self._work is not None:
            self._work.kill()
            self._work = None
        self._tell(self._asking, None)

    def _start(self, place: Position) -> None:
        slot, asking = self._snapshots.next_slot(), self._asking
        self._asking, self._last = [], place.sequence
        started_ns = time.monotonic_ns()
        job = partial(self._write, slot, place, self._source.events.size)
        try:
            self._work = self._begin(job, partial(self._ended, slot, started_ns, asking))
        except OSError as error:
            self._failed(str(error), asking)
            return
        pause_ms = (time.monotonic_ns() - started_ns) / NS_PER_MS
        structlog.get_logger().info("snapshot begun", sequence=place.sequence, pause_ms=round(pause_ms, 1))

    def _write(self, slot: int, place: Position, events_bytes: int) -> None:
        """The child's job."""
        self._source.events.sync()
        self._snapshots.write(slot, self._source.exchange.state, place, events_bytes)

    def _ended(self, slot: int, started_ns: int, asking: list[Answer], trouble: str | None) -> None:
        self._work = None
        if self._asking:
            self._wake()
        if trouble is not None:
            self._failed(trouble, asking)
            return
        snapshot = self._snapshots.take_note(slot)
        took_ms = (time.monotonic_ns() - started_ns) / NS_PER_MS
        structlog.get_logger().info(
            "snapshot taken",
            sequence=snapshot.sequence,
            state_hash=snapshot.state_hash.hex()[:16],
            took_ms=round(took_ms),
        )
        self._taken()
        self._tell(asking, snapshot)

    def _failed(self, trouble: str, asking: list[Answer]) -> None:
        structlog.get_logger().error("the snapshot failed; the older ones stand", reason=trouble)
        self._tell(asking, None)

    def _tell(self, asking: list[Answer], snapshot: Snapshot | None) -> None:
        for answer in asking:
            answer(snapshot)
        asking.clear()
