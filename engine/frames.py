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
    CURSOR = 8  # of a subscriber: what it has booked, up to `sequence`, is on the medium; `tag` is its name
    SNAPSHOT = 9  # on the command socket: take a snapshot now; answered by REPLY


LINK_SHIFT: Final = 48  # a command's tag is link number << 48 | the client's own request number
LINKS_MAX: Final = (1 << 16) - 1  # numbers 1 to this, told by HELLO; 0 is settlement's, and the engine's own
ALL_KEPT: Final = -1  # as the sequence of a SUBSCRIBE: from the first command on whose events are kept
COMMANDS_MAX: Final = 1 << 16  # of one COMMANDS frame: as many as the engine's inbox holds

KINDS: Final = frozenset(Frame)
CARRIES_COMMANDS: Final = frozenset(
    {Frame.COMMANDS, Frame.QUERY, Frame.SUBSCRIBE, Frame.CURSOR, Frame.SNAPSHOT}
)


def frame(kind: Frame, records: Records) -> bytes:
    """The bytes of one frame."""
    assert 0 < len(records) <= FRAME_RECORDS_MAX, "a frame carries 1 to FRAME_RECORDS_MAX records"
    return HEAD.pack(kind, RECORD_VERSION, len(records)) + as_words(records).tobytes()


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, records_max: int = FRAME_RECORDS_MAX) -> None:
        """Accept frames of up to `records_max` records; one such frame is the most that is kept in memory."""
        self._records_max = records_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Frame, Records]]:
        """Add bytes; yield every frame that is now whole, its records read-only. Raises LinkError."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= HEAD.size:
            kind, count = self._head(start)
            end = start + HEAD.size + count * RECORD_BYTES
            if end > len(self._buffer):
                break
            layout = COMMAND if kind in CARRIES_COMMANDS else EVENT
            with memoryview(self._buffer) as view:
                body = bytes(view[start + HEAD.size : end])
            start = end
            yield kind, np.frombuffer(body, layout)
        del self._buffer[:start]

    def _head(self, start: int) -> tuple[Frame, int]:
        kind, version, count = HEAD.unpack_from(self._buffer, start)
        if version != RECORD_VERSION:
            raise LinkError(
                f"a frame of version {version}, this side speaks {RECORD_VERSION}; update the older one"
            )
        if kind not in KINDS or not 0 < count <= self._records_max:
            raise LinkError(f"not a frame: kind {kind}, {count} records (1 to {self._records_max})")
        return Frame(kind), count
