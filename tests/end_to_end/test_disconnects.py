"""kill -9 under a client that asked for cancel-on-disconnect: its orders end, those of others stay."""

import asyncio
from decimal import Decimal

import aiohttp
import pytest

from gateway.client import Client
from loadtest.crowd import furnish, operator_seed
from loadtest.exchange import OwnExchange
from loadtest.play import proved
from tests.end_to_end.conftest import WAIT_S, kill, wait_for

REBAR, BUNDLE = "RB20-12-SG", Decimal("2.490")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def _reasons(client: Client, names: set[str]) -> dict[str, str]:
    """Why the orders with these client order ids ended, from the private stream since its beginning."""
    found: dict[str, str] = {}
    async with asyncio.timeout(WAIT_S):
        while names - found.keys():
            for event in await client.watch_private(0):
                if event.get("change") == "canceled":
                    found[event["client_order_id"]] = event["reason"]
    return found


@pytest.mark.parametrize("victim", ["gateway", "engine"])
async def test_a_kill_ends_the_orders_of_who_asked_for_it_and_nobody_elses(
    exchange: OwnExchange, http: aiohttp.ClientSession, victim: str
) -> None:
    seats = await furnish(exchange.url, operator_seed(exchange.location.keys), http, "cod", 2, lambda _: ())
    careful = Client(exchange.url, seats[0].seed, http=http, cancel_on_disconnect="session")
    careless = Client(exchange.url, seats[1].seed, http=http)
    async with careful, careless:
        for client, name, more in (
            (careful, "ends", {}), (careful, "stays", {"keepOnDisconnect": True}), (careless, "other", {}),
        ):  # fmt: skip
            params = {"clientOrderId": name, "timeInForce": "GTC"} | more
            await client.create_order(REBAR, "limit", "buy", BUNDLE, "2250", params)
        before = exchange.pids()[victim]

        kill(exchange, victim)
        wait_for(lambda: exchange.pids().get(victim, before) != before)

        reasons = await _reasons(careful, {"ends"})
        left = await careful.fetch_open_orders()
        others = await careless.fetch_open_orders()

    assert reasons == {"ends": "disconnected"}
    assert [order["clientOrderId"] for order in left] == ["stays"]
    assert [order["clientOrderId"] for order in others] == ["other"]
    report, _ = await proved(exchange.location)
    assert report.reconciled
