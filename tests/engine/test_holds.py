"""Holds of money and goods: taken with the order, released to the fen (law 7, G3, G4, domain E1, E4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import money
from engine.vocabulary import Command, Event, Mode, Phase, Reason, Side, TimeInForce
from tests.engine.builders import LOWER, RICH_FEN, STEP_KG, TICK, UPPER, Venue, money_total, reason_of, terms

PRICE = 226_000


@pytest.fixture
def venue() -> Venue:
    """Seller 1 with 100 bundles, buyers 2 and 3."""
    venue = Venue()
    for account in (1, 2, 3):
        venue.account(account)
    venue.lot(1, 1, 100 * STEP_KG)
    return venue


def test_g3_a_resting_buy_holds_amount_fee_and_reserve(venue: Venue) -> None:
    venue.buy(2, PRICE, 12 * STEP_KG)

    hold = 6_752_880 + 1_494 + 3 * 12  # 29,880 kg at 2,260.00, 0.50 CNY/t, 3 fen a step
    assert venue.money(2) == (RICH_FEN - hold, hold)


def test_g3_a_resting_sell_holds_kilograms_fee_and_reserve(venue: Venue) -> None:
    venue.sell(1, PRICE, 12 * STEP_KG, 1)

    assert venue.money(1) == (RICH_FEN - 1_494 - 36, 1_494 + 36)
    assert venue.goods(1) == (88 * STEP_KG, 12 * STEP_KG, 0)


def test_g3_a_cancel_releases_everything(venue: Venue) -> None:
    order_id = int(venue.buy(2, PRICE, 12 * STEP_KG)["order_id"][0])

    venue.cancel(2, order_id)

    assert venue.money(2) == (RICH_FEN, 0)


def test_g3_price_improvement_is_released(venue: Venue) -> None:
    venue.sell(1, PRICE, 12 * STEP_KG, 1)

    venue.buy(2, PRICE + 10 * TICK, 12 * STEP_KG)

    assert venue.money(2) == (RICH_FEN - 6_752_880 - 1_494, 0)
    assert venue.money(1) == (RICH_FEN - 1_494, 0)


def test_g3_a_partial_fill_recomputes_the_resting_hold(venue: Venue) -> None:
    venue.buy(2, PRICE, 12 * STEP_KG)

    venue.sell(1, PRICE, 5 * STEP_KG, 1)

    rest = int(money.hold_fen(PRICE, 7 * STEP_KG, STEP_KG, 10_000, 50))
    charged = int(money.amount_fen(PRICE, 5 * STEP_KG) + money.fee_fen(5 * STEP_KG, 50))
    assert venue.money(2) == (RICH_FEN - rest - charged, rest)
    assert venue.goods(1) == (95 * STEP_KG, 0, 5 * STEP_KG)


def test_e1_deposit_profile_holds_and_releases_the_golden_numbers(venue: Venue) -> None:
    venue.send(terms(2, Mode.BOOK, buyer_deposit_bp=1_000, seller_deposit_bp=1_000))
    venue.phase(Phase.CONTINUOUS, 2)
    venue.lot(2, 1, 12 * STEP_KG, 2)
    venue.sell(1, PRICE, 12 * STEP_KG, 2, instrument=2)
    seller = int(money.deposit_fen(money.amount_fen(UPPER, 12 * STEP_KG), 1_000)) + 1_494 + 36
    assert venue.money(1)[1] == seller

    venue.buy(2, 227_000, 12 * STEP_KG, instrument=2)

    assert RICH_FEN - venue.money(2)[0] == 675_288 + 1_494  # deposit 6,752.88 and fee 14.94
    assert RICH_FEN - venue.money(1)[0] == 675_288 + 1_494


def test_e4_three_fills_release_the_golden_amounts(venue: Venue) -> None:
    venue.send(terms(2, Mode.BOOK, step_kg=10, minimum_kg=10, buyer_deposit_bp=1_000, fee_fen_per_tonne=0))
    venue.phase(Phase.CONTINUOUS, 2)
    venue.lot(2, 1, 100_000, 2)
    venue.buy(2, 227_000, 100_000, instrument=2)
    reserve = 3 * 100_000 // 10
    assert venue.money(2)[1] == 2_270_000 + reserve  # 22,700.00

    # sells come at the buyer's own price, so each release is that of the deposit's rounding and the reserve
    venue.sell(1, 227_000, 29_880, 2, instrument=2)
    assert venue.money(2)[1] == 1_591_724 + 3 * 70_120 // 10  # 15,917.24
    venue.sell(1, 227_000, 50_000, 2, instrument=2)
    assert venue.money(2)[1] == 456_724 + 3 * 20_120 // 10  # 4,567.24
    venue.sell(1, 227_000, 20_120, 2, instrument=2)
    assert venue.money(2)[1] == 0


def test_law7_an_order_without_money_is_refused(venue: Venue) -> None:
    venue.account(9, fen=6_752_880 + 1_494 + 35)

    assert reason_of(venue.buy(9, PRICE, 12 * STEP_KG)) is Reason.INSUFFICIENT_FUNDS
    venue.settle(kind=Command.DEPOSIT, account=9, amount_fen=1)
    assert len(venue.buy(9, PRICE, 12 * STEP_KG)) == 1


def test_law7_kilograms_back_one_order_only(venue: Venue) -> None:
    venue.sell(1, PRICE, 60 * STEP_KG, 1)

    assert reason_of(venue.sell(1, PRICE, 41 * STEP_KG, 1)) is Reason.INSUFFICIENT_GOODS


def test_hold_of_an_ioc_remainder_is_released(venue: Venue) -> None:
    venue.sell(1, PRICE, STEP_KG, 1)

    venue.buy(2, PRICE, 12 * STEP_KG, time_in_force=TimeInForce.IOC)

    assert venue.money(2)[1] == 0
    assert RICH_FEN - venue.money(2)[0] == 562_740 + 125


def test_kilograms_of_an_ioc_remainder_are_free_again(venue: Venue) -> None:
    venue.buy(2, PRICE, STEP_KG)

    venue.sell(1, PRICE, 5 * STEP_KG, 1, time_in_force=TimeInForce.IOC)

    assert venue.goods(1) == (99 * STEP_KG, 0, STEP_KG)
    venue.exchange.check_invariants()


ORDERS = st.tuples(
    st.sampled_from([(2, 0), (3, 0), (1, 1)]),
    st.integers(0, (UPPER - LOWER) // TICK).map(lambda n: LOWER + n * TICK),
    st.integers(1, 30),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ORDERS, min_size=1, max_size=30))
def test_no_fen_is_lost_or_made_by_any_flow(flow: list[tuple[tuple[int, int], int, int]]) -> None:
    venue = Venue()
    for account in (1, 2, 3):
        venue.account(account)
    venue.lot(1, 1, 1_000 * STEP_KG)
    charged = 0

    for (account, side), price, bundles in flow:
        events = venue.order(account, Side(side), price, bundles * STEP_KG, lot=side)
        for row in events[events["kind"] == Event.TRADE]:
            kg, at = int(row["quantity_kg"]), int(row["price_fen_per_tonne"])
            charged += int(money.amount_fen(at, kg)) + 2 * int(money.fee_fen(kg, 50))

    assert money_total(venue, (1, 2, 3)) + charged == 3 * RICH_FEN
    assert sum(venue.goods(1)) == 1_000 * STEP_KG
    venue.exchange.check_invariants()
