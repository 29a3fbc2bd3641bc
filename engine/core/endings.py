"""Endings: how many orders at once leave the market (semantics B5, C5-C7, E1).

Law: what ends together ends in order of order id, or, at a change of phase, in priority order; in no_cancel
the cancels of a disconnect, a timer and the kill switch are kept, and carried out right after the uncross.
"""

from typing import Any

import numpy as np

from engine.core.book import SLOT_MASK, ladder_of, owner_byte, slot_of
from engine.core.jit import part, routine
from engine.core.judgement import AT_OPEN, CONTINUOUS_ONLY, GTC, GTD, NO_CANCEL, OK
from engine.core.ladder import next_level
from engine.core.layout import LADDERS, OWNERS_AT_ONCE, State, Turn
from engine.core.matching import drop_order
from engine.vocabulary import Reason

AUCTION_ENDED, AUCTION_STARTED = int(Reason.AUCTION_ENDED), int(Reason.AUCTION_STARTED)
ANY_SESSION = 0
LADDERS_OF_INSTRUMENT, SLOTS_AT_ONCE = int(LADDERS), int(OWNERS_AT_ONCE)


@part
def ends(force: int, reason: int) -> Any:
    """True when a phase change with this reason ends an order of this time in force (semantics B5)."""
    if reason == AUCTION_ENDED:
        return force == AT_OPEN
    if reason == AUCTION_STARTED:
        return force == CONTINUOUS_ONLY
    return force != GTC and force != GTD


@routine
def gather_of_instrument(state: State, instrument: int) -> Any:
    """Write the ids of an instrument's orders into scratch: buys, sells, stops; best price first, oldest
    first. Return how many.
    """
    count, nodes, ladders = np.int64(0), state.nodes, state.ladders
    for ladder in range(LADDERS_OF_INSTRUMENT * instrument, LADDERS_OF_INSTRUMENT * (instrument + 1)):
        level = np.int64(-1)
        while level < ladders["levels"][ladder]:
            level = next_level(state, ladder, level)
            sentinel = ladders["base"][ladder] + level
            slot = np.int64(nodes["next"][sentinel])
            while slot != sentinel:
                state.scratch[count] = nodes["id"][slot]
                count += 1
                slot = np.int64(nodes["next"][slot])
    return count


@routine
def end_orders(state: State, turn: Turn, instrument: int, reason: int) -> None:
    """End the orders that a phase change ends, in priority order."""
    for at in range(gather_of_instrument(state, instrument)):
        slot, state.scratch[at] = slot_of(state, state.scratch[at]), 0
        if ends(state.orders["time_in_force"][slot], reason):
            drop_order(state, turn, slot, ladder_of(state, slot), reason)


@part
def is_among(state: State, first: int, owner: int) -> Any:
    """Whether one of the slots from `first` on, as many as are looked at at once, has this owner byte."""
    found = False
    for slot in range(first, first + SLOTS_AT_ONCE):
        found |= state.owners[slot] == owner
    return found


@routine
def gather(state: State, account: int, session: int, count: int) -> Any:
    """Write the ids of an account's live orders, of one session or (ANY_SESSION) of all, behind
    scratch[0:count]; return how many stand there then. Ends with the last of the account's orders.
    """
    nodes, owner, seen, first = state.nodes, owner_byte(account), np.int64(0), np.int64(0)
    while seen < state.accounts["live_orders"][account]:
        if is_among(state, first, owner):
            for slot in range(first, first + SLOTS_AT_ONCE):
                if state.owners[slot] == owner and nodes["account"][slot] == account:
                    seen += 1
                    if session == ANY_SESSION or state.orders["session"][slot] == session:
                        state.scratch[count] = nodes["id"][slot]
                        count += 1
        first += SLOTS_AT_ONCE
    return count


@part
def gather_of_account(state: State, account: int) -> Any:
    """Write the ids of an account's live orders into scratch; return how many."""
    return gather(state, account, ANY_SESSION, 0)


@routine
def end_in_order(state: State, turn: Turn, count: int, reason: int) -> None:
    """End the orders whose ids stand in scratch[0:count], in order of order id."""
    sort(state.scratch, count)
    for at in range(count):
        slot = slot_of(state, state.scratch[at])
        state.scratch[at] = 0
        drop_order(state, turn, slot, ladder_of(state, slot), reason)


@routine
def condemn_or_drop(state: State, turn: Turn, count: int, reason: int) -> Any:
    """End the orders of scratch[0:count]; in no_cancel note the reason for after the uncross. Return
    `count`.
    """
    sort(state.scratch, count)
    for at in range(count):
        slot = slot_of(state, state.scratch[at])
        state.scratch[at] = 0
        ladder = ladder_of(state, slot)
        if state.instruments["phase"][ladder >> 2] != NO_CANCEL:
            drop_order(state, turn, slot, ladder, reason)
        else:
            state.instruments["kept_cancels"][ladder >> 2] = 1
            if state.orders["condemned"][slot] == OK:
                state.orders["condemned"][slot] = reason
    return count


@routine
def carry_out_kept(state: State, turn: Turn, instrument: int) -> None:
    """End the orders whose cancel was kept in no_cancel, by order id (semantics E1)."""
    if state.instruments["kept_cancels"][instrument] == 0:
        return
    state.instruments["kept_cancels"][instrument] = 0
    count = np.int64(0)
    for at in range(gather_of_instrument(state, instrument)):
        order_id, state.scratch[at] = state.scratch[at], 0
        if state.orders["condemned"][order_id & SLOT_MASK] != OK:
            state.scratch[count] = order_id
            count += 1
    sort(state.scratch, count)
    for at in range(count):
        slot = slot_of(state, state.scratch[at])
        state.scratch[at] = 0
        drop_order(state, turn, slot, ladder_of(state, slot), np.int64(state.orders["condemned"][slot]))


@routine
def sort(values: Any, count: int) -> None:
    """Heapsort of values[0:count], rising: in place, n log n at worst, nothing allocated."""
    for start in range(count // 2 - 1, -1, -1):
        sift(values, start, count)
    for end in range(count - 1, 0, -1):
        values[0], values[end] = values[end], values[0]
        sift(values, 0, end)


@part
def sift(values: Any, root: int, count: int) -> None:
    """Let values[root] sink to its place in a heap of `count`."""
    child = 2 * root + 1
    while child < count:
        if child + 1 < count and values[child + 1] > values[child]:
            child += 1
        if values[root] >= values[child]:
            return
        values[root], values[child] = values[child], values[root]
        root, child = child, 2 * child + 1
