"""Blocks of the command log: what stands in a segment's file, and how it is known to be whole.

Law: a block is whole or it is nothing: the header has a checksum of its own, and names that of the records.

    segment  00000001.log  zero-filled once, blocks one after another
    block    header (64 bytes) | COMMAND records | zeroes up to a multiple of 4,096, so that no synced sector
             is rewritten
    header   magic version flags | epoch segment | block sequence | first command sequence | count length
             | CRC32C of the previous block's header, of the records | log | CRC32C of this header

`log` is a number drawn when the log is begun: a segment of another exchange is known by it, and a client
cannot write what looks like a header into the fields of its orders.

    LogError                 what the engine keeps cannot be used; the message says where and what to do
    ├── CorruptLogError      an invalid block with a valid one behind it, or a foreign or newer file
    ├── LogFullError         no room for another block
    └── SnapshotError        a snapshot cannot be used (engine.snapshot)
"""

import struct
from typing import Final, NamedTuple

import google_crc32c
import numpy as np

from engine.disk import Disk, File
from engine.record_versions import bytes_of_version, converted
from engine.records import RECORD_BYTES, Records
from engine.vocabulary import RECORD_VERSION

MAGIC: Final = 0x474F4C474E4F434C  # "LCONGLOG", little-endian
BLOCK_ALIGNMENT: Final = 4096
HEADER_BYTES: Final = 64
BLOCK_COMMANDS_MAX: Final = 4096

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
        ("log", "<u8"),
        ("header_crc", "<u4"),
    ]
)
BLOCK_HEADER: Final = struct.Struct("<QHHIIIQqIIIQ")  # the same without its own checksum, for writing
assert HEADER.itemsize == HEADER_BYTES == BLOCK_HEADER.size + 4


class LogError(Exception):
    """What the engine keeps cannot be used."""


class CorruptLogError(LogError):
    """The log is damaged in the middle, or is not ours."""


class LogFullError(LogError):
    """There is no room for another block."""


class Position(NamedTuple):
    """A place in the log: its last block so far, by which the next one is known."""

    sequence: int  # of the block's last command
    segment: int
    offset: int  # bytes, of the block's header
    block: int  # its number, from 0
    crc: int  # of its header
    epoch: int
    log: int


def read_block(file: File, number: int, offset: int, size: int) -> tuple[np.void, Records] | None:
    """Header and commands of the block at `offset`, or None where there is no whole one. Raises
    CorruptLogError for a newer version's, OSError.
    """
    if offset + BLOCK_ALIGNMENT > size:
        return None
    raw = file.read(offset, HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        return None
    header: np.void = np.frombuffer(raw, HEADER)[0]
    if int(header["magic"]) != MAGIC or google_crc32c.value(raw[:-4]) != int(header["header_crc"]):
        return None
    version, count, length = int(header["version"]), int(header["count"]), int(header["length"])
    if version > RECORD_VERSION:
        raise CorruptLogError(
            f"{segment_name(number)}, offset {offset}: written by a newer version "
            f"({version}, this is {RECORD_VERSION}); start that one, nothing was changed"
        )
    if not 0 < count <= BLOCK_COMMANDS_MAX or length != count * bytes_of_version(version):
        return None
    body = file.read(offset + HEADER_BYTES, length)
    if len(body) != length or google_crc32c.value(body) != int(header["records_crc"]):
        return None
    return header, converted(body, version)


def segment_name(number: int) -> str:
    """The file of segment `number`, from 1."""
    return f"{number:08d}.log"


def padded(length: int) -> int:
    """Bytes of a block whose records are of `length` bytes."""
    return -(-(HEADER_BYTES + length) // BLOCK_ALIGNMENT) * BLOCK_ALIGNMENT


def block_bytes(count: int) -> int:
    """Bytes of a block of `count` commands with its header and padding."""
    return padded(count * RECORD_BYTES)


def segment_numbers(disk: Disk, archive: Disk | None) -> tuple[int, int, int]:
    """First segment on the disk, first of all that follow each other, last one. Raises CorruptLogError."""
    here = [name for name in disk.names() if name.endswith(".log")]
    if here and not here[0][:-4].isdigit():
        raise CorruptLogError(f"{here[0]} is not a segment of the command log; take it away")
    there = {name for name in archive.names() if name.endswith(".log")} if archive is not None else set()
    last_there = max((int(name[:-4]) for name in there if name[:-4].isdigit()), default=0)
    first_here = int(here[0][:-4]) if here else last_there + 1
    if there and (not here or first_here > last_there + 1):
        raise CorruptLogError(
            f"segment {segment_name(last_there + 1)} is missing; put it back, nothing was changed"
        )
    _refuse_gap(here, first_here)
    first = first_here
    while segment_name(first - 1) in there:
        first -= 1
    return first_here, first, first_here + len(here) - 1


def _refuse_gap(segments: list[str], first: int) -> None:
    for number, name in enumerate(segments, first):
        if name > segment_name(number) and name[:-4].isdigit():
            raise CorruptLogError(
                f"segment {segment_name(number)} is missing; put it back, nothing was changed"
            )
        if name != segment_name(number):
            raise CorruptLogError(f"{name} is not a segment of the command log; take it away")
