"""Sessions with the real core behind them and no socket: what is typed, what the core does, what is told."""

from typing import Any

import pytest

from tests.gateway.real_core import (
    MILL,
    POOR,
    REBAR,
    SISTER,
    TRADER,
    House,
    codec_reference,
    codec_step,
    tonnes,
)


def test_an_iceberg_shows_a_slice_and_its_owner_hears_of_each(house: House) -> None:
    house.ask(TRADER, "subscribe", channel="depth", instruments=[REBAR])
    house.told(TRADER, "depth")
    house.order(MILL, "sell", "2330.00", 4, display_quantity=tonnes(1))

    house.order(TRADER, "buy", "2330.00", 2)

    shown = [each["asks"] for each in house.told(TRADER, "depth")]
    assert shown == [[["2330.00", "2.501", 1]]], "the trade took two slices and a third is shown"
    changes = [(each.get("change"), each["leaves"]) for each in house.told(MILL, "private")]
    left = [tonnes(4), tonnes(3), tonnes(3), tonnes(2), tonnes(2)]
    assert changes == list(zip(["accepted", None, "refreshed", None, "refreshed"], left, strict=True))
    house.assert_books_agree()


def test_a_stop_waits_triggers_and_tells(house: House) -> None:
    house.order(MILL, "sell", "2331.00", 5)
    waiting = house.order(TRADER, "buy", "2340.00", 2, type="stop_limit", stop_price="2331.00")
    assert (waiting["ok"], waiting["leaves"]) == (True, tonnes(2))

    house.order(SISTER, "buy", "2331.00", 1, self_trade_mode="allow")

    events = house.told(TRADER, "private")
    assert [each.get("change", each["event"]) for each in events] == ["accepted", "triggered", "fill"]
    assert (events[0]["type"], events[1]["status"]) == ("stop_limit", "new")
    house.assert_books_agree()


def test_a_replacement_says_what_became_of_the_order(house: House) -> None:
    placed = house.order(MILL, "sell", "2330.00", 5)
    name = {"order_id": placed["order_id"]}

    smaller = house.ask(MILL, "replace_order", **name, quantity=tonnes(3))
    dearer = house.ask(MILL, "replace_order", **name, price="2332.00", leaves=tonnes(4))
    gone = house.ask(MILL, "replace_order", **name, quantity="0")

    assert [(each["kept_place"], each["version"], each["leaves"]) for each in (smaller, dearer)] == [
        (True, 2, tonnes(3)), (False, 3, tonnes(4)),
    ]  # fmt: skip
    assert (gone["ok"], gone["canceled"]) == (True, tonnes(4))
    assert [each["change"] for each in house.told(MILL, "private")] == [
        "accepted", "replaced", "replaced", "canceled",
    ]  # fmt: skip
    house.assert_books_agree()


def test_a_prevention_is_told_to_both(house: House) -> None:
    house.order(MILL, "sell", "2330.00", 5)
    taken = house.order(SISTER, "buy", "2330.00", 2, self_trade_mode="decrement")

    (sister,) = [each for each in house.told(SISTER, "private") if each["event"] == "prevented"]
    (mill,) = [each for each in house.told(MILL, "private") if each["event"] == "prevented"]

    assert (taken["cum"], taken["leaves"]) == ("0.000", "0.000")
    assert (sister["side"], sister["leaves"], sister["lot"]) == ("buy", "0.000", "")
    assert (mill["side"], mill["leaves"], mill["lot"]) == ("sell", tonnes(3), str(MILL))
    assert sister["counter_order_id"] == mill["order_id"]
    house.assert_books_agree()


def test_a_mass_cancel_answers_with_its_count(house: House) -> None:
    for side in ("sell", "sell", "buy"):
        house.order(MILL, side, "2330.00" if side == "sell" else "2300.00", 1)

    sells = house.ask(MILL, "mass_cancel", side="sell")
    rest = house.ask(MILL, "mass_cancel", instrument=REBAR)

    assert (sells["canceled"], rest["canceled"]) == (2, 1)
    house.assert_books_agree()


def test_an_auction_is_indicated_and_uncrossed_and_its_crossed_book_is_not_shown(house: House) -> None:
    house.ask(0, "set_phase", phase="auction", instrument=REBAR)
    for channel in ("depth", "indicative", "trades", "bbo"):
        house.ask(TRADER, "subscribe", channel=channel, instruments=[REBAR])
    house.order(MILL, "sell", "2329.00", 2)
    house.order(TRADER, "buy", "2331.00", 3)

    house.ask(0, "set_phase", phase="continuous", instrument=REBAR)

    told = [(each["type"], each["price"], each["quantity"]) for each in house.told(TRADER, "indicative")]
    assert told[-1][0] == "uncrossed"
    assert told[-2:] == [("indicative", *told[-1][1:]), told[-1]]
    depth = house.told(TRADER, "depth")
    assert [each["asks"] for each in depth[:2]] == [[["2329.00", "5.002", 1]], [["2329.00", "0.000", 0]]]
    assert depth[-1]["bids"] == [["2331.00", "2.501", 1]]
    assert house.told(TRADER, "bbo")[-1]["bid"] == ["2331.00", "2.501", 1]
    (trade,) = house.told(TRADER, "trades")[-1]["trades"]
    assert (trade["auction"], trade["quantity"]) == (True, "5.002")
    fills = [each for each in house.told(TRADER, "private") if each["event"] == "fill"]
    assert [each["role"] for each in fills] == ["auction"]
    house.assert_books_agree()


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "market_to_limit", "price": None}, "no_liquidity", "$.instrument"),
    ({"time_in_force": "at_open"}, "auction_phase_only", "$.time_in_force"),
    ({"display_quantity": "1.000"}, "invalid_display_quantity", "$.display_quantity"),
    ({"min_quantity": tonnes(1)}, "invalid_minimum_quantity", "$.min_quantity"),
    ({"type": "stop", "price": None}, "invalid_stop_price", "$.stop_price"),
    ({"stop_price": "2330.00"}, "invalid_stop_price", "$.stop_price"),
    ({"time_in_force": "gtd"}, "invalid_expiry", "$.expire_at"),
    ({"expire_at": "2015-07-10T15:00:00+08:00"}, "invalid_expiry", "$.expire_at"),
    ({"price": "2330.50"}, "price_off_tick", "$.price"),
    ({"price": "9000.00"}, "price_exceeds_band", "$.price"),
    ({"quantity": "1.000"}, "quantity_off_step", "$.quantity"),
    ({"quantity": "0.000"}, "quantity_below_minimum", "$.quantity"),
    ({"quantity": tonnes(10_000)}, "exceeds_limit", "$.quantity"),
    ({"side": "sell", "lot": ""}, "unknown_lot", "$.lot"),
    ({"side": "sell", "lot": str(MILL)}, "unknown_lot", "$.lot"),
    ({"side": "sell", "lot": str(TRADER), "instrument": "RB14-9-SG", "quantity": "5.000"},
     "lot_of_other_instrument", "$.lot"),
    ({"side": "sell", "lot": str(TRADER), "quantity": tonnes(1001)}, "insufficient_goods", "$.quantity"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "code", "path"), REFUSED)
def test_the_core_refuses_an_order_and_the_field_is_named(
    house: House, changed: dict[str, Any], code: str, path: str
) -> None:
    if changed.get("instrument") == "RB14-9-SG":
        changed = changed | {"quantity": codec_step("RB14-9-SG"), "price": codec_reference("RB14-9-SG")}

    terms: dict[str, Any] = {"side": "buy", "price": "2330.00", "bundles": 2} | changed
    answer = house.order(TRADER, **terms)

    assert (answer["ok"], answer["error"]["code"], answer["error"]["path"]) == (False, code, path)
    house.exchange.check_invariants()


def test_the_state_of_the_market_refuses_and_says_so(house: House) -> None:
    first = house.order(MILL, "sell", "2330.00", 2)
    codes = [
        house.order(TRADER, "buy", "2330.00", 1, post_only=True),
        house.order(POOR, "buy", "2330.00", 1),
        house.ask(TRADER, "cancel_order", order_id=first["order_id"]),
        house.ask(TRADER, "replace_order", order_id=first["order_id"], price="2331.00"),
        house.ask(TRADER, "pick", client_order_id="p", order_id=first["order_id"], quantity="1", version=1),
    ]
    for phase in ("no_cancel", "halted", "closed"):
        house.ask(0, "set_phase", phase=phase, instrument=REBAR)
        codes.append(house.order(TRADER, "buy", "2330.00", 1))
    house.ask(0, "set_phase", phase="auction", instrument=REBAR)
    codes.append(house.order(TRADER, "buy", "2330.00", 1, time_in_force="fok"))
    house.ask(0, "set_phase", phase="continuous", instrument=REBAR)
    codes.append(house.ask(MILL, "cancel_order", order_id=first["order_id"]))

    assert [(each["error"]["code"], each["error"]["path"]) for each in codes] == [
        ("post_only_would_trade", "$.price"), ("insufficient_funds", "$.quantity"),
        ("unknown_order", "$.order_id"), ("unknown_order", "$.order_id"), ("not_listed", "$.order_id"),
        ("no_cancel_phase", "$.instrument"), ("instrument_halted", "$.instrument"),
        ("instrument_closed", "$.instrument"), ("continuous_phase_only", "$.instrument"),
        ("unknown_order", "$.order_id"),
    ]  # fmt: skip


def test_a_fill_or_kill_that_cannot_be_filled_ends_with_its_reason(house: House) -> None:
    answer = house.order(TRADER, "buy", "2330.00", 1, time_in_force="fok")

    assert (answer["ok"], answer["cum"]) == (True, "0.000")
    events = house.told(TRADER, "private")
    assert [(each["change"], each["reason"]) for each in events] == [
        ("accepted", ""), ("canceled", "not_feasible"),
    ]  # fmt: skip
