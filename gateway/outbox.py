"""What one connection is about to be sent: all frames of a turn of the loop leave in one transport write.

Law: private data is never dropped, public data never makes a connection wait. What the peer does not read
stays in the transport; beyond OUTBOX_PUBLIC_BYTES_MAX public frames are dropped and their topic turns stale
(a fresh snapshot follows when the peer has caught up), beyond OUTBOX_PRIVATE_BYTES_MAX the connection ends
as `slow_consumer`.

    send, publish --> frames --take, once a turn--> transport.write --> (unsent bytes) --> peer
"""

import struct
from collections.abc import Callable
from typing import Final

OUTBOX_PUBLIC_BYTES_MAX: Final = 256 << 10
OUTBOX_PRIVATE_BYTES_MAX: Final = 4 << 20
OUTBOX_CAUGHT_UP_BYTES: Final = 16 << 10  # below this a stale topic gets its fresh snapshot

Topic = tuple[str, int]  # channel, instrument number

_OPCODE_TEXT: Final = 0x81  # final frame, text (RFC 6455 section 5.2)
_OPCODE_PING: Final = b"\x89\x00"
_OPCODE_PONG: Final = 0x8A
_HEADER_16: Final = struct.Struct(">BBH").pack
_HEADER_64: Final = struct.Struct(">BBQ").pack


def text_frame(payload: bytes) -> bytes:
    """An unmasked WebSocket text frame, as a server sends it (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((_OPCODE_TEXT, length)) + payload
    if length < 65536:
        return _HEADER_16(_OPCODE_TEXT, 126, length) + payload
    return _HEADER_64(_OPCODE_TEXT, 127, length) + payload


class Outbox:
    """The outgoing frames of one connection; it touches no socket, `unsent` tells it what the transport
    still holds."""

    __slots__ = ("_bytes", "_frames", "_unsent", "_wake", "_woken", "overflowed", "stale")

    def __init__(self, wake: Callable[["Outbox"], None], unsent: Callable[[], int]) -> None:
        self._frames: list[bytes] = []
        self._bytes = 0
        self._woken = False
        self._wake = wake  # called once per turn, when the first frame arrives
        self._unsent = unsent
        self.stale: set[Topic] = set()
        self.overflowed = False

    def send(self, payload: bytes) -> None:
        """A response or a private event."""
        length = len(payload)
        if 126 <= length < 65536:  # nearly all; the other lengths go the long way
            self._frames.append(_HEADER_16(_OPCODE_TEXT, 126, length) + payload)
            self._bytes += length + 4
            if not self._woken:
                self._woken = True
                self._wake(self)
        else:
            self.send_frame(text_frame(payload))

    def send_frame(self, frame: bytes) -> None:
        """The same, of a frame that is built already."""
        self._frames.append(frame)
        self._bytes += len(frame)
        if not self._woken:
            self._woken = True
            self._wake(self)

    def publish(self, frame: bytes, topic: Topic) -> bool:
        """A public frame; dropped, with its topic marked stale, when the peer is behind."""
        if topic in self.stale:
            return False
        if self.backlog > OUTBOX_PUBLIC_BYTES_MAX:
            self.stale.add(topic)
            return False
        self.send_frame(frame)
        return True

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self.send_frame(_OPCODE_PING)

    def pong(self, payload: bytes) -> None:
        """Answer the peer's ping (at most 125 bytes, RFC 6455 section 5.5)."""
        self.send_frame(bytes((_OPCODE_PONG, len(payload))) + payload)

    @property
    def backlog(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._bytes + self._unsent()

    @property
    def caught_up(self) -> bool:
        """Whether stale topics may start again."""
        return self.backlog <= OUTBOX_CAUGHT_UP_BYTES

    def take(self) -> bytes:
        """Everything for one write; sets `overflowed` when private data is more than the connection may
        hold."""
        if self.backlog > OUTBOX_PRIVATE_BYTES_MAX:
            self.overflowed = True
        frames = self._frames
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        self._bytes = 0
        self._woken = False
        return data
