"""Quotes of July 2015: anchored at the catalogue's price, moved by the futures, stepped, banded."""

from datetime import UTC, date, datetime, time

import pytest

from engine.instruments import BAND_BP, Instrument, load_instruments, static_band
from loadtest.scenarios.july_2015 import (
    CLOSES,
    LAUNCH,
    QUOTE_STEP_FEN,
    TRADING_DAYS,
    beijing_ns,
    is_long,
    moments,
    quote_at,
    quotes,
    reference,
)

PRODUCTS = {product.code: product for product in load_instruments()}
EVERY = pytest.mark.parametrize("product", load_instruments(), ids=lambda product: product.code)


def test_the_eight_days_are_the_first_trading_days_from_8_july() -> None:
    assert [day.day for day in TRADING_DAYS] == [8, 9, 10, 13, 14, 15, 16, 17]
    assert all(day.weekday() < 5 for day in TRADING_DAYS)


def test_eleven_closes_run_from_6_to_20_july() -> None:
    assert len(CLOSES) == 11
    assert (CLOSES[0][0], CLOSES[-1][0]) == (date(2015, 7, 6), date(2015, 7, 20))


@EVERY
def test_quote_of_8_july_is_the_catalogues(product: Instrument) -> None:
    assert quotes(product)[LAUNCH] == product.reference_fen_per_tonne


def test_rebar_follows_the_rebar_series_and_coil_the_coil_series() -> None:
    rebar, coil = PRODUCTS["RB20-12-SG"], PRODUCTS["HC5.75-LG"]

    assert [quote // 100 for quote in quotes(rebar)] == [
        2320, 2290, 2260, 2330, 2330, 2330, 2330, 2330, 2340, 2340, 2410
    ]  # fmt: skip
    assert [quote // 100 for quote in quotes(coil)] == [
        2150, 2120, 2090, 2150, 2150, 2140, 2140, 2140, 2140, 2140, 2180
    ]  # fmt: skip


def test_long_products_are_rolled_from_billet() -> None:
    long = {code[:2] for code in PRODUCTS if is_long(PRODUCTS[code])}

    assert long == {"RB", "PL", "WR", "HN", "HW", "CH", "AN", "IB"}


@EVERY
def test_every_quote_is_on_tick_and_step_and_inside_the_days_band(product: Instrument) -> None:
    for day in range(len(TRADING_DAYS)):
        lower, upper = static_band(reference(product, day), BAND_BP, product.tick_fen_per_tonne)
        for part in range(11):
            quote = quote_at(product, day, part, 10)
            assert lower <= quote <= upper
            assert quote % product.tick_fen_per_tonne == 0
            assert (quote - product.reference_fen_per_tonne) % QUOTE_STEP_FEN == 0


@EVERY
def test_a_day_begins_at_the_close_before_and_ends_at_its_own(product: Instrument) -> None:
    for day in range(len(TRADING_DAYS)):
        assert quote_at(product, day, 0, 7) == reference(product, day)
        assert quote_at(product, day, 7, 7) == quotes(product)[LAUNCH + day]


def test_moments_lie_in_the_continuous_hours_of_beijing() -> None:
    for count in range(1, 30):
        times = [datetime.fromtimestamp(each // 10**9, UTC) for each in moments(0, count)]
        assert times == sorted(times)
        for each in times:
            assert time(1) <= each.time() < time(3, 30) or time(5, 30) <= each.time() < time(8)


def test_nine_in_beijing_is_one_in_utc() -> None:
    assert beijing_ns(0, time(9)) == 1_436_317_200_000_000_000
