"""Limits: how far an order may go, by its type and the market as it is (semantics B1-B4, E5).

Law: a limit is a level of the order's own ladder; the other side may be met up to its mirror image.
"""

from typing import Any

import numpy as np

from engine.core.jit import called, part
from engine.core.ladder import level_price
from engine.core.layout import State
from engine.vocabulary import BASIS_POINTS, OrderType

MARKET, STOP = int(OrderType.MARKET), int(OrderType.STOP)
STOP_LIMIT, MARKET_TO_LIMIT = int(OrderType.STOP_LIMIT), int(OrderType.MARKET_TO_LIMIT)
ALL_BP = int(BASIS_POINTS)


@part
def mirror(state: State, ladder: int, level: int) -> Any:
    """The level of the other side that has the same price."""
    return state.ladders["levels"][ladder] - 1 - level


@part
def side_is_empty(state: State, ladder: int) -> Any:
    """True when no order rests in a ladder."""
    return state.ladders["best"][ladder] >= state.ladders["levels"][ladder]


@part
def best_opposite_level(state: State, ladder: int) -> Any:
    """The level of the own ladder at the best opposite price; the caller knows that there is one."""
    return mirror(state, ladder, state.ladders["best"][ladder ^ 1])


@part
def collar_level(state: State, ladder: int) -> Any:
    """How far a market order goes: the collar beyond the best opposite price, rounded inwards, in the band
    (B2).
    """
    collar = state.instruments["collar"][ladder >> 2]
    if collar == 0 or side_is_empty(state, ladder ^ 1):
        return np.int64(0)
    best = level_price(state, ladder ^ 1, state.ladders["best"][ladder ^ 1])
    beyond = best * collar // (ALL_BP * state.instruments["tick"][ladder >> 2])
    return max(best_opposite_level(state, ladder) - beyond, np.int64(0))


collar_of_stop = called(collar_level)


@part
def working_level(state: State, ladder: int, kind: int, level: int) -> Any:
    """How far an order goes that comes as incoming: a stop as a market order, within the collar (B2, B4)."""
    if kind == STOP:
        return collar_of_stop(state, ladder)
    return level


@part
def crosses(state: State, ladder: int, level: int) -> Any:
    """True when an order at `level` would meet the other side (semantics B7)."""
    return state.ladders["best"][ladder ^ 1] <= mirror(state, ladder, level)


@part
def is_market(kind: int) -> Any:
    """True for the types that never rest: market, and a stop once it is triggered."""
    return kind == MARKET or kind == STOP


@part
def is_stop(kind: int) -> Any:
    """True for the types that wait for a price."""
    return kind == STOP or kind == STOP_LIMIT
