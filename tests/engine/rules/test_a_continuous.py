"""Section A of engine/RULES.md: price, time, the order of events, a book that is always right."""

import numpy as np

from engine.records import ORDER, TRADE
from engine.vocabulary import Command, Flag
from tests.engine.rules.floor import Floor


def test_a1_better_price_first_then_earlier_place(floor: Floor) -> None:
    """semantics A1."""
    floor.says("A sell 10 @ 2271 as far", "A sell 10 @ 2270 as first", "B sell 10 @ 2270 as second")

    assert floor.says("C buy 30 @ 2271 as taker") == [
        "accepted, filled 30",
        "first x taker 10 @ 2270",
        "second x taker 10 @ 2270",
        "far x taker 10 @ 2271",
    ]


def test_a2_trap_a_fill_prints_at_the_resting_price_never_at_the_takers(floor: Floor) -> None:
    """semantics A2."""
    floor.says("A buy 10 @ 2275 as bid")

    assert floor.says("B sell 10 @ 2260 as taker") == ["accepted, filled 10", "bid x taker 10 @ 2275"]


def test_a2_one_trade_for_each_resting_order_that_is_touched(floor: Floor) -> None:
    """semantics A2."""
    floor.says("A sell 5 @ 2270 as one", "B sell 7 @ 2270 as two")

    assert floor.says("C buy 9 @ 2270 as taker") == [
        "accepted, filled 9",
        "one x taker 5 @ 2270",
        "two x taker 4 @ 2270",
    ]
    assert floor.book() == ["two 3 @ 2270"]


def test_a3_an_exact_touch_trades_and_one_tick_less_rests(floor: Floor) -> None:
    """semantics A3."""
    floor.says("A sell 10 @ 2270 as ask")

    assert floor.says("B buy 4 @ 2269 as under") == ["accepted, rests 4"]
    assert floor.says("B buy 4 @ 2270 as touch") == ["accepted, filled 4", "ask x touch 4 @ 2270"]
    assert floor.book() == ["under 4 @ 2269", "ask 6 @ 2270"]


def test_a3_a_sweep_stops_at_its_limit_and_leaves_the_book_uncrossed(floor: Floor) -> None:
    """semantics A3."""
    floor.says("A sell 10 @ 2270 as near", "A sell 10 @ 2272 as far")

    assert floor.says("B buy 30 @ 2271 as taker") == [
        "accepted, filled 10, rests 20",
        "near x taker 10 @ 2270",
    ]
    assert floor.book() == ["taker 20 @ 2271", "far 10 @ 2272"]


def test_a4_trap_a_duplicate_id_is_found_before_anything_is_matched(floor: Floor) -> None:
    """semantics A4, C8."""
    floor.says("A sell 10 @ 2270 as ask", "B buy 1 @ 2200 key same as old")
    before = floor.book(), floor.money(2)

    assert floor.says("B buy 5 @ 2270 key same as new") == ["rejected duplicate_client_order_id"]
    assert (floor.book(), floor.money(2)) == before


def test_a4_the_lowest_code_of_several_faults_is_the_answer(floor: Floor) -> None:
    """semantics A4: precedence."""
    assert floor.says("A buy 10 @ 9999 instrument 7 as bad") == ["rejected unknown_instrument"]
    assert floor.says("A sell 10 @ 9999 lot 99 as bad") == ["rejected price_exceeds_band"]


def test_a5_acknowledgement_trades_end_then_the_stops_one_by_one(floor: Floor) -> None:
    """semantics A5."""
    floor.says("C buy 3 stop 2271 as stop", "A sell 5 @ 2270 as near", "A sell 5 @ 2271 as far")

    assert floor.says("B buy 12 @ 2271 ioc as taker") == [
        "accepted, filled 10",
        "near x taker 5 @ 2270",
        "far x taker 5 @ 2271",
        "taker canceled 2 ioc_remainder",
        "stop triggered",
        "stop canceled 3 no_liquidity",
    ]


def test_a5_a_prevention_stands_where_it_happens(floor: Floor) -> None:
    """semantics A5, D1."""
    floor.says("A sell 5 @ 2270 as first", "E sell 5 @ 2270 as own", "A sell 5 @ 2270 as third")

    assert floor.says("D buy 15 @ 2270 cancel_oldest as taker") == [
        "accepted, filled 10, rests 5",
        "first x taker 5 @ 2270",
        "own canceled 5 self_trade_prevention",
        "third x taker 5 @ 2270",
    ]


def test_a6_ids_are_made_of_the_command_sequence(floor: Floor) -> None:
    """semantics A6."""
    floor.says("A sell 5 @ 2270 as ask")
    events = floor.judge("B buy 5 @ 2270 as taker")

    sequence = floor.exchange.sequence
    assert int(events.view(ORDER)["order_id"][0]) >> 22 == sequence
    assert int(events.view(TRADE)["match_id"][1]) == sequence << 22 | 1


def test_a6_the_same_commands_give_the_same_bytes(floor: Floor) -> None:
    """semantics A6."""
    flow = [
        "A sell 5 @ 2270",
        "D buy 3 @ 2270",
        "E sell 9 @ 2269",
        "D buy 20 @ 2280 stop 2270",
        "C buy 4 @ 2271",
    ]
    other = Floor()

    for line in flow:
        assert floor.judge(line).tobytes() == other.judge(line).tobytes()


def test_a7_trap_a_partial_fill_does_not_move_to_the_tail(floor: Floor) -> None:
    """semantics A7."""
    floor.says("A sell 10 @ 2270 as first", "B sell 10 @ 2270 as second", "C buy 4 @ 2270")

    assert floor.book() == ["first 6 @ 2270", "second 10 @ 2270"]
    assert floor.says("C buy 7 @ 2270 as taker")[1:] == ["first x taker 6 @ 2270", "second x taker 1 @ 2270"]


def test_a7_trap_no_stale_best_price_after_a_side_emptied_and_refilled(floor: Floor) -> None:
    """semantics A7."""
    floor.says(
        "A sell 5 @ 2270 as old", "B buy 5 @ 2270", "A sell 5 @ 2290 as far", "A sell 5 @ 2280 as near"
    )

    assert floor.says("B buy 5 @ 2275 as low") == ["accepted, rests 5"]
    assert floor.says("C buy 5 @ 2290 as high")[1:] == ["near x high 5 @ 2280"]


def test_a7_trap_no_stale_best_price_after_a_cancel(floor: Floor) -> None:
    """semantics A7."""
    floor.says("A sell 5 @ 2270 as best", "A sell 5 @ 2275 as next", "A cancel best")

    assert floor.says("B buy 5 @ 2274 as low") == ["accepted, rests 5"]
    assert floor.says("B buy 5 @ 2275 as high")[1:] == ["next x high 5 @ 2275"]


def test_a7_trap_no_phantom_trade_of_zero_kilograms(floor: Floor) -> None:
    """semantics A7, A2."""
    floor.says("A sell 5 @ 2270 as gone", "B buy 5 @ 2270")

    assert floor.says("C buy 5 @ 2270 ioc as late") == ["accepted", "late canceled 5 ioc_remainder"]
    assert floor.says("C buy 0 @ 2270 as nothing") == ["rejected quantity_below_minimum"]


def test_a7_trap_a_sweep_of_5000_orders_is_a_loop(floor: Floor) -> None:
    """semantics A7."""
    for reference in range(1, 5_001):
        row = {"kind": Command.NEW_ORDER, "account": 1, "side": 1, "quantity_kg": 1, "lot": 1}
        floor.command(**row, price_fen_per_tonne=2270, flags=Flag.BY_REFERENCE, client_order_id_0=reference)

    trades = floor.judge("B buy 5000 @ 2270 as sweep").view(TRADE)[1:]

    assert trades["quantity_kg"].tolist() == [1] * 5_000
    assert np.all(np.diff(trades["counter_order_id"]) > 0)
    assert floor.book() == []
