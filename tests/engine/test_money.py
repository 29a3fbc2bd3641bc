"""The arithmetic of steel against the golden numbers of domain section 6."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import money


@pytest.mark.parametrize(
    ("price", "kg", "amount"),
    [(226_000, 29_880, 6_752_880), (209_000, 27_850, 5_820_650), (225_500, 33_127, 7_470_139)],
)
def test_e1_e2_e3_amounts_are_half_up_to_the_fen(price: int, kg: int, amount: int) -> None:
    assert money.amount_fen(price, kg) == amount


def test_e3_lines_of_several_pickups_add_up() -> None:
    weights = [33_127, 33_451, 32_989]
    totals = [int(money.amount_fen(225_500, sum(weights[:n]))) for n in range(4)]

    lines = [after - before for before, after in itertools.pairwise(totals)]

    assert lines == [7_470_139, 7_543_200, 7_439_020]
    assert totals[-1] == 22_452_359


@pytest.mark.parametrize(("kg", "fee"), [(29_880, 1_494), (27_850, 1_393), (9, 1), (0, 0)])
def test_e1_e6_fee_is_half_up_and_at_least_one_fen(kg: int, fee: int) -> None:
    assert money.fee_fen(kg, 50) == fee


def test_a_free_venue_takes_no_fee() -> None:
    assert money.fee_fen(29_880, 0) == 0


def test_e1_deposit_rounds_up() -> None:
    assert money.deposit_fen(6_752_881, 1_000) == 675_289


@pytest.mark.parametrize(
    ("gross", "rate", "net"),
    [(6_752_880, 17, 5_771_692), (6_752_880, 16, 5_821_448), (6_752_880, 13, 5_976_000), (1_494, 6, 1_409)],
)
def test_e1_net_of_vat_is_half_up(gross: int, rate: int, net: int) -> None:
    assert money.net_of_vat_fen(gross, rate) == net


@given(
    st.integers(1, 10**6),
    st.integers(1, 2_000),
    st.integers(1, 3_000),
    st.integers(0, 10_000),
    st.integers(0, 100),
    st.data(),
)
def test_g3_a_hold_covers_every_split(
    price: int, steps: int, step: int, points: int, fee: int, data: st.DataObject
) -> None:
    filled = data.draw(st.integers(0, steps)) * step
    whole, rest = steps * step, steps * step - filled

    charge = money.deposit_fen(money.amount_fen(price, filled), points) + money.fee_fen(filled, fee)

    assert money.hold_fen(price, whole, step, points, fee) >= charge + money.hold_fen(
        price, rest, step, points, fee
    )


def test_formulas_read_the_same_for_arrays() -> None:
    prices, kgs = np.array([226_000, 209_000]), np.array([29_880, 27_850])

    assert money.amount_fen(prices, kgs).tolist() == [6_752_880, 5_820_650]
    assert money.hold_fen(prices, kgs, 10, 10_000, 50).tolist() == [
        money.hold_fen(226_000, 29_880, 10, 10_000, 50),
        money.hold_fen(209_000, 27_850, 10, 10_000, 50),
    ]
