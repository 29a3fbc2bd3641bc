"""The consumer: exactly once, whatever breaks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import numpy as np
import pytest

from settlement.clearing import CHAIN_START, Batch, ClearingFault, Position, default_terms
from settlement.settler import BATCH_COMMANDS_MAX, EngineRegressed, Settler, batches, check_regress
from settlement.store import DatabaseDown, Store
from tests.fakes import FakeEngine, FakeLink

WAIT_S = 10.0


@pytest.fixture
async def engine(database: str) -> FakeEngine:
    """An engine that settlement has asked to open 200 accounts, so that events are cheap to make."""
    connection = await asyncpg.connect(database)
    await connection.execute(
        "INSERT INTO outbox (number, command) SELECT n, '' FROM generate_series(1, 9999) n"
    )
    await connection.close()
    return FakeEngine()


def open_accounts(engine: FakeEngine, count: int) -> None:
    """`count` commands, one event each, in one frame."""
    for _ in range(count):
        engine.outbox += 1
        engine.tape.opened(engine.outbox, engine.outbox)
    engine.publish()


async def opened(database: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM money_balance WHERE account & 255 = 16")
        return count
    finally:
        await connection.close()


class Running:
    """A settler at work, with what it told."""

    def __init__(self, store: Store, engine: FakeEngine) -> None:
        self.told: list[Batch] = []
        self.settler = Settler(store, engine.event_link, default_terms(), self._tell)
        self.task = asyncio.ensure_future(self.settler.run())

    async def _tell(self, batch: Batch) -> None:
        self.told.append(batch)


@pytest.fixture
async def running(store: Store, engine: FakeEngine) -> AsyncIterator[Running]:
    running = Running(store, engine)
    yield running
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)


async def test_events_are_posted_in_order_and_told_after_the_commit(
    running: Running, engine: FakeEngine, database: str
) -> None:
    open_accounts(engine, 3)
    assert await running.settler.reached(3, WAIT_S)
    open_accounts(engine, 2)

    assert await running.settler.reached(5, WAIT_S)

    assert await opened(database) == 5
    assert [batch.after.sequence for batch in running.told] == [3, 5]


async def test_a_lost_engine_is_met_again_where_the_books_end(
    running: Running, engine: FakeEngine, database: str
) -> None:
    open_accounts(engine, 3)
    assert await running.settler.reached(3, WAIT_S)

    engine.hang_up()
    engine.down = True
    open_accounts(engine, 3)
    await asyncio.sleep(0.1)
    engine.down = False

    assert await running.settler.reached(6, WAIT_S)
    assert await opened(database) == 6


async def test_a_killed_connection_costs_nothing_and_doubles_nothing(
    running: Running, engine: FakeEngine, database: str
) -> None:
    connection = await asyncpg.connect(database)
    for _ in range(5):
        open_accounts(engine, 40)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    await connection.close()

    assert await running.settler.reached(200, 3 * WAIT_S)
    assert await opened(database) == 200


async def test_an_unknown_commit_is_settled_by_reading_the_cursor(
    store: Store, engine: FakeEngine, database: str
) -> None:
    settler = Settler(ForgetfulStore(store), engine.event_link, default_terms())  # type: ignore[arg-type]
    task = asyncio.ensure_future(settler.run())
    open_accounts(engine, 7)

    assert await settler.reached(7, WAIT_S)

    assert await opened(database) == 7
    task.cancel()


class ForgetfulStore:
    """Commits the first batch, and dies before it says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._died = False

    async def position(self) -> Position:
        return await self._store.position()

    async def post(self, batch: Batch) -> None:
        await self._store.post(batch)
        if not self._died:
            self._died = True
            raise DatabaseDown("died after the commit")


async def test_an_engine_whose_log_ends_before_the_books_ends_settlement(
    running: Running, engine: FakeEngine
) -> None:
    open_accounts(engine, 5)
    assert await running.settler.reached(5, WAIT_S)

    engine.tape.sequence = 4
    engine.hang_up()

    with pytest.raises(EngineRegressed, match="log ends at command 4, the books at 5"):
        await asyncio.wait_for(running.task, WAIT_S)


def test_an_engine_of_a_lower_epoch_is_a_regress() -> None:
    link = FakeLink(FakeEngine(epoch=2))

    with pytest.raises(EngineRegressed, match="epoch is 2, the books know 3"):
        check_regress(Position(0, 3, CHAIN_START), link)


async def test_a_gap_in_the_stream_ends_settlement(
    running: Running, engine: FakeEngine, database: str
) -> None:
    open_accounts(engine, 1)
    engine.tape.opened(2, 2)
    engine.tape.rows[-1]["index"] = 1  # its event 0 is missing
    engine.publish()

    with pytest.raises(ClearingFault, match="gap"):
        await asyncio.wait_for(running.task, WAIT_S)

    assert await opened(database) <= 1


async def test_one_large_frame_is_posted_in_batches_of_whole_commands(
    running: Running, engine: FakeEngine, database: str
) -> None:
    open_accounts(engine, 2 * BATCH_COMMANDS_MAX + 10)

    assert await running.settler.reached(2 * BATCH_COMMANDS_MAX + 10, WAIT_S)

    assert [batch.events for batch in running.told] == [BATCH_COMMANDS_MAX, BATCH_COMMANDS_MAX, 10]


def test_batches_never_divide_a_command() -> None:
    tape = FakeEngine().tape
    fill = {"seller": 1, "lot": 1, "price": 1, "quantity_kg": 1}
    for _ in range(BATCH_COMMANDS_MAX + 1):
        tape.buy(2, 0, fill, fill)
    events: Any = tape.take()

    parts = batches(events)

    assert [len(np.unique(part["sequence"])) for part in parts] == [BATCH_COMMANDS_MAX, 1]
    assert all(part["index"][0] == 0 for part in parts)
    assert sum(len(part) for part in parts) == len(events)
