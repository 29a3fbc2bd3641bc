"""Section F of engine/RULES.md: BOOK and LISTED instruments, the venue's profile."""

import pytest

from engine.exchange import Exchange, stamped
from engine.records import commands_of
from engine.vocabulary import Command, Mode, Phase, Profile, Reason
from tests.engine.builders import SMALL, reason_of, terms
from tests.engine.rules.floor import Floor

COIL_KG = 27_850


@pytest.fixture
def hall(floor: Floor) -> Floor:
    """The floor with one coil of A's (lot 20), one of B's (21) and one of D's (22)."""
    for lot, account in ((20, 1), (21, 2), (22, 4)):
        floor.lot(lot, account, COIL_KG, 1)
    return floor


def test_f1_a_book_trades_bundles_only() -> None:
    """semantics F1, G2."""
    floor = Floor(step_kg=2_490, minimum_kg=2_490)

    assert floor.says("A buy 2491 @ 2270 as odd") == ["rejected quantity_off_step"]
    assert floor.says("A buy 4980 @ 2270 as two") == ["accepted, rests 4980"]


def test_f2_a_pick_trades_the_whole_lot_at_the_listings_price(hall: Floor) -> None:
    """semantics F2."""
    hall.says(f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 as coil")

    assert hall.says(f"B pick coil {COIL_KG} as taken") == [
        f"accepted, filled {COIL_KG}",
        f"coil x taken {COIL_KG} @ 2090",
    ]
    assert hall.says(f"C pick coil {COIL_KG} as late") == ["rejected unknown_order"]
    assert hall.goods(20) == (0, 0, COIL_KG)


def test_f2_listings_of_one_price_do_not_match_or_block_each_other(hall: Floor) -> None:
    """semantics F2, B9: whole-lot listings are picked one by one, in any order."""
    hall.says(f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 as first")
    hall.says(f"B sell {COIL_KG} @ 2080 instrument 1 lot 21 as second")

    assert hall.says(f"C pick first {COIL_KG} as mine")[1] == f"first x mine {COIL_KG} @ 2090"


def test_f2_part_of_a_whole_lot_cannot_be_picked_or_listed(hall: Floor) -> None:
    """semantics F2."""
    assert hall.says("A sell 1000 @ 2090 instrument 1 lot 20 as part") == ["rejected whole_lot_only"]
    hall.says(f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 as coil")
    assert hall.says("B pick coil 1000 as part") == ["rejected whole_lot_only"]


def test_f2_repricing_raises_the_version_and_a_stale_pick_is_refused(hall: Floor) -> None:
    """semantics F2: never traded at another price."""
    hall.says(f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 as coil", "A replace coil @ 2100")

    assert hall.says(f"B pick coil {COIL_KG} version 1 as old") == ["rejected stale_version"]
    assert hall.says(f"B pick coil {COIL_KG} version 2 as new")[1] == f"coil x new {COIL_KG} @ 2100"


def test_f2_a_listings_quantity_is_its_lots(hall: Floor) -> None:
    """semantics F2."""
    hall.says(f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 as coil")

    assert hall.says("A replace coil to 20000") == ["rejected whole_lot_only"]


def test_f2_no_pick_within_a_company_group(hall: Floor) -> None:
    """semantics F2, D1."""
    hall.says(f"D sell {COIL_KG} @ 2090 instrument 1 lot 22 as coil")

    assert hall.says(f"E pick coil {COIL_KG} as own") == ["rejected own_listing"]


def test_f2_a_pick_needs_continuous_trading_and_a_listing(hall: Floor) -> None:
    """semantics F2, E1."""
    hall.says(
        f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 as coil", "A sell 5 @ 2290 as book", "phase pre_open 1"
    )

    assert hall.says(f"B pick coil {COIL_KG} as early") == ["rejected continuous_phase_only"]
    assert hall.says("B pick book 5 as wrong") == ["rejected not_listed"]


def test_f2_a_minimum_fill_leaves_nothing_or_at_least_the_minimum(hall: Floor) -> None:
    """semantics F2."""
    hall.says(f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 min 10000 as plates")

    assert hall.says("B pick plates 9999 as little") == ["rejected whole_lot_only"]
    assert hall.says("B pick plates 18000 as much") == ["rejected whole_lot_only"]  # would leave 9,850
    assert hall.says("B pick plates 12000 as fits")[1] == "plates x fits 12000 @ 2090"
    assert hall.goods(20) == (0, 15_850, 12_000)


def test_f2_a_bid_takes_a_lot_whose_weight_lies_within_its_tolerance(hall: Floor) -> None:
    """semantics F2: the bid is done, what it wanted beyond is canceled."""
    hall.says("C buy 28000 @ 2090 instrument 1 min 27000 as wanted")

    assert hall.says("A pick wanted 27850 lot 20 as coil") == [
        f"accepted, filled {COIL_KG}",
        f"wanted x coil {COIL_KG} @ 2090",
        "wanted canceled 150 picked",
    ]
    assert (hall.goods(20), hall.money(3)[1]) == ((0, 0, COIL_KG), 0)


def test_f2_repricing_ends_with_the_first_pick(hall: Floor) -> None:
    """semantics F2: the seller may re-price while unpicked."""
    hall.says(f"A sell {COIL_KG} @ 2090 instrument 1 lot 20 min 10000 as plates", "A replace plates @ 2100")
    hall.says("B pick plates 12000 version 2 as some")

    assert hall.says("A replace plates @ 2110") == ["rejected too_late"]
    assert hall.says("A cancel plates") == ["plates canceled 15850 canceled_by_owner"]


def test_f2_a_bid_is_picked_with_an_own_lot_that_fits(hall: Floor) -> None:
    """semantics F2: another's lot, and one outside the tolerance, are refused; both sides may overlap."""
    hall.says("C buy 28000 @ 2090 instrument 1 min 27900 as high", "C buy 27850 @ 2080 instrument 1 as exact")
    hall.says(f"A sell {COIL_KG} @ 2070 instrument 1 lot 20 as ask")

    assert hall.says("B pick exact 0 lot 20 as foreign") == ["rejected unknown_lot"]
    assert hall.says("B pick high 0 lot 21 as light") == ["rejected whole_lot_only"]
    assert hall.says("A pick exact 0 lot 20 as listed") == ["rejected whole_lot_only"]
    assert hall.says("B pick exact 0 lot 21 as fits")[1] == f"exact x fits {COIL_KG} @ 2080"


def test_f3_cn_spot_admits_listings_and_no_auction() -> None:
    """semantics F3."""
    exchange = Exchange(SMALL)
    exchange.apply(stamped(commands_of({"kind": Command.SET_PROFILE, "profile": Profile.CN_SPOT}), 1, 1))

    book = exchange.apply(stamped(terms(0, Mode.BOOK), 2, 2)).copy()
    listed = exchange.apply(stamped(terms(0, Mode.LISTED), 3, 3)).copy()
    auction = commands_of({"kind": Command.SET_PHASE, "instrument": 0, "phase": Phase.AUCTION})
    phase = exchange.apply(stamped(auction, 4, 4)).copy()

    assert reason_of(book) is reason_of(phase) is Reason.FORBIDDEN_BY_PROFILE
    assert int(listed["reason"][0]) == Reason.NONE


def test_f3_the_profile_is_set_before_any_instrument(floor: Floor) -> None:
    """semantics F3."""
    events = floor.command(kind=Command.SET_PROFILE, profile=Profile.CN_SPOT)

    assert floor.lines_of(events) == ["rejected instrument_exists"]
