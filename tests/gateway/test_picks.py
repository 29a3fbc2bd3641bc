"""Listings are picked in JSON: a sell by its kilograms, a bid by a lot of the picker's (semantics F2)."""

from typing import Any

import pytest

from engine.vocabulary import Command
from gateway import codec
from tests.gateway.real_core import COIL, MILL, POOR, SISTER, TRADER, House

COILS = {20: (MILL, 27_850), 21: (SISTER, 22_000), 22: (POOR, 27_850)}  # lot: owner and kilograms
COIL_TONNES = "27.850"


@pytest.fixture
def house() -> House:
    """The house with three coils, each of another owner."""
    house = House()
    for lot, (owner, quantity_kg) in COILS.items():
        number = codec.INSTRUMENT_NUMBERS[COIL]
        house.settle(
            kind=Command.REGISTER_LOT, lot=lot, account=owner, quantity_kg=quantity_kg, instrument=number
        )
    return house


def bid(house: House, **changed: Any) -> dict[str, Any]:
    """The trader wants a coil of 27 to 28 tonnes."""
    terms = {"instrument": COIL, "quantity": "28.000", "min_quantity": "27.000"}
    return house.order(TRADER, "buy", "2090.00", 0, **terms | changed)


def pick(house: House, member: int, listing: dict[str, Any], **named: Any) -> dict[str, Any]:
    name = {"client_order_id": f"p{house.requests}", "order_id": listing["order_id"], "version": 1}
    return house.ask(member, "pick", **name | named)


def test_a_bid_is_picked_with_a_lot_and_both_hear_of_it(house: House) -> None:
    wanted = bid(house)

    picked = pick(house, MILL, wanted, lot="20")

    assert (picked["ok"], picked["quantity"], picked["cum"]) == (True, COIL_TONNES, COIL_TONNES)
    assert (picked["price"], picked["amount"]) == ("2090.00", "58206.50")  # domain E2
    seller, buyer = (
        [e for e in house.told(each, "private") if e["event"] == "fill"] for each in (MILL, TRADER)
    )
    assert [(e["side"], e["lot"], e["quantity"], e["counterparty"]) for e in seller + buyer] == [
        ("sell", "20", COIL_TONNES, TRADER), ("buy", "20", COIL_TONNES, MILL),
    ]  # fmt: skip
    assert pick(house, MILL, wanted, lot="20")["error"]["code"] == "unknown_order", "the bid is done"
    house.exchange.check_invariants()
    house.assert_books_agree()


def test_a_sell_is_picked_by_its_kilograms(house: House) -> None:
    terms = {"instrument": COIL, "quantity": COIL_TONNES, "lot": "20"}
    listing = house.order(MILL, "sell", "2090.00", 0, **terms)

    picked = pick(house, TRADER, listing, quantity=COIL_TONNES)

    assert (picked["ok"], picked["cum"], picked["amount"]) == (True, COIL_TONNES, "58206.50")
    house.assert_books_agree()


def test_a_repeated_pick_with_a_lot_is_the_first_one_and_another_lot_is_another_pick(house: House) -> None:
    wanted = bid(house)
    first = pick(house, MILL, wanted, lot="20", client_order_id="once")

    again = pick(house, MILL, wanted, lot="20", client_order_id="once")
    other = pick(house, MILL, wanted, lot="21", client_order_id="once")

    assert (again["order_id"], again["duplicate"]) == (first["order_id"], True)
    assert other["error"]["code"] == "duplicate_client_order_id"


@pytest.mark.parametrize(
    ("member", "named", "code", "path"),
    [
        (MILL, {}, "quantity_or_lot", "$.quantity"),
        (MILL, {"quantity": COIL_TONNES, "lot": "20"}, "quantity_or_lot", "$.lot"),
        (MILL, {"lot": "seven"}, "invalid_id", "$.lot"),
        (MILL, {"lot": 20}, "wrong_type", "$.lot"),
        (MILL, {"quantity": COIL_TONNES}, "unknown_lot", "$.lot"),
        (MILL, {"lot": "21"}, "unknown_lot", "$.lot"),  # the sister's
        (MILL, {"lot": str(MILL)}, "lot_of_other_instrument", "$.lot"),
        (SISTER, {"lot": "21"}, "whole_lot_only", "$.lot"),  # too light
        (POOR, {"lot": "22"}, "insufficient_funds", "$.lot"),  # the fee is more than it has
        (MILL, {"lot": "20", "version": 2}, "stale_version", "$.version"),
    ],
)
def test_a_pick_of_a_bid_that_cannot_be_names_the_field(
    house: House, member: int, named: dict[str, Any], code: str, path: str
) -> None:
    wanted = bid(house)

    answer = pick(house, member, wanted, **named)

    assert (answer["ok"], answer["error"]["code"], answer["error"]["path"]) == (False, code, path)
    assert house.ask(TRADER, "cancel_order", order_id=wanted["order_id"])["ok"], "the bid lives on"
