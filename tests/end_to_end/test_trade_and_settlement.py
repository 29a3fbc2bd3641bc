"""List, trade, settle, reconcile: from a WebSocket order to a balanced ledger, through all four programs."""

from decimal import Decimal

import pytest

from gateway.client import InsufficientFunds, OrderNotFound
from loadtest.exchange import OwnExchange
from loadtest.play import proved
from tests.end_to_end.conftest import Market

REBAR, COIL = "RB20-12-SG", "HC5.75-LG"
TRUCK, TOO_MUCH, ROLL = Decimal("29.880"), Decimal("4999.920"), Decimal("27.850")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def kind(account: str) -> str:
    """The kind of an account: "TRADING:7" -> "TRADING"."""
    return account.partition(":")[0]


async def test_a_listing_becomes_a_paid_contract_and_balanced_entries(
    exchange: OwnExchange, market: Market
) -> None:
    lot = await market.register("R-1", REBAR, 2 * TRUCK, 24)
    cover = {"lot": lot}

    with pytest.raises(InsufficientFunds):  # more than the lot has
        await market.seller.ask(
            lambda client: client.create_order(REBAR, "limit", "sell", TOO_MUCH, "2260", cover)
        )
    await market.seller.ask(lambda client: client.create_order(REBAR, "limit", "sell", TRUCK, "2260", cover))
    bought = await market.buyer.ask(lambda client: client.create_order(REBAR, "limit", "buy", TRUCK, "2270"))
    report, books = await proved(exchange.location)
    (contract,) = await market.operator.ask(lambda client: client.fetch_contracts(0))
    entries = await market.operator.ask(lambda client: client.fetch_entries(contract["contract"]))

    assert (bought["status"], bought["average"]) == ("closed", Decimal("2260.00"))
    assert (contract["amount"], contract["state"]) == ("67528.80", "paid")  # domain E1
    assert {(each["posting"], kind(each["debit"]), kind(each["credit"])) for each in entries} == {
        ("P2", "TRADING", "DEPOSIT"),
        ("P2", "TRADING", "FEE"),
        ("P2", "TRADING", "FEE_VAT"),
        ("P2", "LISTED", "CONTRACT"),
        ("P3", "DEPOSIT", "ESCROW"),
    }
    assert report.reconciled
    assert books.trial_fen == 0


async def test_a_coil_is_picked_whole_and_once_and_a_bid_is_given_a_coil(
    exchange: OwnExchange, market: Market
) -> None:
    """semantics F2."""
    lot = await market.register("C-1", COIL, ROLL)
    other = await market.register("C-2", COIL, ROLL)
    within = {"minAmount": ROLL - Decimal("0.350")}

    await market.seller.ask(
        lambda client: client.create_order(COIL, "limit", "sell", ROLL, "2090", {"lot": lot})
    )
    (listing,) = await market.buyer.ask(lambda client: client.fetch_listings(COIL))
    picked = await market.buyer.ask(lambda client: client.pick(listing["id"], ROLL, listing["version"]))
    with pytest.raises(OrderNotFound):
        await market.buyer.ask(lambda client: client.pick(listing["id"], ROLL, listing["version"]))
    await market.buyer.ask(lambda client: client.create_order(COIL, "limit", "buy", "28", "2085", within))
    (bid,) = await market.seller.ask(lambda client: client.fetch_listings(COIL))
    given = await market.seller.ask(
        lambda client: client.pick(bid["id"], None, bid["version"], {"lot": other})
    )
    report, books = await proved(exchange.location)

    assert (picked["side"], picked["cost"]) == ("buy", Decimal("58206.50"))  # domain E2
    assert (listing["minimum"], bid["minimum"]) == (ROLL, ROLL - Decimal("0.350"))
    assert (given["side"], given["filled"], given["price"]) == ("sell", ROLL, Decimal("2085.00"))
    sold = [(each.seller, each.lot, each.quantity_kg) for each in books.contracts]
    assert sold == [(market.seller_member, int(each), 27_850) for each in (lot, other)]
    assert report.reconciled


async def test_an_iceberg_a_stop_and_a_replacement_settle(exchange: OwnExchange, market: Market) -> None:
    lot = await market.register("R-1", REBAR, 2 * TRUCK, 24)
    bundle = Decimal("2.490")
    iceberg = {"lot": lot, "displayAmount": 2 * bundle, "timeInForce": "GTC"}
    stop = {"stopPrice": "2261"}

    offered = await market.seller.ask(
        lambda client: client.create_order(REBAR, "limit", "sell", 10 * bundle, "2260", iceberg)
    )
    smaller = await market.seller.ask(
        lambda client: client.edit_order(offered["id"], REBAR, amount=8 * bundle)
    )
    shown = await market.buyer.ask(lambda client: client.fetch_order_book(REBAR))
    await market.seller.ask(
        lambda client: client.create_order(REBAR, "limit", "sell", 3 * bundle, "2261", {"lot": lot})
    )
    waiting = await market.buyer.ask(
        lambda client: client.create_order(REBAR, "stop_limit", "buy", 2 * bundle, "2262", stop)
    )
    bought = await market.buyer.ask(
        lambda client: client.create_order(REBAR, "limit", "buy", 9 * bundle, "2261")
    )
    left = await market.seller.ask(lambda client: client.cancel_all_orders(REBAR))
    report, books = await proved(exchange.location)

    assert shown["asks"] == [[Decimal("2260.00"), 2 * bundle]]
    assert (smaller["remaining"], waiting["remaining"], bought["filled"]) == (
        8 * bundle,
        2 * bundle,
        9 * bundle,
    )
    assert left == 0, "the triggered stop took what the buy had left"
    assert sum(each.quantity_kg for each in books.contracts) == 11 * 2490
    assert report.reconciled
