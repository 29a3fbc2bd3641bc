"""The book: orders in time order on the levels of a ladder, in slots that are used again at once.

Law: a slot is either free (id 0, all fields zero but the link of the stack) or linked into exactly one level;
a level's sentinel knows the kilograms shown and the orders on it, `veiled` what its icebergs hide. Freed
slots are taken last-in-first-out, so that the live set stays in the processor's cache.
"""

from typing import Any

import numpy as np

from engine.core.jit import part, rare
from engine.core.ladder import mark, unmark
from engine.core.layout import State
from engine.vocabulary import ORDER_SLOT_BITS

SLOT_BITS = int(ORDER_SLOT_BITS)
SLOT_MASK = (1 << SLOT_BITS) - 1
NO_SLOT = 0
SOMEBODY, OTHERS = 0x80, 0x7F  # bits of an owner byte


@part
def owner_byte(account: int) -> Any:
    """What `owners` says of a slot with an order of this account, and of those that share its last seven
    bits.
    """
    return np.uint8(SOMEBODY | account & OTHERS)


@part
def take_slot(state: State) -> Any:
    """A free slot; the caller has checked that one is left."""
    head = state.head
    slot = head["free_slot"][0]
    if slot != NO_SLOT:
        head["free_slot"][0] = state.nodes["next"][slot]
    else:
        slot = head["slots_used"][0] + 1
        head["slots_used"][0] = slot
    head["live_orders"][0] += 1
    return slot


@part
def free_slot(state: State, slot: int) -> None:
    """Give a slot back, zeroed (law 4), on top of the stack."""
    nodes, orders, head = state.nodes, state.orders, state.head
    nodes["next"][slot] = head["free_slot"][0]
    nodes["previous"][slot] = 0
    nodes["leaves"][slot] = 0
    nodes["level"][slot] = 0
    nodes["account"][slot] = 0
    nodes["id"][slot] = 0
    orders["client_order_id_0"][slot] = 0
    orders["client_order_id_1"][slot] = 0
    orders["quantity"][slot] = 0
    orders["cum"][slot] = 0
    orders["hold"][slot] = 0
    orders["price"][slot] = 0
    orders["session"][slot] = 0
    orders["lot"][slot] = 0
    orders["version"][slot] = 0
    if orders["special"][slot] != 0:
        rare()
        state.specials["hidden"][slot] = 0
        state.specials["display"][slot] = 0
        state.specials["stop"][slot] = 0
        state.specials["expire_ns"][slot] = 0
    orders["codes"][slot] = 0
    state.owners[slot] = 0
    head["free_slot"][0] = slot
    head["live_orders"][0] -= 1


@part
def slot_of(state: State, order_id: int) -> Any:
    """The slot of a live order, or NO_SLOT: one array read and a comparison."""
    slot = order_id & SLOT_MASK
    if order_id <= 0 or slot > state.head["slots_used"][0] or state.nodes["id"][slot] != order_id:
        return np.int64(NO_SLOT)
    return np.int64(slot)


@part
def ladder_of(state: State, slot: int) -> Any:
    """The ladder in which an order rests: 4 x instrument + (0 buy, 1 sell, 2 buy stop, 3 sell stop)."""
    return np.int64(state.nodes["account"][state.nodes["level"][slot]])


@part
def level_of(state: State, slot: int, ladder: int) -> Any:
    """The level on which an order rests."""
    return state.nodes["level"][slot] - state.ladders["base"][ladder]


@part
def whole_leaves(state: State, slot: int) -> Any:
    """What an order has left, shown and hidden."""
    if state.orders["special"][slot] == 0:
        return state.nodes["leaves"][slot]
    rare()
    return state.nodes["leaves"][slot] + state.specials["hidden"][slot]


@part
def slices_of(kg: int, display: int) -> Any:
    """How many slices `kg` hidden kilograms make; 0 for an order that shows all."""
    if display == 0:
        return np.int64(0)
    rare()
    return (kg + display - 1) // display


@part
def is_full(state: State, slices: int) -> Any:
    """True when there is no room for one more order with so many slices to show (semantics G5).

    A slice causes half the events of an order, and the buffer holds those of orders_max orders.
    """
    head = state.head
    return 2 * head["live_orders"][0] + head["slices"][0] + slices > 2 * head["orders_max"][0] - 2


@part
def veil(state: State, slot: int, sentinel: int, way: int) -> None:
    """What an order hides is added to its level (way 1) or taken from it (-1), and the slices that it has
    still to show are counted, also those that a waiting stop will hide.
    """
    hidden, display = state.specials["hidden"][slot], state.specials["display"][slot]
    if hidden != 0:
        state.veiled[sentinel - state.head["orders_max"][0] - 1] += way * hidden
        state.head["slices"][0] += way * slices_of(hidden, display)
    elif display != 0:
        state.head["slices"][0] += way * slices_of(max(state.nodes["leaves"][slot] - display, 0), display)


@part
def veiled_kg(state: State, sentinel: int) -> Any:
    """The kilograms that a level hides."""
    return state.veiled[sentinel - state.head["orders_max"][0] - 1]


@part
def link(state: State, slot: int, ladder: int, level: int) -> None:
    """Put an order at the end of its level's queue (semantics A1)."""
    nodes = state.nodes
    sentinel = state.ladders["base"][ladder] + level
    link_before(state, slot, sentinel, sentinel)
    if nodes["id"][sentinel] == 1:
        mark(state, ladder, level)


@part
def link_before(state: State, slot: int, sentinel: int, younger: int) -> None:
    """Put an order into a level's queue in front of `younger`, or at its end (the sentinel)."""
    nodes = state.nodes
    older = nodes["previous"][younger]
    nodes["next"][older] = slot
    nodes["previous"][slot] = older
    nodes["next"][slot] = younger
    nodes["previous"][younger] = slot
    nodes["level"][slot] = sentinel
    nodes["leaves"][sentinel] += nodes["leaves"][slot]
    nodes["id"][sentinel] += 1
    if state.orders["special"][slot] != 0:
        rare()
        veil(state, slot, sentinel, 1)


@part
def unlink(state: State, slot: int, ladder: int) -> None:
    """Take an order out of its level; what it has left leaves the level with it."""
    nodes = state.nodes
    sentinel = nodes["level"][slot]
    older, younger = nodes["previous"][slot], nodes["next"][slot]
    nodes["next"][older] = younger
    nodes["previous"][younger] = older
    nodes["leaves"][sentinel] -= nodes["leaves"][slot]
    nodes["id"][sentinel] -= 1
    if state.orders["special"][slot] != 0:
        rare()
        veil(state, slot, sentinel, -1)
    if older == younger and older == sentinel:
        unmark(state, ladder, sentinel - state.ladders["base"][ladder])


@part
def show_slice(state: State, slot: int) -> None:
    """Let an order that shows nothing and hides something show its next slice; the caller has it unlinked."""
    shown = min(state.specials["display"][slot], state.specials["hidden"][slot])
    state.specials["hidden"][slot] -= shown
    state.nodes["leaves"][slot] = shown
