"""A client's link to one gateway: requests out, responses and pushes in.

LineDown    the link ended, or the answer did not come in time: nobody knows what became of the request
"""

import asyncio
import struct
from collections.abc import Callable
from time import time_ns
from typing import Any, cast

import msgspec

from engine.frames import LinkDownError
from gateway.session import signed_logon
from tests.simulation.network import Endpoint
from tests.simulation.programs import FRAME, PONG, TEXT

ANSWER_S = 1.5
CHANNELS = frozenset({"private", "depth", "trades"})
_OPCODE_PING = 0x89


class LineDown(LinkDownError):
    """The outcome of what was under way is unknown."""


class Line(asyncio.Protocol):
    """One WebSocket connection of a client."""

    def __init__(self, on_event: Callable[[Any], None]) -> None:
        loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._asked = 0
        self.hello: asyncio.Future[Any] = loop.create_future()
        self.gone = asyncio.Event()
        self.why = ""  # the server's last word

    @classmethod
    async def dial(cls, path: str, on_event: Callable[[Any], None]) -> "Line":
        """Connect and read the greeting. Raises LineDown."""
        loop = asyncio.get_running_loop()
        try:
            _, line = await loop.create_unix_connection(lambda: cls(on_event), path)
            await asyncio.wait_for(line.hello, ANSWER_S)
        except (OSError, TimeoutError) as error:
            raise LineDown(str(error)) from error
        return line

    async def logon(self, seed: bytes, **options: Any) -> Any:
        """Prove the key, with a logon's other fields; returns the answer. Raises LineDown."""
        message = signed_logon(seed, self.hello.result()["nonce"], time_ns(), "logon", **options)
        return await self._exchange("logon", msgspec.json.encode(message))

    async def ask(self, op: str, **fields: Any) -> Any:
        """One request, its answer. Raises LineDown."""
        self._asked += 1
        request_id = f"r{self._asked}"
        return await self._exchange(request_id, msgspec.json.encode({"op": op, "id": request_id} | fields))

    async def _exchange(self, request_id: str, body: bytes) -> Any:
        if self.gone.is_set() or self._transport is None:
            raise LineDown("the line is down")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        self._transport.write(FRAME.pack(TEXT, len(body)) + body)
        try:
            return await asyncio.wait_for(answer, ANSWER_S)
        except TimeoutError:
            raise LineDown("no answer in time") from None
        finally:
            self._waiting.pop(request_id, None)

    def hang_up(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Endpoint, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (frame := self._cut()) is not None:
            opcode, body = frame
            if opcode == _OPCODE_PING:
                assert self._transport is not None
                self._transport.write(FRAME.pack(PONG, 0))
            else:
                self._take(msgspec.json.decode(body))

    def _cut(self) -> tuple[int, bytes] | None:
        """The next frame of RFC 6455 section 5.2, unmasked."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1], 2
        if length >= 126:
            layout = struct.Struct(">H" if length == 126 else ">Q")
            if len(buffer) < 2 + layout.size:
                return None
            (length,), start = layout.unpack_from(buffer, 2), 2 + layout.size
        if len(buffer) < start + length:
            return None
        self._buffer = buffer[start + length :]
        return buffer[0], buffer[start : start + length]

    def _take(self, message: Any) -> None:
        channel = message.get("channel") if "id" not in message else None
        if channel == "hello":
            self.hello.set_result(message)
        elif channel in CHANNELS:
            self._on_event(message)
        elif channel is None:
            answer = self._waiting.get(message["id"])
            if answer is not None and not answer.done():
                answer.set_result(message)
        else:
            self.why = str(message)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        if not self.hello.done():
            self.hello.set_exception(ConnectionResetError("hung up before the greeting"))
            self.hello.exception()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LineDown("the line broke"))
                answer.exception()
