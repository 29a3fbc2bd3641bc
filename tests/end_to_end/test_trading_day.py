"""A day of Foshan's calendar through all four programs: the clock is moved, the phases move by themselves."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from engine.calendar import BEIJING, NS_PER_S
from engine.inspection import verify
from gateway.client import MarketClosed
from loadtest.play import proved
from tests.end_to_end.conftest import Market, exchange_in, market_of

REBAR, COIL = "RB20-12-SG", "HC5.75-LG"
TRUCK, BUNDLE = Decimal("29.880"), Decimal("2.490")
FOSHAN = Path(__file__).parents[2] / "engine" / "calendar_foshan.toml"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def instant(at: str) -> int:
    """Unix nanoseconds of a time of 8 July 2015, a Wednesday, in Beijing."""
    return int(datetime.fromisoformat(f"2015-07-08T{at}").replace(tzinfo=BEIJING).timestamp()) * NS_PER_S


async def clock(market: Market, at: str) -> tuple[str, str]:
    """Step the clock; returns the phases of rebar and of coil then."""
    await market.operator.ask(lambda client: client.set_clock(instant(at)))
    rows = await market.operator.ask(lambda client: client.fetch_markets())
    phases = {each["id"]: each["info"]["phase"] for each in rows}
    return phases[REBAR], phases[COIL]


async def test_a_day_opens_with_an_auction_that_trades_and_settles_and_closes_by_itself(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """semantics E1, E2, E6, B5."""
    settings = {"LECONG_CLOCK": "stepped", "LECONG_CALENDAR": str(FOSHAN)}
    with exchange_in(tmp_path, settings) as exchange:
        await exchange.started()
        async with market_of(exchange, http) as market:
            seller, buyer = await market.seller.connected(), await market.buyer.connected()
            lot = await market.register("R-1", REBAR, TRUCK, 12)
            phases = [await clock(market, "08:40")]
            with pytest.raises(MarketClosed, match="instrument_closed"):
                await seller.create_order(REBAR, "limit", "sell", TRUCK, "2258", {"lot": lot})

            phases.append(await clock(market, "08:50"))
            offered = await seller.create_order(REBAR, "limit", "sell", TRUCK, "2258", {"lot": lot})
            phases.append(await clock(market, "08:57"))
            wanted = await buyer.create_order(REBAR, "limit", "buy", TRUCK, "2262")
            more = await buyer.create_order(REBAR, "limit", "buy", 2 * BUNDLE, "2260")
            shown = await buyer.fetch_order_book(REBAR)
            phases.append(await clock(market, "08:59:30"))
            with pytest.raises(MarketClosed, match="no_cancel_phase"):
                await buyer.cancel_order(wanted["id"])
            phases.append(await clock(market, "09:00:05"))
            (contract,) = (await proved(exchange.location))[1].contracts
            phases.append(await clock(market, "18:00"))
            told = await buyer.watch_private(0)
            report, books = await proved(exchange.location)
        verdict = verify(exchange.location)

    assert phases == [
        ("closed", "closed"),
        ("pre_open", "pre_open"),
        ("auction", "pre_open"),
        ("no_cancel", "pre_open"),
        ("continuous", "continuous"),
        ("closed", "closed"),
    ]
    assert [each["filled"] for each in (offered, wanted, more)] == [0, 0, 0], (
        "nothing trades before the uncross"
    )
    assert (shown["bids"], shown["asks"]) == ([], []), "a crossed call book is not shown"
    assert contract.traded_ns == instant("09:00"), "at the calendar's time, not at that of the step"
    parties = (contract.seller, contract.lot, contract.quantity_kg)
    assert parties == (market.seller_member, int(lot), 29_880)
    assert (contract.price_fen_per_tonne, contract.amount_fen, contract.state) == (226_100, 6_755_868, "paid")
    ended = [each for each in told if each.get("change") == "canceled"]
    assert [(each["order_id"], each["reason"], each["time_ns"]) for each in ended] == [
        (more["id"], "day_end", instant("16:00"))
    ]
    (fill,) = [each for each in told if each["event"] == "fill"]
    assert (fill["role"], fill["order_id"], fill["price"]) == ("auction", wanted["id"], "2261.00")
    assert (report.reconciled, books.trial_fen, len(books.contracts)) == (True, 0, 1)
    assert verdict.findings == []
