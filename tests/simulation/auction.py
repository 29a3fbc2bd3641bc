"""The call auction, reckoned from the list of orders alone: every tick is tried, the best is kept.

Law: most volume; then least surplus; then the highest price if all that remain have a surplus of buyers, the
lowest if of sellers; then the nearest to the reference (semantics E2).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from engine.vocabulary import Side
from tests.simulation.wishes import TICK


class Order(Protocol):
    """Who takes part: with all that is left, shown or not."""

    side: Side
    limit: int
    leaves: int


class Call(NamedTuple):
    """What an auction does: one price (0: nothing trades), kilograms, and what is left over on a side."""

    price: int
    kg: int
    surplus_kg: int
    side: int


NOTHING = Call(0, 0, 0, 0)


def best_call(orders: Sequence[Order], reference: int) -> Call:
    """The one price for all of the orders."""
    if not orders:
        return NOTHING
    limits = [order.limit for order in orders]
    calls = [_at(price, orders) for price in range(min(limits), max(limits) + TICK, TICK)]
    best_kg = max(call.kg for call in calls)
    if best_kg == 0:
        return NOTHING
    least = min(call.surplus_kg for call in calls if call.kg == best_kg)
    equal = [call for call in calls if (call.kg, call.surplus_kg) == (best_kg, least)]
    if least and all(call.side == Side.BUY for call in equal):
        return equal[-1]
    if least and all(call.side == Side.SELL for call in equal):
        return equal[0]
    return min(equal, key=lambda call: (abs(call.price - reference), -call.price))


def _at(price: int, orders: Sequence[Order]) -> Call:
    bought = sum(order.leaves for order in orders if order.side is Side.BUY and order.limit >= price)
    sold = sum(order.leaves for order in orders if order.side is Side.SELL and order.limit <= price)
    surplus = bought - sold
    return Call(price, min(bought, sold), abs(surplus), Side.SELL if surplus < 0 else Side.BUY)
