"""The command log: every command, in order, on the medium before anybody hears of it (laws 1 and 3).

Law: blocks are valid from the first to the last, each naming its predecessor's checksum; after a crash at
most the last one is torn, because one block is in flight at a time. A valid block behind an invalid one is
corruption, not a crash.

    segment  00000001.log  zero-filled once, SEGMENT_BYTES long, blocks one after another
    block    header (64 bytes) | COMMAND records | zeroes up to a multiple of 4,096, so that no synced sector
             is rewritten
    header   magic version flags | epoch segment | block sequence | first command sequence | count length
             | CRC32C of the previous block's header, of the records, of this header

    LogError                 the log cannot be used; the message says where and what to do
    ├── CorruptLogError      an invalid block with a valid one behind it, or a foreign or newer file
    └── LogFullError         no room for the next block and no next segment
"""

import threading
from collections.abc import Iterator
from typing import Final

import google_crc32c
import numpy as np

from engine.disk import Disk, File
from engine.records import COMMAND, RECORD_BYTES, Records
from engine.vocabulary import RECORD_VERSION

MAGIC: Final = 0x474F4C474E4F434C  # "LCONGLOG", little-endian
BLOCK_ALIGNMENT: Final = 4096
HEADER_BYTES: Final = 64
SEGMENT_BYTES: Final = 64 << 20
BLOCK_COMMANDS_MAX: Final = 4096
NEARLY_FULL: Final = 0.75  # of a segment without a next one: cancels only

HEADER: Final = np.dtype(
    [
        ("magic", "<u8"),
        ("version", "<u2"),
        ("flags", "<u2"),
        ("epoch", "<u4"),
        ("segment", "<u4"),
        ("count", "<u4"),
        ("block", "<u8"),
        ("first_sequence", "<i8"),
        ("length", "<u4"),
        ("previous_crc", "<u4"),
        ("records_crc", "<u4"),
        ("reserved", "<u4"),
        ("reserved_2", "<u4"),
        ("header_crc", "<u4"),
    ]
)
assert HEADER.itemsize == HEADER_BYTES


class LogError(Exception):
    """The command log cannot be used."""


class CorruptLogError(LogError):
    """The log is damaged in the middle, or is not ours."""


class LogFullError(LogError):
    """There is no room for another block."""


class CommandLog:
    """The file implementation of the port `append`, `read`, `nearly_full`."""

    def __init__(self, disk: Disk, epoch: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open the log on `disk` and find its end. Raises LogError."""
        self._disk, self.epoch, self._segment_bytes = disk, epoch, segment_bytes
        self._segments = [name for name in disk.names() if name.endswith(".log")]
        for number, name in enumerate(self._segments, 1):
            if name != segment_name(number):
                raise CorruptLogError(
                    f"segment {segment_name(number)} is missing; restore it, nothing was changed"
                )
        self._block, self._previous_crc, self.sequence = 0, 0, 0
        self._number, self._offset = 0, 0  # of the segment that takes the next block, and where
        self._file: File | None = None
        self._made = len(self._segments)  # segments that exist
        self._maker: threading.Thread | None = None
        self.trouble: OSError | None = None  # why the next segment could not be made

    def recover(self) -> Iterator[Records]:
        """Yield every block's commands in order, then cut a torn tail; call once, before `append`."""
        for number, name in enumerate(self._segments, 1):
            file = self._disk.open(name)
            size, offset = self._disk.size(name), 0
            while (header := self._valid_block(file, number, offset, size)) is not None:
                yield self._accept(file, header, offset)
                offset += block_bytes(int(header["count"]))
            self._refuse_hole(file, number, offset, size)
            if offset > 0 or number == 1:
                self._place(file, number, offset)
            else:
                file.close()
        if self._file is None:
            self._disk.create(segment_name(1), self._segment_bytes)
            self._made = 1
            self._place(self._disk.open(segment_name(1)), 1, 0)
        else:
            self._zero_tail()
        self._prepare_next()

    def append(self, commands: Records) -> None:
        """Write one block and sync it; it is durable when this returns. Runs on the disk's thread. Raises
        OSError, LogError.
        """
        assert 0 < len(commands) <= BLOCK_COMMANDS_MAX, "a block holds 1 to BLOCK_COMMANDS_MAX commands"
        length = block_bytes(len(commands))
        if self._offset + length > self._segment_bytes:
            self._roll()
        block = self._encode(commands, length)
        assert self._file is not None, "recover() comes before append()"
        self._file.write(self._offset, memoryview(block))
        self._file.sync()
        self._offset += length
        self._block += 1
        self.sequence = int(commands["sequence"][-1])

    def nearly_full(self) -> bool:
        """True when the segment is filling up and there is no next one: the door then takes cancels only."""
        return self._made <= self._number and self._offset > NEARLY_FULL * self._segment_bytes

    def retry(self) -> None:
        """Try again to make the next segment, after the operator has freed space."""
        if self.trouble is not None:
            self._prepare_next()

    def close(self) -> None:
        """Wait for the segment in the making and close the file."""
        if self._maker is not None:
            self._maker.join()
        if self._file is not None:
            self._file.close()

    def _encode(self, commands: Records, length: int) -> bytearray:
        block = bytearray(length)
        records = commands.tobytes()
        block[HEADER_BYTES : HEADER_BYTES + len(records)] = records
        header = np.zeros(1, HEADER)
        header["magic"], header["version"], header["epoch"] = MAGIC, RECORD_VERSION, self.epoch
        header["segment"], header["block"], header["count"] = self._number, self._block, len(commands)
        header["first_sequence"], header["length"] = commands["sequence"][0], len(records)
        header["previous_crc"], header["records_crc"] = self._previous_crc, google_crc32c.value(records)
        self._previous_crc = google_crc32c.value(header.tobytes()[: HEADER_BYTES - 4])
        header["header_crc"] = self._previous_crc
        block[:HEADER_BYTES] = header.tobytes()
        return block

    def _read_header(self, file: File, offset: int, size: int) -> np.void | None:
        if offset + BLOCK_ALIGNMENT > size:
            return None
        raw = file.read(offset, HEADER_BYTES)
        header: np.void = np.frombuffer(raw, HEADER)[0]
        if int(header["magic"]) != MAGIC or google_crc32c.value(raw[:-4]) != int(header["header_crc"]):
            return None
        if int(header["version"]) > RECORD_VERSION:
            raise CorruptLogError(
                f"the log was written by a newer version ({int(header['version'])}); start that version, "
                "nothing was changed"
            )
        if offset + block_bytes(int(header["count"])) > size:
            return None
        records = file.read(offset + HEADER_BYTES, int(header["length"]))
        if len(records) != int(header["count"]) * RECORD_BYTES:
            return None
        return header if google_crc32c.value(records) == int(header["records_crc"]) else None

    def _valid_block(self, file: File, number: int, offset: int, size: int) -> np.void | None:
        """The header at `offset` if its block is whole and follows the one before."""
        header = self._read_header(file, offset, size)
        if header is None:
            return None
        follows = int(header["block"]) == self._block and int(header["previous_crc"]) == self._previous_crc
        if (
            not follows
            or int(header["segment"]) != number
            or int(header["first_sequence"]) != self.sequence + 1
        ):
            raise CorruptLogError(
                f"{segment_name(number)}, offset {offset}: a block that does not follow the one before it; "
                "a segment was exchanged or lost: restore it, nothing was changed"
            )
        return header

    def _accept(self, file: File, header: np.void, offset: int) -> Records:
        records = np.frombuffer(file.read(offset + HEADER_BYTES, int(header["length"])), COMMAND)
        self._block, self._previous_crc = self._block + 1, int(header["header_crc"])
        self.sequence = int(records["sequence"][-1])
        return records

    def _refuse_hole(self, file: File, number: int, offset: int, size: int) -> None:
        """Scan behind the first invalid block: a valid one there means corruption in the middle."""
        for later in range(offset + BLOCK_ALIGNMENT, size, BLOCK_ALIGNMENT):
            if self._read_header(file, later, size) is not None:
                raise CorruptLogError(
                    f"{segment_name(number)}, offset {offset}: an invalid block, and a valid one behind it "
                    f"at {later}; this is damage, not a crash: restore a copy, nothing was changed"
                )

    def _place(self, file: File, number: int, offset: int) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._number, self._offset = file, number, offset

    def _zero_tail(self) -> None:
        """Overwrite what a torn block may have left."""
        assert self._file is not None, "a segment is open"
        size = self._disk.size(segment_name(self._number))
        length = min(block_bytes(BLOCK_COMMANDS_MAX), size - self._offset)
        if any(self._file.read(self._offset, length)):
            self._file.write(self._offset, bytes(length))
            self._file.sync()

    def _roll(self) -> None:
        """Go on in the next segment."""
        if self._maker is not None:
            self._maker.join()
        if self._made <= self._number:
            raise LogFullError(
                f"the disk of the command log is full ({self.trouble}); free space and start again"
            )
        self._place(self._disk.open(segment_name(self._number + 1)), self._number + 1, 0)
        self._zero_tail()
        self._prepare_next()

    def _prepare_next(self) -> None:
        """Make the next segment in the background."""
        if self._made > self._number or (self._maker is not None and self._maker.is_alive()):
            return
        self._maker = threading.Thread(target=self._make_next, name="segment-maker", daemon=True)
        self._maker.start()

    def _make_next(self) -> None:
        try:
            self._disk.create(segment_name(self._made + 1), self._segment_bytes)
        except OSError as error:
            self.trouble = error
        else:
            self.trouble = None
            self._made += 1


def segment_name(number: int) -> str:
    """The file of segment `number`, from 1."""
    return f"{number:08d}.log"


def block_bytes(count: int) -> int:
    """Bytes of a block of `count` commands with its header and padding."""
    used = HEADER_BYTES + count * RECORD_BYTES
    return -(-used // BLOCK_ALIGNMENT) * BLOCK_ALIGNMENT
