"""The event log: every event since the beginning, on disk but unsynced, for whoever resumes (design 3).

Law: it holds only events of durable commands, whole commands in order; it can be derived again from the
command log, and at every start it is. Everybody reads from it, also the ones that keep up: a reader that lags
costs a position, not memory.
"""

import os
from bisect import bisect_right
from pathlib import Path
from typing import Final

import numpy as np

from engine.records import EVENT, RECORD_BYTES, Records, as_words

INDEX_BYTES: Final = 1 << 16  # one index entry at least this far apart
READ_EVENTS: Final = 1 << 13  # rows of one read


class EventLog:
    """An append-only file of EVENT records with a sparse index by command sequence."""

    def __init__(self, path: Path) -> None:
        """Start an empty log at `path`. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
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
        view = as_words(events).data.cast("B")
        offset = self.size
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written
        self.size = offset
        self.sequence = int(events["sequence"][-1])

    def position_after(self, sequence: int) -> int:
        """The offset of the first event of a command later than `sequence`."""
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
        little more.
        """
        events, rows = self._read(offset), READ_EVENTS
        while offset + len(events) * RECORD_BYTES < self.size:
            whole = int(np.searchsorted(events["sequence"], events["sequence"][-1], side="left"))
            if whole > 0:
                return events[:whole]
            rows *= 2
            events = self._read(offset, rows)
        return events

    def _read(self, offset: int, rows: int = READ_EVENTS) -> Records:
        length = min(rows * RECORD_BYTES, self.size - offset)
        return np.frombuffer(os.pread(self._descriptor, length, offset), EVENT)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
