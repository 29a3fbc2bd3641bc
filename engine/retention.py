"""Retention: what the engine keeps at hand, what moves to the archive, what is given back to the disk.

    command log   segments below the older snapshot move to archive/ when every keeper of books has booked
                  what is in them; there they stay (five years by law; this program never deletes one)
    event log     events below the older snapshot and every cursor and reader, but for those of the last
                  EVENTS_KEPT commands, are given back to the disk: they can be derived from the archive

Law: nothing moves before settlement has told its cursor in this life of the engine: a cursor that is not
known may be anywhere.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from engine.command_log import CommandLog
from engine.event_log import EventLog
from engine.snapshot import Snapshots

EVENTS_KEPT: Final = 10_000_000  # commands: a private stream resumes within them


class Retention:
    """Clears away after each snapshot, in a thread."""

    def __init__(
        self,
        snapshots: Snapshots,
        log: CommandLog,
        events: EventLog,
        cursors: dict[int, int],
        first_read: Callable[[], int],
        events_kept: int = EVENTS_KEPT,
    ) -> None:
        """`cursors` is how far each keeper of books is, `first_read` the lowest offset that is read."""
        self._snapshots, self._log, self._events = snapshots, log, events
        self._cursors, self._first_read, self._kept = cursors, first_read, events_kept
        self._works = False  # one clearing at a time; stays true after a fault
        self._tasks: set[asyncio.Task[None]] = set()

    def clear(self) -> None:
        """Begin to clear away what nobody needs."""
        if not self._works and (places := self.places()) is not None:
            self._works = True
            task = asyncio.get_running_loop().create_task(self._clear(*places))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def places(self) -> tuple[int, int] | None:
        """(segment, offset of the event log) before which nothing is needed; None to keep everything."""
        older = self._snapshots.older()
        if older is None or not self._cursors or min(self._cursors.values()) < older.sequence:
            return None
        last = min(older.sequence, self._events.sequence - self._kept)
        offset = self._events.position_after(last) if last > 0 else 0
        return older.position.segment, min(offset, self._first_read(), older.events_bytes)

    async def _clear(self, segment: int, offset: int) -> None:
        try:
            moved = await asyncio.to_thread(self._log.archive_below, segment)
            if offset > self._events.first:
                await asyncio.to_thread(self._events.forget, offset)
        except OSError as error:
            structlog.get_logger().error(
                "the archive cannot be written; nothing more moves until the next start", reason=str(error)
            )
            return
        self._works = False
        if moved:
            structlog.get_logger().info("segments moved to the archive", segments=moved, below=segment)
