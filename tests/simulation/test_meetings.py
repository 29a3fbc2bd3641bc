"""What an order could get at once, in small tables: the auditor's own reckoning of fill-or-kill (B6, D1)."""

import numpy as np
import pytest

from engine.records import commands_of
from engine.vocabulary import Command, OrderType, SelfTrade, Side, TimeInForce
from tests.simulation.life import Life
from tests.simulation.meetings import Groups

OTHER, OWN, INCOMING = 1, 2, 3  # the last two are of one company group


@pytest.fixture
def groups() -> Groups:
    groups = Groups()
    for account, group in ((OTHER, 0), (OWN, 0), (INCOMING, OWN)):
        opened = commands_of({"kind": Command.OPEN_ACCOUNT, "account": account, "group": group})
        groups.note(np.array(opened)[0])
    return groups


def sell(account: int, price: int, leaves: int, place: int, slice_kg: int = 0) -> Life:
    life = order(account, Side.SELL, price, leaves, place)
    life.slice_kg = slice_kg
    life.show()
    return life


def buy(price: int, mode: SelfTrade = SelfTrade.CANCEL_NEWEST) -> Life:
    life = order(INCOMING, Side.BUY, price, 100, 9)
    life.mode = mode
    return life


def order(account: int, side: Side, price: int, leaves: int, place: int) -> Life:
    return Life(
        order_id=place,
        account=account,
        instrument=4,
        side=side,
        kind=OrderType.LIMIT,
        force=TimeInForce.FOK,
        limit=price,
        stop=0,
        slice_kg=0,
        lot=0,
        quantity=leaves,
        leaves=leaves,
        place=place,
        mode=SelfTrade.CANCEL_NEWEST,
        minimum=0,
        post_only=False,
    )


def test_only_what_the_limit_reaches_counts(groups: Groups) -> None:
    line = [sell(OTHER, 101, 10, 1), sell(OTHER, 102, 20, 2), sell(OTHER, 103, 40, 3)]

    assert groups.fillable(buy(102), line, 100) == 30


def test_no_more_than_is_wanted_is_taken(groups: Groups) -> None:
    assert groups.fillable(buy(102), [sell(OTHER, 101, 10, 1), sell(OTHER, 102, 20, 2)], 15) == 15


def test_hidden_slices_come_behind_the_queue(groups: Groups) -> None:
    line = [sell(OTHER, 101, 30, 1, slice_kg=10), sell(OWN, 101, 5, 2)]

    assert groups.fillable(buy(101), line, 100) == 10


@pytest.mark.parametrize(
    ("mode", "kg"),
    [
        (SelfTrade.CANCEL_NEWEST, 10),
        (SelfTrade.CANCEL_BOTH, 10),
        (SelfTrade.DECREMENT, 10),
        (SelfTrade.CANCEL_OLDEST, 30),
        (SelfTrade.ALLOW, 35),
    ],
)
def test_an_own_order_in_the_way_counts_as_its_mode_says(groups: Groups, mode: SelfTrade, kg: int) -> None:
    line = [sell(OTHER, 101, 10, 1), sell(OWN, 101, 5, 2), sell(OTHER, 101, 20, 3)]

    assert groups.fillable(buy(101, mode), line, 100) == kg
