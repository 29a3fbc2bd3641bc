"""Accounts, entry numbers, and what entries do to balances."""

import numpy as np
import pytest

from engine.core.layout import Capacity
from settlement.ledger import (
    INDEX_MAX,
    LEG_MAX,
    SEQUENCE_MAX,
    SEQUENCE_SHIFT,
    Entries,
    Goods,
    Money,
    account,
    account_name,
    deltas,
    entries_end,
    entry_number,
    join,
)


def entries(*rows: tuple[int, int, int, int]) -> Entries:
    """Entries from (number, debit, credit, amount)."""
    number, debit, credit, amount = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    nothing = np.zeros(len(rows), np.int64)
    return Entries(number, nothing, nothing, debit, credit, amount)


def test_accounts_have_names_that_tell_whose_they_are() -> None:
    assert account_name(account(7, Money.TRADING), Money) == "TRADING:7"
    assert account_name(account(0, Money.FEE_VAT), Money) == "FEE_VAT"
    assert account_name(account(12, Goods.LISTED), Goods) == "LISTED:12"


def test_entry_numbers_rise_with_sequence_then_event_then_leg() -> None:
    numbers = [entry_number(*place) for place in ((5, 0, 0), (5, 0, LEG_MAX), (5, 1, 0), (6, 0, 0))]

    assert numbers == sorted(set(numbers))
    assert [number >> SEQUENCE_SHIFT for number in numbers] == [5, 5, 5, 6]
    assert numbers[2] < entries_end(5) == numbers[3]


def test_entry_numbers_of_the_last_sequence_fit_a_bigint() -> None:
    last = entry_number(np.array([SEQUENCE_MAX]), np.array([INDEX_MAX]), LEG_MAX)

    assert int(last[0]) == 2**63 - 1
    assert entries_end(SEQUENCE_MAX) == 2**63


def test_the_largest_command_of_the_engine_can_be_numbered() -> None:
    assert Capacity().events <= INDEX_MAX + 1


@pytest.mark.parametrize("place", [(SEQUENCE_MAX + 1, 0), (1, INDEX_MAX + 1)])
def test_no_entry_number_is_ever_made_that_would_collide(place: tuple[int, int]) -> None:
    with pytest.raises(AssertionError):
        entry_number(*place, 0)


def test_deltas_are_net_per_account_in_rising_order_and_sum_to_zero() -> None:
    moved = deltas(entries((1, 30, 20, 5), (2, 20, 10, 3), (3, 20, 10, 1)))

    assert moved.account.tolist() == [10, 20, 30]
    assert moved.amount.tolist() == [4, 1, -5]


def test_an_account_that_ends_where_it_began_is_not_touched() -> None:
    moved = deltas(entries((1, 30, 20, 5), (2, 20, 10, 5)))

    assert moved.account.tolist() == [10, 30]


def test_joined_entries_stand_in_the_order_of_their_numbers() -> None:
    both = join([entries((9, 1, 2, 5)), entries((3, 4, 5, 6), (12, 1, 2, 7))])

    assert both.entry.tolist() == [3, 9, 12]
    assert both.amount.tolist() == [6, 5, 7]
    assert len(join([]).entry) == 0
