"""Dues: which good-till-date order expires next, found without looking at the others (semantics B5).

    dues[0] is the earliest; the children of row i are the rows 2 i + 1 and 2 i + 2, and not due before it

Law: every live good-till-date order has one row, its due time and its order id. An order that ended otherwise
leaves its row behind, until the row's time comes or the table is full; rows not in use are zero.
"""

from typing import Any

import numpy as np

from engine.core.book import NO_SLOT, slot_of
from engine.core.jit import part, routine
from engine.core.layout import DUES_PER_ORDER, State


@routine
def await_due(state: State, due_ns: int, order_id: int) -> None:
    """Remember when an order expires. Costs the logarithm of the rows; a full table is cleared first."""
    head = state.head
    if head["dues_used"][0] == DUES_PER_ORDER * head["orders_max"][0]:
        forget_ended(state)
    at = head["dues_used"][0]
    head["dues_used"][0] = at + 1
    place_below(state, at, due_ns, order_id)


@part
def place_below(state: State, at: int, due_ns: int, order_id: int) -> None:
    """Put a row at the free place `at`, or above it, where no parent is due after it."""
    dues = state.dues
    while at > 0 and dues["due_ns"][(at - 1) >> 1] > due_ns:
        parent = (at - 1) >> 1
        dues["due_ns"][at] = dues["due_ns"][parent]
        dues["order_id"][at] = dues["order_id"][parent]
        at = parent
    dues["due_ns"][at] = due_ns
    dues["order_id"][at] = order_id


@routine
def next_due(state: State) -> Any:
    """(due time, order id) of the live order that expires first, or (0, 0); rows of ended ones go."""
    head, dues = state.head, state.dues
    while head["dues_used"][0] > 0:
        order_id = dues["order_id"][0]
        if slot_of(state, order_id) != NO_SLOT:
            return dues["due_ns"][0], order_id
        drop_first(state)
    return np.int64(0), np.int64(0)


@routine
def drop_first(state: State) -> None:
    """Take the earliest row out; the last one takes a place from which all below it are due later."""
    head, dues = state.head, state.dues
    last = head["dues_used"][0] - 1
    head["dues_used"][0] = last
    due_ns, order_id, at = dues["due_ns"][last], dues["order_id"][last], np.int64(0)
    dues["due_ns"][last] = 0
    dues["order_id"][last] = 0
    if last == 0:
        return
    child = np.int64(1)
    while child < last:
        if child + 1 < last and dues["due_ns"][child + 1] < dues["due_ns"][child]:
            child += 1
        if dues["due_ns"][child] >= due_ns:
            break
        dues["due_ns"][at] = dues["due_ns"][child]
        dues["order_id"][at] = dues["order_id"][child]
        at = child
        child = 2 * at + 1
    dues["due_ns"][at] = due_ns
    dues["order_id"][at] = order_id


@routine
def forget_ended(state: State) -> None:
    """Keep the rows of live orders only: at most half of the table, so that this is seldom needed again."""
    head, dues, kept = state.head, state.dues, np.int64(0)
    used = head["dues_used"][0]
    for at in range(used):
        due_ns, order_id = dues["due_ns"][at], dues["order_id"][at]
        dues["due_ns"][at] = 0
        dues["order_id"][at] = 0
        if slot_of(state, order_id) != NO_SLOT:
            place_below(state, kept, due_ns, order_id)
            kept += 1
    head["dues_used"][0] = kept
