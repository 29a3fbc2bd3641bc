"""Section D of engine/RULES.md: self-trade prevention. D and E are one company group."""

import pytest

from tests.engine.rules.floor import Floor

AFTER = {
    "cancel_newest": [
        "accepted, filled 5",
        "first x taker 5 @ 2270",
        "taker canceled 15 self_trade_prevention",
    ],
    "cancel_oldest": [
        "accepted, filled 10, rests 10",
        "first x taker 5 @ 2270",
        "own canceled 8 self_trade_prevention",
        "third x taker 5 @ 2271",
    ],
    "cancel_both": [
        "accepted, filled 5",
        "first x taker 5 @ 2270",
        "own canceled 8 self_trade_prevention",
        "taker canceled 15 self_trade_prevention",
    ],
    "decrement": [
        "accepted, filled 10, rests 2",
        "first x taker 5 @ 2270",
        "own and taker lose 8",
        "third x taker 5 @ 2271",
    ],
    "allow": [
        "accepted, filled 18, rests 2",
        "first x taker 5 @ 2270",
        "own x taker 8 @ 2270 self_trade",
        "third x taker 5 @ 2271",
    ],
}


@pytest.mark.parametrize("mode", AFTER)
def test_d1_the_incoming_orders_mode_decides(floor: Floor, mode: str) -> None:
    """semantics D1."""
    floor.says("A sell 5 @ 2270 as first", "E sell 8 @ 2270 as own", "A sell 5 @ 2271 as third")

    assert floor.says(f"D buy 20 @ 2271 {mode} as taker") == AFTER[mode]


def test_d1_the_default_is_cancel_newest(floor: Floor) -> None:
    """semantics D1."""
    floor.says("E sell 8 @ 2270 as own")

    assert floor.says("D buy 20 @ 2271 as taker") == ["accepted", "taker canceled 20 self_trade_prevention"]


def test_d1_decrement_takes_hidden_kilograms_first_and_ends_what_is_empty(floor: Floor) -> None:
    """semantics D1, B8, C1."""
    floor.says("E sell 50 @ 2270 display 10 as ice")

    assert floor.says("D buy 45 @ 2270 decrement as taker") == ["accepted", "ice and taker lose 45"]
    assert floor.book() == ["ice 5 @ 2270"]
    assert floor.says("D buy 9 @ 2270 decrement as next") == ["accepted, rests 4", "ice and next lose 5"]


def test_d1_group_zero_is_nobodys(floor: Floor) -> None:
    """semantics D1: a negative group at the opening of an account is no group."""
    for account in (7, 8):
        floor.account(account, group=-1)
    floor.lot(7, 7, 1_000, 0)
    order = {"kind": 1, "price_fen_per_tonne": 2270, "quantity_kg": 5, "client_order_id_0": 1}

    floor.command(**order, account=7, side=1, lot=7)

    assert floor.lines_of(floor.command(**order, account=8)) == [
        "accepted, filled 5",
        "resting x incoming 5 @ 2270",
    ]


def test_d2_trap_an_own_order_is_never_stepped_over_to_a_worse_price(floor: Floor) -> None:
    """semantics D2."""
    floor.says("E sell 5 @ 2270 as own", "A sell 5 @ 2271 as worse")

    assert floor.says("D buy 10 @ 2271 as taker") == ["accepted", "taker canceled 10 self_trade_prevention"]
    assert floor.book() == ["own 5 @ 2270", "worse 5 @ 2271"]


@pytest.mark.parametrize("mode", ["cancel_newest", "cancel_oldest", "cancel_both", "decrement"])
def test_d2_trap_no_remainder_rests_crossed_with_an_own_order(floor: Floor, mode: str) -> None:
    """semantics D2, A3."""
    floor.says("A sell 5 @ 2269 as strange", "E sell 5 @ 2270 as own")

    floor.says(f"D buy 20 @ 2270 {mode} as taker")

    sides = {line.split()[0] for line in floor.book()}
    assert not {"own", "taker"} <= sides


def test_d2_only_what_is_reachable_counts(floor: Floor) -> None:
    """semantics D2: an own order beyond the limit, or behind enough others, is no matter."""
    floor.says("A sell 5 @ 2270 as strange", "E sell 5 @ 2270 as behind", "E sell 5 @ 2275 as beyond")

    assert floor.says("D buy 5 @ 2272 as taker") == ["accepted, filled 5", "strange x taker 5 @ 2270"]


def test_d2_an_uncross_does_not_prevent_but_flags(floor: Floor) -> None:
    """semantics D2."""
    floor.says("phase auction", "D buy 5 @ 2272 as bid", "E sell 5 @ 2270 as ask")

    assert "bid x ask 5 @ 2270 self_trade" in floor.says("phase continuous")
