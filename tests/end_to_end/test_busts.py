"""Two operators reverse a trade through all four programs, and the books are as before it."""

from decimal import Decimal

import aiohttp
import pytest

from engine.location import Location
from gateway.client import Client, OperationRejected, PermissionDenied
from gateway.session import signed_logon
from loadtest.crowd import furnish, operator_seed
from loadtest.exchange import OwnExchange
from loadtest.play import proved
from tests.end_to_end.conftest import kill, wait_for

REBAR, TRUCK = "RB20-12-SG", Decimal("29.880")
SECOND_SEED = bytes([7]) * 32

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def _differences(location: Location) -> list[str]:
    report, _ = await proved(location)
    return [check.name for check in report.checks if not check.holds]


async def test_two_operators_reverse_a_trade_also_when_settlement_dies_between_them(
    exchange: OwnExchange, http: aiohttp.ClientSession
) -> None:
    key = operator_seed(exchange.location.keys)
    seats = await furnish(exchange.url, key, http, "bust", 2, lambda number: ())
    first, second, seller, buyer = (
        Client(exchange.url, seed, http=http) for seed in (key, SECOND_SEED, seats[0].seed, seats[1].seed)
    )
    async with first:
        public_key = signed_logon(SECOND_SEED, "c0:0", 0).key
        await first.add_member("second", "Second operator", keys=[(public_key, ("operate", "read"))])
        lot = await first.register_lot(seats[0].member, "R-1", REBAR, "LC-SW-A", 12, TRUCK)
        async with second, seller, buyer:
            before = (await buyer.fetch_balance())["CNY"], (await seller.fetch_balance())["CNY"]
            await seller.create_order(REBAR, "limit", "sell", TRUCK, "2260", {"lot": lot})
            await buyer.create_order(REBAR, "limit", "buy", TRUCK, "2260")
            assert await _differences(exchange.location) == []
            (contract,) = await first.fetch_contracts(0)
            name = contract["contract"]

            proposed = await first.bust_trade(name, "price typed wrong")
            with pytest.raises(PermissionDenied, match="same_person"):
                await first.confirm_bust(name)
            settlement = exchange.pids()["settlement"]
            kill(exchange, "settlement")
            wait_for(lambda: exchange.pids().get("settlement", settlement) != settlement)
            await second.confirm_bust(name)

            after = (await buyer.fetch_balance())["CNY"], (await seller.fetch_balance())["CNY"]
            with pytest.raises(OperationRejected, match="already_busted"):
                await first.bust_trade(name, "again")
            (busted,) = await buyer.fetch_contracts()
            told = [each for each in await buyer.watch_private(0) if each["event"] == "busted"]
            lots = await seller.fetch_lots()

    assert proposed["state"] == "proposed"
    assert after == before
    assert busted["state"] == "busted"
    assert [(each["match_id"], each["amount"]) for each in told] == [(name, "67528.80")]
    assert (lots[0]["free"], lots[0]["contracted"]) == ("29.880", "0.000")
    assert await _differences(exchange.location) == []
