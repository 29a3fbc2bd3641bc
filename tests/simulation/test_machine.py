"""The simulated machine keeps the promises of a real one, and no others."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from settlement.queries import QUERIES
from tests.simulation.database import Database
from tests.simulation.disk import SECTOR, Entries, SimulatedDisk, SimulatedFolder
from tests.simulation.loop import StuckError, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.process import Killed, Process


def never(process: Process, kind: str) -> None:
    """No fault at this point."""


def virtual(work: Callable[[VirtualLoop], Awaitable[Any]], seed: int = 1) -> Any:
    """The result of `work` on a virtual loop, run as a process of its own."""
    dice = random.Random(seed)
    loop = VirtualLoop(dice, Network(dice, never))

    async def main() -> Any:
        return await Process("test").start(work(loop))  # type: ignore[arg-type]

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def folder_on(disk: SimulatedDisk, process: Process) -> SimulatedFolder:
    return SimulatedFolder(disk, process, disk.folders.setdefault("log", Entries()))


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk(random.Random(1), never)


def test_synced_bytes_survive_every_power_cut(disk: SimulatedDisk) -> None:
    folder = folder_on(disk, Process("engine"))
    folder.create("a", 8 * SECTOR)
    file = folder.open("a")
    file.write(0, b"steel" * 100)
    file.sync()

    for _ in range(50):
        file.write(4 * SECTOR, b"rubbish" * 200)
        disk.lose_power()
        assert folder.open("a").read(0, 500) == b"steel" * 100


def test_unsynced_sectors_are_lost_kept_or_mixed(disk: SimulatedDisk) -> None:
    folder = folder_on(disk, Process("engine"))
    outcomes = set()
    for number in range(60):
        folder.create(f"{number}", 4 * SECTOR)
        file = folder.open(f"{number}")
        file.write(0, b"x" * 4 * SECTOR)
        disk.lose_power()
        after = folder.open(f"{number}").read(0, 4 * SECTOR)
        outcomes.add(tuple(after[at : at + 1] == b"x" for at in range(0, 4 * SECTOR, SECTOR)))

    assert {(False,) * 4, (True,) * 4, (False, False, True, True)} <= outcomes
    assert len(outcomes) > 6


def test_page_cache_survives_a_kill(disk: SimulatedDisk) -> None:
    process = Process("engine")
    folder = folder_on(disk, process)
    folder.create("a", SECTOR)
    folder.open("a").write(0, b"unsynced")

    process.kill()

    with pytest.raises(Killed):
        folder.names()
    assert folder_on(disk, Process("engine")).open("a").read(0, 8) == b"unsynced"


def test_time_passes_without_waiting() -> None:
    async def work(loop: VirtualLoop) -> float:
        before_s = loop.time()
        await asyncio.sleep(86_400)
        return loop.time() - before_s

    assert virtual(work) == pytest.approx(86_400)


def test_waiting_for_nothing_is_noticed() -> None:
    async def work(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError):
        virtual(work)


@pytest.mark.parametrize("seed", range(8))
def test_link_delivers_in_order_and_tells_the_end(seed: int) -> None:
    async def work(loop: VirtualLoop) -> bytes:
        done: asyncio.Future[bytes] = loop.create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            done.set_result(await reader.read())

        await asyncio.start_unix_server(serve, "door")
        _, writer = await asyncio.open_unix_connection("door")
        for number in range(100):
            writer.write(f"{number},".encode())
        writer.close()
        return await done

    assert virtual(work, seed) == "".join(f"{number}," for number in range(100)).encode()


def test_killed_program_hangs_up_and_says_nothing_more() -> None:
    async def work(loop: VirtualLoop) -> tuple[bytes, bool]:
        server, ready = Process("server"), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(b"before")
                await asyncio.Event().wait()
            finally:
                writer.write(b"after")

        async def listen() -> None:
            await asyncio.start_unix_server(serve, "door")
            ready.set()

        server.start(listen())
        await ready.wait()
        reader, _ = await asyncio.open_unix_connection("door")
        first = await reader.readexactly(6)
        server.kill()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_unix_connection("door")
        return first, bool(server.tasks)

    assert virtual(work)[0] == b"before"


def test_transaction_is_seen_when_committed_and_gone_when_broken() -> None:
    async def work(loop: VirtualLoop) -> list[int]:
        database, seen = Database(random.Random(1), never), []
        writing, reading = await database.connect("x"), await database.connect("x")
        async with writing.transaction():
            await writing.fetchval(QUERIES["next_outbox_number"])
            async with reading.transaction():
                seen.append(len(await reading.fetch(QUERIES["outbox_waiting"], 0, 9)))
            await writing.execute(QUERIES["add_outbox"], 1, b"command")
        with pytest.raises(ConnectionResetError):
            await broken(database, writing)
        database.up = True
        again = await database.connect("x")
        async with again.transaction():
            seen.append(len(await again.fetch(QUERIES["outbox_waiting"], 0, 9)))
        return seen

    assert virtual(work) == [0, 1]


async def broken(database: Database, connection: Any) -> None:
    """A transaction in whose middle the server is killed."""
    async with connection.transaction():
        await connection.execute(QUERIES["add_outbox"], 2, b"command")
        database.crash()
        await connection.execute(QUERIES["add_outbox"], 3, b"command")


def test_one_transaction_writes_at_a_time_and_a_key_stands_once() -> None:
    async def work(loop: VirtualLoop) -> None:
        database = Database(random.Random(1), never)

        async def add(number: int) -> int:
            connection = await database.connect("x")
            async with connection.transaction():
                given: int = await connection.fetchval(QUERIES["next_outbox_number"])
                await asyncio.sleep(0.01 * number)
                await connection.execute(QUERIES["add_outbox"], given, b"command")
                return given

        assert sorted(await asyncio.gather(*(add(number) for number in range(5)))) == [1, 2, 3, 4, 5]
        connection = await database.connect("x")
        async with connection.transaction():
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute(QUERIES["add_outbox"], 3, b"command")

    virtual(work)
