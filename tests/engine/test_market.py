"""Instruments, phases, references, the day and the clock (semantics E, F, G)."""

import pytest

from engine.core.layout import Capacity, empty_state
from engine.core.market import words_of
from engine.instruments import load_instruments, static_band
from engine.records import INSTRUMENT
from engine.vocabulary import Command, Mode, Phase, Reason
from tests.engine.builders import LOWER, REBAR, STEP_KG, TICK, Venue, kinds, reason_of, terms

PRICE = 226_000


@pytest.fixture
def venue() -> Venue:
    """Account 1 with money."""
    venue = Venue()
    venue.account(1)
    return venue


@pytest.mark.parametrize(
    "fields",
    [
        {"tick_fen_per_tonne": 0},
        {"lower_fen_per_tonne": 0},
        {"lower_fen_per_tonne": LOWER + 1},
        {"upper_fen_per_tonne": LOWER - TICK},
        {"upper_fen_per_tonne": 200_000_000},
        {"step_kg": 0},
        {"minimum_kg": 0},
        {"maximum_kg": 6_000_000_000},
        {"buyer_deposit_bp": 10_001},
        {"seller_deposit_bp": -1},
        {"fee_fen_per_tonne": -1},
        {"mode": 2},
    ],
)
def test_g1_unsound_terms_are_refused(venue: Venue, fields: dict[str, int]) -> None:
    assert reason_of(venue.send(terms(5, **{"mode": Mode.BOOK} | fields))) is Reason.INVALID_TERMS


def test_an_instrument_is_defined_once(venue: Venue) -> None:
    assert reason_of(venue.send(terms(REBAR, Mode.BOOK))) is Reason.INSTRUMENT_EXISTS
    assert reason_of(venue.send(terms(8, Mode.BOOK))) is Reason.UNKNOWN_INSTRUMENT


def test_law10_levels_are_bounded(venue: Venue) -> None:
    refused = venue.send(terms(5, Mode.BOOK, tick_fen_per_tonne=1, lower_fen_per_tonne=1))

    assert reason_of(refused) is Reason.LEVELS_FULL


def test_e5_a_new_reference_moves_the_band_inwards_to_the_tick(venue: Venue) -> None:
    venue.phase(Phase.CLOSED, REBAR)

    row = venue.command(kind=Command.SET_REFERENCE, instrument=REBAR, price_fen_per_tonne=189_100).view(
        INSTRUMENT
    )[0]

    band = int(row["lower_fen_per_tonne"]), int(row["upper_fen_per_tonne"])
    assert band == (179_700, 198_500)  # 1,796.45 up to 1,797; 1,985.55 down to 1,985
    assert band == static_band(189_100, 500, TICK)


def test_e5_orders_obey_the_new_band(venue: Venue) -> None:
    venue.phase(Phase.CLOSED, REBAR)
    venue.command(kind=Command.SET_REFERENCE, instrument=REBAR, price_fen_per_tonne=189_100)
    venue.phase(Phase.CONTINUOUS, REBAR)

    assert reason_of(venue.buy(1, 198_600, STEP_KG)) is Reason.PRICE_EXCEEDS_BAND
    assert kinds(venue.buy(1, 198_500, STEP_KG)) == ["accepted"]
    venue.exchange.check_invariants()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"instrument": 7}, Reason.UNKNOWN_INSTRUMENT),
        ({"price_fen_per_tonne": PRICE + 1}, Reason.PRICE_OFF_TICK),
        ({"price_fen_per_tonne": 0}, Reason.INVALID_TERMS),
        ({"price_fen_per_tonne": 90_000_000}, Reason.INVALID_TERMS),
        ({"price_fen_per_tonne": 10 * PRICE}, Reason.LEVELS_FULL),
    ],
)
def test_a_bad_reference_is_refused_by_name(venue: Venue, fields: dict[str, int], reason: Reason) -> None:
    venue.phase(Phase.CLOSED)
    asked = {"instrument": REBAR, "price_fen_per_tonne": PRICE} | fields

    assert reason_of(venue.command(kind=Command.SET_REFERENCE, **asked)) is reason


def test_e7_the_reference_moves_only_while_closed(venue: Venue) -> None:
    refused = venue.command(kind=Command.SET_REFERENCE, instrument=REBAR, price_fen_per_tonne=PRICE)

    assert reason_of(refused) is Reason.INSTRUMENT_OPEN


def test_e1_a_phase_of_all_instruments_changes_each(venue: Venue) -> None:
    assert kinds(venue.phase(Phase.HALTED)) == ["phase_changed", "phase_changed"]
    assert reason_of(venue.phase(9)) is Reason.UNKNOWN_PHASE
    assert reason_of(venue.phase(Phase.CLOSED, 3)) is Reason.UNKNOWN_INSTRUMENT


def test_c8_a_new_day_frees_the_client_order_ids(venue: Venue) -> None:
    venue.buy(1, PRICE, STEP_KG, key="daily")
    assert reason_of(venue.command(kind=Command.ROLL_DAY)) is Reason.INSTRUMENT_OPEN
    venue.phase(Phase.CLOSED)

    assert kinds(venue.command(kind=Command.ROLL_DAY)) == ["reference_set", "reference_set", "day_rolled"]

    assert int(venue.exchange.state.head["day_entries"][0]) == 0
    assert not venue.exchange.state.day.view("u1").any()
    venue.phase(Phase.CONTINUOUS)
    assert int(venue.buy(1, PRICE, STEP_KG, key="daily")["flags"][0]) == 0


def test_law2_the_clock_moves_only_where_the_sequencer_obeys(venue: Venue) -> None:
    refused = venue.command(kind=Command.SET_CLOCK, due_ns=venue.time_ns + 5)
    obeyed = venue.command(kind=Command.SET_CLOCK, due_ns=venue.time_ns)

    assert reason_of(refused) is Reason.CLOCK_NOT_STEPPED
    assert kinds(obeyed) == ["clock_set"]


def test_the_forty_products_are_sound_terms() -> None:
    products = load_instruments()

    assert [product.number for product in products] == list(range(40))
    assert {product.mode for product in products} == {Mode.BOOK, Mode.LISTED}
    for product in products:
        row = product.terms().view(INSTRUMENT)
        assert row.nbytes == 128
        lower, upper = static_band(product.reference_fen_per_tonne, 500, product.tick_fen_per_tonne)
        assert lower * 10_000 >= product.reference_fen_per_tonne * 9_500
        assert upper * 10_000 <= product.reference_fen_per_tonne * 10_500
        assert product.step_kg == (1 if product.mode is Mode.LISTED else product.unit_weight_kg)


def test_g5_where_there_are_levels_there_are_words_of_the_bitmaps() -> None:
    """semantics G5: so an instrument is refused for its levels only."""
    words = getattr(words_of, "py_func", words_of)
    for width in [*range(2, 500), *((1 << k) + more for k in range(9, 19) for more in (-1, 0, 1))]:
        one = Capacity(orders=1, levels=4 * width, instruments=1, accounts=1, lots=1, day=1, sessions=1)

        assert 4 * sum(words(width)) <= len(empty_state(one).bits), width
