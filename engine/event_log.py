"""The event log: every event since the beginning, on disk but unsynced, for whoever resumes (design 3).

Law: it holds only events of durable commands, whole commands in order; it can be derived again from the
command log, and at every start it is. Everybody reads from it, also the ones that keep up: a reader that lags
costs a position, not memory.
"""

from bisect import bisect_right
from pathlib import Path
from typing import Final

import numpy as np

from engine.disk import NO_SPACE, GrowingFile, PosixGrowingFile
from engine.records import EVENT, RECORD_BYTES, Records, as_words

INDEX_BYTES: Final = 1 << 16  # one index entry at least this far apart
READ_EVENTS: Final = 1 << 13  # rows of one read
RESERVE_BYTES: Final = 16 << 20  # taken from the disk ahead, so that a full one is known before it hurts
NEARLY_FULL: Final = 0.75  # of the reserve used up without a new one: cancels only


class EventLog:
    """An append-only file of EVENT records with a sparse index by command sequence."""

    def __init__(self, file: Path | GrowingFile, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Begin at the start of `file`; what stands there is written over with the same. Raises OSError."""
        self._file: GrowingFile = PosixGrowingFile(file) if isinstance(file, Path) else file
        self._reserve_bytes = reserve_bytes
        self._allocated = self._file.size()
        self.former_sequence = self._last_stored()  # of the last command whose events an earlier start wrote
        self.trouble: OSError | None = None  # no space for more
        self.size = 0  # bytes
        self.sequence = 0  # of the last command whose events are in it
        self._sequences: list[int] = []  # of the first event of each indexed place
        self._offsets: list[int] = []

    def append(self, events: Records) -> None:
        """Add the events of whole durable commands. Raises OSError."""
        if not len(events):
            return
        if not self._offsets or self.size - self._offsets[-1] >= INDEX_BYTES:
            self._sequences.append(int(events["sequence"][0]))
            self._offsets.append(self.size)
        self._reserve(events.nbytes)
        self._file.write(self.size, as_words(events).data.cast("B"))
        self.size += events.nbytes
        self.sequence = int(events["sequence"][-1])

    def cut(self) -> None:
        """Take away what an earlier start wrote behind the end; after the replay. Raises OSError."""
        self._file.cut(self.size)
        self._allocated = self.size
        self._reserve(0)

    def nearly_full(self) -> bool:
        """True when the disk has no space for more and most of the reserve is used up: cancels only."""
        left = self._allocated - self.size
        return self.trouble is not None and left < (1 - NEARLY_FULL) * self._reserve_bytes

    def retry(self) -> None:
        """Try again to take space ahead: the operator may have freed some. Raises OSError."""
        if self.trouble is not None:
            self._reserve(0)

    def position_after(self, sequence: int) -> int:
        """The offset of the first event of a command later than `sequence`. Raises OSError."""
        place = bisect_right(self._sequences, sequence) - 1
        offset = self._offsets[place] if place >= 0 else 0
        while offset < self.size:
            events = self._read(offset)
            later = int(np.searchsorted(events["sequence"], sequence, side="right"))
            offset += later * RECORD_BYTES
            if later < len(events):
                break
        return offset

    def read(self, offset: int) -> Records:
        """The next events at `offset`: whole commands, at least one when there is one, READ_EVENTS rows or a
        little more. Raises OSError.
        """
        events, rows = self._read(offset), READ_EVENTS
        while offset + len(events) * RECORD_BYTES < self.size:
            whole = int(np.searchsorted(events["sequence"], events["sequence"][-1], side="left"))
            if whole > 0:
                return events[:whole]
            rows *= 2
            events = self._read(offset, rows)
        return events

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _read(self, offset: int, rows: int = READ_EVENTS) -> Records:
        length = min(rows * RECORD_BYTES, self.size - offset)
        return np.frombuffer(self._file.read(offset, length), EVENT)

    def _reserve(self, coming: int) -> None:
        """Have half a reserve behind what is coming, if the disk has the space."""
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

    def _last_stored(self) -> int:
        """The sequence of the last record that is not zero: what is taken ahead is."""
        low, high = 0, self._allocated // RECORD_BYTES
        last = 0
        while low < high:
            middle = (low + high) // 2
            sequence = int.from_bytes(self._file.read(middle * RECORD_BYTES, 8), "little")
            low, high = (middle + 1, high) if sequence else (low, middle)
            last = max(last, sequence)
        return last
