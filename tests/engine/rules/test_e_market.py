"""Section E of engine/RULES.md: phases, auctions, bands, the day."""

import pytest

from engine.exchange import Exchange, stamped
from engine.records import INSTRUMENT, ORDER, commands_of
from engine.vocabulary import Command, Event, Phase, Reason
from tests.engine.builders import SMALL
from tests.engine.rules.floor import Floor

ADMITTED = {  # phase: what a limit order, a replace and a cancel get
    "closed": ("rejected instrument_closed", "rejected instrument_closed", "canceled"),
    "halted": ("rejected instrument_halted", "rejected instrument_halted", "canceled"),
    "no_cancel": ("rejected no_cancel_phase", "rejected no_cancel_phase", "rejected no_cancel_phase"),
    "pre_open": ("accepted, rests 1", "replaced", "canceled"),
    "auction": ("accepted, rests 1", "replaced", "canceled"),
    "continuous": ("accepted, rests 1", "replaced", "canceled"),
}


@pytest.mark.parametrize("phase", ADMITTED)
def test_e1_each_phase_admits_what_the_table_says(floor: Floor, phase: str) -> None:
    """semantics E1."""
    floor.says("A buy 5 @ 2260 gtc as bid", f"phase {phase}")

    said = [floor.says(line)[0] for line in ("A buy 1 @ 2261 as new", "A replace bid to 4", "A cancel bid")]

    for line, word in zip(said, ADMITTED[phase], strict=True):
        assert word in line


def test_e1_the_auction_says_its_price_after_each_change(floor: Floor) -> None:
    """semantics E1, E4."""
    floor.says("phase auction")

    assert floor.says("A buy 5 @ 2272 as bid") == ["accepted, rests 5", "indicative 0 @ 0"]
    assert floor.says("B sell 8 @ 2270 as ask") == [
        "accepted, rests 8",
        "indicative 5 @ 2270, sell surplus 3",
    ]
    assert floor.says("B replace ask to 5") == [
        "ask replaced, 5 @ 2270, keeps its place",
        "indicative 5 @ 2270",
    ]
    assert floor.says("A cancel bid") == ["bid canceled 5 canceled_by_owner", "indicative 0 @ 0"]


def test_e1_what_changes_nothing_says_no_price(floor: Floor) -> None:
    """semantics E1, A5."""
    floor.says("phase auction", "A buy 5 @ 2272 key k as bid")

    assert floor.says("A buy 5 @ 9999 as bad") == ["rejected price_exceeds_band"]
    assert floor.says("A buy 5 @ 2272 key k as bid") == ["accepted again, rests 5"]
    assert floor.says("B mass_cancel") == ["orders_canceled 0"]
    assert floor.says("time 100000") == ["time_reached 0"]


def test_e1_cancels_of_the_kill_switch_wait_in_no_cancel_for_the_uncross(floor: Floor) -> None:
    """semantics E1, C6."""
    floor.says("phase auction", "A buy 5 @ 2272 gtc as bid", "B sell 2 @ 2270 as ask", "phase no_cancel")

    assert "bid canceled" not in " ".join(floor.says("A block"))
    assert floor.says("phase continuous") == [
        "uncrossed 2 @ 2272, buy surplus 3",
        "bid x ask 2 @ 2272",
        "bid canceled 3 kill_switch",
        "phase continuous",
    ]


@pytest.mark.parametrize("phase", ["halted", "closed"])
def test_e1_a_halt_out_of_no_cancel_carries_kept_cancels_out(floor: Floor, phase: str) -> None:
    """semantics E1, C7."""
    floor.says(
        "A start session as s",
        "phase auction",
        "A buy 5 @ 2260 gtc in s as bid",
        "phase no_cancel",
        "A end s",
    )

    assert floor.says(f"phase {phase}") == ["bid canceled 5 disconnected", f"phase {phase}"]


def test_e1_a_kept_cancel_ends_nobody_elses_order(floor: Floor) -> None:
    """semantics E1: what rests beside the condemned order rests on after the uncross."""
    floor.says("phase auction", "A buy 5 @ 2260 gtc as bid", "B buy 3 @ 2260 gtc as other", "phase no_cancel")
    floor.says("A block")

    said = floor.says("phase continuous")

    assert [line for line in said if "canceled" in line] == ["bid canceled 5 kill_switch"]
    assert floor.book() == ["other 3 @ 2260"]


VECTORS = [  # semantics E2, price x quantity
    ("202x200 201x200 200x300", "200x100 198x200 197x400", "uncrossed 700 @ 200"),
    ("202x400 201x200", "199x300 198x200", "uncrossed 500 @ 201, buy surplus 100"),
    ("202x300 201x200", "199x400 198x200", "uncrossed 500 @ 199, sell surplus 100"),
]


def quotes(floor: Floor, bids: str, asks: str) -> None:
    for side, levels in (("A buy", bids), ("B sell", asks)):
        for level in levels.split():
            price, kg = level.split("x")
            floor.says(f"{side} {kg} @ {price}")


@pytest.mark.parametrize(("bids", "asks", "line"), VECTORS)
def test_e2_reference_vectors(bids: str, asks: str, line: str) -> None:
    """semantics E2."""
    floor = Floor(lower_fen_per_tonne=100, upper_fen_per_tonne=300, reference_fen_per_tonne=200, band_bp=0)
    floor.says("phase auction")
    quotes(floor, bids, asks)

    assert floor.says("phase continuous")[0] == line


def test_e2_golden_number_e7() -> None:
    """semantics E2, domain E7: nobody's limit is the price."""
    floor = Floor(lower_fen_per_tonne=2000, upper_fen_per_tonne=2200, reference_fen_per_tonne=2080, band_bp=0)
    floor.says("phase auction")
    quotes(floor, "2110x60 2100x100 2090x80 2080x120", "2070x90 2085x70 2095x100 2100x60")

    assert floor.says("phase continuous")[0] == "uncrossed 160 @ 2091"


def test_e2_the_last_trade_is_the_reference_before_the_settlement_price(floor: Floor) -> None:
    """semantics E2: 2,268 to 2,272 are equally good; the nearest to the last trade wins."""
    floor.trade_at(2271)
    floor.says("phase auction", "A buy 5 @ 2272 as bid", "B sell 5 @ 2268 as ask")

    assert floor.says("phase continuous")[0] == "uncrossed 5 @ 2271"


def test_e2_continuous_is_entered_through_the_uncross_also_from_a_halt(floor: Floor) -> None:
    """semantics E2, A3."""
    floor.says("phase pre_open", "A buy 5 @ 2272 as bid", "B sell 5 @ 2270 as ask", "phase halted")

    assert floor.says("phase continuous")[:2] == ["uncrossed 5 @ 2270", "bid x ask 5 @ 2270"]


def test_e2_at_open_does_not_slip_through_a_halt(floor: Floor) -> None:
    """semantics E2, B5."""
    floor.says("phase pre_open", "A buy 5 @ 2260 at_open as bid", "phase halted", "phase continuous")

    assert floor.book() == []


def test_e3_better_prices_first_then_time_and_only_the_margin_is_rationed(floor: Floor) -> None:
    """semantics E3: 30 kg sell; the bid at the margin that came first gets what is left."""
    floor.says(
        "phase auction", "A buy 20 @ 2270 as old", "B buy 20 @ 2270 as young", "C buy 15 @ 2272 as best"
    )
    floor.says("B sell 30 @ 2270 as ask")

    assert floor.says("phase continuous") == [
        "uncrossed 30 @ 2270, buy surplus 25",
        "best x ask 15 @ 2270",
        "old x ask 15 @ 2270",
        "phase continuous",
    ]
    assert floor.book() == ["old 5 @ 2270", "young 20 @ 2270"]


def test_e3_an_icebergs_remainder_keeps_its_place_and_shows_a_fresh_slice(floor: Floor) -> None:
    """semantics E3, B8."""
    floor.says("phase auction", "A buy 50 @ 2270 display 10 as ice", "B buy 5 @ 2270 as later")
    floor.says("C sell 33 @ 2270 as ask")

    assert floor.says("phase continuous")[1] == "ice x ask 33 @ 2270"
    assert floor.book() == ["ice 10/17 @ 2270", "later 5 @ 2270"]


def test_e4_the_indicative_names_price_volume_surplus_and_reference(floor: Floor) -> None:
    """semantics E4."""
    floor.trade_at(2269)
    floor.says("phase auction", "A buy 5 @ 2272 as bid")

    events = floor.judge("B sell 8 @ 2270 as ask").view(ORDER)

    row = events[-1]
    names = ("kind", "price_fen_per_tonne", "quantity_kg", "leaves_kg", "side", "cum_kg")
    assert [int(row[name]) for name in names] == [Event.INDICATIVE, 2270, 5, 3, 1, 2269]


def test_e4_the_surplus_is_that_of_the_price(floor: Floor) -> None:
    """semantics E4, E2: 2,299 to 2,303 all trade 10; up to 2,300 buyers are over, above it sellers."""
    floor.trade_at(2302)
    floor.says("phase auction", "A buy 10 @ 2303", "A buy 10 @ 2300", "B sell 10 @ 2299")

    assert floor.says("B sell 10 @ 2301")[1] == "indicative 10 @ 2302, sell surplus 10"


def test_e5_the_static_band_is_rounded_inwards_and_judged_at_entry() -> None:
    """semantics E5: 2,270 +- 10 % with tick 7 is 2,044 to 2,492."""
    floor = Floor(tick_fen_per_tonne=7, lower_fen_per_tonne=2002, upper_fen_per_tonne=2499)
    floor.says("phase closed", "reference 2268", "phase continuous")
    row = floor.ask(Command.QUERY_INSTRUMENTS).view(INSTRUMENT)[0]

    assert (int(row["lower_fen_per_tonne"]), int(row["upper_fen_per_tonne"])) == (2044, 2492)
    assert floor.says("A buy 1 @ 2499 as high") == ["rejected price_exceeds_band"]
    assert floor.says("A buy 1 @ 2037 as low") == ["rejected price_exceeds_band"]


def test_e5_a_print_outside_the_dynamic_band_ends_the_incoming_order() -> None:
    """semantics E5: 1 % around 2,270 is 2,248 to 2,292; the band does not follow the order itself."""
    floor = Floor(dynamic_band_bp=100)
    floor.trade_at(2270)
    floor.says("A sell 5 @ 2290 as inside", "A sell 5 @ 2293 as outside")

    assert floor.says("B buy 20 @ 2300 as taker") == [
        "accepted, filled 5",
        "inside x taker 5 @ 2290",
        "taker canceled 15 collar",
    ]
    assert floor.says("B buy 5 @ 2300 as next") == ["accepted, filled 5", "outside x next 5 @ 2293"]


def test_e5_a_fok_sees_the_dynamic_band() -> None:
    """semantics E5, B6."""
    floor = Floor(dynamic_band_bp=100)
    floor.trade_at(2270)
    floor.says("A sell 5 @ 2290 as inside", "A sell 5 @ 2293 as outside")

    assert floor.says("B buy 6 @ 2300 fok as fok") == ["accepted", "fok canceled 6 not_feasible"]


def test_e5_a_volatility_auction_keeps_the_remainder_and_ends_by_time() -> None:
    """semantics E5, E6."""
    floor = Floor(dynamic_band_bp=100, volatility_auction_s=60)
    floor.trade_at(2270)
    floor.says(
        "A sell 5 @ 2290 as inside", "A sell 5 @ 2293 as outside", "C buy 1 @ 2250 continuous_only as only"
    )

    said = floor.says("B buy 20 @ 2300 as taker")

    assert said[:2] == ["accepted, filled 5, rests 15", "inside x taker 5 @ 2290"]
    assert sorted(said[2:4]) == ["only canceled 1 auction_started", "phase auction"]
    assert said[4:] == ["indicative 5 @ 2300, buy surplus 10"]
    assert floor.says("time 70000000000")[:2] == [
        "uncrossed 5 @ 2300, buy surplus 10",
        "taker x outside 5 @ 2300",
    ]


def test_e5_the_settlement_price_is_the_days_weighted_price_half_up() -> None:
    """semantics E5: 3 t at 2,270 and 1 t at 2,272 weigh 2,270.5, half-up 2,271."""
    floor = Floor()
    floor.says(
        "A sell 3000 @ 2270",
        "B buy 3000 @ 2270",
        "A sell 1000 @ 2272",
        "B buy 1000 @ 2272",
        "phase closed -1",
    )

    floor.says("roll")

    row = floor.ask(Command.QUERY_INSTRUMENTS).view(INSTRUMENT)[0]
    names = ("price_fen_per_tonne", "lower_fen_per_tonne", "upper_fen_per_tonne")
    assert [int(row[name]) for name in names] == [2271, 2044, 2498]


def test_e6_expiries_of_one_instant_go_by_order_id(floor: Floor) -> None:
    """semantics E6."""
    floor.says("A buy 1 @ 2260 gtd until 90000 as first", "B sell 2 @ 2290 gtd until 80000 as second")
    floor.says("A buy 3 @ 2261 gtd until 95000 as third")

    assert floor.says("time 90000") == [
        "first canceled 1 expired",
        "second canceled 2 expired",
        "time_reached 2",
    ]


def test_e6_orders_expire_before_timers_run_out(floor: Floor) -> None:
    """semantics E6, C7."""
    floor.says("A start none as s", "A buy 1 @ 2260 in s as timed", "B buy 2 @ 2261 gtd until 50000 as dated")
    floor.says("A timer s until 50000")

    assert floor.says("time 50000") == [
        "dated canceled 2 expired",
        "timed canceled 1 timer_expired",
        "time_reached 2",
    ]


def test_e7_what_lies_outside_the_new_band_ends_with_that_reason(floor: Floor) -> None:
    """semantics E7."""
    floor.says("A buy 1 @ 2060 gtc as low", "A buy 2 @ 2200 gtc as middle", "A buy 3 @ 2201 as day")

    assert floor.says("phase closed") == ["day canceled 3 day_end", "phase closed"]
    assert floor.says("reference 2400") == ["low canceled 1 band_moved", "reference_set"]
    assert floor.book() == ["middle 2 @ 2200"]


def test_e7_an_order_that_is_no_longer_covered_ends(floor: Floor) -> None:
    """semantics E7, G3: a stop holds at the upper band price, which rises."""
    floor.account(7, fen=2_500 + 50 + 3_000)
    order = {
        "kind": Command.NEW_ORDER,
        "account": 7,
        "order_type": 3,
        "quantity_kg": 1_000,
        "time_in_force": 1,
    }
    floor.command(**order, stop_fen_per_tonne=2_400, client_order_id_0=1)
    floor.says("phase closed")

    assert floor.says("reference 2272") == ["reference_set"]  # 2,499
    assert floor.says("reference 2300") == ["order canceled 1000 insufficient_funds", "reference_set"]
    assert floor.money(7) == (5_550, 0)


def test_e7_the_roll_of_the_day_needs_every_instrument_closed(floor: Floor) -> None:
    """semantics E7: references first, the day last."""
    assert floor.says("roll") == ["rejected instrument_open"]

    assert floor.says("phase closed -1", "roll") == ["reference_set", "reference_set", "day_rolled"]


def bust(floor: Floor, kg: int, match_id: int) -> list[str]:
    fields = {"account": 2, "lot": 1, "price_fen_per_tonne": 2270, "quantity_kg": kg, "match_id": match_id}
    money = {"amount_fen": 2_270 + 50, "counter_amount_fen": 50}
    return floor.lines_of(floor.settle(kind=Command.BUST_TRADE, **fields, **money))


def test_e8_a_bust_returns_money_and_goods_and_nothing_else(floor: Floor) -> None:
    """semantics E8."""
    before = floor.money(1), floor.money(2), floor.goods(1)
    floor.says("A sell 1000 @ 2270 as ask", "B buy 1000 @ 2270 as bid")

    assert bust(floor, 1_000, 1) == ["trade_busted"]
    assert (floor.money(1), floor.money(2), floor.goods(1)) == before
    assert int(floor.exchange.state.instruments["last"][0]) == 2270


def test_e8_a_bust_corrects_the_day_of_its_trade_only(floor: Floor) -> None:
    """semantics E5, E8: a trade of yesterday is not in today's settlement price."""
    floor.says("A sell 1000 @ 2270", "B buy 1000 @ 2270", "A sell 1000 @ 2280", "B buy 1000 @ 2280")
    row = floor.exchange.state.instruments

    today = floor.exchange.sequence << 22
    bust(floor, 500, today)
    assert (int(row["day_kg"][0]), int(row["day_amount"][0])) == (1_500, 4_550 - 1_135)

    floor.says("phase closed -1", "roll", "phase continuous")
    bust(floor, 500, today)
    assert (int(row["day_kg"][0]), int(row["day_amount"][0])) == (0, 0)


def test_e8_a_bust_that_an_account_cannot_take_is_refused(floor: Floor) -> None:
    """semantics E8, G1."""
    row = {"kind": Command.BUST_TRADE, "account": 2, "lot": 1, "quantity_kg": 1, "match_id": 1}

    assert floor.lines_of(floor.settle(**row, amount_fen=-1)) == ["rejected exceeds_limit"]
    assert floor.lines_of(floor.settle(**row, counter_amount_fen=10**17)) == ["rejected exceeds_limit"]


def test_e1_a_phase_of_all_instruments_is_refused_where_there_is_none() -> None:
    """semantics E1, A5: every command has an event."""
    exchange = Exchange(SMALL)
    row = {"kind": Command.SET_PHASE, "instrument": -1, "phase": Phase.HALTED}

    events = exchange.apply(stamped(commands_of(row), 1, 1))

    assert [int(reason) for reason in events["reason"]] == [Reason.UNKNOWN_INSTRUMENT]


def test_e8_a_bust_of_more_than_was_sold_is_refused(floor: Floor) -> None:
    """semantics E8."""
    floor.says("A sell 1000 @ 2270 as ask", "B buy 1000 @ 2270 as bid")

    assert bust(floor, 1_001, 1) == ["rejected unknown_trade"]
    assert bust(floor, 1_000, 0) == ["rejected unknown_trade"]


def test_e1_an_unknown_phase_or_instrument_is_refused(floor: Floor) -> None:
    """semantics E1."""
    row = {"kind": Command.SET_PHASE, "phase": 99}
    other = {"kind": Command.SET_PHASE, "phase": Phase.HALTED, "instrument": 7}

    assert floor.lines_of(floor.send(commands_of(row))) == ["rejected unknown_phase"]
    assert floor.lines_of(floor.send(commands_of(other))) == ["rejected unknown_instrument"]
