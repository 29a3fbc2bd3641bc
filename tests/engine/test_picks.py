"""LISTED instruments: listings that nothing matches, and picks (semantics F2)."""

import pytest

from engine.records import ORDER, TRADE
from engine.vocabulary import Flag, Phase, Reason, TimeInForce
from tests.engine.builders import COIL, RICH_FEN, STEP_KG, Venue, kinds, order_id_of, reason_of, trades

PRICE, COIL_KG = 226_000, 27_850
AMOUNT = 6_294_100  # 27,850 kg at 2,260.00
FEE = 1_393


@pytest.fixture
def venue() -> Venue:
    """Seller 1 with a coil, and buyer 2."""
    venue = Venue()
    venue.account(1)
    venue.account(2)
    venue.lot(1, 1, COIL_KG, COIL)
    return venue


def listing(venue: Venue, price: int = PRICE) -> int:
    return order_id_of(venue.sell(1, price, COIL_KG, 1, instrument=COIL))


def test_f2_a_pick_trades_the_whole_lot_at_the_listings_price(venue: Venue) -> None:
    order_id = listing(venue)

    events = venue.pick(2, order_id, COIL_KG)

    assert kinds(events) == ["accepted", "trade"]
    assert trades(events) == [(PRICE, COIL_KG)]
    assert (int(events.view(TRADE)["lot"][1]), int(events.view(TRADE)["instrument"][1])) == (1, COIL)
    assert venue.money(2) == (RICH_FEN - AMOUNT - FEE, 0)
    assert venue.money(1) == (RICH_FEN - FEE, 0)
    assert venue.goods(1) == (0, 0, COIL_KG)
    venue.exchange.check_invariants()


def test_f2_the_acknowledgement_of_a_pick_says_what_was_bought(venue: Venue) -> None:
    row = venue.pick(2, listing(venue), COIL_KG).view(ORDER)[0]

    said = [
        int(row[name]) for name in ("price_fen_per_tonne", "quantity_kg", "cum_kg", "leaves_kg", "amount_fen")
    ]
    assert said == [PRICE, COIL_KG, COIL_KG, 0, AMOUNT]


def test_f2_the_first_valid_pick_wins(venue: Venue) -> None:
    order_id = listing(venue)
    venue.pick(2, order_id, COIL_KG)

    assert reason_of(venue.pick(2, order_id, COIL_KG)) is Reason.UNKNOWN_ORDER


def test_f2_listings_do_not_match_by_themselves(venue: Venue) -> None:
    venue.lot(2, 2, COIL_KG, COIL)
    listing(venue)

    venue.sell(2, PRICE - 100, COIL_KG, 2, instrument=COIL)

    assert venue.resting(COIL) == [("sell", PRICE - 100, COIL_KG), ("sell", PRICE, COIL_KG)]


@pytest.mark.parametrize(
    ("kg", "version", "account", "reason"),
    [
        (COIL_KG - 1, 1, 2, Reason.WHOLE_LOT_ONLY),
        (COIL_KG, 2, 2, Reason.STALE_VERSION),
        (COIL_KG, 0, 2, Reason.STALE_VERSION),
        (COIL_KG, 1, 1, Reason.OWN_LISTING),
        (COIL_KG, 1, 3, Reason.OWN_LISTING),
        (COIL_KG, 1, 4, Reason.INSUFFICIENT_FUNDS),
        (COIL_KG, 1, 9, Reason.UNKNOWN_ACCOUNT),
    ],
)
def test_f2_a_bad_pick_is_refused_by_name(
    venue: Venue, kg: int, version: int, account: int, reason: Reason
) -> None:
    venue.account(3, group=1)  # of the seller's company group
    venue.account(4, fen=AMOUNT + FEE - 1)
    order_id = listing(venue)

    assert reason_of(venue.pick(account, order_id, kg, version=version)) is reason
    assert venue.goods(1) == (0, COIL_KG, 0)


def test_f2_only_the_whole_lot_can_be_listed(venue: Venue) -> None:
    refused = venue.sell(1, PRICE, COIL_KG - 1, 1, instrument=COIL)

    assert reason_of(refused) is Reason.WHOLE_LOT_ONLY


def test_f2_a_listing_is_good_for_the_day_only(venue: Venue) -> None:
    refused = venue.sell(1, PRICE, COIL_KG, 1, instrument=COIL, time_in_force=TimeInForce.IOC)

    assert reason_of(refused) is Reason.UNSUPPORTED_TIME_IN_FORCE


def test_an_order_in_a_book_cannot_be_picked(venue: Venue) -> None:
    venue.lot(2, 1, STEP_KG)
    order_id = order_id_of(venue.sell(1, PRICE, STEP_KG, 2))

    assert reason_of(venue.pick(2, order_id, STEP_KG)) is Reason.NOT_LISTED


def test_e1_a_halted_listing_cannot_be_picked(venue: Venue) -> None:
    order_id = listing(venue)
    venue.phase(Phase.HALTED, COIL)

    assert reason_of(venue.pick(2, order_id, COIL_KG)) is Reason.INSTRUMENT_HALTED


def test_c8_a_repeated_pick_returns_its_first_outcome(venue: Venue) -> None:
    order_id = listing(venue)
    first = venue.pick(2, order_id, COIL_KG, key="p")

    again = venue.pick(2, order_id, COIL_KG, key="p")

    assert kinds(again) == ["accepted"]
    assert int(again["flags"][0]) & Flag.DUPLICATE
    assert int(again["order_id"][0]) == order_id_of(first)
    assert venue.money(2) == (RICH_FEN - AMOUNT - FEE, 0)


def test_c8_a_repeated_pick_of_a_bid_says_the_kilograms_again(venue: Venue) -> None:
    bid = order_id_of(venue.buy(2, PRICE, COIL_KG, instrument=COIL))
    first = venue.pick(1, bid, 0, lot=1, key="p")

    again = venue.pick(1, bid, 0, lot=1, key="p")

    assert [int(said["quantity_kg"][0]) for said in (first, again)] == [COIL_KG, COIL_KG]


def test_c8_a_repeated_pick_says_the_price_again(venue: Venue) -> None:
    order_id = listing(venue)
    first = venue.pick(2, order_id, COIL_KG, key="p")

    again = venue.pick(2, order_id, COIL_KG, key="p")

    assert again.view(ORDER)["price_fen_per_tonne"][0] == first.view(ORDER)["price_fen_per_tonne"][0] != 0
