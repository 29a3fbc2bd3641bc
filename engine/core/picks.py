"""Picks: a counterparty takes a listing at its own price; the first valid pick wins (semantics F2)."""

from typing import Any

import numpy as np

from engine.core.book import NO_SLOT, free_slot, ladder_of, slot_of
from engine.core.daily import note_trades
from engine.core.day import remember
from engine.core.entry import INSUFFICIENT_FUNDS, LIVE_ORDERS_FULL, fill_slot
from engine.core.events import ACCEPTED, emit_order, emit_outcome_again, set_outcome
from engine.core.holds import BUY, amount_fen, charge_fen
from engine.core.identity import NO_ENTRY, judge_identity, refuse
from engine.core.jit import part, routine
from engine.core.judgement import CONTINUOUS, CONTINUOUS_PHASE_ONLY, LISTED, OK, WHOLE_LOT_ONLY, judge_phase
from engine.core.layout import State, Turn
from engine.core.matching import retire, same_group, trade
from engine.vocabulary import Reason

NOT_LISTED, UNKNOWN_ORDER = int(Reason.NOT_LISTED), int(Reason.UNKNOWN_ORDER)
STALE_VERSION, OWN_LISTING = int(Reason.STALE_VERSION), int(Reason.OWN_LISTING)


@part
def judge_pick(state: State, turn: Turn, slot: int) -> Any:
    """Why a listing cannot be picked, or OK: the version seen, whole lot, paid for (semantics F2)."""
    commands, at, nodes = turn.commands, turn.at, state.nodes
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
    if commands["quantity_kg"][at] != nodes["leaves"][slot]:
        return WHOLE_LOT_ONLY
    if commands["listing_version"][at] != state.orders["version"][slot]:
        return STALE_VERSION
    account = commands["account"][at]
    if same_group(state, account, nodes["account"][slot]):
        return OWN_LISTING
    amount = amount_fen(np.int64(state.orders["price"][slot]), nodes["leaves"][slot])
    if state.accounts["available"][account] < charge_fen(
        state, instrument, BUY, amount, nodes["leaves"][slot]
    ):
        return INSUFFICIENT_FUNDS
    if state.head["live_orders"][0] >= state.head["orders_max"][0]:
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
    ladder, price = ladder_of(state, listing), np.int64(state.orders["price"][listing])
    quantity, goods = state.nodes["leaves"][listing], state.orders["lot"][listing]
    slot = fill_slot(state, turn, price)
    order_id = state.nodes["id"][slot]
    n = emit_order(state, turn, ACCEPTED, slot, ladder ^ 1)
    turn.events["lot"][n] = goods
    amount = trade(state, turn, ladder ^ 1, slot, listing, price, quantity, 0)
    state.instruments["last"][ladder >> 2] = price
    note_trades(state, ladder >> 2, amount, quantity)
    retire(state, turn, listing, ladder)
    free_slot(state, slot)
    set_outcome(turn, n, np.int64(0), quantity, amount)
    if entry != NO_ENTRY:
        remember(state, turn, entry, OK, order_id, 0, quantity, amount)
