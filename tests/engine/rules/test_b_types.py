"""Section B of engine/RULES.md: order types and times in force."""

import pytest

from engine.vocabulary import Command, OrderType
from tests.engine.rules.floor import Floor


def test_b1_a_limit_order_trades_what_it_can_and_rests(floor: Floor) -> None:
    """semantics B1."""
    floor.says("A sell 10 @ 2270 as ask")

    assert floor.says("B buy 30 @ 2272 as bid") == ["accepted, filled 10, rests 20", "ask x bid 10 @ 2270"]
    assert floor.book() == ["bid 20 @ 2272"]


def test_b2_a_market_order_never_rests(floor: Floor) -> None:
    """semantics B2."""
    floor.says("A sell 10 @ 2270 as ask")

    assert floor.says("B buy 30 market as taker") == [
        "accepted, filled 10",
        "ask x taker 10 @ 2270",
        "taker canceled 20 no_liquidity",
    ]
    assert floor.says("B buy 30 market as late") == ["accepted", "late canceled 30 no_liquidity"]


def test_b2_the_collar_counts_from_the_best_price_at_entry_and_rounds_inwards() -> None:
    """semantics B2, E5: 1 % of 2,270 is 22.7, so the last price is 2,292."""
    floor = Floor(collar_bp=100)
    floor.says("A sell 5 @ 2270 as best", "A sell 5 @ 2292 as inside", "A sell 5 @ 2293 as outside")

    assert floor.says("B buy 15 market as taker") == [
        "accepted, filled 10",
        "best x taker 5 @ 2270",
        "inside x taker 5 @ 2292",
        "taker canceled 5 collar",
    ]


def test_b2_a_market_order_holds_at_the_collars_price() -> None:
    """semantics B2: 100 kg at 2,292 = 229 fen, fee 5, reserve 3 a step."""
    floor = Floor(collar_bp=100, step_kg=100, minimum_kg=100)
    floor.says("A sell 100 @ 2270 as best")
    floor.account(7, fen=229 + 5 + 3 - 1)
    wish = {"kind": Command.NEW_ORDER, "account": 7, "order_type": OrderType.MARKET, "quantity_kg": 100}

    short = floor.lines_of(floor.command(**wish, client_order_id_0=1))
    floor.settle(kind=Command.DEPOSIT, account=7, amount_fen=1)
    enough = floor.lines_of(floor.command(**wish, client_order_id_0=2))

    assert short == ["rejected insufficient_funds"]
    assert enough == ["accepted, filled 100", "best x incoming 100 @ 2270"]


def test_b2_a_market_order_is_refused_outside_continuous_trading(floor: Floor) -> None:
    """semantics B2, E2."""
    floor.says("phase auction")

    assert floor.says("B buy 10 market as m") == ["rejected continuous_phase_only"]


def test_b3_market_to_limit_takes_the_best_price_only_and_rests_there(floor: Floor) -> None:
    """semantics B3."""
    floor.says("A sell 10 @ 2270 as near", "A sell 10 @ 2271 as far")

    assert floor.says("B buy 15 market_to_limit as taker") == [
        "accepted, filled 10, rests 5",
        "near x taker 10 @ 2270",
    ]
    assert floor.book() == ["taker 5 @ 2270", "far 10 @ 2271"]


def test_b3_market_to_limit_needs_an_opposite_side(floor: Floor) -> None:
    """semantics B3."""
    assert floor.says("B buy 15 market_to_limit as taker") == ["rejected no_liquidity"]


def test_b4_trap_a_stop_is_not_inverted_and_triggers_on_equality(floor: Floor) -> None:
    """semantics B4: a buy stop waits above the market, a sell stop below."""
    floor.trade_at(2270)
    floor.says("C buy 5 @ 2290 stop_limit stop 2275 as up", "C sell 5 @ 2250 stop_limit stop 2265 as down")

    assert floor.stops() == ["up 5 stop 2275", "down 5 stop 2265"]
    assert floor.says("A sell 1 @ 2274 as x", "B buy 1 @ 2274 as y") == [
        "accepted, filled 1",
        "x x y 1 @ 2274",
    ]
    assert floor.says("A sell 1 @ 2275 as x", "B buy 1 @ 2275 as y") == [
        "accepted, filled 1",
        "x x y 1 @ 2275",
        "up triggered",
    ]
    assert floor.stops() == ["down 5 stop 2265"]


def test_b4_a_stop_that_is_reached_at_entry_enters_at_once(floor: Floor) -> None:
    """semantics B4."""
    floor.trade_at(2270)
    floor.says("A sell 5 @ 2280 as ask")

    assert floor.says("B buy 5 stop 2270 as stop") == ["accepted, filled 5", "ask x stop 5 @ 2280"]


def test_b4_without_a_last_price_every_stop_waits(floor: Floor) -> None:
    """semantics B4."""
    assert floor.says("B buy 5 stop 2000 as low", "B sell 5 stop 2500 as high") == ["accepted, rests 5"]
    assert floor.stops() == ["low 5 stop 2000", "high 5 stop 2500"]


def test_b4_trap_the_cascade_goes_on_until_no_stop_is_reached(floor: Floor) -> None:
    """semantics B4: each stop's trade moves the last price, which the next one reads."""
    floor.trade_at(2270)
    floor.says("A sell 1 @ 2271 as a1", "A sell 1 @ 2272 as a2", "A sell 1 @ 2273 as a3")
    floor.says("C buy 1 stop 2272 as s2", "C buy 1 stop 2271 as s1")

    assert floor.says("B buy 1 @ 2271 as spark") == [
        "accepted, filled 1",
        "a1 x spark 1 @ 2271",
        "s1 triggered",
        "a2 x s1 1 @ 2272",
        "s2 triggered",
        "a3 x s2 1 @ 2273",
    ]


def test_b4_buys_before_sells_nearest_first_then_the_oldest(floor: Floor) -> None:
    """semantics B4."""
    floor.trade_at(2270)
    floor.says("C buy 1 stop 2275 as far", "C buy 1 stop 2272 as old", "C buy 1 stop 2272 as young")
    floor.says("A sell 1 @ 2276 as ask")

    assert floor.says("B buy 1 @ 2276 as spark") == [
        "accepted, filled 1",
        "ask x spark 1 @ 2276",
        "old triggered",
        "old canceled 1 no_liquidity",
        "young triggered",
        "young canceled 1 no_liquidity",
        "far triggered",
        "far canceled 1 no_liquidity",
    ]


def test_b4_a_stop_holds_at_the_upper_band_and_a_stop_limit_at_its_limit(floor: Floor) -> None:
    """semantics B4, G3: 1,000 kg at 2,500 = 2,500 fen, at 2,300 = 2,300; fee 50, reserve 3 a kilogram."""
    floor.says("B buy 1000 stop 2400 as stop", "C buy 1000 @ 2300 stop_limit stop 2290 as limit")

    assert (floor.money(2)[1], floor.money(3)[1]) == (2_500 + 50 + 3_000, 2_300 + 50 + 3_000)


def test_b4_a_stop_price_is_not_banded(floor: Floor) -> None:
    """semantics B4, E5: beyond the band it waits."""
    floor.trade_at(2270)

    assert floor.says("C buy 5 stop 2700 as high", "C sell 5 stop 1500 as low") == ["accepted, rests 5"]
    assert floor.stops() == ["high 5 stop 2700", "low 5 stop 1500"]


def test_b4_a_stop_reached_at_entry_obeys_the_collar() -> None:
    """semantics B4, B2."""
    floor = Floor(collar_bp=100)
    floor.trade_at(2270)
    floor.says("A sell 1 @ 2270 as near", "A sell 1 @ 2300 as far")

    assert floor.says("B buy 2 stop 2270 as stop") == [
        "accepted, filled 1",
        "near x stop 1 @ 2270",
        "stop canceled 1 collar",
    ]


def test_b4_stops_wait_in_an_auction_and_obey_its_price(floor: Floor) -> None:
    """semantics B4, E3."""
    floor.trade_at(2270)
    floor.says(
        "phase auction", "C buy 5 stop 2269 gtc as reached", "A sell 9 @ 2280 as ask", "B buy 9 @ 2280 as bid"
    )

    assert floor.says("phase continuous") == [
        "uncrossed 9 @ 2280",
        "bid x ask 9 @ 2280",
        "phase continuous",
        "reached triggered",
        "reached canceled 5 no_liquidity",
    ]


def test_b5_day_orders_end_at_the_close_and_lasting_ones_stay(floor: Floor) -> None:
    """semantics B5."""
    floor.says(
        "A buy 1 @ 2260 as day", "A buy 2 @ 2261 gtc as gtc", "A buy 3 @ 2262 gtd until 9000000 as gtd"
    )

    assert floor.says("phase closed") == ["day canceled 1 day_end", "phase closed"]
    assert floor.book() == ["gtd 3 @ 2262", "gtc 2 @ 2261"]


def test_b5_a_gtd_order_ends_when_its_instant_has_come(floor: Floor) -> None:
    """semantics B5, E6."""
    floor.says("A buy 3 @ 2262 gtd until 9000000 as gtd")

    assert floor.says("time 8999999") == ["time_reached 0"]
    assert floor.says("time 9000000") == ["gtd canceled 3 expired", "time_reached 1"]


def test_b5_an_expiry_in_the_past_is_refused(floor: Floor) -> None:
    """semantics B5."""
    assert floor.says("A buy 3 @ 2262 gtd until 5 as late") == ["rejected invalid_expiry"]


def test_b5_at_open_lives_in_the_auction_only(floor: Floor) -> None:
    """semantics B5."""
    assert floor.says("A buy 3 @ 2262 at_open as early") == ["rejected auction_phase_only"]
    floor.says("phase auction", "A buy 3 @ 2262 at_open as bid", "B sell 2 @ 2262 as ask")

    assert floor.says("phase continuous") == [
        "uncrossed 2 @ 2262, buy surplus 1",
        "bid x ask 2 @ 2262",
        "bid canceled 1 auction_ended",
        "phase continuous",
    ]


def test_b5_continuous_only_ends_when_an_auction_starts(floor: Floor) -> None:
    """semantics B5."""
    floor.says("A buy 3 @ 2262 continuous_only as only")

    assert floor.says("phase pre_open") == ["only canceled 3 auction_started", "phase pre_open"]
    assert floor.says("A buy 3 @ 2262 continuous_only as again") == ["rejected continuous_phase_only"]


def test_b6_a_fok_that_cannot_be_filled_emits_nothing_but_its_end(floor: Floor) -> None:
    """semantics B6."""
    floor.says("A sell 10 @ 2270 as ask", "A sell 10 @ 2273 as beyond")

    assert floor.says("B buy 11 @ 2272 fok as fok") == ["accepted", "fok canceled 11 not_feasible"]
    assert floor.says("B buy 10 @ 2272 fok as fits") == ["accepted, filled 10", "ask x fits 10 @ 2270"]


def test_b6_trap_a_fok_sees_hidden_kilograms(floor: Floor) -> None:
    """semantics B6, B8."""
    floor.says("A sell 30 @ 2270 display 10 as ice")

    assert floor.says("B buy 30 @ 2270 fok as fok") == [
        "accepted, filled 30",
        "ice x fok 10 @ 2270",
        "ice shows 10",
        "ice x fok 10 @ 2270",
        "ice shows 10",
        "ice x fok 10 @ 2270",
    ]


@pytest.mark.parametrize("mode", ["cancel_newest", "cancel_both", "decrement"])
def test_b6_trap_a_prevention_that_touches_a_fok_makes_it_infeasible(floor: Floor, mode: str) -> None:
    """semantics B6, D1."""
    floor.says("A sell 5 @ 2270 as strange", "E sell 5 @ 2270 as own", "A sell 5 @ 2270 as behind")

    assert floor.says(f"D buy 10 @ 2270 fok {mode} as fok") == ["accepted", "fok canceled 10 not_feasible"]
    assert floor.book() == ["strange 5 @ 2270", "own 5 @ 2270", "behind 5 @ 2270"]


def test_b6_own_orders_that_prevention_removes_do_not_count(floor: Floor) -> None:
    """semantics B6: cancel_oldest clears the way; the dry run touches nothing."""
    floor.says("E sell 5 @ 2270 as own", "A sell 5 @ 2270 as strange")

    assert floor.says("D buy 6 @ 2270 fok cancel_oldest as more") == [
        "accepted",
        "more canceled 6 not_feasible",
    ]
    assert floor.book() == ["own 5 @ 2270", "strange 5 @ 2270"]
    assert floor.says("D buy 5 @ 2270 fok cancel_oldest as fits") == [
        "accepted, filled 5",
        "own canceled 5 self_trade_prevention",
        "strange x fits 5 @ 2270",
    ]


def test_b6_min_quantity_is_all_or_nothing_up_to_the_minimum(floor: Floor) -> None:
    """semantics B6."""
    floor.says("A sell 5 @ 2270 as ask")

    assert floor.says("B buy 9 @ 2270 ioc min 6 as six") == ["accepted", "six canceled 9 not_feasible"]
    assert floor.says("B buy 9 @ 2270 ioc min 5 as five") == [
        "accepted, filled 5",
        "ask x five 5 @ 2270",
        "five canceled 4 ioc_remainder",
    ]


def test_b6_fok_and_ioc_are_refused_in_an_auction(floor: Floor) -> None:
    """semantics B6, E2."""
    floor.says("phase pre_open")

    assert floor.says("B buy 9 @ 2270 ioc as ioc") == ["rejected continuous_phase_only"]
    assert floor.says("B buy 9 @ 2270 fok as fok") == ["rejected continuous_phase_only"]


def test_b7_post_only_is_refused_whole_if_any_part_would_trade(floor: Floor) -> None:
    """semantics B7."""
    floor.says("A sell 1 @ 2270 as ask")

    assert floor.says("B buy 100 @ 2270 post_only as cross") == ["rejected post_only_would_trade"]
    assert floor.says("B buy 100 @ 2269 post_only as rest") == ["accepted, rests 100"]


def test_b7_post_only_is_judged_before_prevention(floor: Floor) -> None:
    """semantics B7, D1."""
    floor.says("E sell 1 @ 2270 as own")

    assert floor.says("D buy 9 @ 2270 post_only cancel_oldest as cross") == ["rejected post_only_would_trade"]


def test_b8_slices_take_turns_as_in_the_rules_example() -> None:
    """semantics B8: 1 shows 8,000, 2 shows 5,000, 3 is plain; 23,000 fill 8, 5, 2, 8 thousand."""
    floor = Floor(step_kg=1_000, minimum_kg=1_000)
    floor.says("A sell 30000 @ 2201 display 10000 as 1", "C buy 2000 @ 2201")
    floor.says("B sell 20000 @ 2201 display 5000 as 2", "B sell 2000 @ 2201 as 3")
    assert floor.book() == ["1 8000/28000 @ 2201", "2 5000/20000 @ 2201", "3 2000 @ 2201"]

    assert floor.says("C buy 23000 @ 2201 as taker") == [
        "accepted, filled 23000",
        "1 x taker 8000 @ 2201",
        "1 shows 10000",
        "2 x taker 5000 @ 2201",
        "2 shows 5000",
        "3 x taker 2000 @ 2201",
        "1 x taker 8000 @ 2201",
    ]
    assert floor.book() == ["1 2000/12000 @ 2201", "2 5000/15000 @ 2201"]


def test_b8_trap_a_refreshed_slice_never_crosses_the_book(floor: Floor) -> None:
    """semantics B8, A3: the iceberg that swept the asks rests below the next ask, slice by slice."""
    floor.says("A sell 5 @ 2270 as near", "A sell 5 @ 2272 as far", "B buy 30 @ 2271 display 10 as ice")

    assert floor.book() == ["ice 10/25 @ 2271", "far 5 @ 2272"]
    assert floor.says("C sell 12 @ 2271 as taker") == [
        "accepted, filled 12",
        "ice x taker 10 @ 2271",
        "ice shows 10",
        "ice x taker 2 @ 2271",
    ]
    assert floor.book() == ["ice 8/13 @ 2271", "far 5 @ 2272"]


@pytest.mark.parametrize("display", [15, 40, -10])
def test_b8_a_slice_is_a_multiple_of_the_step_within_the_order(display: int) -> None:
    """semantics B8."""
    floor = Floor(step_kg=10, minimum_kg=10)

    assert floor.says(f"A buy 30 @ 2270 display {display} as ice") == ["rejected invalid_display_quantity"]


def test_b9_trap_no_order_waits_behind_an_all_or_none_on_a_book(floor: Floor) -> None:
    """semantics B9: a resting minimum is refused, so nothing that rests can be skipped."""
    assert floor.says("A sell 10 @ 2270 min 10 as aon") == ["rejected invalid_minimum_quantity"]
    floor.says("A sell 10 @ 2270 as first", "B sell 3 @ 2270 as second")

    assert floor.says("C buy 5 @ 2270 as taker") == ["accepted, filled 5", "first x taker 5 @ 2270"]


@pytest.mark.parametrize("kind", ["market", "market_to_limit", "stop 2280", "stop_limit stop 2280"])
def test_b7_post_only_is_for_limits(floor: Floor, kind: str) -> None:
    """semantics B7: only of a limit can be said beforehand that it does not trade."""
    assert floor.says(f"A buy 4 @ 2260 {kind} post_only") == ["rejected unsupported_order_type"]


def test_b6_a_stop_has_no_minimum(floor: Floor) -> None:
    """semantics B6: it would be judged long after the book that it was meant for."""
    said = floor.says("A buy 4 @ 2260 stop_limit stop 2280 ioc min 2")

    assert said == ["rejected invalid_minimum_quantity"]
