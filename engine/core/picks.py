"""Picks: a counterparty takes a listing at its own price; the first valid pick wins (semantics F2).

Law: a sell is picked by kilograms, a bid (a buy listing) by a lot of the picker's with all that it has free.
"""

from typing import Any

import numpy as np

from engine.core.book import NO_SLOT, free_slot, is_full, ladder_of, slot_of
from engine.core.daily import note_trades
from engine.core.day import remember
from engine.core.entry import INSUFFICIENT_FUNDS, LIVE_ORDERS_FULL, fill_slot
from engine.core.events import ACCEPTED, emit_order, emit_outcome_again, set_outcome
from engine.core.holds import SELL, amount_fen, charge_fen, list_goods
from engine.core.identity import NO_ENTRY, judge_identity, refuse
from engine.core.jit import part, routine
from engine.core.judgement import (
    CONTINUOUS,
    CONTINUOUS_PHASE_ONLY,
    LISTED,
    LOT_OF_OTHER_INSTRUMENT,
    OK,
    UNKNOWN_LOT,
    WHOLE_LOT_ONLY,
    judge_phase,
)
from engine.core.layout import State, Turn
from engine.core.matching import drop_order, retire, same_group, trade
from engine.vocabulary import Reason

NOT_LISTED, UNKNOWN_ORDER = int(Reason.NOT_LISTED), int(Reason.UNKNOWN_ORDER)
STALE_VERSION, OWN_LISTING = int(Reason.STALE_VERSION), int(Reason.OWN_LISTING)
PICKED = int(Reason.PICKED)


@part
def judge_listing(state: State, slot: int) -> Any:
    """Why an order cannot be picked by anybody, or OK: it lives, its instrument is LISTED and trades (E1,
    F2).
    """
    if slot == NO_SLOT:
        return UNKNOWN_ORDER
    instrument = ladder_of(state, slot) >> 2
    phase = state.instruments["phase"][instrument]
    reason = judge_phase(phase)
    if reason != OK:
        return reason
    if phase != CONTINUOUS:
        return CONTINUOUS_PHASE_ONLY
    if state.instruments["mode"][instrument] != LISTED:
        return NOT_LISTED
    return OK


@part
def judge_lot(state: State, turn: Turn, instrument: int) -> Any:
    """The lot that is to go to a bid is the picker's and of the bid's instrument."""
    lot, lots = turn.commands["lot"][turn.at], state.lots
    if lot <= 0 or lot >= state.head["lots_used"][0]:
        return UNKNOWN_LOT
    if lots["account"][lot] != turn.commands["account"][turn.at]:
        return UNKNOWN_LOT
    return OK if lots["instrument"][lot] == instrument else LOT_OF_OTHER_INSTRUMENT


@part
def picked_kg(state: State, turn: Turn, slot: int) -> Any:
    """The kilograms that a pick takes of a sell, or gives to a bid."""
    if ladder_of(state, slot) & 1 == SELL:
        return turn.commands["quantity_kg"][turn.at]
    return state.lots["free"][turn.commands["lot"][turn.at]]


@part
def is_whole(state: State, slot: int, quantity: int, side: int) -> Any:
    """The kilograms lie within the listing's; a sell's remainder is nothing or at least its minimum."""
    leaves, minimum = state.nodes["leaves"][slot], state.specials["minimum"][slot]
    if minimum == 0:
        minimum = leaves
    if quantity < minimum or quantity > leaves:
        return False
    rest = leaves - quantity
    return side != SELL or rest == 0 or rest >= minimum


@part
def judge_pick(state: State, turn: Turn, slot: int) -> Any:
    """Why a listing cannot be picked so, or OK: kilograms, the version seen, whose it is, lot, money (F2)."""
    commands, at, nodes = turn.commands, turn.at, state.nodes
    reason = judge_listing(state, slot)
    if reason != OK:
        return reason
    ladder, account, quantity = ladder_of(state, slot), commands["account"][at], np.int64(0)
    if ladder & 1 != SELL:
        reason = judge_lot(state, turn, ladder >> 2)
    if reason == OK:
        quantity = picked_kg(state, turn, slot)
        if not is_whole(state, slot, quantity, ladder & 1):
            return WHOLE_LOT_ONLY
    if commands["listing_version"][at] != state.orders["version"][slot]:
        return STALE_VERSION
    if same_group(state, account, nodes["account"][slot]):
        return OWN_LISTING
    if reason != OK:
        return reason
    amount = amount_fen(np.int64(state.orders["price"][slot]), quantity)
    if state.accounts["available"][account] < charge_fen(
        state, ladder >> 2, 1 - (ladder & 1), amount, quantity
    ):
        return INSUFFICIENT_FUNDS
    if is_full(state, 0):
        return LIVE_ORDERS_FULL
    return OK


@routine
def pick(state: State, turn: Turn) -> None:
    """Judge a pick and trade the listing."""
    reason, repeated, entry = judge_identity(state, turn)
    if repeated:
        emit_outcome_again(state, turn, entry)
        return
    listing = slot_of(state, turn.commands["order_id"][turn.at])
    if reason == OK:
        reason = judge_pick(state, turn, listing)
    if reason != OK:
        refuse(state, turn, entry, reason)
        return
    take(state, turn, entry, listing)


@part
def take(state: State, turn: Turn, entry: int, listing: int) -> None:
    """Trade with a listing, as an order that comes and is filled at once; a bid is done with it (F2)."""
    ladder, price = ladder_of(state, listing), np.int64(state.orders["price"][listing])
    quantity, slot = picked_kg(state, turn, listing), picking_slot(state, turn, listing, price)
    order_id = state.nodes["id"][slot]
    n = emit_order(state, turn, ACCEPTED, slot, ladder ^ 1)
    amount = trade(state, turn, ladder ^ 1, slot, listing, price, quantity, 0)
    state.instruments["last"][ladder >> 2] = price
    note_trades(state, ladder >> 2, amount, quantity)
    if ladder & 1 != SELL and state.nodes["leaves"][listing] != 0:
        drop_order(state, turn, listing, ladder, PICKED)
    else:
        retire(state, turn, listing, ladder)
    free_slot(state, slot)
    set_outcome(turn, n, np.int64(0), quantity, amount)
    if entry != NO_ENTRY:
        remember(state, turn, entry, price, order_id, 0, quantity, amount)


@part
def picking_slot(state: State, turn: Turn, listing: int, price: int) -> Any:
    """Give the pick a slot, with the other side, the kilograms and the goods; a picker's lot is listed for
    it.
    """
    orders, nodes, side = state.orders, state.nodes, ladder_of(state, listing) & 1
    quantity, slot = picked_kg(state, turn, listing), fill_slot(state, turn, price)
    orders["side"][slot] = 1 - side
    orders["quantity"][slot] = quantity
    nodes["leaves"][slot] = quantity
    orders["lot"][slot] = orders["lot"][listing]
    if side != SELL:
        orders["lot"][slot] = turn.commands["lot"][turn.at]
        list_goods(state, turn.commands["lot"][turn.at], quantity)
    return slot
