"""Matching: an incoming order meets the other side, best price first, oldest first (semantics A1-A3, A7, B8,
D).

One loop for both sides: levels are numbered so that a smaller index is better on either side. `ladder` is the
incoming order's own, 4 x instrument + side; the other side is `ladder ^ 1`.
"""

from typing import Any

import numpy as np

from engine.core.book import (
    SLOT_BITS,
    free_slot,
    level_of,
    link,
    show_slice,
    unlink,
    veil,
    whole_leaves,
)
from engine.core.events import TRADE, emit_canceled, emit_order, emit_pair
from engine.core.holds import (
    SELL,
    amount_fen,
    change_hold,
    charge_fen,
    contract_goods,
    hold_fen,
    list_goods,
    list_of_sell,
)
from engine.core.jit import called, part, rare, routine
from engine.core.ladder import level_price
from engine.core.layout import State, Turn
from engine.vocabulary import Event, Flag, Reason, SelfTrade

CANCEL_OLDEST, CANCEL_BOTH = int(SelfTrade.CANCEL_OLDEST), int(SelfTrade.CANCEL_BOTH)
DECREMENT, ALLOW = int(SelfTrade.DECREMENT), int(SelfTrade.ALLOW)
SELF_TRADE = int(Flag.SELF_TRADE)
PREVENTED, REFRESHED = int(Event.PREVENTED), int(Event.REFRESHED)
OK = int(Reason.NONE)
SELF_TRADE_PREVENTION = int(Reason.SELF_TRADE_PREVENTION)


@part
def same_group(state: State, account: int, other: int) -> Any:
    """True when two accounts belong to one company group (semantics D1); group 0 is nobody's."""
    group = state.accounts["group"][account]
    return group != 0 and group == state.accounts["group"][other]


@part
def sweep(state: State, turn: Turn, ladder: int, slot: int, limit: int) -> Any:
    """Fill the order in `slot` down to the other side's level `limit`.

    Return (amount of the fills, SELF_TRADE_PREVENTION if that stopped it else OK); what it has left is in its
    node.
    """
    nodes, ladders, other = state.nodes, state.ladders, ladder ^ 1
    account, mode = nodes["account"][slot], state.orders["self_trade_mode"][slot]
    base, total = ladders["base"][other], np.int64(0)
    while nodes["leaves"][slot] > 0 and ladders["best"][other] <= limit:
        level = ladders["best"][other]
        resting = np.int64(nodes["next"][base + level])
        own = same_group(state, account, nodes["account"][resting])
        if own and mode != ALLOW:
            rare()
            if prevent(state, turn, ladder, slot, resting, mode):
                return total, SELF_TRADE_PREVENTION
            continue
        price = level_price(state, other, level)
        quantity = min(nodes["leaves"][slot], nodes["leaves"][resting])
        total += trade(state, turn, ladder, slot, resting, price, quantity, SELF_TRADE if own else 0)
        state.instruments["last"][ladder >> 2] = price
        retire(state, turn, resting, other)
    return total, OK


@part
def trade(
    state: State,
    turn: Turn,
    ladder: int,
    incoming: int,
    resting: int,
    price: int,
    quantity: int,
    flags: int,
) -> Any:
    """Carry out one fill: goods, money and leaves of both, and the event. Return its amount in fen."""
    nodes, orders, side, instrument = state.nodes, state.orders, ladder & 1, ladder >> 2
    amount = amount_fen(price, quantity)
    contract_goods(state, orders["lot"][incoming if side == SELL else resting], quantity)
    nodes["leaves"][incoming] -= quantity
    nodes["leaves"][resting] -= quantity
    nodes["leaves"][nodes["level"][resting]] -= quantity
    orders["cum"][incoming] += quantity
    orders["cum"][resting] += quantity
    change_hold(state, incoming, 0, charge_fen(state, instrument, side, amount, quantity))
    hold = hold_fen(
        state, instrument, 1 - side, np.int64(orders["price"][resting]), whole_leaves(state, resting)
    )
    change_hold(state, resting, hold, charge_fen(state, instrument, 1 - side, amount, quantity))
    n = emit_pair(state, turn, TRADE, ladder, incoming, resting, price, quantity)
    turn.events["flags"][n] |= flags
    turn.events["match_id"][n] = turn.events["sequence"][n] << SLOT_BITS | turn.events["index"][n]
    return amount


@part
def retire(state: State, turn: Turn, resting: int, ladder: int) -> None:
    """A resting order whose shown part is gone shows its next slice at the end of the queue, or ends (B8)."""
    if state.nodes["leaves"][resting] != 0:
        return
    if whole_leaves(state, resting) != 0:
        rare()
        refresh(state, turn, resting, ladder)
        return
    state.accounts["live_orders"][state.nodes["account"][resting]] -= 1
    unlink(state, resting, ladder)
    free_slot(state, resting)


@routine
def refresh(state: State, turn: Turn, slot: int, ladder: int) -> None:
    """The next slice of an iceberg takes a new place at the end of the queue (semantics B8)."""
    level = level_of(state, slot, ladder)
    unlink(state, slot, ladder)
    show_slice(state, slot)
    link(state, slot, ladder, level)
    n = emit_order(state, turn, REFRESHED, slot, ladder)
    turn.events["quantity_kg"][n] = state.nodes["leaves"][slot]


@routine
def prevent(state: State, turn: Turn, ladder: int, slot: int, resting: int, mode: int) -> Any:
    """Keep an order from meeting its own (semantics D1, D2); True when the incoming one must stop."""
    if mode == DECREMENT:
        decrement(state, turn, ladder, slot, resting)
        return False
    if mode == CANCEL_OLDEST or mode == CANCEL_BOTH:
        drop_order(state, turn, resting, ladder ^ 1, SELF_TRADE_PREVENTION)
    return mode != CANCEL_OLDEST


@routine
def decrement(state: State, turn: Turn, ladder: int, slot: int, resting: int) -> None:
    """Both orders lose the smaller one's leaves, and nothing trades (semantics D1)."""
    nodes, orders, side = state.nodes, state.orders, ladder & 1
    quantity, price = (
        min(nodes["leaves"][slot], whole_leaves(state, resting)),
        np.int64(orders["price"][resting]),
    )
    list_goods(state, orders["lot"][slot] if side == SELL else orders["lot"][resting], -quantity)
    nodes["leaves"][slot] -= quantity
    take_from(state, resting, quantity)
    hold = hold_fen(state, ladder >> 2, 1 - side, price, whole_leaves(state, resting))
    change_hold(state, resting, hold, 0)
    emit_pair(state, turn, PREVENTED, ladder, slot, resting, price, quantity)
    retire(state, turn, resting, ladder ^ 1)


@part
def take_from(state: State, slot: int, quantity: int) -> None:
    """A resting order loses kilograms, hidden ones first (semantics C1); its level with it."""
    nodes = state.nodes
    sentinel, from_hidden = nodes["level"][slot], min(quantity, state.specials["hidden"][slot])
    veil(state, slot, sentinel, -1)
    state.specials["hidden"][slot] -= from_hidden
    nodes["leaves"][slot] -= quantity - from_hidden
    veil(state, slot, sentinel, 1)
    nodes["leaves"][sentinel] -= quantity - from_hidden


@part
def end_order(state: State, turn: Turn, slot: int, ladder: int, reason: int) -> None:
    """Take a resting order or a waiting stop out of its ladder, give its holds back, say so."""
    list_of_sell(state, ladder & 1, state.orders["lot"][slot], -whole_leaves(state, slot))
    change_hold(state, slot, 0, 0)
    state.accounts["live_orders"][state.nodes["account"][slot]] -= 1
    emit_canceled(state, turn, slot, ladder, reason)
    unlink(state, slot, ladder)
    free_slot(state, slot)


drop_order = called(end_order)
