"""The dry run of fok and minimum quantity: what a sweep would fill, seen without changing anything (semantics
B6).

Law: it walks the same orders in the same order as the sweep, sees price limits, hidden quantity and
prevention alike, and emits nothing.
"""

from typing import Any

import numpy as np

from engine.core.book import veiled_kg
from engine.core.jit import part, routine
from engine.core.ladder import next_level
from engine.core.layout import State
from engine.core.matching import ALLOW, CANCEL_OLDEST, same_group


@part
def shown_of_level(state: State, slot: int, sentinel: int, wanted: int) -> Any:
    """(kilograms shown that `slot` would fill on a level, stopped by prevention): one pass in time order."""
    nodes, mode = state.nodes, state.orders["self_trade_mode"][slot]
    found, resting = np.int64(0), np.int64(nodes["next"][sentinel])
    while resting != sentinel and found < wanted:
        if not same_group(state, nodes["account"][slot], nodes["account"][resting]) or mode == ALLOW:
            found += nodes["leaves"][resting]
        elif mode != CANCEL_OLDEST:
            return found, True
        resting = np.int64(nodes["next"][resting])
    return found, False


@part
def hidden_of_level(state: State, slot: int, sentinel: int) -> Any:
    """Kilograms that the icebergs of a level hide from everybody and would give to `slot`."""
    nodes, mode = state.nodes, state.orders["self_trade_mode"][slot]
    found, resting = np.int64(0), np.int64(nodes["next"][sentinel])
    while resting != sentinel:
        if not same_group(state, nodes["account"][slot], nodes["account"][resting]) or mode == ALLOW:
            found += state.specials["hidden"][resting]
        resting = np.int64(nodes["next"][resting])
    return found


@routine
def is_feasible(state: State, ladder: int, slot: int, limit: int, wanted: int) -> Any:
    """True when the order in `slot` would fill at least `wanted` kilograms down to the level `limit`."""
    other, found = ladder ^ 1, np.int64(0)
    level = state.ladders["best"][other]
    while level <= limit and found < wanted:
        sentinel = state.ladders["base"][other] + level
        shown, stopped = shown_of_level(state, slot, sentinel, wanted - found)
        found += shown
        if found < wanted and stopped:
            return False
        if found < wanted and veiled_kg(state, sentinel) != 0:
            found += hidden_of_level(state, slot, sentinel)
        level = next_level(state, other, level)
    return found >= wanted
