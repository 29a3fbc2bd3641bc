"""Orders: judged, matched, rested, canceled; each test names the rule of semantics.md that it proves."""

import numpy as np
import pytest

from engine.records import ORDER, TRADE
from engine.vocabulary import Command, Flag, Mode, Phase, Reason, Side, TimeInForce
from tests.engine.builders import (
    COIL,
    LOWER,
    REBAR,
    STEP_KG,
    TICK,
    UPPER,
    Venue,
    kinds,
    order_id_of,
    reason_of,
    terms,
    trades,
)

PRICE = 226_000


@pytest.fixture
def venue() -> Venue:
    """Sellers 1 and 2 with 100 bundles each, buyers 3 and 4."""
    venue = Venue()
    for account in (1, 2, 3, 4):
        venue.account(account)
    for account in (1, 2):
        venue.lot(account, account, 100 * STEP_KG)
    return venue


def test_a1_better_price_fills_before_earlier_time(venue: Venue) -> None:
    venue.sell(1, PRICE + TICK, STEP_KG, 1)
    venue.sell(2, PRICE, STEP_KG, 2)

    events = venue.buy(3, PRICE + TICK, 2 * STEP_KG)

    assert trades(events) == [(PRICE, STEP_KG), (PRICE + TICK, STEP_KG)]


def test_a1_earlier_order_at_same_price_fills_first(venue: Venue) -> None:
    first = order_id_of(venue.sell(1, PRICE, STEP_KG, 1))
    second = order_id_of(venue.sell(2, PRICE, STEP_KG, 2))

    events = venue.buy(3, PRICE, 2 * STEP_KG)

    assert events.view(TRADE)["counter_order_id"][1:].tolist() == [first, second]


def test_a2_trade_prints_at_the_resting_price(venue: Venue) -> None:
    venue.buy(3, PRICE + 5 * TICK, STEP_KG)

    events = venue.sell(1, PRICE, STEP_KG, 1)

    assert trades(events) == [(PRICE + 5 * TICK, STEP_KG)]


def test_a3_exact_touch_trades_and_one_tick_away_does_not(venue: Venue) -> None:
    venue.sell(1, PRICE, STEP_KG, 1)

    below = venue.buy(3, PRICE - TICK, STEP_KG)
    touch = venue.buy(3, PRICE, STEP_KG)

    assert (trades(below), trades(touch)) == ([], [(PRICE, STEP_KG)])


def test_a5_acknowledgement_comes_first_and_carries_the_outcome(venue: Venue) -> None:
    venue.sell(1, PRICE, STEP_KG, 1)

    events = venue.buy(3, PRICE, 3 * STEP_KG)

    acknowledgement = events.view(ORDER)[0]
    assert kinds(events) == ["accepted", "trade"]
    assert (int(acknowledgement["cum_kg"]), int(acknowledgement["leaves_kg"])) == (STEP_KG, 2 * STEP_KG)
    assert int(acknowledgement["amount_fen"]) == 562_740  # 2,490 kg at 2,260.00


def test_a7_partially_filled_order_keeps_its_place(venue: Venue) -> None:
    first = order_id_of(venue.sell(1, PRICE, 3 * STEP_KG, 1))
    venue.sell(2, PRICE, STEP_KG, 2)
    venue.buy(3, PRICE, STEP_KG)

    events = venue.buy(3, PRICE, STEP_KG)

    assert events.view(TRADE)["counter_order_id"][1:].tolist() == [first]


def test_a7_side_that_emptied_refills_with_the_right_best_price(venue: Venue) -> None:
    venue.sell(1, PRICE, STEP_KG, 1)
    venue.buy(3, PRICE, STEP_KG)
    venue.sell(1, PRICE + 9 * TICK, STEP_KG, 1)
    venue.sell(1, PRICE + 3 * TICK, STEP_KG, 1)

    events = venue.buy(3, PRICE + 9 * TICK, STEP_KG)

    assert trades(events) == [(PRICE + 3 * TICK, STEP_KG)]
    venue.exchange.check_invariants()


def test_a7_sweep_of_5000_orders_is_complete(venue: Venue) -> None:
    venue.send(terms(2, Mode.BOOK, maximum_kg=10**9))
    venue.phase(Phase.CONTINUOUS, 2)
    venue.lot(9, 1, 5_000 * STEP_KG, 2)
    for reference in range(1, 5_001):
        identity = {"flags": Flag.BY_REFERENCE, "client_order_id_0": reference}
        venue.sell(1, PRICE, STEP_KG, 9, instrument=2, **identity)

    events = venue.buy(3, PRICE, 5_000 * STEP_KG, instrument=2)

    assert trades(events) == [(PRICE, STEP_KG)] * 5_000
    assert venue.resting(2) == []
    venue.exchange.check_invariants()


def test_b5_ioc_remainder_is_canceled_and_never_rests(venue: Venue) -> None:
    venue.sell(1, PRICE, STEP_KG, 1)

    events = venue.buy(3, PRICE, 3 * STEP_KG, time_in_force=TimeInForce.IOC)

    assert kinds(events) == ["accepted", "trade", "canceled"]
    assert Reason(int(events["reason"][2])) is Reason.IOC_REMAINDER
    assert int(events.view(ORDER)["quantity_kg"][2]) == 2 * STEP_KG
    assert venue.resting() == []


def test_b5_day_orders_end_at_the_close(venue: Venue) -> None:
    venue.sell(1, PRICE, 2 * STEP_KG, 1)
    venue.buy(3, PRICE - TICK, STEP_KG)

    events = venue.phase(Phase.CLOSED, REBAR)

    assert kinds(events) == ["canceled", "canceled", "phase_changed"]
    assert {Reason(int(reason)) for reason in events["reason"][:2]} == {Reason.DAY_END}
    assert (venue.money(3)[1], venue.goods(1)) == (0, (100 * STEP_KG, 0, 0))


def test_c4_cancel_by_order_id_and_by_client_order_id(venue: Venue) -> None:
    by_id = order_id_of(venue.buy(3, PRICE, STEP_KG))
    venue.buy(3, PRICE, STEP_KG, key="mine")

    assert kinds(venue.cancel(3, by_id)) == ["canceled"]
    assert kinds(venue.cancel_by_key(3, "mine")) == ["canceled"]
    assert venue.resting() == []


def test_c4_somebody_elses_order_is_unknown(venue: Venue) -> None:
    order_id = order_id_of(venue.buy(3, PRICE, STEP_KG, key="mine"))

    assert reason_of(venue.cancel(4, order_id)) is Reason.UNKNOWN_ORDER
    assert reason_of(venue.cancel_by_key(4, "mine")) is Reason.UNKNOWN_ORDER
    assert len(venue.resting()) == 1


def test_c4_an_ended_order_is_too_late_by_its_client_order_id(venue: Venue) -> None:
    venue.sell(1, PRICE, STEP_KG, 1, key="gone")
    venue.buy(3, PRICE, STEP_KG)

    assert reason_of(venue.cancel_by_key(1, "gone")) is Reason.TOO_LATE


def test_c4_an_order_id_whose_slot_was_used_again_is_unknown(venue: Venue) -> None:
    old = order_id_of(venue.buy(3, PRICE, STEP_KG))
    venue.cancel(3, old)
    new = order_id_of(venue.buy(3, PRICE, STEP_KG))

    assert old & 0x3FFFFF == new & 0x3FFFFF  # the slot was recycled
    assert reason_of(venue.cancel(3, old)) is Reason.UNKNOWN_ORDER


def test_c8_repeat_returns_the_first_outcome_and_changes_nothing(venue: Venue) -> None:
    venue.sell(1, PRICE, STEP_KG, 1)
    first = venue.buy(3, PRICE, 3 * STEP_KG, key="once")
    before = venue.money(3), venue.resting()

    again = venue.buy(3, PRICE, 3 * STEP_KG, key="once")

    assert kinds(again) == ["accepted"]
    assert int(again["flags"][0]) & Flag.DUPLICATE
    for field in ("order_id", "cum_kg", "leaves_kg", "amount_fen"):
        assert again.view(ORDER)[field][0] == first.view(ORDER)[field][0]
    assert (venue.money(3), venue.resting()) == before


def test_c8_repeat_with_other_content_is_rejected(venue: Venue) -> None:
    venue.buy(3, PRICE, STEP_KG, key="once")

    assert reason_of(venue.buy(3, PRICE, 2 * STEP_KG, key="once")) is Reason.DUPLICATE_CLIENT_ORDER_ID
    assert reason_of(venue.buy(3, PRICE - TICK, STEP_KG, key="once")) is Reason.DUPLICATE_CLIENT_ORDER_ID


def test_c8_a_rejection_is_a_first_outcome_too(venue: Venue) -> None:
    refused = venue.buy(3, PRICE + 1, STEP_KG, key="bad")

    again = venue.buy(3, PRICE + 1, STEP_KG, key="bad")

    assert reason_of(refused) is reason_of(again) is Reason.PRICE_OFF_TICK
    assert int(again["flags"][0]) & Flag.DUPLICATE


def test_c8_the_same_client_order_id_belongs_to_each_account_alone(venue: Venue) -> None:
    assert kinds(venue.buy(3, PRICE, STEP_KG, key="a")) == ["accepted"]
    assert kinds(venue.buy(4, PRICE, STEP_KG, key="a")) == ["accepted"]


def test_c8_the_full_day_table_refuses_new_orders_and_cancels_go_on(venue: Venue) -> None:
    order_id = order_id_of(venue.buy(3, PRICE, STEP_KG))
    entries = len(venue.exchange.state.day)
    while int(venue.exchange.state.head["day_entries"][0]) < entries * 7 // 8:
        venue.cancel(3, order_id_of(venue.buy(3, PRICE, STEP_KG)))

    assert reason_of(venue.buy(3, PRICE, STEP_KG)) is Reason.DAY_FULL
    assert kinds(venue.cancel(3, order_id)) == ["canceled"]


def test_c8_a_reference_only_rises(venue: Venue) -> None:
    def send(reference: int) -> list[str]:
        return kinds(venue.buy(3, PRICE, STEP_KG, flags=Flag.BY_REFERENCE, client_order_id_0=reference))

    assert [send(5), send(5), send(4), send(6)] == [["accepted"], ["rejected"], ["rejected"], ["accepted"]]


def test_e1_halted_takes_cancels_only(venue: Venue) -> None:
    order_id = order_id_of(venue.buy(3, PRICE, STEP_KG))
    venue.phase(Phase.HALTED, REBAR)

    assert reason_of(venue.buy(3, PRICE, STEP_KG)) is Reason.INSTRUMENT_HALTED
    assert kinds(venue.cancel(3, order_id)) == ["canceled"]


def test_e1_closed_takes_no_orders(venue: Venue) -> None:
    venue.phase(Phase.CLOSED)

    assert reason_of(venue.buy(3, PRICE, STEP_KG)) is Reason.INSTRUMENT_CLOSED


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"account": 60}, Reason.UNKNOWN_ACCOUNT),
        ({"account": 0}, Reason.UNKNOWN_ACCOUNT),
        ({"account": -1}, Reason.UNKNOWN_ACCOUNT),
        ({"client_order_id_0": 0, "client_order_id_1": 0}, Reason.MISSING_CLIENT_ORDER_ID),
        ({"instrument": 7}, Reason.UNKNOWN_INSTRUMENT),
        ({"instrument": -1}, Reason.UNKNOWN_INSTRUMENT),
        ({"side": 2}, Reason.UNKNOWN_SIDE),
        ({"order_type": 9}, Reason.UNSUPPORTED_ORDER_TYPE),
        ({"time_in_force": 9}, Reason.UNSUPPORTED_TIME_IN_FORCE),
        ({"price_fen_per_tonne": PRICE + 1}, Reason.PRICE_OFF_TICK),
        ({"price_fen_per_tonne": UPPER + TICK}, Reason.PRICE_EXCEEDS_BAND),
        ({"price_fen_per_tonne": LOWER - TICK}, Reason.PRICE_EXCEEDS_BAND),
        ({"price_fen_per_tonne": -PRICE}, Reason.PRICE_EXCEEDS_BAND),
        ({"price_fen_per_tonne": 2**62}, Reason.PRICE_OFF_TICK),
        ({"quantity_kg": STEP_KG + 1}, Reason.QUANTITY_OFF_STEP),
        ({"quantity_kg": 0}, Reason.QUANTITY_BELOW_MINIMUM),
        ({"quantity_kg": -STEP_KG}, Reason.QUANTITY_BELOW_MINIMUM),
        ({"quantity_kg": 2_009 * STEP_KG}, Reason.EXCEEDS_LIMIT),
    ],
)
def test_a4_bad_order_is_rejected_by_name_and_changes_nothing(
    venue: Venue, fields: dict[str, int], reason: Reason
) -> None:
    before = snapshot(venue)

    good = {"kind": Command.NEW_ORDER, "account": 3, "instrument": REBAR, "side": Side.BUY}
    good |= {"price_fen_per_tonne": PRICE, "quantity_kg": STEP_KG, "client_order_id_0": 7}
    events = venue.command(**good | fields)

    assert reason_of(events) is reason
    assert snapshot(venue) == before


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"lot": 0}, Reason.UNKNOWN_LOT),
        ({"lot": 2}, Reason.UNKNOWN_LOT),  # another's
        ({"lot": 200}, Reason.UNKNOWN_LOT),
        ({"lot": -1}, Reason.UNKNOWN_LOT),
        ({"lot": 7}, Reason.LOT_OF_OTHER_INSTRUMENT),
        ({"quantity_kg": 101 * STEP_KG}, Reason.INSUFFICIENT_GOODS),
    ],
)
def test_a4_bad_sell_is_rejected_by_name_and_changes_nothing(
    venue: Venue, fields: dict[str, int], reason: Reason
) -> None:
    venue.lot(7, 1, 27_850, COIL)
    before = snapshot(venue)

    asked = {"quantity_kg": STEP_KG, "lot": 1} | fields
    events = venue.sell(1, PRICE, asked["quantity_kg"], asked["lot"])

    assert reason_of(events) is reason
    assert snapshot(venue) == before


def test_g5_live_orders_are_capped(venue: Venue) -> None:
    venue.exchange.state.head["orders_max"] = 2
    venue.buy(3, PRICE, STEP_KG)
    venue.buy(3, PRICE, STEP_KG)

    assert reason_of(venue.buy(3, PRICE, STEP_KG)) is Reason.LIVE_ORDERS_FULL


def test_unknown_command_is_rejected(venue: Venue) -> None:
    assert reason_of(venue.command(kind=99, account=3)) is Reason.UNSUPPORTED_COMMAND


def test_every_event_of_an_account_takes_its_next_number(venue: Venue) -> None:
    start = int(venue.exchange.state.accounts["sequence"][3])

    accepted = venue.buy(3, PRICE, STEP_KG)
    venue.buy(3, PRICE + 1, STEP_KG)  # rejected: takes none
    traded = venue.sell(1, PRICE, STEP_KG, 1)

    assert int(accepted["account_sequence"][0]) == start + 1
    assert int(traded.view(TRADE)["counter_account_sequence"][1]) == start + 2


def test_both_sides_behave_alike() -> None:
    flow = [(0, 0, 5), (0, 2, 7), (1, 1, 9), (1, 0, 30), (0, 1, 20)]  # side, ticks above PRICE, kg

    plain, mirrored = rest_of(flow, 1), rest_of(flow, -1)

    assert plain == mirrored != []


def rest_of(flow: list[tuple[int, int, int]], way: int) -> list[tuple[int, int, int]]:
    """What a flow leaves resting; way -1 swaps the sides and mirrors prices at PRICE, and back."""
    venue, flip = Venue(), way < 0
    venue.send(terms(2, Mode.BOOK, step_kg=1, minimum_kg=1))
    venue.phase(Phase.CONTINUOUS, 2)
    for account in (1, 2):
        venue.lot(venue.account(account), account, 10**6, 2)
    for n, (side, ticks, kg) in enumerate(flow):
        account, actual = 1 + n % 2, Side(side ^ flip)
        lot = account if actual is Side.SELL else 0
        venue.order(account, actual, PRICE + way * ticks * TICK, kg, instrument=2, lot=lot)
    names = {"buy": 0, "sell": 1}
    rows = [(names[side] ^ flip, way * (price - PRICE), kg) for side, price, kg in venue.resting(2)]
    return sorted(rows)


def snapshot(venue: Venue) -> list[bytes]:
    """Every array of the state but the head's sequence and clock and the day's table (semantics A4)."""
    head = venue.exchange.state.head.copy()
    head["sequence"], head["time_ns"], head["day_entries"] = 0, 0, 0
    names = [name for name in venue.exchange.state._fields if name not in ("head", "day")]
    arrays = [np.ascontiguousarray(getattr(venue.exchange.state, name)) for name in names]
    return [head.tobytes(), *(array.tobytes() for array in arrays)]


def test_lot_that_a_buy_names_is_not_its_own() -> None:
    """semantics G4: only a sell has goods; a buy that names a lot neither lists nor keeps it."""
    venue = Venue()
    buyer = venue.account(1)
    venue.lot(3, buyer, 2 * STEP_KG)

    events = venue.buy(buyer, LOWER, STEP_KG, lot=3)

    assert events["lot"].tolist() == [0]
    assert venue.exchange.state.lots["listed"][3] == 0
    assert venue.cancel(buyer, order_id_of(events))["lot"].tolist() == [0]
