"""The command log: every command, in order, on the medium before anybody hears of it (laws 1 and 3).

Law: blocks are valid from the first to the last, each naming its predecessor's checksum; after a crash at
most the last one is torn, because one block is in flight at a time. A valid block behind an invalid one is
corruption, not a crash. What a block is stands in engine/blocks.py.

Segments that no snapshot needs any more move to an archive (engine/retention.py); where it is given, it is
read as if they had stayed.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Final

import google_crc32c
import numpy as np

from engine.blocks import (
    BLOCK_ALIGNMENT,
    BLOCK_COMMANDS_MAX,
    BLOCK_HEADER,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    CorruptLogError,
    LogError,
    LogFullError,
    Position,
    block_bytes,
    padded,
    read_block,
    segment_name,
    segment_numbers,
)
from engine.clerk import Beside, in_a_thread
from engine.disk import Disk, File
from engine.records import COMMAND, RECORD_BYTES, Records, aligned_zeros, as_words
from engine.segments import Segments
from engine.vocabulary import RECORD_VERSION

SEGMENT_BYTES: Final = 64 << 20
NEARLY_FULL: Final = 0.75  # of a segment without a next one: cancels only
SCAN_BYTES: Final = 1 << 20  # at a time, behind the last block
RETRY_S: Final = 1.0  # between attempts to make the next segment on a full disk


class CommandLog:
    """The file implementation of the port: `recover`, `resume`, then `append` from one thread."""

    def __init__(
        self,
        disk: Disk,
        segment_bytes: int = SEGMENT_BYTES,
        retry_s: float = RETRY_S,
        archive: Disk | None = None,
        *,
        spares: Disk | None = None,
        beside: Beside = in_a_thread,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at the log on `disk`; nothing is changed before `resume`. Raises CorruptLogError, OSError."""
        self._disk, self._segment_bytes, self._retry_s = disk, segment_bytes, retry_s
        self._archive = archive
        self._first_here, self._first, made = segment_numbers(disk, archive)  # segments: of `disk`, of all
        self._segments = Segments(disk, spares, made, segment_bytes, beside, now_s)
        self.position: Position | None = None  # of the last durable block
        self.epoch = 0  # of the last block; after `resume`, of the blocks to come
        self.sequence = 0  # of the last durable command
        self._log, self._block, self._previous_crc = 0, 0, 0
        self._number, self._offset = 1, 0  # of the segment that takes the next block, and where
        self._size = 0  # bytes of that segment
        self._file: File | None = None
        self._writing = False  # stays true when a write or sync has failed
        self._buffer = aligned_zeros(block_bytes(BLOCK_COMMANDS_MAX), np.dtype(np.uint8))  # of one block
        records: Records = self._buffer[HEADER_BYTES:][: BLOCK_COMMANDS_MAX * RECORD_BYTES].view(COMMAND)
        self._words = as_words(records)  # of its commands

    def recover(self, after: Position | None = None, *, beside_engine: bool = False) -> Iterator[Records]:
        """Yield the commands (read-only) of every block in order, of those behind `after` if it is given;
        change no byte. Beside an engine that appends, damage at the end cannot be told from a block that
        comes: then it is not looked for. Raises LogError, OSError.

        What a killed engine wrote and had not synced is in the page cache only: it is synced before it
        counts, or a power cut would take back what this start has told the world.
        """
        self._disk.sync_names()
        number, offset = self._behind(after)
        while number <= self._segments.made:
            file, size = self._opened(number)
            try:
                file.sync()
                while (found := self._following_block(file, number, offset, size)) is not None:
                    header, records = found
                    self._accept(header, number, offset)
                    offset = self._offset
                    yield records
                if not beside_engine:
                    self._refuse_hole(file, number, offset, size)
            finally:
                file.close()
            number, offset = number + 1, 0

    def resume(self, epoch: int) -> None:
        """Cut the torn tail and get ready for blocks of `epoch`, once. Raises LogError, OSError."""
        assert self._file is None, "a log is resumed once"
        assert epoch > self.epoch, "a start has an epoch of its own"
        self.epoch = epoch
        if self._block == 0:
            self._log = secrets.randbits(64)
        if self._segments.made == 0:
            self._segments.make_first()
        for number in range(self._number, self._segments.made + 1):
            self._zero_tail(number, self._offset if number == self._number else 0)
        self._place(self._number, self._offset)
        self._segments.prepare(self._number + 1)

    def append(self, commands: Records) -> None:
        """Write one block and sync it; it is durable when this returns. One call at a time, on whatever
        thread. Raises OSError, LogFullError.
        """
        assert 0 < len(commands) <= BLOCK_COMMANDS_MAX, "a block holds 1 to BLOCK_COMMANDS_MAX commands"
        assert self._file is not None, "recover() and resume() come before append()"
        assert not self._writing, "a write or sync that failed is never tried again"
        assert int(commands["sequence"][0]) == self.sequence + 1, "blocks follow each other"
        self._writing = True
        if self._segments.fault is not None:
            raise self._segments.fault
        length = block_bytes(len(commands))
        if self._offset + length > self._size:
            self._roll(length)
        self._file.write(self._offset, self._encode(commands, length))
        self._file.sync()
        self._writing = False
        self.sequence = int(commands["sequence"][-1])
        self._move(self._previous_crc, length)

    def archive_below(self, segment: int) -> int:
        """Move the segments below `segment` into the archive; return how many went. Raises OSError."""
        assert self._archive is not None, "there is an archive"
        assert segment <= self._number, "a segment in use stays"
        moved = range(self._first_here, segment)
        for number in moved:
            self._disk.move(segment_name(number), self._archive)
            self._first_here = number + 1
        return len(moved)

    @property
    def trouble(self) -> OSError | None:
        """Why there was no space for the next segment, when it was last tried."""
        return self._segments.trouble

    def nearly_full(self) -> bool:
        """True when the segment fills up and the disk has no space for the next: cancels only."""
        no_next = self._segments.made <= self._number and self.trouble is not None
        return no_next and self._offset > NEARLY_FULL * self._size

    def has_room(self, commands: int) -> bool:
        """True when so many commands fit into the segments that exist, in as few blocks as they need."""
        full_blocks, rest = divmod(commands, BLOCK_COMMANDS_MAX)
        needed = full_blocks * block_bytes(BLOCK_COMMANDS_MAX) + (block_bytes(rest) if rest else 0)
        room, spare = self._size - self._offset, self._segments.made - self._number
        if spare > 0:  # the end of a segment stays empty when a block does not fit there
            largest = block_bytes(min(commands, BLOCK_COMMANDS_MAX))
            room = max(0, room - largest) + spare * max(0, self._segment_bytes - largest)
        return needed <= room

    def is_ahead(self) -> bool:
        """True when all segments that are to be made ahead are there."""
        return self._segments.is_ahead(self._number)

    def make_ahead(self) -> None:
        """Make segments beside, if there are not enough ahead; to be called when nobody waits."""
        self._segments.make_ahead(self._number)

    def retry(self) -> None:
        """Try again to make the next segment, every RETRY_S at most: the operator may have freed space."""
        self._segments.retry(self._number + 1, self._retry_s)

    def close(self) -> None:
        """Close the file; a segment in the making is waited for a little, and may stay half-made."""
        self._segments.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _encode(self, commands: Records, length: int) -> memoryview:
        """The bytes of a block, valid until the next one."""
        count = len(commands)
        self._words[:count] = as_words(commands)
        block = self._buffer[:length]
        end = HEADER_BYTES + count * RECORD_BYTES
        block[end:] = 0
        header = BLOCK_HEADER.pack(
            MAGIC,
            RECORD_VERSION,
            0,
            self.epoch,
            self._number,
            count,
            self._block,
            int(commands["sequence"][0]),
            count * RECORD_BYTES,
            self._previous_crc,
            google_crc32c.value(block[HEADER_BYTES:end]),
            self._log,
        )
        self._previous_crc = google_crc32c.value(header)
        block[:HEADER_BYTES] = np.frombuffer(header + self._previous_crc.to_bytes(4, "little"), np.uint8)
        return block.data

    def _following_block(
        self, file: File, number: int, offset: int, size: int
    ) -> tuple[np.void, Records] | None:
        """The block at `offset` if it is whole. Raises CorruptLogError if it does not follow the last one."""
        found = read_block(file, number, offset, size)
        if found is None:
            return None
        header, _ = found
        here = f"{segment_name(number)}, offset {offset}"
        if int(header["segment"]) != number or (self._block and int(header["log"]) != self._log):
            raise CorruptLogError(
                f"{here}: a block of segment {int(header['segment'])} of "
                f"{'this' if int(header['log']) == self._log else 'another'} log; "
                "a file was exchanged: put the right one back, nothing was changed"
            )
        if (
            int(header["block"]) != self._block
            or int(header["previous_crc"]) != self._previous_crc
            or int(header["first_sequence"]) != self.sequence + 1
            or int(header["epoch"]) < self.epoch
        ):
            raise self._damage(here)
        return found

    def _accept(self, header: np.void, number: int, offset: int) -> None:
        self._log, self.epoch = int(header["log"]), int(header["epoch"])
        self._block, self._previous_crc = int(header["block"]), int(header["header_crc"])
        self.sequence = int(header["first_sequence"]) + int(header["count"]) - 1
        self._number, self._offset = number, offset
        self._move(self._previous_crc, padded(int(header["length"])))

    def _move(self, crc: int, length: int) -> None:
        """The block at the place that is next has become the last one."""
        self.position = Position(
            self.sequence, self._number, self._offset, self._block, crc, self.epoch, self._log
        )
        self._offset += length
        self._block += 1

    def _behind(self, after: Position | None) -> tuple[int, int]:
        """The segment and offset where reading begins. Raises CorruptLogError, OSError."""
        if after is None:
            if self._first > 1:
                raise CorruptLogError(
                    f"segment {segment_name(self._first - 1)} is missing, and no sound snapshot stands for "
                    "what came before; put it back into commands or archive, nothing was changed"
                )
            return 1, 0
        name = segment_name(after.segment)
        if after.segment < self._first:
            raise CorruptLogError(
                f"segment {name} is missing, on which the snapshot of command {after.sequence} rests; put it "
                "back, nothing was changed"
            )
        found = None
        if after.segment <= self._segments.made:
            file, size = self._opened(after.segment)
            try:
                found = read_block(file, after.segment, after.offset, size)
            finally:
                file.close()
        if found is None or int(found[0]["header_crc"]) != after.crc or int(found[0]["log"]) != after.log:
            raise CorruptLogError(
                f"the snapshot of command {after.sequence} rests on a block at {name}, offset "
                f"{after.offset}, that the command log does not hold: its end is lost, or it is another "
                "exchange's; put back what is missing, nothing was changed"
            )
        self._accept(found[0], after.segment, after.offset)
        return self._number, self._offset

    def _opened(self, number: int) -> tuple[File, int]:
        """A segment's file and its size, wherever it is kept."""
        disk = self._disk if number >= self._first_here or self._archive is None else self._archive
        return disk.open(segment_name(number)), disk.size(segment_name(number))

    def _refuse_hole(self, file: File, number: int, offset: int, size: int) -> None:
        """Scan behind the first invalid block: a valid one there means corruption in the middle."""
        for first in range(offset + BLOCK_ALIGNMENT, size, SCAN_BYTES):
            raw = file.read(first, SCAN_BYTES)
            words = np.frombuffer(raw[: len(raw) // 8 * 8], "<u8")[:: BLOCK_ALIGNMENT // 8]
            for later in first + BLOCK_ALIGNMENT * np.flatnonzero(words == MAGIC):
                found = read_block(file, number, int(later), size)
                if found is not None and (self._block == 0 or int(found[0]["log"]) == self._log):
                    raise self._damage(f"{segment_name(number)}, offset {later}")

    def _damage(self, later: str) -> CorruptLogError:
        return CorruptLogError(
            f"{segment_name(self._number)}, offset {self._offset}: an invalid block, and a valid one behind "
            f"it ({later}); this is damage, not a crash: restore a copy, nothing was changed"
        )

    def _place(self, number: int, offset: int) -> None:
        name = segment_name(number)
        file, size = self._disk.open(name, reread=False), self._disk.size(name)
        if self._file is not None:
            self._file.close()
        self._file, self._size, self._number, self._offset = file, size, number, offset

    def _zero_tail(self, number: int, offset: int) -> None:
        """Overwrite what a torn block may have left behind `offset` of a segment."""
        file = self._disk.open(segment_name(number), reread=False)
        try:
            length = min(block_bytes(BLOCK_COMMANDS_MAX), self._disk.size(segment_name(number)) - offset)
            if file.read(offset, length).count(0) != length:
                file.write(offset, bytes(length))
                file.sync()
        finally:
            file.close()

    def _roll(self, length: int) -> None:
        """Go on in the next segment."""
        if self._segments.made <= self._number:
            self._segments.join()
        if self._segments.fault is not None:
            raise self._segments.fault
        if self._segments.made <= self._number:
            raise LogFullError(
                f"the disk of the command log is full ({self.trouble}); free space and start again"
            )
        self._place(self._number + 1, 0)
        assert length <= self._size, "a segment holds the largest block"
        self._segments.prepare(self._number + 1)


__all__ = [
    "BLOCK_ALIGNMENT",
    "BLOCK_COMMANDS_MAX",
    "HEADER",
    "HEADER_BYTES",
    "MAGIC",
    "CommandLog",
    "CorruptLogError",
    "LogError",
    "LogFullError",
    "Position",
    "block_bytes",
    "segment_name",
]
