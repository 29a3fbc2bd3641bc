"""The event log: every event since the beginning, on disk but unsynced, for whoever resumes (design 3).

Law: it holds only events of durable commands, whole commands in order; it can be derived again from the
command log. A start goes on where a snapshot says that it was right, and derives again what came behind.
Everybody reads from it, also the ones that keep up: a reader that lags costs a position, not memory.

Rows are of one size and their sequences never fall, so a place is found by halving, without an index. What
no subscriber needs any more is given back to the disk from the front (`forget`): places do not change.
"""

import threading
from pathlib import Path
from typing import Final

import numpy as np

from engine.disk import NO_SPACE, GrowingFile, PosixGrowingFile
from engine.records import EVENT, RECORD_BYTES, Records, as_words

READ_EVENTS: Final = 1 << 13  # rows of one read
RESERVE_BYTES: Final = 16 << 20  # taken from the disk ahead, so that a full one is known before it hurts
NEARLY_FULL: Final = 0.75  # of the reserve used up without a new one: cancels only


class EventLog:
    """An append-only file of EVENT records, found by command sequence."""

    def __init__(self, file: Path | GrowingFile, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Begin at the start of `file`; what stands there is written over with the same. Raises OSError."""
        self._file: GrowingFile = PosixGrowingFile(file) if isinstance(file, Path) else file
        self._reserve_bytes = reserve_bytes
        self._reserving = threading.Lock()  # `append` and `retry` come from different threads
        self._allocated = self._file.size()
        self.first = self._file.kept_from() // RECORD_BYTES * RECORD_BYTES  # offset of the first event kept
        self.stored_bytes, self.former_sequence = self._last_stored()  # of what an earlier start wrote
        self.trouble: OSError | None = None  # no space for more
        self.size = 0  # bytes
        self.sequence = 0  # of the last command whose events are in it

    def go_on(self, size: int) -> None:
        """Keep the first `size` bytes of an earlier start, and go on behind them. Raises OSError."""
        assert size <= self.stored_bytes, "what is kept is there"
        self.size = size
        self.sequence = self._sequence_at(size - RECORD_BYTES) if size else 0

    def append(self, events: Records) -> None:
        """Add the events of whole durable commands. Raises OSError."""
        if not len(events):
            return
        self._reserve(events.nbytes)
        self._file.write(self.size, as_words(events).data.cast("B"))
        self.size += events.nbytes
        self.sequence = int(events["sequence"][-1])

    def cut(self) -> None:
        """Take away what an earlier start wrote behind the end; after the replay. Raises OSError."""
        self._file.cut(self.size)
        self._allocated = self.size
        self.first = self._file.kept_from() // RECORD_BYTES * RECORD_BYTES
        self._reserve(0)

    def sync(self) -> None:
        """Return when all that was appended is on the medium; also in a forked child. Raises OSError."""
        self._file.sync()

    def forget(self, offset: int) -> None:
        """Give what stands before `offset` back to the disk; the events behind it stay. Raises OSError."""
        assert offset <= self.size, "only what is there can be forgotten"
        self._file.give_back(offset)
        self.first = self._file.kept_from() // RECORD_BYTES * RECORD_BYTES

    def nearly_full(self) -> bool:
        """True when the disk has no space for more and most of the reserve is used up: cancels only."""
        left = self._allocated - self.size
        return self.trouble is not None and left < (1 - NEARLY_FULL) * self._reserve_bytes

    def retry(self) -> None:
        """Try again to take space ahead: the operator may have freed some. Raises OSError."""
        if self.trouble is not None:
            self._reserve(0)

    def position_after(self, sequence: int) -> int:
        """The offset of the first event kept of a command later than `sequence`. Raises OSError."""
        low, high = self.first // RECORD_BYTES, self.size // RECORD_BYTES
        while low < high:
            middle = (low + high) // 2
            low, high = (
                (low, middle) if self._sequence_at(middle * RECORD_BYTES) > sequence else (middle + 1, high)
            )
        return low * RECORD_BYTES

    def read(self, offset: int) -> Records:
        """The next events at `offset`: whole commands, at least one when there is one, READ_EVENTS rows or a
        little more. Raises OSError.
        """
        rows = READ_EVENTS
        events = self._read(offset, rows)
        while offset + len(events) * RECORD_BYTES < self.size:
            whole = int(np.searchsorted(events["sequence"], events["sequence"][-1], side="left"))
            if whole > 0:
                return events[:whole]
            rows *= 2
            events = self._read(offset, rows)
        return events

    def bytes_at(self, offset: int, length: int) -> bytes:
        """The bytes that stand there. Raises OSError."""
        return self._file.read(offset, length)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _read(self, offset: int, rows: int) -> Records:
        length = min(rows * RECORD_BYTES, self.size - offset)
        return np.frombuffer(self._file.read(offset, length), EVENT)

    def _sequence_at(self, offset: int) -> int:
        return int.from_bytes(self._file.read(offset, 8), "little")

    def _reserve(self, coming: int) -> None:
        """Have half a reserve behind what is coming, if the disk has the space."""
        with self._reserving:
            self._take_ahead(coming)

    def _take_ahead(self, coming: int) -> None:
        if self.size + coming + self._reserve_bytes // 2 <= self._allocated:
            return
        target = self.size + coming + self._reserve_bytes
        try:
            self._file.reserve(self._allocated, target - self._allocated)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self.trouble = error
        else:
            self._allocated, self.trouble = target, None

    def _last_stored(self) -> tuple[int, int]:
        """Bytes up to the last record that is not zero (what is taken ahead is), and its sequence."""
        low, high = self.first // RECORD_BYTES, self._allocated // RECORD_BYTES
        last = 0
        while low < high:
            middle = (low + high) // 2
            sequence = self._sequence_at(middle * RECORD_BYTES)
            low, high = (middle + 1, high) if sequence else (low, middle)
            last = max(last, sequence)
        return low * RECORD_BYTES, last
