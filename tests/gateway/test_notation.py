"""Decimals are read and written exactly; nothing else is a decimal."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.vocabulary import PRICE_MAX_FEN_PER_TONNE, QUANTITY_MAX_KG
from gateway.errors import Refusal
from gateway.notation import (
    average_price_text,
    money_text,
    parse_amount,
    parse_id,
    parse_price,
    parse_quantity,
    time_text,
    tonnes_text,
)


@given(st.integers(0, PRICE_MAX_FEN_PER_TONNE))
def test_every_price_survives_writing_and_reading(fen: int) -> None:
    assert parse_price(money_text(fen)) == fen
    assert Decimal(money_text(fen)) * 100 == fen


@given(st.integers(0, QUANTITY_MAX_KG))
def test_every_quantity_survives_writing_and_reading(kg: int) -> None:
    assert parse_quantity(tonnes_text(kg)) == kg


@given(st.integers(-(10**17), 10**17))
def test_amounts_are_written_exactly_also_below_zero(fen: int) -> None:
    assert Decimal(money_text(fen)) * 100 == fen


@given(st.text(max_size=30))
def test_whatever_is_read_is_what_decimal_reads(text: str) -> None:
    try:
        fen = parse_price(text)
    except Refusal:
        return

    assert Decimal(text) * 100 == fen


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        ".5",
        "5.",
        "-1",
        "+1",
        "1e3",
        "1_000",
        " 1",
        "1 ",
        "1.234",
        "1,5",
        "٣",
        "0x1",
        "NaN",
        "inf",
        "1.2.3",
    ],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_price(text)

    assert (refused.value.code, refused.value.path) == ("invalid_decimal", "$.price")


@pytest.mark.parametrize(
    ("text", "fen"), [("2260", 226_000), ("2260.5", 226_050), ("2260.50", 226_050), ("0", 0)]
)
def test_decimals_may_be_short(text: str, fen: int) -> None:
    assert parse_price(text) == fen


def test_numbers_beyond_the_permitted_maxima_are_refused() -> None:
    for parse, text in (
        (parse_price, "1000000.01"),
        (parse_quantity, "5000000.001"),
        (parse_amount, "9" * 20),
    ):
        with pytest.raises(Refusal, match="exceeds_limit"):
            parse(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", str(2**63), "9" * 30])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="invalid_id"):
        parse_id(text, "$.order_id")


@given(st.integers(1, 10**9), st.integers(1, QUANTITY_MAX_KG))
def test_the_average_price_is_half_up_to_the_fen(amount_fen: int, cum_kg: int) -> None:
    text = average_price_text(amount_fen, cum_kg)

    assert text is not None
    assert abs(Decimal(text) * 100 * cum_kg - amount_fen * 1000) * 2 <= cum_kg


def test_the_average_price_of_no_fill_is_null() -> None:
    assert average_price_text(0, 0) is None


def test_times_are_rfc_3339_with_microseconds() -> None:
    assert time_text(1436317200123456789) == "2015-07-08T01:00:00.123456Z"
