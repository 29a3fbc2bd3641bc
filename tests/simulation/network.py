"""Unix sockets without a kernel: bytes in order, in pieces, after a while, until the link is cut.

Law: a link delivers a prefix of what was written, in order, and tells both ends when it is over; which
prefix, in which pieces and when, the seed decides.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final, cast

from tests.simulation.process import PROCESS, Process, current

DELAY_S: Final = (0.00002, 0.002)
SLOW_S: Final = 0.25
SLOW_SHARE: Final = 0.01
SPLIT_SHARE: Final = 0.15
STEP_S: Final = 1e-7  # between two pieces of one link, so that timers keep their order
HIGH_WATER_BYTES: Final = 64 << 10

Factory = Callable[[], asyncio.BaseProtocol]
Point = Callable[[Process, str], None]


class Endpoint(asyncio.Transport):
    """One end of a link, as asyncio's transport."""

    def __init__(self, network: "Network", process: Process, path: str, context: Context) -> None:
        super().__init__()
        self._network, self.process, self.path, self._context = network, process, path, context
        self._dice = random.Random(network.dice.random())  # its own: who writes first changes no delay
        self.peer: Endpoint | None = None
        self.protocol: asyncio.BaseProtocol | None = None
        self._open, self._closing = True, False
        self._pieces: deque[bytes | None] = deque()  # that came while reading was paused; None: the end
        self._reading = True
        self._arrival_s = 0.0  # of the last piece that this end has sent
        self._unread = 0  # bytes that the peer has not got yet
        self._high_bytes = HIGH_WATER_BYTES
        self._full = False
        process.ports[self] = None

    def begin(self, factory: Factory) -> None:
        """Make the protocol and tell it."""
        self.protocol = self._context.run(factory)
        self._context.run(self.protocol.connection_made, self)

    def write(self, data: Any) -> None:
        """Send bytes."""
        if not data or self._closing or not self._open:
            return
        self._network.point(self.process, "link.write")
        data, dice = bytes(data), self._dice
        pieces = [data]
        if len(data) > 1 and dice.random() < SPLIT_SHARE:
            cut = dice.randrange(1, len(data))
            pieces = [data[:cut], data[cut:]]
        for piece in pieces:
            self._unread += len(piece)
            self._send(piece)
        if self._unread > self._high_bytes and not self._full:
            self._full = True
            cast(asyncio.Protocol, self.protocol).pause_writing()

    def _send(self, piece: bytes | None) -> None:
        loop, dice = asyncio.get_running_loop(), self._dice
        delay_s = SLOW_S if dice.random() < SLOW_SHARE else dice.uniform(*DELAY_S)
        self._arrival_s = max(self._arrival_s + STEP_S, loop.time() + delay_s)
        peer = self.peer
        assert peer is not None
        loop.call_at(self._arrival_s, peer._arrive, piece, context=peer._context)

    def _arrive(self, piece: bytes | None) -> None:
        if not self._open:
            return
        if not self._reading:
            self._pieces.append(piece)
        elif piece is None:
            self._hear_end()
        else:
            self._hear(piece)

    def _hear(self, piece: bytes) -> None:
        assert self.peer is not None
        self.peer._taken(len(piece))
        cast(asyncio.Protocol, self.protocol).data_received(piece)

    def _hear_end(self) -> None:
        cast(asyncio.Protocol, self.protocol).eof_received()
        self.lose(None)

    def _taken(self, count: int) -> None:
        self._unread -= count
        if self._full and self._unread <= self._high_bytes // 4 and self._open:
            self._full = False
            self._context.run(cast(asyncio.Protocol, self.protocol).resume_writing)

    def lose(self, error: Exception | None) -> None:
        """The connection is over for this end."""
        if self._open:
            self._open = False
            self.process.ports.pop(self, None)
            self._network.endpoints.pop(self, None)
            if self.process.alive:
                asyncio.get_running_loop().call_soon(
                    cast(asyncio.BaseProtocol, self.protocol).connection_lost, error, context=self._context
                )

    def close(self) -> None:
        """Let what was written arrive, then hang up."""
        if self._closing or not self._open:
            return
        self._closing = True
        self._send(None)
        self.lose(None)

    def abort(self) -> None:
        """Hang up; what is under way is lost."""
        self._closing = True
        self.cut(None)

    def cut(self, error: Exception | None = None) -> None:
        """Cut the link: both ends lose it, with what is under way."""
        peer = self.peer
        self.lose(error)
        if peer is not None:
            peer.lose(ConnectionResetError("the link was cut"))

    def die(self) -> None:
        """The process of this end is dead: the kernel hangs up for it."""
        peer = self.peer
        self._open = False
        self._network.endpoints.pop(self, None)
        if peer is not None:
            peer.lose(ConnectionResetError("the other side died"))

    def is_closing(self) -> bool:
        """Whether the end has begun."""
        return self._closing or not self._open

    def get_write_buffer_size(self) -> int:
        """Bytes that the peer has not got yet."""
        return self._unread

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bytes above which the protocol is asked to pause."""
        self._high_bytes = HIGH_WATER_BYTES if high is None else high

    def pause_reading(self) -> None:
        """Keep what comes."""
        self._reading = False

    def resume_reading(self) -> None:
        """Hand over what came, then listen again."""
        self._reading = True
        asyncio.get_running_loop().call_soon(self._catch_up, context=self._context)

    def _catch_up(self) -> None:
        while self._reading and self._pieces and self._open:
            piece = self._pieces.popleft()
            if piece is None:
                self._hear_end()
            else:
                self._hear(piece)

    def can_write_eof(self) -> bool:
        """No half-closed links."""
        return False


class Listener:
    """A listening socket of one process."""

    def __init__(self, network: "Network", path: str, factory: Factory, process: Process) -> None:
        self._network, self._path, self._context = network, path, copy_context()
        self.factory, self.process = factory, process
        process.ports[self] = None
        network.listeners[path] = self

    def accept(self, dialer: Endpoint) -> Endpoint:
        """The server's end of a new link."""
        end = Endpoint(self._network, self.process, self._path, self._context.copy())
        end.peer, dialer.peer = dialer, end
        return end

    def close(self) -> None:
        """Stop listening."""
        if self._network.listeners.get(self._path) is self:
            del self._network.listeners[self._path]

    def die(self) -> None:
        """The process is dead."""
        self.close()


class Network:
    """All listening programs and all links."""

    def __init__(self, dice: random.Random, point: Point) -> None:
        """`point` is called before each write: the process may be killed there."""
        self.dice = dice
        self.point = point
        self.listeners: dict[str, Listener] = {}
        self.endpoints: dict[Endpoint, None] = {}

    def listen(self, factory: Factory, path: str) -> Listener:
        """Listen at `path` for the current process."""
        return Listener(self, path, factory, current())

    async def connect(self, factory: Factory, path: str) -> tuple[Endpoint, Any]:
        """Dial `path`. Raises ConnectionRefusedError."""
        await asyncio.sleep(self.dice.uniform(*DELAY_S))
        process, listener = PROCESS.get(), self.listeners.get(path)
        if listener is None or process is None or not process.alive:
            raise ConnectionRefusedError(f"nobody listens at {path}")
        here = Endpoint(self, process, path, copy_context())
        there = listener.accept(here)
        self.endpoints |= {here: None, there: None}
        here.begin(factory)
        there.begin(listener.factory)
        return here, here.protocol

    def cut_one(self) -> str | None:
        """Cut a link that the seed chooses; returns its path."""
        if not self.endpoints:
            return None
        end = self.dice.choice(list(self.endpoints))
        end.cut(ConnectionResetError("the link was cut"))
        return end.path
