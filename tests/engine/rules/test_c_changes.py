"""Section C of engine/RULES.md: changing and ending orders."""

import pytest

from engine.records import client_order_id_words
from engine.vocabulary import Command, Flag
from tests.engine.rules.floor import Floor


def test_c1_replace_carries_the_new_total(floor: Floor) -> None:
    """semantics C1: leaves = 50 - 20 filled."""
    floor.says("A sell 30 @ 2270 as ask", "B buy 20 @ 2270")

    assert floor.says("A replace ask to 50") == ["ask replaced, 30 @ 2270"]
    assert floor.says("A replace ask leaves 7") == ["ask replaced, 7 @ 2270, keeps its place"]


def test_c1_a_total_at_or_below_what_is_filled_ends_the_order(floor: Floor) -> None:
    """semantics C1."""
    floor.says("A sell 30 @ 2270 as ask", "B buy 20 @ 2270")

    assert floor.says("A replace ask to 20") == ["ask canceled 10 replaced_to_nothing"]


def test_c1_what_prevention_took_counts_as_gone(floor: Floor) -> None:
    """semantics C1, D1: leaves = 30 - 10 prevented."""
    floor.says("E sell 20 @ 2270 as own", "D buy 10 @ 2270 decrement as d")

    assert floor.says("E replace own to 30") == ["own replaced, 20 @ 2270"]


def test_c1_a_reduction_takes_hidden_kilograms_first(floor: Floor) -> None:
    """semantics C1, B8."""
    floor.says("A sell 50 @ 2270 display 10 as ice", "A replace ice to 20")
    assert floor.book() == ["ice 10/20 @ 2270"]

    floor.says("A replace ice to 6")
    assert floor.book() == ["ice 6 @ 2270"]


def test_c1_a_waiting_stop_changes_its_stop_limit_and_quantity(floor: Floor) -> None:
    """semantics C1."""
    floor.trade_at(2270)
    floor.says("C buy 5 @ 2290 stop_limit stop 2280 as s")

    assert floor.says("C replace s to 8 @ 2295 stop 2285") == ["s replaced, 8 @ 2295"]
    assert floor.stops() == ["s 8 stop 2285"]


def test_c1_a_stop_that_is_replaced_into_reach_enters_at_once(floor: Floor) -> None:
    """semantics C1, B4."""
    floor.trade_at(2270)
    floor.says("A sell 5 @ 2275 as ask", "C buy 5 @ 2290 stop_limit stop 2280 as s")

    assert floor.says("C replace s stop 2270") == ["s replaced, 0 @ 2290", "ask x s 5 @ 2275"]


def test_c2_the_place_is_kept_when_the_price_stays_and_leaves_does_not_grow(floor: Floor) -> None:
    """semantics C2."""
    floor.says("A sell 10 @ 2270 as first", "B sell 10 @ 2270 as second")

    assert floor.says("A replace first to 4") == ["first replaced, 4 @ 2270, keeps its place"]
    assert floor.book() == ["first 4 @ 2270", "second 10 @ 2270"]


@pytest.mark.parametrize("change", ["to 11", "@ 2271", "to 5 @ 2269"])
def test_c2_otherwise_the_place_is_new(floor: Floor, change: str) -> None:
    """semantics C2."""
    floor.says(
        "A sell 10 @ 2270 as first", "B sell 10 @ 2270 as second", "B sell 10 @ 2271", "B sell 1 @ 2269"
    )

    floor.says(f"A replace first {change}")

    place = next(line for line in floor.book() if line.startswith("first "))
    price = place.split(" @ ")[1]
    assert [line for line in floor.book() if line.endswith(price)][-1] == place


def test_c2_a_replaced_order_may_trade_and_keeps_its_id(floor: Floor) -> None:
    """semantics C2."""
    floor.says("A sell 10 @ 2270 as ask", "B buy 15 @ 2260 as bid")

    assert floor.says("B replace bid @ 2270") == ["bid replaced, 5 @ 2270", "ask x bid 10 @ 2270"]
    assert floor.book() == ["bid 5 @ 2270"]


def test_c2_a_stop_named_again_keeps_its_place(floor: Floor) -> None:
    """semantics C2: nothing of what decides the place has changed."""
    floor.says("C buy 5 stop 2280 as first", "C buy 5 stop 2280 as second")

    floor.says("C replace first stop 2280")

    assert floor.stops() == ["first 5 stop 2280", "second 5 stop 2280"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("@ 9999", "price_exceeds_band"),
        ("to 2000000", "exceeds_limit"),
        ("stop 2280", "invalid_stop_price"),
        ("to 2", "quantity_below_minimum"),
    ],
)
def test_c3_a_failed_replace_leaves_the_original_with_its_place(change: str, reason: str) -> None:
    """semantics C3, G2."""
    floor = Floor(minimum_kg=5)
    floor.says("A sell 10 @ 2270 as first", "B sell 10 @ 2270 as second")

    assert floor.says(f"A replace first {change}") == [f"rejected {reason}"]
    assert floor.book() == ["first 10 @ 2270", "second 10 @ 2270"]


def test_c3_a_post_only_order_is_not_replaced_into_a_cross(floor: Floor) -> None:
    """semantics C3, B7."""
    floor.says("A sell 10 @ 2270 as ask", "B buy 10 @ 2260 post_only as bid")

    assert floor.says("B replace bid @ 2270") == ["rejected post_only_would_trade"]
    assert floor.book() == ["bid 10 @ 2260", "ask 10 @ 2270"]


def test_c3_a_replace_that_cannot_be_paid_is_refused(floor: Floor) -> None:
    """semantics C3, G3."""
    floor.account(7, fen=30)
    order = {"kind": Command.NEW_ORDER, "account": 7, "quantity_kg": 5, "client_order_id_0": 1}
    bid = int(floor.command(**order, price_fen_per_tonne=2270)["order_id"][0])

    events = floor.command(kind=Command.REPLACE_ORDER, account=7, order_id=bid, quantity_kg=500)

    assert floor.lines_of(events) == ["rejected insufficient_funds"]


def test_c4_cancel_by_order_id_or_by_client_order_id(floor: Floor) -> None:
    """semantics C4."""
    floor.says("A buy 10 @ 2260 as one", "A buy 20 @ 2261 key mine as two")

    assert floor.says("A cancel one") == ["one canceled 10 canceled_by_owner"]
    assert floor.lines_of(floor.cancel_by_key(1, "mine")) == ["two canceled 20 canceled_by_owner"]


def test_c4_too_late_for_ones_own_ended_order_unknown_otherwise(floor: Floor) -> None:
    """semantics C4."""
    floor.says("A buy 10 @ 2260 key mine as one", "A cancel one", "B buy 10 @ 2260 as other")

    assert floor.lines_of(floor.cancel_by_key(1, "mine")) == ["rejected too_late"]
    assert floor.lines_of(floor.cancel_by_key(2, "mine")) == ["rejected unknown_order"]
    assert floor.says("A cancel other") == ["rejected unknown_order"]


def test_c5_mass_cancel_by_side_and_instrument_in_order_of_id(floor: Floor) -> None:
    """semantics C5."""
    floor.says(
        "A buy 1 @ 2260 as b1", "A sell 2 @ 2280 as s1", "A buy 3 @ 2265 as b2", "B buy 9 @ 2261 as other"
    )

    assert floor.says("A mass_cancel buy") == [
        "b1 canceled 1 mass_canceled",
        "b2 canceled 3 mass_canceled",
        "orders_canceled 2",
    ]
    assert floor.says("A mass_cancel") == ["s1 canceled 2 mass_canceled", "orders_canceled 1"]
    assert floor.book() == ["other 9 @ 2261"]


def test_c5_mass_cancel_by_session(floor: Floor) -> None:
    """semantics C5, C7."""
    floor.says("A start session as s", "A buy 1 @ 2260 in s as inside", "A buy 2 @ 2261 as outside")

    assert floor.says("A mass_cancel session s") == ["inside canceled 1 mass_canceled", "orders_canceled 1"]


def test_c6_the_kill_switch_cancels_all_and_refuses_until_released(floor: Floor) -> None:
    """semantics C6."""
    floor.says("A buy 1 @ 2260 as bid", "A sell 2 @ 2280 as ask")

    assert floor.says("A block") == [
        "bid canceled 1 kill_switch",
        "ask canceled 2 kill_switch",
        "account_blocked 2",
    ]
    assert floor.says("A buy 1 @ 2260 as no") == ["rejected account_blocked"]
    assert floor.says("A release", "A buy 1 @ 2260 as yes") == ["accepted, rests 1"]


def test_c6_an_instrument_is_halted(floor: Floor) -> None:
    """semantics C6, E1."""
    floor.says("A buy 1 @ 2260 as bid", "phase halted")

    assert floor.says("B sell 1 @ 2260 as no") == ["rejected instrument_halted"]
    assert floor.says("A cancel bid") == ["bid canceled 1 canceled_by_owner"]


def test_c7_the_end_of_a_session_cancels_what_its_scope_says(floor: Floor) -> None:
    """semantics C7."""
    floor.says("A start session as s", "A buy 1 @ 2260 in s as inside", "A buy 2 @ 2261 in s keep as kept")
    floor.says("A buy 3 @ 2262 as outside")

    assert floor.says("A end s") == ["inside canceled 1 disconnected", "session_ended 1"]
    assert floor.book() == ["outside 3 @ 2262", "kept 2 @ 2261"]


@pytest.mark.parametrize(("scope", "left"), [("none", 2), ("account", 0)])
def test_c7_scope_none_and_scope_account(floor: Floor, scope: str, left: int) -> None:
    """semantics C7."""
    floor.says(f"A start {scope} as s", "A buy 1 @ 2260 in s as inside", "A buy 3 @ 2262 as outside")

    floor.says("A end s")

    assert len(floor.book()) == left


def test_c7_an_order_in_flight_does_not_outlive_its_session(floor: Floor) -> None:
    """semantics C7."""
    floor.says("A start session as s", "A end s")

    assert floor.says("A buy 1 @ 2260 in s as late") == ["rejected unknown_session"]
    assert floor.says("B start session as other", "A buy 1 @ 2260 in other as foreign") == [
        "rejected unknown_session"
    ]


def test_c7_the_dead_man_timer_cancels_the_sessions_orders_once(floor: Floor) -> None:
    """semantics C7."""
    floor.says("A start none as s", "A buy 1 @ 2260 in s keep as kept", "A buy 3 @ 2262 as outside")
    assert floor.says("A timer s until 50000") == ["timer_set"]

    assert floor.says("time 49999") == ["time_reached 0"]
    assert floor.says("time 50000") == ["kept canceled 1 timer_expired", "time_reached 1"]
    assert floor.says("A buy 4 @ 2260 in s as later", "time 60000") == ["time_reached 0"]


def test_c7_a_timer_is_stopped_by_zero_and_refuses_the_past(floor: Floor) -> None:
    """semantics C7."""
    floor.says(
        "A start none as s", "A buy 1 @ 2260 in s as bid", "A timer s until 50000", "A timer s until 0"
    )

    assert floor.says("time 50000") == ["time_reached 0"]
    assert floor.says("A timer s until 50000") == ["rejected invalid_expiry"]


def test_c8_a_repeat_gets_the_first_outcome_and_changes_nothing(floor: Floor) -> None:
    """semantics C8."""
    floor.says("A sell 4 @ 2270 as ask", "B buy 9 @ 2270 key once as bid")
    before = floor.book(), floor.money(2)

    assert floor.says("B buy 9 @ 2270 key once as bid") == ["accepted again, filled 4, rests 5"]
    assert (floor.book(), floor.money(2)) == before
    assert floor.says("B buy 8 @ 2270 key once as bid") == ["rejected duplicate_client_order_id"]


def test_c8_the_client_order_id_of_a_living_order_outlives_the_day(floor: Floor) -> None:
    """semantics C8: it is unique for as long as its order lives."""
    floor.says("B buy 9 @ 2270 gtc key lives as bid", "B buy 9 @ 2260 key dies as day", "phase closed -1")
    floor.says("roll", "phase continuous")

    lives = floor.says("B buy 9 @ 2270 gtc key lives as again")
    dies = floor.says("B buy 9 @ 2260 key dies as new")

    assert (lives, dies) == (["accepted again, rests 9"], ["accepted, rests 9"])


def test_c8_the_full_table_refuses_orders_and_lets_cancels_go_on(floor: Floor) -> None:
    """semantics C8, G5."""
    floor.says("A buy 1 @ 2260 as bid")
    floor.exchange.state.head["day_entries"][0] = floor.exchange.capacity.day

    assert floor.says("A buy 1 @ 2260 as late") == ["rejected day_full"]
    assert floor.says("A cancel bid") == ["bid canceled 1 canceled_by_owner"]


def test_c8_a_reference_only_rises(floor: Floor) -> None:
    """semantics C8: the scheme of machines."""
    order = {"kind": Command.NEW_ORDER, "account": 1, "quantity_kg": 1, "price_fen_per_tonne": 2260}

    said = [
        floor.lines_of(floor.command(**order, flags=Flag.BY_REFERENCE, client_order_id_0=n))
        for n in (5, 5, 4, 6)
    ]

    stale = ["rejected stale_reference"]
    assert said == [["accepted, rests 1"], stale, stale, ["accepted, rests 1"]]


def test_c8_an_order_without_an_id_is_refused(floor: Floor) -> None:
    """semantics C8."""
    order = {"kind": Command.NEW_ORDER, "account": 1, "quantity_kg": 1, "price_fen_per_tonne": 2260}

    assert floor.lines_of(floor.command(**order)) == ["rejected missing_client_order_id"]
    word_0, _ = client_order_id_words(b"a")
    assert floor.lines_of(floor.command(**order, client_order_id_0=word_0)) == ["accepted, rests 1"]
