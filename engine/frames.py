"""Frames of records on the house's Unix sockets: 8 bytes of header, then whole records (law 5).

    kind u16 | version u16 | count u32 | count records of 128 bytes

No socket is touched here: bytes go in, frames come out.

    LinkError          the other side broke the rules, or speaks another version
    └── LinkDownError  the other side is gone; try again
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import numpy as np

from engine.records import COMMAND, EVENT, RECORD_BYTES, Records, as_words
from engine.vocabulary import RECORD_VERSION

HEAD: Final = struct.Struct("<HHI")
FRAME_RECORDS_MAX: Final = 1 << 21  # what the largest single command can cause, and no more


class LinkError(Exception):
    """The other side of a link broke its rules."""


class LinkDownError(LinkError, ConnectionError):
    """The other side of a link is not there."""


class Frame(IntEnum):
    """Kinds of frames."""

    COMMANDS = 1
    QUERY = 2
    REPLY = 3
    REFUSED = 4
    SUBSCRIBE = 5
    EVENTS = 6
    HELLO = 7


CARRIES_COMMANDS: Final = frozenset({Frame.COMMANDS, Frame.QUERY, Frame.SUBSCRIBE})


def frame(kind: Frame, records: Records) -> bytes:
    """The bytes of one frame."""
    return HEAD.pack(kind, RECORD_VERSION, len(records)) + as_words(records).tobytes()


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Frame, Records]]:
        """Add bytes; yield every frame that is now whole. Raises LinkError."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= HEAD.size:
            kind, version, count = HEAD.unpack_from(self._buffer, start)
            if version != RECORD_VERSION:
                raise LinkError(
                    f"a frame of version {version}, this side speaks {RECORD_VERSION}; update the other one"
                )
            if count > FRAME_RECORDS_MAX or kind not in Frame._value2member_map_:
                raise LinkError(f"not a frame: kind {kind}, {count} records")
            end = start + HEAD.size + count * RECORD_BYTES
            if end > len(self._buffer):
                break
            layout = COMMAND if kind in CARRIES_COMMANDS else EVENT
            body = bytes(self._buffer[start + HEAD.size : end])
            start = end
            yield Frame(kind), np.frombuffer(body, layout)
        del self._buffer[:start]
