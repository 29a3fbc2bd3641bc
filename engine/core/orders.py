"""Orders: how one is judged, entered, picked and canceled.

Law: everything is checked before anything changes (semantics A4); the checks stand in the order of `Reason`.
"""

from typing import Any

import numpy as np

from engine.core.book import NO_SLOT, SLOT_BITS, free_slot, link, slot_of, take_slot, unlink
from engine.core.day import day_is_full, find_entry, fingerprint, remember
from engine.core.events import (
    Fill,
    emit_accepted,
    emit_canceled,
    emit_outcome_again,
    emit_rejected,
    set_outcome,
)
from engine.core.holds import amount_fen, change_hold, charge_fen, hold_fen
from engine.core.jit import part, routine
from engine.core.ladder import level_index, level_price
from engine.core.layout import State, Turn
from engine.core.matching import execute, sweep
from engine.vocabulary import Command, Flag, Mode, OrderType, Phase, Reason, Side, TimeInForce

BUY, SELL = int(Side.BUY), int(Side.SELL)
LISTED = int(Mode.LISTED)
CONTINUOUS, HALTED = int(Phase.CONTINUOUS), int(Phase.HALTED)
DAY, IOC = int(TimeInForce.DAY), int(TimeInForce.IOC)
LIMIT = int(OrderType.LIMIT)
NEW_ORDER, PICK = int(Command.NEW_ORDER), int(Command.PICK)
BY_REFERENCE, BY_CLIENT_ORDER_ID = int(Flag.BY_REFERENCE), int(Flag.BY_CLIENT_ORDER_ID)
NO_ENTRY = -1
OK = int(Reason.NONE)
UNKNOWN_ACCOUNT = int(Reason.UNKNOWN_ACCOUNT)
MISSING_CLIENT_ORDER_ID = int(Reason.MISSING_CLIENT_ORDER_ID)
DUPLICATE_CLIENT_ORDER_ID = int(Reason.DUPLICATE_CLIENT_ORDER_ID)
STALE_REFERENCE = int(Reason.STALE_REFERENCE)
DAY_FULL = int(Reason.DAY_FULL)
UNKNOWN_INSTRUMENT = int(Reason.UNKNOWN_INSTRUMENT)
INSTRUMENT_CLOSED = int(Reason.INSTRUMENT_CLOSED)
INSTRUMENT_HALTED = int(Reason.INSTRUMENT_HALTED)
UNKNOWN_SIDE = int(Reason.UNKNOWN_SIDE)
UNSUPPORTED_ORDER_TYPE = int(Reason.UNSUPPORTED_ORDER_TYPE)
UNSUPPORTED_TIME_IN_FORCE = int(Reason.UNSUPPORTED_TIME_IN_FORCE)
NOT_LISTED, NOT_BOOK = int(Reason.NOT_LISTED), int(Reason.NOT_BOOK)
PRICE_OFF_TICK = int(Reason.PRICE_OFF_TICK)
PRICE_EXCEEDS_BAND = int(Reason.PRICE_EXCEEDS_BAND)
QUANTITY_OFF_STEP = int(Reason.QUANTITY_OFF_STEP)
QUANTITY_BELOW_MINIMUM = int(Reason.QUANTITY_BELOW_MINIMUM)
EXCEEDS_LIMIT = int(Reason.EXCEEDS_LIMIT)
WHOLE_LOT_ONLY = int(Reason.WHOLE_LOT_ONLY)
UNKNOWN_ORDER, TOO_LATE = int(Reason.UNKNOWN_ORDER), int(Reason.TOO_LATE)
STALE_VERSION, OWN_LISTING = int(Reason.STALE_VERSION), int(Reason.OWN_LISTING)
UNKNOWN_LOT = int(Reason.UNKNOWN_LOT)
LOT_OF_OTHER_INSTRUMENT = int(Reason.LOT_OF_OTHER_INSTRUMENT)
INSUFFICIENT_GOODS = int(Reason.INSUFFICIENT_GOODS)
INSUFFICIENT_FUNDS = int(Reason.INSUFFICIENT_FUNDS)
LIVE_ORDERS_FULL = int(Reason.LIVE_ORDERS_FULL)
CANCELED_BY_OWNER, IOC_REMAINDER = int(Reason.CANCELED_BY_OWNER), int(Reason.IOC_REMAINDER)


@part
def account_is_open(state: State, account: int) -> Any:
    """True for the number of an account that was opened."""
    return account > 0 and account < state.head["accounts_used"][0] and state.accounts["open"][account] != 0


@part
def judge_identity(state: State, turn: Turn) -> Any:
    """Account and idempotency, before all else (semantics A4, C8); return (reason, repeated, entry to
    remember in).
    """
    commands, at, accounts = turn.commands, turn.at, state.accounts
    account = commands["account"][at]
    if not account_is_open(state, account):
        return UNKNOWN_ACCOUNT, False, NO_ENTRY
    word_0, word_1 = commands["client_order_id_0"][at], commands["client_order_id_1"][at]
    if commands["flags"][at] & BY_REFERENCE:
        if word_0 <= accounts["reference"][account]:
            return STALE_REFERENCE, False, NO_ENTRY
        accounts["reference"][account] = word_0
        return OK, False, NO_ENTRY
    if word_0 == 0:
        return MISSING_CLIENT_ORDER_ID, False, NO_ENTRY
    entry = find_entry(state, account, word_0, word_1)
    if state.day["account"][entry] != 0:
        if state.day["content"][entry] == fingerprint(turn):
            return OK, True, entry
        return DUPLICATE_CLIENT_ORDER_ID, False, NO_ENTRY
    if day_is_full(state):
        return DAY_FULL, False, NO_ENTRY
    return OK, False, entry


@part
def refuse(state: State, turn: Turn, entry: int, reason: int) -> None:
    """State the rejection, and remember it as the first outcome of its client order id."""
    emit_rejected(state, turn, reason)
    if entry != NO_ENTRY:
        remember(state, turn, entry, reason, 0, 0, 0, 0)


@part
def judge_phase(state: State, instrument: int) -> Any:
    """Semantics E1: what each phase admits of new orders and picks."""
    if instrument < 0 or instrument >= state.head["instruments_used"][0]:
        return UNKNOWN_INSTRUMENT
    if state.instruments["defined"][instrument] == 0:
        return UNKNOWN_INSTRUMENT
    phase = state.instruments["phase"][instrument]
    if phase == CONTINUOUS:
        return OK
    if phase == HALTED:
        return INSTRUMENT_HALTED
    return INSTRUMENT_CLOSED


@part
def judge_form(state: State, turn: Turn, instrument: int) -> Any:
    """Side, type and time in force, and what LISTED instruments admit (semantics B5, F2)."""
    commands, at = turn.commands, turn.at
    if commands["side"][at] > SELL:
        return UNKNOWN_SIDE
    if commands["order_type"][at] != LIMIT:
        return UNSUPPORTED_ORDER_TYPE
    force = commands["time_in_force"][at]
    listed = state.instruments["mode"][instrument] == LISTED
    if force != DAY and (force != IOC or listed):
        return UNSUPPORTED_TIME_IN_FORCE
    if listed and commands["side"][at] == BUY:
        return NOT_BOOK
    return OK


@part
def judge_numbers(state: State, turn: Turn, instrument: int, level: int) -> Any:
    """Price on tick and in band, quantity on step and within its limits (semantics G1, G2, E5)."""
    price, quantity = turn.commands["price_fen_per_tonne"][turn.at], turn.commands["quantity_kg"][turn.at]
    instruments = state.instruments
    if level < 0:
        if price % instruments["tick"][instrument] != 0:
            return PRICE_OFF_TICK
        return PRICE_EXCEEDS_BAND
    if quantity % instruments["step"][instrument] != 0:
        return QUANTITY_OFF_STEP
    if quantity < instruments["minimum"][instrument]:
        return QUANTITY_BELOW_MINIMUM
    if quantity > instruments["maximum"][instrument]:
        return EXCEEDS_LIMIT
    return OK


@part
def judge_goods(state: State, turn: Turn, instrument: int) -> Any:
    """A sell names a lot of its own account and instrument with enough free kilograms (law 7)."""
    lot, quantity, lots = turn.commands["lot"][turn.at], turn.commands["quantity_kg"][turn.at], state.lots
    if lot <= 0 or lot >= state.head["lots_used"][0]:
        return UNKNOWN_LOT
    if lots["account"][lot] != turn.commands["account"][turn.at]:
        return UNKNOWN_LOT
    if lots["instrument"][lot] != instrument:
        return LOT_OF_OTHER_INSTRUMENT
    if lots["free"][lot] < quantity:
        return INSUFFICIENT_GOODS
    if state.instruments["mode"][instrument] == LISTED and lots["free"][lot] != quantity:
        return WHOLE_LOT_ONLY
    return OK


@part
def judge_new_order(state: State, turn: Turn, level: int) -> Any:
    """Why a new order is refused, or OK, and the fen that its whole quantity would hold. Changes nothing."""
    commands, at = turn.commands, turn.at
    instrument, side = commands["instrument"][at], np.int64(commands["side"][at])
    hold = np.int64(0)
    reason = judge_form(state, turn, instrument)
    if reason == OK:
        reason = judge_numbers(state, turn, instrument, level)
    if reason == OK and side == SELL:
        reason = judge_goods(state, turn, instrument)
    if reason == OK:
        price, quantity = commands["price_fen_per_tonne"][at], commands["quantity_kg"][at]
        hold = hold_fen(state, instrument, side, price, quantity)
        if state.accounts["available"][commands["account"][at]] < hold:
            reason = INSUFFICIENT_FUNDS
        elif state.head["live_orders"][0] >= state.head["orders_max"][0]:
            reason = LIVE_ORDERS_FULL
    return reason, hold


@part
def new_order(state: State, turn: Turn) -> None:
    """Judge an order, fill what crosses, rest or cancel what is left (semantics A, B1, B5)."""
    commands, at = turn.commands, turn.at
    reason, repeated, entry = judge_identity(state, turn)
    if repeated:
        emit_outcome_again(state, turn, entry)
        return
    instrument, side = np.int64(commands["instrument"][at]), np.int64(commands["side"][at])
    level, hold = np.int64(-1), np.int64(0)
    if reason == OK:
        reason = judge_phase(state, instrument)
    if reason == OK:
        ladder = 2 * instrument + (side & 1)
        level = level_index(state, ladder, commands["price_fen_per_tonne"][at])
        reason, hold = judge_new_order(state, turn, level)
    if reason != OK:
        refuse(state, turn, entry, reason)
        return
    enter(state, turn, entry, instrument, side, level, hold)


@part
def enter(state: State, turn: Turn, entry: int, instrument: int, side: int, level: int, hold: int) -> None:
    """An order that was found good: acknowledge, sweep, and give what is left its end."""
    commands, at = turn.commands, turn.at
    quantity, lot = commands["quantity_kg"][at], np.int64(0)
    if side == SELL:
        lot = commands["lot"][at]
        state.lots["free"][lot] -= quantity
        state.lots["listed"][lot] += quantity
    slot = take_slot(state)
    order_id = (commands["sequence"][at] << SLOT_BITS) | slot
    acknowledgement = emit_accepted(state, turn, order_id, commands["price_fen_per_tonne"][at], quantity)
    leaves, amount = quantity, np.int64(0)
    if state.instruments["mode"][instrument] != LISTED:
        limit = state.ladders["levels"][2 * instrument] - 1 - level
        leaves, amount = sweep(state, turn, instrument, side, order_id, quantity, limit, lot)
    fill_slot(state, turn, slot, order_id, leaves, lot)
    rests = np.int64(0)
    if leaves > 0 and commands["time_in_force"][at] != IOC:
        rests = leaves
        if leaves < quantity:
            hold = hold_fen(state, instrument, side, commands["price_fen_per_tonne"][at], leaves)
        rest(state, slot, 2 * instrument + side, level, hold)
    else:
        if leaves > 0:
            emit_canceled(
                state, turn, slot, 2 * instrument + side, commands["price_fen_per_tonne"][at], IOC_REMAINDER
            )
            if side == SELL:
                return_goods(state, lot, leaves)
        free_slot(state, slot)
    set_outcome(turn, acknowledgement, rests, quantity - leaves, amount)
    if entry != NO_ENTRY:
        remember(state, turn, entry, OK, order_id, rests, quantity - leaves, amount)


@part
def fill_slot(state: State, turn: Turn, slot: int, order_id: int, leaves: int, lot: int) -> None:
    """Write what the book keeps of an order."""
    nodes, orders, commands, at = state.nodes, state.orders, turn.commands, turn.at
    nodes["leaves"][slot] = leaves
    nodes["account"][slot] = commands["account"][at]
    nodes["id"][slot] = order_id
    orders["client_order_id_0"][slot] = commands["client_order_id_0"][at]
    orders["client_order_id_1"][slot] = commands["client_order_id_1"][at]
    orders["quantity"][slot] = commands["quantity_kg"][at]
    orders["lot"][slot] = lot
    orders["version"][slot] = 1
    orders["order_type"][slot] = commands["order_type"][at]
    orders["time_in_force"][slot] = commands["time_in_force"][at]
    orders["flags"][slot] = commands["flags"][at] & BY_REFERENCE
    orders["entered_ns"][slot] = commands["time_ns"][at]


@part
def rest(state: State, slot: int, ladder: int, level: int, hold: int) -> None:
    """Take the hold of what is left and queue it at its level."""
    change_hold(state, slot, hold, 0)
    state.accounts["live_orders"][state.nodes["account"][slot]] += 1
    link(state, slot, ladder, level)


@part
def return_goods(state: State, lot: int, quantity: int) -> None:
    """Kilograms that were listed are free again."""
    state.lots["listed"][lot] -= quantity
    state.lots["free"][lot] += quantity


@part
def end_order(state: State, turn: Turn, slot: int, reason: int) -> None:
    """Take a resting order out of the book, give its holds back, say so."""
    nodes = state.nodes
    sentinel = np.int64(nodes["level"][slot])
    ladder = np.int64(nodes["account"][sentinel])
    price = level_price(state, ladder, sentinel - state.ladders["base"][ladder])
    if ladder & 1 == SELL:
        return_goods(state, state.orders["lot"][slot], nodes["leaves"][slot])
    change_hold(state, slot, 0, 0)
    state.accounts["live_orders"][nodes["account"][slot]] -= 1
    emit_canceled(state, turn, slot, ladder, price, reason)
    unlink(state, slot, ladder)
    free_slot(state, slot)


@part
def judge_cancel(state: State, turn: Turn) -> Any:
    """The slot that a cancel means, and why it cannot be (semantics C4)."""
    commands, at = turn.commands, turn.at
    account = commands["account"][at]
    if not account_is_open(state, account):
        return NO_SLOT, UNKNOWN_ACCOUNT
    order_id = commands["order_id"][at]
    gone = UNKNOWN_ORDER
    if commands["flags"][at] & BY_CLIENT_ORDER_ID:
        entry = find_entry(
            state, account, commands["client_order_id_0"][at], commands["client_order_id_1"][at]
        )
        order_id = state.day["order_id"][entry]
        if order_id != 0:
            gone = TOO_LATE
    slot = slot_of(state, order_id)
    if slot == NO_SLOT:
        return NO_SLOT, gone
    if state.nodes["account"][slot] != account:
        return NO_SLOT, UNKNOWN_ORDER
    return slot, OK


@part
def cancel_order(state: State, turn: Turn) -> None:
    """Cancel one order by order id or by client order id; every phase admits it (semantics C4, E1)."""
    slot, reason = judge_cancel(state, turn)
    if reason != OK:
        emit_rejected(state, turn, reason)
        return
    end_order(state, turn, slot, CANCELED_BY_OWNER)


@part
def judge_pick(state: State, turn: Turn, slot: int) -> Any:
    """Why a listing cannot be picked, or OK: the version seen, whole lot, paid for (semantics F2)."""
    commands, at, nodes = turn.commands, turn.at, state.nodes
    if slot == NO_SLOT:
        return UNKNOWN_ORDER
    sentinel = nodes["level"][slot]
    ladder = np.int64(nodes["account"][sentinel])
    instrument = ladder >> 1
    reason = judge_phase(state, instrument)
    if reason != OK:
        return reason
    if state.instruments["mode"][instrument] != LISTED:
        return NOT_LISTED
    if commands["quantity_kg"][at] != nodes["leaves"][slot]:
        return WHOLE_LOT_ONLY
    if commands["listing_version"][at] != state.orders["version"][slot]:
        return STALE_VERSION
    account = commands["account"][at]
    if state.accounts["group"][account] == state.accounts["group"][nodes["account"][slot]]:
        return OWN_LISTING
    amount = amount_fen(
        level_price(state, ladder, sentinel - state.ladders["base"][ladder]), nodes["leaves"][slot]
    )
    charge = charge_fen(state, instrument, BUY, amount, nodes["leaves"][slot])
    if state.accounts["available"][account] < charge:
        return INSUFFICIENT_FUNDS
    return OK


@routine
def pick(state: State, turn: Turn) -> None:
    """Trade a listing at its own price; the first valid pick wins (semantics F2)."""
    commands, at, nodes = turn.commands, turn.at, state.nodes
    reason, repeated, entry = judge_identity(state, turn)
    if repeated:
        emit_outcome_again(state, turn, entry)
        return
    slot = slot_of(state, commands["order_id"][at])
    if reason == OK:
        reason = judge_pick(state, turn, slot)
    if reason != OK:
        refuse(state, turn, entry, reason)
        return
    sentinel = np.int64(nodes["level"][slot])
    ladder = np.int64(nodes["account"][sentinel])
    price = level_price(state, ladder, sentinel - state.ladders["base"][ladder])
    quantity = nodes["leaves"][slot]
    order_id = commands["sequence"][at] << SLOT_BITS
    acknowledgement = emit_accepted(state, turn, order_id, price, quantity)
    turn.events["instrument"][acknowledgement] = ladder >> 1
    turn.events["side"][acknowledgement] = BUY
    turn.events["lot"][acknowledgement] = state.orders["lot"][slot]
    fill = Fill(ladder >> 1, BUY, order_id, 0, slot, order_id, price, quantity, state.orders["lot"][slot])
    amount = execute(state, turn, fill, ladder)
    state.instruments["last"][ladder >> 1] = price
    set_outcome(turn, acknowledgement, 0, quantity, amount)
    if entry != NO_ENTRY:
        remember(state, turn, entry, OK, order_id, 0, quantity, amount)
