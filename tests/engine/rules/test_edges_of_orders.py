"""Rules where they are seldom touched: orders, their changes, sessions, picks (sections B to D, F, G)."""

import pytest

from engine.vocabulary import Command, Flag, OrderType, Scope, TimeInForce
from tests.engine.rules.floor import Floor

COIL_KG = 27_850


@pytest.fixture
def hall(floor: Floor) -> Floor:
    """The floor with one coil of A's (lot 20) and one of B's (21)."""
    for lot, account in ((20, 1), (21, 2)):
        floor.lot(lot, account, COIL_KG, 1)
    return floor


def test_b4_stops_outside_the_band_wait_nearest_first_and_trigger_so(floor: Floor) -> None:
    """semantics B4, E5: a stop price is not banded; buys before sells, nearest first."""
    floor.says("A buy 1 stop 1900 as buy_2", "A buy 1 stop 1800 as buy_1", "A buy 1 stop 1900 as buy_3")
    floor.says("B sell 1 stop 2600 as sell_2", "B sell 1 stop 2700 as sell_1")

    assert [line.split()[0] for line in floor.stops()] == ["buy_1", "buy_2", "buy_3", "sell_1", "sell_2"]
    floor.says("C sell 1 @ 2270 as ask")
    fired = [line for line in floor.says("D buy 1 @ 2270 as bid") if "triggered" in line]
    assert fired == [f"{name} triggered" for name in ("buy_1", "buy_2", "buy_3", "sell_1", "sell_2")]


def test_b4_a_cascade_stops_where_a_volatility_auction_opens() -> None:
    """semantics B4, E5: stops do not trigger in an auction; the uncross's price triggers the rest."""
    floor = Floor(dynamic_band_bp=100, volatility_auction_s=60)
    floor.trade_at(2270)
    floor.says("A sell 1 @ 2280 as spark", "A sell 8 @ 2310 as outside")
    floor.says(
        "C buy 5 stop 2275 stop_limit @ 2320 as first", "C buy 2 stop 2276 stop_limit @ 2320 as second"
    )

    said = floor.says("B buy 1 @ 2280 as match")

    assert said == [
        "accepted, filled 1",
        "spark x match 1 @ 2280",
        "first triggered",
        "phase auction",
        "indicative 5 @ 2310, sell surplus 3",
    ]
    assert floor.stops() == ["second 2 stop 2276"]
    assert floor.says("time 70000000000")[:5] == [
        "uncrossed 5 @ 2310, sell surplus 3",
        "first x outside 5 @ 2310",
        "phase continuous",
        "second triggered",
        "outside x second 2 @ 2310",
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stop_fen_per_tonne": 2270}, "invalid_stop_price"),
        ({"order_type": OrderType.STOP_LIMIT}, "invalid_stop_price"),
        ({"due_ns": 90_000}, "invalid_expiry"),
        ({"order_type": OrderType.MARKET, "display_quantity_kg": 5}, "invalid_display_quantity"),
        ({"time_in_force": TimeInForce.IOC, "display_quantity_kg": 5}, "invalid_display_quantity"),
    ],
)
def test_b4_b5_b8_a_field_that_the_order_has_no_use_for_is_refused(
    floor: Floor, fields: dict[str, int], reason: str
) -> None:
    """semantics B4, B5, B8: a stop price belongs to a stop, an instant to gtd, a slice to what rests."""
    row = {"kind": Command.NEW_ORDER, "account": 1, "quantity_kg": 9, "price_fen_per_tonne": 2260}

    assert floor.lines_of(floor.command(**row | fields, client_order_id_0=1)) == [f"rejected {reason}"]


def test_b6_the_hidden_kilograms_of_an_own_iceberg_do_not_count(floor: Floor) -> None:
    """semantics B6, B8: cancel_oldest clears the own one away, hidden part and all."""
    floor.says("E sell 30 @ 2270 display 10 as own", "A sell 30 @ 2270 display 10 as strange")

    assert floor.says("D buy 31 @ 2270 fok cancel_oldest as more")[-1] == "more canceled 31 not_feasible"
    assert floor.says("D buy 30 @ 2270 fok cancel_oldest as fits")[0] == "accepted, filled 30"


def test_c2_a_replaced_order_that_trades_triggers_stops(floor: Floor) -> None:
    """semantics C2, B4."""
    floor.says("A sell 5 @ 2280 as ask", "C buy 2 stop 2280 as stop", "B buy 3 @ 2270 as bid")

    assert floor.says("B replace bid @ 2280") == [
        "bid replaced, 0 @ 2280",
        "ask x bid 3 @ 2280",
        "stop triggered",
        "ask x stop 2 @ 2280",
    ]


def test_c3_a_replace_is_judged_as_an_order_is() -> None:
    """semantics C3, G2, law 7: on the step, and no more kilograms than the lot has."""
    floor = Floor(step_kg=2, minimum_kg=2)
    floor.lot(30, 1, 10, 0)
    floor.says("A sell 10 @ 2280 lot 30 as ask")

    assert floor.says("A replace ask to 5") == ["rejected quantity_off_step"]
    assert floor.says("A replace ask to 12") == ["rejected insufficient_goods"]
    assert (floor.book(), floor.goods(30)) == (["ask 10 @ 2280"], (0, 10, 0))


def test_c3_a_post_only_order_moves_as_long_as_it_does_not_cross(floor: Floor) -> None:
    """semantics C3, B7."""
    floor.says("A sell 10 @ 2270 as ask", "B buy 10 @ 2260 post_only as bid")

    assert floor.says("B replace bid @ 2269") == ["bid replaced, 10 @ 2269"]


def test_c3_a_blocked_account_replaces_nothing(floor: Floor) -> None:
    """semantics C3, C6: a replacement may take risk; in no_cancel a blocked account still has orders."""
    floor.says("phase auction", "A buy 5 @ 2260 gtc as bid", "phase no_cancel", "A block")

    assert floor.says("A replace bid to 9") == ["rejected account_blocked"]


def test_c5_mass_cancel_by_instrument(hall: Floor) -> None:
    """semantics C5."""
    hall.says(f"A sell {COIL_KG} @ 2270 instrument 1 lot 20 as coil", "A buy 1 @ 2260 as rebar")

    assert hall.says("A mass_cancel instrument 1") == [
        f"coil canceled {COIL_KG} mass_canceled",
        "orders_canceled 1",
    ]
    assert hall.book() == ["rebar 1 @ 2260"]


def test_c5_orders_end_by_id_whatever_slots_they_lie_in(floor: Floor) -> None:
    """semantics C5: slots are used again last in, first out, so ids do not rise with slots."""
    floor.says(*[f"A buy 1 @ 2260 as old_{n}" for n in range(8)])
    floor.says(*[f"A cancel old_{n}" for n in (1, 6, 0, 4, 3)])
    floor.says(*[f"A buy 1 @ 2261 as new_{n}" for n in range(6)])

    ended = [line.split()[0] for line in floor.says("A mass_cancel")[:-1]]

    assert ended == [*(f"old_{n}" for n in (2, 5, 7)), *(f"new_{n}" for n in range(6))]


def test_c5_an_ended_session_cancels_nothing(floor: Floor) -> None:
    """semantics C5, C7."""
    floor.says("A start session as s", "A buy 1 @ 2260 as bid", "A end s")

    assert floor.says("A mass_cancel session s") == ["rejected unknown_session"]
    assert floor.book() == ["bid 1 @ 2260"]


@pytest.mark.parametrize("kind", [Command.BLOCK_ACCOUNT, Command.RELEASE_ACCOUNT])
def test_c6_the_kill_switch_needs_an_account(floor: Floor, kind: Command) -> None:
    """semantics C6."""
    assert floor.lines_of(floor.command(kind=kind, account=60)) == ["rejected unknown_account"]


def test_c6_the_first_reason_of_a_kept_cancel_stands(floor: Floor) -> None:
    """semantics C6, C7, E1: what is kept in no_cancel is kept once."""
    floor.says("A start session as s", "phase auction", "A buy 5 @ 2260 gtc in s as bid", "phase no_cancel")
    floor.says("A end s", "A block")

    assert floor.says("phase halted") == ["bid canceled 5 disconnected", "phase halted"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": Command.START_SESSION, "account": 60}, "unknown_account"),
        ({"kind": Command.START_SESSION, "account": 1, "scope": Scope.ACCOUNT + 1}, "invalid_terms"),
        ({"kind": Command.CANCEL_ALL_AFTER, "account": 1, "due_ns": 90_000}, "unknown_session"),
        ({"kind": Command.CANCEL_ALL_AFTER, "account": 60, "due_ns": 90_000}, "unknown_account"),
        ({"kind": Command.END_SESSION, "account": 1, "session": 7 << 22 | 3}, "unknown_session"),
    ],
)
def test_c7_a_session_is_an_accounts(floor: Floor, fields: dict[str, int], reason: str) -> None:
    """semantics C7."""
    assert floor.lines_of(floor.command(**fields)) == [f"rejected {reason}"]


def test_c7_a_timer_that_runs_out_leaves_the_others_running(floor: Floor) -> None:
    """semantics C7, E6."""
    floor.says("A start none as s", "B start none as t", "A buy 1 @ 2260 in s as early")
    floor.says("B buy 2 @ 2261 in t as late", "A timer s until 50000", "B timer t until 60000")

    assert floor.says("time 50000") == ["early canceled 1 timer_expired", "time_reached 1"]
    assert int(floor.exchange.state.head["next_expiry_ns"][0]) == 60_000
    assert floor.says("time 60000") == ["late canceled 2 timer_expired", "time_reached 1"]


def test_f2_what_only_a_book_has_is_refused_of_a_listing(hall: Floor) -> None:
    """semantics F2."""
    listing = f"A sell {COIL_KG} @ 2270 instrument 1 lot 20"

    said = [hall.says(f"{listing} {more}")[0] for more in ("market", "post_only", "display 5", "ioc", "fok")]

    assert said == ["rejected unsupported_order_type"] * 3 + ["rejected unsupported_time_in_force"] * 2


def test_f2_a_lot_that_nobody_has_goes_to_no_bid(hall: Floor) -> None:
    """semantics F2."""
    hall.says("C buy 28000 @ 2270 instrument 1 min 27000 as wanted")

    assert hall.says("A pick wanted 0 lot 250") == ["rejected unknown_lot"]


def test_f2_a_pick_by_rising_reference(hall: Floor) -> None:
    """semantics F2, C8: the scheme of machines serves picks too."""
    hall.says(f"A sell {COIL_KG} @ 2270 instrument 1 lot 20 as coil")
    pick = {"kind": Command.PICK, "account": 2, "order_id": hall.ids["coil"], "quantity_kg": COIL_KG}
    machine = {"flags": Flag.BY_REFERENCE, "client_order_id_0": 7, "listing_version": 1}

    said = hall.lines_of(hall.command(**pick, **machine))
    again = hall.lines_of(hall.command(**pick, **machine))

    assert said == [f"accepted, filled {COIL_KG}", f"coil x incoming {COIL_KG} @ 2270"]
    assert again == ["rejected stale_reference"]


def test_g5_a_pick_needs_room_for_an_order(hall: Floor) -> None:
    """semantics G5, F2."""
    hall.says(f"A sell {COIL_KG} @ 2270 instrument 1 lot 20 as coil")
    orders_max = int(hall.exchange.state.head["orders_max"][0])
    hall.exchange.state.head["orders_max"][0] = 1

    full = hall.says(f"B pick coil {COIL_KG}")
    hall.exchange.state.head["orders_max"][0] = orders_max

    assert full == ["rejected live_orders_full"]
    assert hall.says(f"B pick coil {COIL_KG} as later")[0] == f"accepted, filled {COIL_KG}"


def test_g5_icebergs_count_by_their_slices_and_never_overflow_the_events(floor: Floor) -> None:
    """semantics G5, B8: two slices count as one order; a sweep of all of them is still one command."""
    orders_max = int(floor.exchange.state.head["orders_max"][0])
    most = 2 * orders_max - 1  # kilograms of one order that shows one at a time
    floor.lot(30, 1, 10**6, 0)

    assert floor.says(f"A sell {most + 1} @ 2270 display 1 lot 30") == ["rejected live_orders_full"]
    assert floor.says(f"A sell {most} @ 2270 display 1 lot 30 as ice") == [f"accepted, rests {most}"]
    assert floor.says("B buy 1 @ 2260") == ["rejected live_orders_full"]
    assert floor.says(f"A replace ice to {most + 1}") == ["rejected live_orders_full"]
    floor.says("A replace ice to 101", "B buy 1 @ 2270 as one")

    said = floor.says("B buy 100 @ 2270 as rest")
    assert (said[0], len(said)) == ("accepted, filled 100", 1 + 100 + 99)


def test_g5_a_waiting_stops_slices_count_before_it_hides_them(floor: Floor) -> None:
    """semantics G5, B4, B8: the command that triggers it cannot refuse it."""
    orders_max = int(floor.exchange.state.head["orders_max"][0])
    most = 2 * orders_max - 1

    floor.says(f"A buy {most} stop 2280 stop_limit @ 2290 display 1 as waits")

    assert floor.says("B buy 1 @ 2260") == ["rejected live_orders_full"]
    floor.says("A replace waits to 1000")
    floor.says("B sell 1 @ 2280 as spark", "C buy 1 @ 2280 as match")
    assert floor.book() == ["waits 1/1000 @ 2290"]
    assert floor.says("A cancel waits") == ["waits canceled 1000 canceled_by_owner"]
    assert int(floor.exchange.state.head["slices"][0]) == 0
