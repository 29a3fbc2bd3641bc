"""The dues: which good-till-date order expires next, among many and when others have ended (B5)."""

import random

import pytest

from engine.core.layout import DUES_PER_ORDER
from engine.vocabulary import Command, Event, Flag, TimeInForce
from tests.engine.builders import SMALL
from tests.engine.rules.floor import Floor

LATE = 10**9


def waits_for(floor: Floor) -> int:
    """When the core says that something is due next."""
    return int(floor.exchange.state.head["next_expiry_ns"][0])


def buys(floor: Floor, reference: int, due_ns: int) -> int:
    """A good-till-date buy by rising reference, which takes no row of the day's table; its order id."""
    events = floor.command(
        kind=Command.NEW_ORDER,
        account=1,
        quantity_kg=1,
        price_fen_per_tonne=2200,
        time_in_force=TimeInForce.GTD,
        due_ns=due_ns,
        flags=Flag.BY_REFERENCE,
        client_order_id_0=reference,
    )
    assert int(events["kind"][0]) == Event.ACCEPTED
    return int(events["order_id"][0])


def cancels(floor: Floor, order_id: int) -> None:
    floor.command(kind=Command.CANCEL_ORDER, account=1, order_id=order_id)


def passes(floor: Floor, due_ns: int) -> list[int]:
    """The orders that expire at `due_ns`, in the order of their events; the last event says the time."""
    events = floor.command(kind=Command.EXPIRE, due_ns=due_ns)
    return [int(order_id) for order_id in events["order_id"][:-1]]


def test_orders_expire_at_their_time_whatever_the_order_of_entry() -> None:
    """Semantics B5, E6."""
    floor, chance = Floor(), random.Random(5)
    expected: dict[int, list[int]] = {}
    for number in range(1, 121):
        due_ns = LATE + chance.randrange(40)
        expected.setdefault(due_ns, []).append(buys(floor, number, due_ns))
    expired = {}
    while due_ns := waits_for(floor):
        expired[due_ns] = passes(floor, due_ns)
        floor.exchange.check_invariants()

    assert list(expired.items()) == sorted(expected.items())


def test_order_that_ended_before_is_not_waited_for() -> None:
    """Semantics B5: an EXPIRE finds what is due next among those that live."""
    floor = Floor()
    first, second, third, _ = [buys(floor, 1 + at, LATE + at) for at in range(4)]
    cancels(floor, second)
    cancels(floor, third)

    assert passes(floor, LATE) == [first]
    assert waits_for(floor) == LATE + 3


def test_ended_orders_are_cleared_away_when_the_table_is_full() -> None:
    """Law 10: the dues are bounded, and no order is forgotten by that."""
    floor, rows = Floor(), DUES_PER_ORDER * SMALL.orders
    buys(floor, 1, LATE + rows)
    for number in range(2, rows + 20):
        cancels(floor, buys(floor, number, LATE + rows - number % 7))
    earlier = buys(floor, rows + 20, LATE)

    floor.exchange.check_invariants()
    assert int(floor.exchange.state.head["dues_used"][0]) < rows
    assert passes(floor, LATE) == [earlier]
    assert waits_for(floor) == LATE + rows


@pytest.mark.parametrize("name", ["due_ns", "order_id"])
def test_what_stands_behind_the_last_due_breaks_an_invariant(name: str) -> None:
    floor = Floor()
    buys(floor, 1, LATE)

    floor.exchange.state.dues[name][1] = 1

    with pytest.raises(AssertionError, match="rows not in use are zero"):
        floor.exchange.check_invariants()
