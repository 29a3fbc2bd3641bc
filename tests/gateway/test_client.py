"""The client against a real gateway and a fake engine: ccxt's words in, one effect and one answer out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.vocabulary import Reason, wire_name
from gateway import client as ccxt
from gateway.client import Client
from gateway.client.errors import CLASSES
from gateway.errors import TEXTS
from gateway.server import Gateway
from tests.gateway.conftest import BUYER, COIL, COIL_NUMBER, SELLER, STRANGER, until
from tests.gateway.fake_engine import FakeEngine

SYMBOL = "RB12-9-SG"
Open = Callable[[bytes], Awaitable[Client]]


@pytest.fixture
async def opened(gateway: Gateway) -> AsyncIterator[Open]:
    clients: list[Client] = []

    async def open_client(seed: bytes) -> Client:
        one = Client(f"ws://127.0.0.1:{gateway.port}/ws", seed)
        clients.append(one)
        await one.connect()
        return one

    yield open_client
    for one in clients:
        await one.close()


async def sell(client: Client, price: str, amount: str = "10.004") -> dict[str, object]:
    return await client.create_order(SYMBOL, "limit", "sell", Decimal(amount), Decimal(price), {"lot": "7"})


async def buy(client: Client, price: str, amount: str = "10.004", **params: str) -> dict[str, object]:
    return await client.create_order(SYMBOL, "limit", "buy", Decimal(amount), Decimal(price), params)


async def test_an_order_comes_back_in_ccxt_words(opened: Open) -> None:
    seller, buyer = await opened(SELLER), await opened(BUYER)
    await sell(seller, "2300.00")

    taken = await buy(buyer, "2330.00", "20.008", clientOrderId="mine")

    assert {
        name: taken[name] for name in ("clientOrderId", "status", "filled", "remaining", "average", "cost")
    } == {
        "clientOrderId": "mine",
        "status": "open",
        "filled": Decimal("10.004"),
        "remaining": Decimal("10.004"),
        "average": Decimal("2300.00"),
        "cost": Decimal("23009.20"),
    }


async def test_every_code_of_the_table_has_an_error_class() -> None:
    ends_of_orders = {wire_name(reason) for reason in Reason if reason >= Reason.CANCELED_BY_OWNER}
    operators = {code for code in TEXTS if "exists" in code} | {
        "unsupported_command", "stale_reference", "invalid_terms", "unknown_phase", "sequence_exhausted",
        "unknown_trade",
    }  # fmt: skip

    assert set(TEXTS) - set(CLASSES) - ends_of_orders - operators == set()
    assert set(CLASSES) <= set(TEXTS)


async def test_a_stranger_is_not_let_in(gateway: Gateway) -> None:
    with pytest.raises(ccxt.AuthenticationError, match="unknown_key"):
        await Client(f"ws://127.0.0.1:{gateway.port}/ws", STRANGER).connect()


async def test_an_exchange_that_is_not_there_is_not_available() -> None:
    with pytest.raises(ccxt.ExchangeNotAvailable):
        await Client("ws://127.0.0.1:9/ws", BUYER).connect(timeout=0.2)


async def test_rejections_are_ccxt_errors_with_code_and_path(opened: Open) -> None:
    buyer = await opened(BUYER)

    with pytest.raises(ccxt.OrderNotFound) as unknown:
        await buyer.cancel_order("12345")
    with pytest.raises(ccxt.BadSymbol):
        await buyer.create_order("GOLD", "limit", "buy", 1, 1)
    with pytest.raises(ccxt.PermissionDenied):
        await buyer.deposit(2, "1.00", "bank-1")

    assert (unknown.value.code, unknown.value.path) == ("unknown_order", "$.order_id")


async def test_the_watched_book_is_the_engines(opened: Open) -> None:
    seller, buyer = await opened(SELLER), await opened(BUYER)
    await sell(seller, "2310.00")
    first = await buyer.watch_order_book(SYMBOL)

    await sell(seller, "2300.00")
    second = await buyer.watch_order_book(SYMBOL)

    assert first["asks"] == [[Decimal("2310.00"), Decimal("10.004")]]
    assert second["asks"] == [
        [Decimal("2300.00"), Decimal("10.004")],
        [Decimal("2310.00"), Decimal("10.004")],
    ]
    assert second["nonce"] > first["nonce"]
    assert buyer.heals == 0


async def test_a_gap_in_the_book_heals_by_a_fresh_snapshot(opened: Open) -> None:
    seller, buyer = await opened(SELLER), await opened(BUYER)
    await sell(seller, "2310.00")
    await buyer.watch_order_book(SYMBOL)
    buyer._books[SYMBOL].sequence = 10_000  # as if a delta had been lost

    await sell(seller, "2300.00")
    await until(lambda: buyer.heals)
    book = await buyer.watch_order_book(SYMBOL, fresh=False)

    assert [each[0] for each in book["asks"]] == [Decimal("2300.00"), Decimal("2310.00")]
    assert buyer.heals == 1


async def test_trades_and_own_fills_are_watched(opened: Open) -> None:
    seller, buyer = await opened(SELLER), await opened(BUYER)
    watching = asyncio.create_task(buyer.watch_trades(SYMBOL))
    own = asyncio.create_task(buyer.watch_my_trades())
    await asyncio.sleep(0.1)

    await sell(seller, "2300.00")
    await buy(buyer, "2300.00")
    (trade,), (fill,) = await watching, await own

    assert (trade["price"], trade["amount"], trade["side"]) == (Decimal("2300.00"), Decimal("10.004"), "buy")
    assert (fill["takerOrMaker"], fill["cost"], fill["fee"]["cost"]) == (
        "taker",
        Decimal("23009.20"),
        Decimal("5.00"),
    )
    assert fill["id"] == trade["id"]


async def test_many_open_orders_come_whole_though_they_come_by_pages(
    opened: Open, engine: FakeEngine
) -> None:
    buyer = await opened(BUYER)
    engine.rest(2500, account=2)

    orders = await buyer.fetch_open_orders()

    assert [order["id"] for order in orders] == [str(number << 22) for number in range(1, 2501)]


async def test_listings_that_change_while_they_are_read_are_read_again(
    opened: Open, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.client.office.PAGE_ROWS_MAX", 2)
    buyer = await opened(BUYER)
    engine.rest(5, account=1, instrument=COIL_NUMBER)
    asking = buyer.request

    async def request(op: str, **fields: Any) -> dict[str, Any]:
        if fields["after"] == str(2 << 22):
            engine.live.pop(2 << 22, None)  # the place where the reading stood has ended
        return await asking(op, **fields)

    monkeypatch.setattr(buyer, "request", request)
    listings = await buyer.fetch_listings(COIL)

    assert [int(each["id"]) >> 22 for each in listings] == [1, 3, 4, 5]


async def test_an_order_in_flight_when_the_engine_dies_has_one_effect_and_one_answer(
    opened: Open, engine: FakeEngine
) -> None:
    buyer = await opened(BUYER)
    engine.silent = True
    under_way = asyncio.create_task(buy(buyer, "2300.00", clientOrderId="once"))
    await until(lambda: len(engine.commands) == 1)

    await engine.stop()  # killed after the command was durable and before anyone heard of it
    engine.silent = False
    engine.epoch += 1
    await engine.start()
    answer = await under_way

    assert answer["info"]["duplicate"] is True  # type: ignore[index]
    assert answer["id"] == str(1 << 22)
    assert len(engine.live) == 1


async def test_an_order_in_flight_when_the_gateway_dies_has_one_effect_and_one_answer(
    opened: Open, engine: FakeEngine, gateway: Gateway
) -> None:
    buyer = await opened(BUYER)
    engine.silent = True
    under_way = asyncio.create_task(buy(buyer, "2300.00", clientOrderId="once"))
    await until(lambda: len(engine.commands) == 1)

    for connection in list(gateway._connections.values()):
        connection.transport.abort()
    await until(lambda: buyer.connects == 2)
    engine.speak()
    answer = await under_way

    assert len(engine.live) == 1
    assert answer["id"] == str(1 << 22)


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("by", ["id", "clientOrderId"])
async def test_a_cancel_that_is_repeated_after_a_reconnect_says_what_is_known_of_the_order(
    opened: Open, engine: FakeEngine, gateway: Gateway, watched: bool, by: str
) -> None:
    buyer = await opened(BUYER)
    watching = asyncio.create_task(buyer.watch_private()) if watched else None
    await until(lambda: buyer.account_sequence == 0 or not watched)
    placed = await buy(buyer, "2300.00", clientOrderId="mine")
    engine.silent = True
    name = {"id": placed["id"]} if by == "id" else {"params": {"clientOrderId": "mine"}}
    under_way = asyncio.create_task(buyer.cancel_order(**name))
    await until(lambda: len(engine.commands) == 2)

    for connection in list(gateway._connections.values()):
        connection.transport.abort()
    await until(lambda: len(engine.commands) == 3)  # the repeat, which finds no live order
    engine.speak()
    canceled = await under_way

    known = {"status": "canceled", "filled": Decimal(0)} if watched else {"status": None, "filled": None}
    assert {key: canceled[key] for key in ("status", "filled")} == known
    assert canceled["remaining"] == 0
    assert canceled["id" if by == "id" else "clientOrderId"] == (placed["id"] if by == "id" else "mine")
    if watching is not None:
        await watching


async def test_a_private_stream_that_is_asked_for_too_far_back_says_so_once_and_begins_anew(
    opened: Open, engine: FakeEngine
) -> None:
    buyer = await opened(BUYER)
    for price in ("2300.00", "2301.00"):
        await buy(buyer, price)
    engine.forget(1)

    with pytest.raises(ccxt.BadRequest, match="resume_too_old"):
        await buyer.watch_private(resume_from=0)
    watching = asyncio.create_task(buyer.watch_private())
    await until(lambda: buyer.account_sequence == 2)
    await buy(buyer, "2302.00")

    assert [each["account_sequence"] for each in await watching] == [3]


async def test_a_cancel_that_waited_for_the_connection_is_no_repeat(opened: Open, gateway: Gateway) -> None:
    buyer = await opened(BUYER)
    for connection in list(gateway._connections.values()):
        connection.transport.abort()
    await until(lambda: buyer._socket is None)

    with pytest.raises(ccxt.OrderNotFound):
        await buyer.cancel_order("12345")


async def test_the_private_stream_goes_on_after_a_lost_connection_without_gap_or_double(
    opened: Open, gateway: Gateway
) -> None:
    seller, buyer = await opened(SELLER), await opened(BUYER)
    joining = asyncio.create_task(buyer.watch_private())
    await until(lambda: buyer.account_sequence == 0)
    await sell(seller, "2300.00")
    await buy(buyer, "2300.00")
    seen = await joining

    for connection in list(gateway._connections.values()):
        connection.transport.abort()
    await sell(seller, "2301.00")
    await buy(buyer, "2301.00")
    while len(seen) < 4:
        seen += await buyer.watch_private()

    assert [each["account_sequence"] for each in seen] == [1, 2, 3, 4]
    assert [each["event"] for each in seen] == ["order", "fill", "order", "fill"]
