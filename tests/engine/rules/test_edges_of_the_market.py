"""Rules where they are seldom touched: instruments, bands, the day, the clock, busts (sections A, E to G)."""

import random

import pytest

from engine.core.layout import Capacity
from engine.exchange import Exchange, stamped
from engine.records import INSTRUMENT, INSTRUMENT_TERMS, commands_of
from engine.vocabulary import (
    AMOUNT_MAX_FEN,
    BASIS_POINTS,
    PRICE_MAX_FEN_PER_TONNE,
    QUANTITY_MAX_KG,
    Command,
    Mode,
    Phase,
    Reason,
)
from tests.engine.builders import SMALL, reason_of, terms
from tests.engine.rules.floor import Floor

GAP, BEHIND = 4, 5  # instrument 5 is defined, 2 to 4 are not
NARROW = {"tick_fen_per_tonne": 1, "step_kg": 1, "minimum_kg": 1}
NARROW |= {"lower_fen_per_tonne": 2_260, "upper_fen_per_tonne": 2_280, "reference_fen_per_tonne": 2_270}


def reference_of(floor: Floor, instrument: int = 0) -> list[int]:
    """(reference, lower, upper) of an instrument."""
    rows = floor.ask(Command.QUERY_INSTRUMENTS).view(INSTRUMENT)
    row = rows[rows["instrument"] == instrument][0]
    names = ("price_fen_per_tonne", "lower_fen_per_tonne", "upper_fen_per_tonne")
    return [int(row[name]) for name in names]


def next_ns(floor: Floor) -> int:
    """When something is due next, or 0."""
    return int(floor.exchange.state.head["next_expiry_ns"][0])


def wide_floor(levels: int) -> Floor:
    """A floor with one book whose band has so many levels."""
    floor = Floor.__new__(Floor)
    floor.given = NARROW | {"lower_fen_per_tonne": 1, "upper_fen_per_tonne": levels, "band_bp": 0}
    capacity = Capacity(
        orders=64, levels=4 * (levels + 1), instruments=2, accounts=8, lots=8, day=64, sessions=8
    )
    floor.ids, floor.names, floor.sessions = {}, {}, {}
    floor.exchange, floor.time_ns, floor.outbox, floor.orders = Exchange(capacity), 1_000, 0, 0
    floor.send_records(terms(0, Mode.BOOK, **floor.given))
    for account in (1, 2):
        floor.account(account)
        floor.lot(account, account, 10**6, 0)
    floor.phase(Phase.CONTINUOUS)
    return floor


@pytest.mark.parametrize(
    ("levels", "prices"),
    [
        (300_000, [299_999, 7, 270_000, 64, 4_000, 63, 262_200, 128, 5_000]),
        (4_095, [4_095, 4_032, 1, 4_033]),  # its last word is the last of a word of words
    ],
)
def test_a7_however_far_apart_the_levels_are_the_next_is_found(levels: int, prices: list[int]) -> None:
    """semantics A7: each tier of the bitmap is asked for the next level."""
    floor = wide_floor(levels)
    floor.says(*[f"A sell 1 @ {price} as at_{price}" for price in prices])
    assert floor.book() == [f"at_{price} 1 @ {price}" for price in sorted(prices)]

    floor.says(*[f"A cancel at_{price}" for price in prices[:2]])
    left = sorted(prices[2:])

    assert floor.says(f"B buy {len(left)} @ {levels} fok as taker") == [
        f"accepted, filled {len(left)}",
        *[f"at_{price} x taker 1 @ {price}" for price in left],
    ]
    assert floor.book() == []


def test_e1_an_instrument_that_was_never_defined_is_unknown_and_left_alone(floor: Floor) -> None:
    """semantics E1, A4: numbers may have gaps."""
    floor.send_records(terms(BEHIND, Mode.BOOK, **NARROW | {"band_bp": 20}))
    lot = {"kind": Command.REGISTER_LOT, "lot": 40, "account": 1, "quantity_kg": 5, "instrument": GAP}
    reference = {"kind": Command.SET_REFERENCE, "instrument": GAP, "price_fen_per_tonne": 2270}

    said = [floor.says(f"A buy 1 @ 2260 instrument {GAP}")]
    said += [floor.lines_of(floor.settle(**lot)), floor.lines_of(floor.command(**reference))]

    assert said == [["rejected unknown_instrument"]] * 3
    assert floor.says("phase closed -1") == ["phase closed"] * 3
    assert floor.says("roll") == ["reference_set"] * 3 + ["day_rolled"]


UNSOUND = [
    {"tick_fen_per_tonne": 0},
    {"tick_fen_per_tonne": 1 << 28},
    {"step_kg": 0},
    {"step_kg": 1 << 28},
    {"minimum_kg": 0},
    {"maximum_kg": QUANTITY_MAX_KG + 1},
    {"lower_fen_per_tonne": 0},
    {"lower_fen_per_tonne": 2_600},
    {"upper_fen_per_tonne": PRICE_MAX_FEN_PER_TONNE + 1},
    {"tick_fen_per_tonne": 3, "upper_fen_per_tonne": 2_281},
    {"tick_fen_per_tonne": 3, "lower_fen_per_tonne": 2_260},
    *[{f"{side}_deposit_bp": points} for side in ("buyer", "seller") for points in (-1, BASIS_POINTS + 1)],
    *[{f"{name}_bp": points} for name in ("band", "collar", "dynamic_band") for points in (-1, BASIS_POINTS)],
    {"fee_fen_per_tonne": -1},
    {"volatility_auction_s": -1},
    {"mode": Mode.LISTED + 1},
]


@pytest.mark.parametrize("fields", UNSOUND, ids=str)
def test_g1_terms_that_could_overflow_or_make_no_sense_are_refused(
    floor: Floor, fields: dict[str, int]
) -> None:
    """semantics G1, G2: a field that is too narrow for the number cannot carry it at all."""
    command = terms(2, Mode.BOOK, **NARROW | {"lower_fen_per_tonne": 2_259, "upper_fen_per_tonne": 2_280})
    row = command.view(INSTRUMENT_TERMS)
    for name, value in fields.items():
        row[name] = value

    assert reason_of(floor.send_records(command)) is Reason.INVALID_TERMS


def test_e5_the_settlement_price_is_rounded_down_below_the_half(floor: Floor) -> None:
    """semantics E5: 3 t at 2,270 and 1 t at 2,271 weigh 2,270.25."""
    floor.says("A sell 3000 @ 2270", "B buy 3000 @ 2270", "A sell 1000 @ 2271", "B buy 1000 @ 2271")

    floor.says("phase closed -1", "roll")

    assert reference_of(floor)[0] == 2270


def test_e5_a_settlement_price_without_room_for_its_band_is_not_the_reference() -> None:
    """semantics E5, E7, G5: the ladders have room for four times the first band, which was 481 levels."""
    floor = Floor(
        lower_fen_per_tonne=520, upper_fen_per_tonne=1000, reference_fen_per_tonne=600, band_bp=9_999
    )
    floor.says("A sell 1000 @ 1000", "B buy 1000 @ 1000", "phase closed -1")

    floor.says("roll")

    assert reference_of(floor) == [600, 1, 1_199]


def test_e7_the_roll_leaves_a_band_that_cannot_follow_or_does_not_move(floor: Floor) -> None:
    """semantics E7: no reference, or no room around it, or no band at all."""
    floor.send_records(terms(2, Mode.BOOK, **NARROW | {"reference_fen_per_tonne": 0}))
    floor.send_records(terms(3, Mode.BOOK, **NARROW | {"band_bp": 1_000}))
    floor.send_records(terms(4, Mode.BOOK, **NARROW | {"band_bp": 0}))
    floor.says("phase closed -1")

    said = floor.says("roll")

    assert said == ["reference_set"] * 4 + ["day_rolled"], "of 0, 1, 2 and 3; the band of 4 never moves"
    assert reference_of(floor, 2)[0] == 0
    assert reference_of(floor, 3) == reference_of(floor, 4) == [2_270, 2_260, 2_280]


def test_e7_a_waiting_sell_stop_moves_with_the_band(floor: Floor) -> None:
    """semantics E7, B4: it holds at the band, and waits where its stop price is."""
    floor.says("A sell 5 stop 2250 gtc as stop", "phase closed", "reference 2100", "phase continuous")
    assert floor.stops() == ["stop 5 stop 2250"]

    floor.says("C buy 9 @ 2240 as bid")

    assert floor.says("B sell 1 @ 2240 as print")[1:] == [
        "bid x print 1 @ 2240",
        "stop triggered",
        "bid x stop 5 @ 2240",
    ]


def test_e7_a_resting_sell_whose_deposit_is_no_longer_covered_ends() -> None:
    """semantics E7, G3: a seller's deposit is reckoned at the upper band price, which rises."""
    floor = Floor(seller_deposit_bp=1_000)
    floor.account(7, fen=250 + 50 + 3_000)
    floor.lot(30, 7, 1_000, 0)
    order = {"kind": Command.NEW_ORDER, "account": 7, "side": 1, "lot": 30, "quantity_kg": 1_000}
    floor.command(**order, price_fen_per_tonne=2_400, time_in_force=1, client_order_id_0=1)
    floor.says("phase closed")

    assert floor.says("reference 2272") == ["reference_set"]  # a tenth of 2,499 is 250
    assert floor.says("reference 2300") == ["order canceled 1000 insufficient_funds", "reference_set"]
    assert (floor.money(7), floor.goods(30)) == ((3_300, 0), (1_000, 0, 0))


def test_e5_a_print_on_the_near_side_of_the_dynamic_band_is_stopped_too() -> None:
    """semantics E5: nobody sells at 2,240 right after 2,270, also not to a buyer who would pay more."""
    floor = Floor(dynamic_band_bp=100)
    floor.trade_at(2270)
    floor.says("A sell 5 @ 2240 as cheap")

    assert floor.says("B buy 5 @ 2270 as bid") == ["accepted", "bid canceled 5 collar"]
    assert floor.book() == ["cheap 5 @ 2240"]


def test_e6_what_is_due_next_is_never_forgotten() -> None:
    """semantics E6: good-till-date orders and a volatility auction, each due in its turn."""
    floor = Floor(dynamic_band_bp=100, volatility_auction_s=60)
    floor.trade_at(2270)
    floor.says("C buy 1 @ 2250 gtd until 50000000 as one", "C buy 1 @ 2250 gtd until 40000000 as two")
    floor.says("C buy 1 @ 2250 gtd until 60000000 as three", "A sell 5 @ 2300 as ask")
    opened_ns = floor.time_ns
    floor.says("B buy 5 @ 2300 as bid")

    due = [next_ns(floor)]
    for _ in range(3):
        floor.says(f"time {due[-1]}")
        due.append(next_ns(floor))

    assert due == [40_000_000, 50_000_000, 60_000_000, opened_ns + 60 * 10**9]
    assert floor.says(f"time {due[-1]}")[1] == "bid x ask 5 @ 2300"
    assert next_ns(floor) == 0


def test_e1_no_cancel_ends_without_ado_when_nothing_was_kept(floor: Floor) -> None:
    """semantics E1."""
    floor.says("phase auction", "A buy 5 @ 2260 gtc as bid", "phase no_cancel")

    assert floor.says("phase halted") == ["phase halted"]
    assert floor.book() == ["bid 5 @ 2260"]


@pytest.mark.parametrize("seed", range(3))
def test_c8_ids_that_live_are_found_after_the_roll_and_the_others_are_free(seed: int) -> None:
    """semantics C8: a table filled to its limit; what stays is put where a search finds it."""
    floor, dice = Floor(), random.Random(seed)
    keys = [f"{dice.getrandbits(40):x}" for _ in range(SMALL.day * 7 // 8)]
    lives = {key: dice.random() < 0.6 for key in keys}
    for key in keys:
        floor.says(f"A buy 1 @ 2260 {'gtc' if lives[key] else 'day'} key {key}")
    assert floor.says("A buy 1 @ 2260 key beyond") == ["rejected day_full"]

    floor.says("phase closed -1", "roll", "phase continuous")

    assert int(floor.exchange.state.head["day_entries"][0]) == sum(lives.values())
    again = {key: floor.lines_of(floor.cancel_by_key(1, key))[0].split()[-1] for key in keys}
    assert again == {key: "canceled_by_owner" if lives[key] else "unknown_order" for key in keys}
    late = {key: floor.lines_of(floor.cancel_by_key(1, key))[0].split()[-1] for key in keys}
    assert late == {key: "too_late" if lives[key] else "unknown_order" for key in keys}
    floor.exchange.check_invariants()


def test_e8_a_bust_needs_an_account_and_room_in_both() -> None:
    """semantics E8, G1: the buyer is known, and the lot's owner can take the money back."""
    floor = Floor()
    floor.account(7, fen=AMOUNT_MAX_FEN)
    floor.lot(30, 7, 1_000, 0)
    row = {"kind": Command.BUST_TRADE, "quantity_kg": 1, "match_id": 1}

    unknown = floor.lines_of(floor.settle(**row, account=60, lot=30))
    full = floor.lines_of(floor.settle(**row, account=1, lot=30, counter_amount_fen=1))

    assert (unknown, full) == (["rejected unknown_account"], ["rejected exceeds_limit"])


def test_f3_a_profile_that_does_not_exist_is_refused() -> None:
    """semantics F3."""
    row = {"kind": Command.SET_PROFILE, "profile": 9}

    assert reason_of(Exchange(SMALL).apply(stamped(commands_of(row), 1, 1))) is Reason.INVALID_TERMS
