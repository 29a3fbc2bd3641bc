"""The books against the engine: they agree, and every kind of disagreement is found."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.location import Location
from settlement.reconciliation import ReconciliationError, Report, reconcile, reconcile_location
from settlement.store import Connection
from tests.settlement.exchange import REBAR_NUMBER as REBAR
from tests.settlement.exchange import Exchange

PRICE = 226_000


@pytest.fixture
async def traded(exchange: Exchange) -> Exchange:
    """Two members, a lot partly sold, partly listed, partly free; a withdrawal, a canceled listing."""
    mill, trader = await exchange.member("mill", 1_000_00), await exchange.member("trader", 100_000_00)
    lot = await exchange.lot(mill, 12)
    engine = exchange.engine
    engine.sell(lot, REBAR, PRICE, 8 * 2_490)
    engine.buy(trader, lot, REBAR, PRICE, 3 * 2_490)
    engine.buy(trader, lot, REBAR, PRICE, 2_490)
    engine.cancel(lot, REBAR, 2_490)
    await exchange.caught_up()
    return exchange


async def report(exchange: Exchange, wait_s: float = 5.0) -> Report:
    connection = exchange.connections[2]
    link = await exchange.engine.command_link()
    return await reconcile(connection, link, wait_s)


def broken(found: Report) -> list[str]:
    """The names of the checks that do not hold, without their sequences."""
    return [check.name.split(" at ")[0] for check in found.checks if not check.holds]


async def test_books_and_engine_agree_after_a_day_of_trading(traded: Exchange) -> None:
    found = await report(traded)

    assert found.reconciled
    assert found.sequence == traded.engine.tape.sequence
    assert all(check.compared > 0 for check in found.checks)


async def test_an_empty_exchange_is_reconciled(exchange: Exchange) -> None:
    await asyncio.sleep(0.1)

    assert (await report(exchange)).reconciled


async def test_it_holds_while_trading_goes_on(traded: Exchange) -> None:
    async def trade() -> None:
        for _ in range(100):
            traded.engine.sell(1, REBAR, PRICE, 10)
            traded.engine.buy(2, 1, REBAR, PRICE, 10)
            await asyncio.sleep(0.002)

    trading = asyncio.ensure_future(trade())
    reports = [await report(traded) for _ in range(8)]
    await trading

    assert [broken(found) for found in reports] == [[]] * 8
    assert reports[-1].sequence > reports[0].sequence


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("available", ["TRADING = the engine's available + held"]),
        ("free", ["FREE, LISTED, CONTRACT = the engine's"]),
        ("listed", ["FREE, LISTED, CONTRACT = the engine's", "LISTED = live sell orders"]),
    ],
)
async def test_an_engine_that_says_otherwise_is_found(
    traded: Exchange, change: str, found: list[str]
) -> None:
    match change:
        case "available":
            traded.engine.available[2] += 1
        case "free":
            traded.engine.lots[1].free -= 1
        case "listed":
            traded.engine.lots[1].listed += 1

    assert broken(await report(traded)) == found


PAID_BUT_NOT_POSTED = ["no contract without its postings"]


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        (
            "UPDATE money_balance SET amount_fen = amount_fen + 1 WHERE account = 2",
            ["money sums to 0", "kept money balances = sum of their entries"],
        ),
        (
            "UPDATE goods_balance SET quantity_kg = quantity_kg + 1 WHERE account = 258",
            ["goods sums to 0", "kept goods balances = sum of their entries"],
        ),
        ("UPDATE lot SET quantity_kg = 1", ["goods of each lot = registered kilograms"]),
        (
            "UPDATE contract SET state = 2 WHERE contract = 1",
            [
                "DEPOSIT = open contracts' deposits",
                "ESCROW = paid contracts' amounts",
                "every state was entered by its transition",
                "no contract without its postings",
            ],
        ),
        (
            "INSERT INTO contract_transition VALUES (1, 0, 4, 2)",
            ["every state was entered by its transition"],
        ),
        (
            "INSERT INTO money_entry VALUES (999999999999, 0, 5, 2, 1, 0);"
            "UPDATE money_balance SET amount_fen = amount_fen + 1 WHERE account = 2",
            [
                "money sums to 0",
                "kept money balances = sum of their entries",
                "no account below 0",
                "ROUND is 0",
            ],
        ),
        (
            "INSERT INTO goods_entry VALUES (999999999999, 1, 259, 260, 5, 2)",
            [
                "kept goods balances = sum of their entries",
                "bought = sold for every fill",
            ],
        ),
        (
            "INSERT INTO money_entry VALUES (999999999999, 1, 512 + 16, 512 + 18, 5, 3)",
            [
                "kept money balances = sum of their entries",
                "ESCROW = paid contracts' amounts",
                "no contract without its postings",
            ],
        ),
    ],
)
async def test_books_that_were_tampered_with_are_found(
    traded: Exchange, database: str, tampering: str, found: list[str]
) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(tampering)
    await connection.close()

    assert broken(await report(traded)) == found


async def test_the_trial_balance_sums_to_zero(traded: Exchange) -> None:
    rows = await traded.reader.trial_balance()

    assert [row.account for row in rows] == ["BANK", "FEE", "FEE_VAT", "TRADING", "DEPOSIT", "ESCROW"]
    assert sum(row.balance_fen for row in rows) == 0
    assert rows[0].balance_fen == -101_000_00


async def test_commands_that_move_nothing_are_passed_as_well(traded: Exchange) -> None:
    for _ in range(3):
        traded.engine.tape.repeated(outbox=1)
    traded.engine.publish()

    assert (await report(traded, wait_s=2.0)).reconciled


async def test_settlement_that_does_not_catch_up_is_named(traded: Exchange, database: str) -> None:
    await behind(traded)

    with pytest.raises(ReconciliationError, match="settlement stands at command"):
        await report(traded, wait_s=0.2)


async def behind(exchange: Exchange) -> None:
    """Settlement is cut off, and the engine trades on."""
    exchange.settler._connect = refuse
    exchange.engine.hang_up()
    await asyncio.sleep(0.1)
    exchange.engine.sell(1, REBAR, PRICE, 10)


async def refuse(after: int) -> Any:
    raise ConnectionError("cut off")


async def test_an_engine_that_is_down_is_named(database: str, tmp_path: Path) -> None:
    with pytest.raises(ReconciliationError, match="the engine is down"):
        await reconcile_location(Location(tmp_path), database)


async def test_reading_is_all_that_it_does(traded: Exchange, database: str) -> None:
    connection = Connection(database)
    async with connection.transaction(isolation="repeatable_read", readonly=True) as snapshot:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await snapshot.execute("UPDATE lot SET remark = ''")
    await connection.close()
