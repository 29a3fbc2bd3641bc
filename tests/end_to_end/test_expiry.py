"""A gtd order ends by itself on a real exchange, its owner is told, and the money is free again."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from engine.inspection import verify
from gateway.client import Client
from loadtest.crowd import furnish, operator_seed
from loadtest.exchange import OwnExchange
from loadtest.play import proved
from loadtest.trader import Trader

REBAR, BUNDLE = "RB20-12-SG", Decimal("2.490")
LIVES = timedelta(seconds=1)
LATE_MAX = timedelta(milliseconds=500)  # an alarm is late by milliseconds; this machine may be busy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def test_gtd_order_ends_by_itself_and_its_owner_is_told(
    exchange: OwnExchange, http: aiohttp.ClientSession
) -> None:
    """semantics B5, E6."""
    (seat,) = await furnish(exchange.url, operator_seed(exchange.location.keys), http, "gtd", 1, lambda _: ())
    buyer = Trader(exchange.url, seat.seed, http)
    client = await buyer.connected()
    free = (await client.fetch_balance())["CNY"]["free"]
    due = datetime.now(UTC) + LIVES
    order = await client.create_order(
        REBAR, "limit", "buy", BUNDLE, "2200", {"timeInForce": "GTD", "expireAt": due.isoformat()}
    )

    ended = await asyncio.wait_for(canceled(client, order["id"]), 10)
    at = datetime.fromisoformat(ended["time"])
    again = await client.fetch_balance()
    left = await client.fetch_open_orders()
    report, _ = await proved(exchange.location)

    assert (ended["reason"], ended["status"], ended["quantity"]) == ("expired", "canceled", "2.490")
    assert due <= at < due + LATE_MAX, f"{(at - due).total_seconds() * 1000:.1f} ms late"
    print(f"{(at - due).total_seconds() * 1000:.1f} ms late")
    assert (left, again["CNY"]["free"]) == ([], free)
    assert report.reconciled
    assert verify(exchange.location).findings == []
    await buyer.close()


async def canceled(client: Client, order_id: str) -> dict[str, Any]:
    """The private event that says that an order was canceled."""
    while True:
        for each in await client.watch_private():
            if each.get("order_id") == order_id and each.get("change") == "canceled":
                return each
