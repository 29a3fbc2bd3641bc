"""Law 8 against a real PostgreSQL: whole or not at all, once, append-only."""

import asyncio
from typing import Any

import asyncpg
import pytest

from engine.vocabulary import Reason
from settlement.clearing import Batch, Position, clear, default_terms
from settlement.store import CursorMoved, DatabaseDown, LedgerFault, Store
from tests.fakes import Tape
from tests.settlement.exchange import REBAR_NUMBER as REBAR

TABLES = ("contract", "contract_transition", "money_entry", "goods_entry", "batch")


@pytest.fixture
async def sql(database: str) -> Any:
    """A second pair of eyes on the same database."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def waiting_commands(sql: Any, count: int) -> None:
    """The outbox as the register would have left it."""
    await sql.executemany(
        "INSERT INTO outbox (number, command) VALUES ($1, '')", [(n + 1,) for n in range(count)]
    )


def opening(tape: Tape) -> None:
    """Two members with money and a lot of 29,880 kg, listed: outbox numbers 1 to 5."""
    tape.opened(1, 1)
    tape.opened(2, 2)
    tape.deposited(1, 1_000_00, 3)
    tape.deposited(2, 100_000_00, 4)
    tape.registered(7, 1, REBAR, 29_880, 5)
    tape.sell(1, 7, REBAR, 226_000, 29_880)


def fill(tape: Tape, quantity_kg: int = 29_880) -> None:
    tape.buy(2, REBAR, {"seller": 1, "lot": 7, "price": 226_000, "quantity_kg": quantity_kg})


def batch_of(tape: Tape, before: Position) -> Batch:
    return clear(tape.take(), before, 1, default_terms())


async def contents(sql: Any) -> dict[str, int]:
    return {table: await sql.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_a_batch_books_contracts_entries_balances_answers_and_the_cursor(
    store: Store, sql: Any
) -> None:
    await waiting_commands(sql, 5)
    tape = Tape()
    opening(tape)
    fill(tape)

    batch = batch_of(tape, await store.position())
    await store.post(batch)

    assert await store.position() == batch.after
    assert await contents(sql) == {
        "contract": 1,
        "contract_transition": 3,
        "money_entry": 8,
        "goods_entry": 3,
        "batch": 1,
    }
    balances = dict(await sql.fetch("SELECT account, amount_fen FROM money_balance WHERE amount_fen <> 0"))
    assert balances == {
        1: -101_000_00,
        2: 2 * 14_09,
        3: 2 * 85,
        1 << 8 | 16: 1_000_00 - 14_94,
        2 << 8 | 16: 100_000_00 - 67_528_80 - 14_94,
        2 << 8 | 18: 67_528_80,
    }
    assert await sql.fetchval("SELECT array_agg(state ORDER BY number) FROM outbox") == [1, 1, 1, 1, 1]


async def test_the_same_batch_twice_is_refused_and_nothing_doubles(store: Store, sql: Any) -> None:
    await waiting_commands(sql, 5)
    tape = Tape()
    opening(tape)
    batch = batch_of(tape, await store.position())
    await store.post(batch)
    before = await contents(sql)

    with pytest.raises(CursorMoved):
        await store.post(batch)

    assert await contents(sql) == before
    assert await store.position() == batch.after


async def test_a_batch_from_another_cursor_is_refused_whole(store: Store, sql: Any) -> None:
    await waiting_commands(sql, 5)
    tape = Tape()
    opening(tape)

    with pytest.raises(CursorMoved):
        await store.post(batch_of(tape, Position(0, 1, bytes(32))))  # the books are at epoch 0

    assert set((await contents(sql)).values()) == {0}
    assert await sql.fetchval("SELECT count(*) FROM money_balance") == 5
    assert await sql.fetchval("SELECT sum(state) FROM outbox") == 0


async def test_a_commit_that_is_still_under_way_is_waited_for_before_the_cursor_counts(
    store: Store, sql: Any
) -> None:
    leaving = sql.transaction()
    await leaving.start()
    await sql.execute("UPDATE settlement_cursor SET sequence = 7, epoch = 1")

    asked = asyncio.ensure_future(store.position())
    while not await sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        assert not asked.done(), "nobody knows yet how far the books are"
    await leaving.commit()

    assert (await asked)[:2] == (7, 1)


async def test_a_transaction_that_its_client_leaves_open_ends_by_itself(
    store: Store, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.store.ABANDONED_AFTER", "200ms")
    waiting, taken = "SELECT sequence FROM settlement_cursor FOR UPDATE", list[int]()

    async def leave_open() -> None:
        async with store._connection.transaction() as connection:
            await connection.execute(waiting)
            taken.append(await asyncio.wait_for(sql.fetchval(waiting), 10))  # by somebody else

    with pytest.raises(DatabaseDown):
        await leave_open()
    assert taken == [0]


@pytest.mark.parametrize("table", ["money_entry", "goods_entry", "contract_transition", "batch", "contract"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "TRUNCATE {}"])
async def test_nothing_is_deleted_from_the_books(store: Store, sql: Any, table: str, change: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
        await sql.execute(change.format(table))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE money_entry SET amount_fen = 1",
        "UPDATE goods_entry SET quantity_kg = 1",
        "UPDATE contract_transition SET attempt = 2",
        "UPDATE batch SET events = 0",
        "UPDATE contract SET amount_fen = 1",
    ],
)
async def test_nothing_in_the_books_is_rewritten(sql: Any, change: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
        await sql.execute(change)


@pytest.mark.parametrize(
    ("quantity_kg", "price", "table"), [(29_881, 100, "goods_balance"), (29_880, 999_900, "money_balance")]
)
async def test_a_balance_below_zero_stops_settlement_and_books_nothing(
    store: Store, sql: Any, quantity_kg: int, price: int, table: str
) -> None:
    await waiting_commands(sql, 5)
    tape = Tape()
    opening(tape)
    opened = batch_of(tape, await store.position())
    await store.post(opened)
    tape.buy(2, REBAR, {"seller": 1, "lot": 7, "price": price, "quantity_kg": quantity_kg})

    with pytest.raises(LedgerFault, match=f'"{table}" violates check constraint'):
        await store.post(batch_of(tape, opened.after))

    assert (await contents(sql))["contract"] == 0
    assert await store.position() == opened.after


async def test_a_fill_of_an_account_that_is_not_open_stops_settlement(store: Store, sql: Any) -> None:
    tape = Tape()
    fill(tape)

    with pytest.raises(LedgerFault, match="accounts moved by the engine"):
        await store.post(batch_of(tape, await store.position()))


async def test_an_answer_to_a_command_never_sent_stops_settlement(store: Store, sql: Any) -> None:
    tape = Tape()
    tape.opened(1, 1)

    with pytest.raises(LedgerFault, match="has not sent"):
        await store.post(batch_of(tape, await store.position()))


async def test_a_refused_registration_frees_its_receipt(store: Store, sql: Any) -> None:
    await waiting_commands(sql, 2)
    await sql.execute("INSERT INTO member VALUES (1, 'mill', 'Mill', 0, 1)")
    await sql.execute(
        "INSERT INTO lot VALUES (1, 1, 'R-1', 13, 'LC-SW-A', 1, 2490, '', '', NULL, 'prime', '', '', 2)"
    )
    tape = Tape()
    tape.opened(1, 1)
    tape.refused(2, Reason.LOTS_FULL)

    await store.post(batch_of(tape, await store.position()))

    assert await sql.fetchval("SELECT refused FROM lot") is True
    assert await sql.fetchrow("SELECT state, reason FROM outbox WHERE number = 2") == (2, Reason.LOTS_FULL)


async def test_a_connection_killed_in_the_middle_books_nothing_and_the_next_attempt_all(
    store: Store, sql: Any
) -> None:
    await waiting_commands(sql, 5)
    tape = Tape()
    opening(tape)
    fill(tape)
    batch = batch_of(tape, await store.position())
    await sql.execute("BEGIN; LOCK TABLE goods_entry IN EXCLUSIVE MODE")  # holds the post in its middle
    posting = asyncio.ensure_future(store.post(batch))
    await until_blocked(sql)

    await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    with pytest.raises(DatabaseDown):
        await posting
    await sql.execute("ROLLBACK")
    assert await store.position() == batch.before
    await store.post(batch)
    assert (await contents(sql))["money_entry"] == 8


async def until_blocked(sql: Any) -> None:
    """Wait until some backend waits for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not await sql.fetchval(query):
        await sql.execute("SELECT pg_stat_clear_snapshot()")
        await asyncio.sleep(0.01)


async def test_a_database_that_is_not_there_is_named_so() -> None:
    with pytest.raises(DatabaseDown, match="does not answer"):
        await Store("postgresql://nobody@/none?host=/nonexistent").position()
