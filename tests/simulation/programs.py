"""The three programs as the simulation starts them: production objects, wired as their own mains wire them.

Law: nothing here decides anything; what differs from production is the machine underneath.
"""

import asyncio
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import WSMessage, WSMsgType

from engine.core.layout import Capacity
from engine.exchange import Exchange
from engine.forked import Ended, Job
from engine.instruments import Instrument, load_instruments
from engine.location import Location
from engine.machine import Machine
from engine.service import Engine, Settings
from engine.snapshot import SnapshotError
from gateway.config import Config
from gateway.server import Gateway
from settlement.service import Service
from tests.simulation.loop import Later, SimulatedClerk, VirtualLoop
from tests.simulation.network import Endpoint
from tests.simulation.report import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

CAPACITY: Final = Capacity(orders=512, levels=1 << 14, instruments=16, accounts=16, lots=64, day=1024)
SEGMENT_BYTES: Final = 1 << 19  # the smallest that holds the largest block is 516 KiB; blocks here are small
RESERVE_BYTES: Final = 1 << 16
SNAPSHOT_COMMANDS: Final = 3  # the first crashes come early
NO_SNAPSHOTS: Final = 0
REBAR, COIL = "RB20-12-SG", "HC5.75-LG"
MAKING_S: Final = (0.001, 0.1)  # a segment
FRAME: Final = struct.Struct("<BI")  # of the simulated WebSocket, client to server: kind, length
TEXT, PONG = 1, 2


def products() -> tuple[Instrument, ...]:
    """The two products that are traded here: one BOOK, one LISTED."""
    return tuple(product for product in load_instruments() if product.code in (REBAR, COIL))


class SimulatedSettings(Settings):
    """What the environment would say."""

    def __init__(self, segment_bytes: int, snapshot_commands: int) -> None:
        self.stepped, self.always_open, self.calendar = False, True, None
        self.segment_bytes, self.reserve_bytes = segment_bytes, RESERVE_BYTES
        self.snapshot_commands, self.events_kept = snapshot_commands, 0
        self.products = products()


async def engine(world: "World") -> None:
    """Recover and serve. Raises what ends an engine."""
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    machine = Machine(
        disk=world.disk.folder,
        clock=lambda: world.clock,
        beside=lambda work: Later(loop, world.dice.uniform(*MAKING_S), work),
        clerk=lambda name: SimulatedClerk(loop),
        ahead=iter,
        now_s=loop.time,
        begin=lambda job, ended: Snapshot(loop, world.dice.uniform(*MAKING_S), job, ended),
    )
    settings = SimulatedSettings(world.segment_bytes, world.snapshot_commands)
    running = Engine(world.location, settings, Exchange(CAPACITY), machine)
    world.engine = running
    world.auditor.recovered(running)
    await running.serve()


class Snapshot:
    """Stands in for the forked child: writes at once what is there at once, and ends a little later."""

    def __init__(self, loop: VirtualLoop, after_s: float, job: Job, ended: Ended) -> None:
        trouble = None
        try:
            job()
        except OSError as error:
            trouble = str(error)
        except SnapshotError as error:  # nobody damages memory here
            raise Violation("invariant", str(error)) from error
        self._timer = loop.call_later(after_s, ended, trouble)

    def kill(self) -> None:
        """Tell nobody."""
        self._timer.cancel()


async def settlement(world: "World") -> None:
    """Serve. Raises what ends settlement."""
    await Service(world.location, "simulated", world.database.connect).serve(traders=False)


async def gateway(world: "World", path: str) -> None:
    """Serve clients at `path`. Raises what ends a gateway."""
    loop = asyncio.get_running_loop()
    worker = Gateway(Config(world.location))
    worker.begin()
    server = await loop.create_unix_server(lambda: Door(worker), path)
    try:
        await worker.failed()
    finally:
        server.close()


def location(folder: Path) -> Location:
    """The paths of the simulated machine; only the operator's key is a real file."""
    return Location(folder)


class Door(asyncio.Protocol):
    """The gateway's end of a client's link: bytes to WebSocket messages."""

    def __init__(self, worker: Gateway) -> None:
        self._worker, self._buffer = worker, b""
        self._messages: asyncio.Queue[WSMessage] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None
        self._attending: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Endpoint, transport)
        self._attending = asyncio.ensure_future(self._worker.attend(cast(Any, self), self._transport))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= FRAME.size:
            kind, length = FRAME.unpack_from(self._buffer)
            end = FRAME.size + length
            if len(self._buffer) < end:
                return
            body, self._buffer = self._buffer[FRAME.size : end], self._buffer[end:]
            self._messages.put_nowait(
                WSMessage(WSMsgType.TEXT if kind == TEXT else WSMsgType.PONG, body, None)
            )

    def connection_lost(self, error: Exception | None) -> None:
        self._messages.put_nowait(WSMessage(WSMsgType.CLOSED, None, None))

    async def receive(self) -> WSMessage:
        """The next message."""
        return await self._messages.get()

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()
        self._messages.put_nowait(WSMessage(WSMsgType.CLOSED, None, None))
        return True
