"""A gateway in the test's own loop, beside a fake engine and a directory with three members."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import time_ns
from typing import Any

import aiohttp
import pytest

from engine.location import Location
from engine.requests import Key, LotRow, MemberRow
from gateway.codec import INSTRUMENT_NUMBERS, encode
from gateway.config import Config
from gateway.engine_feed import SocketConnector
from gateway.server import Gateway
from gateway.session import signed_logon
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.real_core import House

OPERATOR, SELLER, BUYER, READER = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32, bytes([4]) * 32
STRANGER = bytes([9]) * 32
COIL, COIL_NUMBER = "HC5.75-LG", INSTRUMENT_NUMBERS["HC5.75-LG"]  # goods that are listed and picked
SECONDS = 5.0


def public_key(seed: bytes) -> str:
    return signed_logon(seed, "c0:0", 0).key


def members() -> list[MemberRow]:
    return [
        MemberRow(member=0, code="platform", name="Lecong", group=0,
                  keys=(Key(public_key(OPERATOR), ("operate", "settle", "warehouse")),)),
        MemberRow(member=1, code="shaoguan", name="Shaoguan Steel", group=1,
                  keys=(Key(public_key(SELLER), ("trade", "read")),)),
        MemberRow(member=2, code="guangzhou", name="Guangzhou Build", group=2,
                  keys=(Key(public_key(BUYER), ("trade", "read")), Key(public_key(READER), ("read",)))),
    ]  # fmt: skip


LOT = LotRow(
    lot=7, member=1, receipt="R-7", instrument="RB12-9-SG", warehouse="LC01", units=12, quantity_kg=1230
)


class Peer:
    """A bare WebSocket client: what a person with any tool could type and see."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.pushes: list[dict[str, Any]] = []
        self._number = 0

    async def next(self) -> dict[str, Any]:
        """The next frame."""
        message = await self.socket.receive(SECONDS)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        frame: dict[str, Any] = json.loads(message.data)
        return frame

    async def push(self, channel: str) -> dict[str, Any]:
        """The next push of a channel; those seen while waiting for responses come first."""
        for at, frame in enumerate(self.pushes):
            if frame["channel"] == channel:
                return self.pushes.pop(at)
        while True:
            frame = await self.next()
            if frame.get("channel") == channel and "ok" not in frame:
                return frame
            self.pushes.append(frame)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its response."""
        self._number += 1
        request_id = f"r{self._number}"
        await self.socket.send_str(json.dumps({"op": op, "id": request_id} | fields))
        return await self.response(request_id)

    async def response(self, request_id: str | None) -> dict[str, Any]:
        """The response of that id."""
        while True:
            frame = await self.next()
            if "ok" in frame and frame["id"] == request_id:
                return frame
            self.pushes.append(frame)

    async def ends(self) -> int:
        """Read until the server closes; the close code."""
        while True:
            message = await self.socket.receive(SECONDS)
            if message.type is aiohttp.WSMsgType.TEXT:
                self.pushes.append(json.loads(message.data))
            else:
                assert self.socket.close_code is not None
                return self.socket.close_code


Connect = Callable[..., Awaitable[Peer]]


@pytest.fixture
def house() -> House:
    """A gateway with the real core behind it, and no socket."""
    return House()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    fake = FakeEngine(tmp_path)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    location = Location(tmp_path / "var").create()
    one = Gateway(
        Config(location, port=0, logon_seconds=0.5), SocketConnector(engine.commands_path, engine.events_path)
    )
    one.directory.merge(members(), [LOT])
    one.directory.current = True
    await one.start()
    await until(lambda: one.desk.available)
    yield one
    await one.stop()


@pytest.fixture
async def connect(gateway: Gateway) -> AsyncIterator[Connect]:
    async with aiohttp.ClientSession() as http:

        async def dial(seed: bytes | None = None) -> Peer:
            socket = await http.ws_connect(f"http://127.0.0.1:{gateway.port}/ws", max_msg_size=1 << 22)
            peer = Peer(socket)
            hello = await peer.next()
            peer.pushes.append(hello)
            if seed is not None:
                await socket.send_str(encode(signed_logon(seed, hello["nonce"], time_ns())).decode())
                answer = await peer.response("logon")
                assert answer["ok"], answer
            return peer

        yield dial


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact of another task."""
    for _ in range(500):
        if fact():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def order(number: int = 1, **changed: Any) -> dict[str, Any]:
    """A buy of 10.004 t RB12-9-SG at 2330.00."""
    return {
        "client_order_id": f"o{number}", "instrument": "RB12-9-SG", "side": "buy", "price": "2330.00",
        "quantity": "10.004",
    } | changed  # fmt: skip
