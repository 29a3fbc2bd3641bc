"""Changing and ending orders: cancel, mass cancel, replace (semantics C).

Law: everything is checked before the original is touched; a failed change leaves it where it was (C3).
"""

from typing import Any

import numpy as np

from engine.core.book import (
    NO_SLOT,
    SLOT_MASK,
    is_full,
    ladder_of,
    slices_of,
    slot_of,
    unlink,
    whole_leaves,
)
from engine.core.day import find_entry
from engine.core.endings import end_in_order, gather_of_account
from engine.core.entry import enters_at_once, trigger_stops, work_again
from engine.core.events import NOBODY, emit_market, emit_order, emit_rejected, set_outcome
from engine.core.holds import SELL, change_hold, hold_fen, list_goods
from engine.core.identity import ACCOUNT_BLOCKED, NO_SESSION, judge_session
from engine.core.jit import part, rare, routine, spliced
from engine.core.judgement import (
    CONTINUOUS,
    EXCEEDS_LIMIT,
    INSUFFICIENT_GOODS,
    INVALID_STOP_PRICE,
    LISTED,
    NO_CANCEL,
    NO_CANCEL_PHASE,
    OK,
    POST_ONLY,
    PRICE_EXCEEDS_BAND,
    PRICE_MAX,
    PRICE_OFF_TICK,
    QUANTITY_BELOW_MINIMUM,
    QUANTITY_OFF_STEP,
    WHOLE_LOT_ONLY,
    judge_phase,
)
from engine.core.ladder import level_index
from engine.core.layout import State, Turn
from engine.core.limits import crosses, working_level
from engine.core.matching import drop_order, end_order, take_from
from engine.core.stops import STOPS, stops_wait, wait
from engine.vocabulary import Command, Event, Flag, OrderType, Reason, ReplaceFlag

BY_CLIENT_ORDER_ID, BY_LEAVES = int(Flag.BY_CLIENT_ORDER_ID), int(ReplaceFlag.BY_LEAVES)
KEPT_PLACE = int(Flag.KEPT_PLACE)
STOP = int(OrderType.STOP)
REPLACED = int(Event.REPLACED)
ORDERS_CANCELED = int(Event.ORDERS_CANCELED)
UNKNOWN_ORDER, TOO_LATE = int(Reason.UNKNOWN_ORDER), int(Reason.TOO_LATE)
POST_ONLY_WOULD_TRADE = int(Reason.POST_ONLY_WOULD_TRADE)
INSUFFICIENT_FUNDS, LIVE_ORDERS_FULL = int(Reason.INSUFFICIENT_FUNDS), int(Reason.LIVE_ORDERS_FULL)
CANCELED_BY_OWNER, MASS_CANCELED = int(Reason.CANCELED_BY_OWNER), int(Reason.MASS_CANCELED)
REPLACED_TO_NOTHING = int(Reason.REPLACED_TO_NOTHING)
REPLACE_ORDER = int(Command.REPLACE_ORDER)
ANY_SIDE = 255
KEEP = 0  # a replace that names no price (or stop) keeps it


@part
def judge_target(state: State, turn: Turn) -> Any:
    """The slot of the live order that a cancel or replace means, and why it cannot be (semantics C4, E1)."""
    commands, at = turn.commands, turn.at
    account = commands["account"][at]
    reason = judge_session(state, turn)
    if reason == OK and commands["kind"][at] == REPLACE_ORDER and state.accounts["blocked"][account] != 0:
        reason = ACCOUNT_BLOCKED
    if reason != OK:
        return np.int64(NO_SLOT), reason
    order_id, gone = commands["order_id"][at], UNKNOWN_ORDER
    if commands["flags"][at] & BY_CLIENT_ORDER_ID:
        word_0, word_1 = commands["client_order_id_0"][at], commands["client_order_id_1"][at]
        order_id = state.day["order_id"][find_entry(state, account, word_0, word_1)]
        if order_id != 0:
            gone = TOO_LATE
    slot = slot_of(state, order_id)
    if slot == NO_SLOT:
        return slot, gone
    if state.nodes["account"][slot] != account:
        return np.int64(NO_SLOT), UNKNOWN_ORDER
    if state.instruments["phase"][ladder_of(state, slot) >> 2] == NO_CANCEL:
        return slot, NO_CANCEL_PHASE
    return slot, OK


@spliced
def cancel_order(state: State, turn: Turn) -> Any:
    """Cancel one order by order id or by client order id; return its instrument, or NOBODY (semantics C4)."""
    slot, reason = judge_target(state, turn)
    if reason != OK:
        rare()
        emit_rejected(state, turn, reason)
        return np.int64(NOBODY)
    ladder = ladder_of(state, slot)
    end_order(state, turn, slot, ladder, CANCELED_BY_OWNER)
    return ladder >> 2


@part
def judge_replace(state: State, turn: Turn, slot: int, ladder: int, level: int, leaves: int) -> Any:
    """Why an order cannot be replaced, or OK: price, stop, quantity, crossing, goods, money (semantics
    C3).
    """
    commands, at, orders = turn.commands, turn.at, state.orders
    instrument, stop = ladder >> 2, commands["stop_fen_per_tonne"][at]
    reason = judge_phase(state.instruments["phase"][instrument])
    if reason != OK:
        return reason
    tick, price = state.instruments["tick"][instrument], replaced_price(state, turn, slot)
    if stop != KEEP and (stop < 0 or stop > PRICE_MAX or stop % tick != 0 or ladder & STOPS == 0):
        return INVALID_STOP_PRICE
    if level < 0:
        return PRICE_OFF_TICK if price % tick != 0 else PRICE_EXCEEDS_BAND
    if leaves % state.instruments["step"][instrument] != 0:
        return QUANTITY_OFF_STEP
    total = orders["quantity"][slot] - whole_leaves(state, slot) + leaves
    if total < state.instruments["minimum"][instrument]:
        return QUANTITY_BELOW_MINIMUM
    if total > state.instruments["maximum"][instrument]:
        return EXCEEDS_LIMIT
    if state.instruments["mode"][instrument] == LISTED and leaves != whole_leaves(state, slot):
        return WHOLE_LOT_ONLY
    if state.instruments["mode"][instrument] == LISTED and orders["cum"][slot] > 0:
        return TOO_LATE  # re-pricing ends with the first pick (semantics F2)
    side_ladder, before = ladder & ~STOPS, whole_leaves(state, slot)
    if orders["flags"][slot] & POST_ONLY and state.instruments["phase"][instrument] == CONTINUOUS:
        if ladder & STOPS == 0 and crosses(state, side_ladder, level):
            return POST_ONLY_WOULD_TRADE
    if ladder & 1 == SELL and state.lots["free"][orders["lot"][slot]] + before < leaves:
        return INSUFFICIENT_GOODS
    hold = hold_fen(state, instrument, ladder & 1, price, leaves)
    if state.accounts["available"][state.nodes["account"][slot]] + orders["hold"][slot] < hold:
        return INSUFFICIENT_FUNDS
    more = slices_of(leaves - before, state.specials["display"][slot])
    if more > 0 and is_full(state, more - 2):  # it is no further order
        return LIVE_ORDERS_FULL
    return OK


@part
def replaced_price(state: State, turn: Turn, slot: int) -> Any:
    """The limit that an order has after the replacement."""
    price = turn.commands["price_fen_per_tonne"][turn.at]
    if price == KEEP or state.orders["order_type"][slot] == STOP:
        return np.int64(state.orders["price"][slot])
    return price


@part
def replaced_leaves(state: State, turn: Turn, slot: int) -> Any:
    """leaves = new total - cum - prevented (semantics C1); a total of 0 kilograms keeps the quantity."""
    quantity, before = turn.commands["quantity_kg"][turn.at], whole_leaves(state, slot)
    if turn.commands["flags"][turn.at] & BY_LEAVES:
        return quantity
    if quantity == KEEP:
        return before
    return quantity - (state.orders["quantity"][slot] - before)


@routine
def replace_order(state: State, turn: Turn) -> Any:
    """Change price, stop or quantity of a live order; return its instrument, or NOBODY (semantics C1-C3)."""
    slot, reason = judge_target(state, turn)
    if reason != OK:
        emit_rejected(state, turn, reason)
        return np.int64(NOBODY)
    ladder, leaves = ladder_of(state, slot), replaced_leaves(state, turn, slot)
    if leaves <= 0 and judge_phase(state.instruments["phase"][ladder >> 2]) == OK:
        drop_order(state, turn, slot, ladder, REPLACED_TO_NOTHING)
        return ladder >> 2
    price = replaced_price(state, turn, slot)
    level = level_index(state, ladder & ~STOPS, price)
    reason = judge_replace(state, turn, slot, ladder, level, leaves)
    if reason != OK:
        emit_rejected(state, turn, reason)
        return np.int64(NOBODY)
    state.orders["version"][slot] += 1
    keeps = price == state.orders["price"][slot] and leaves <= whole_leaves(state, slot)
    stop = turn.commands["stop_fen_per_tonne"][turn.at]
    if keeps and (stop == KEEP or stop == state.specials["stop"][slot]):
        shrink(state, turn, slot, ladder, leaves)
    else:
        enter_again(state, turn, slot, ladder, level, price, leaves)
    return ladder >> 2


@part
def shrink(state: State, turn: Turn, slot: int, ladder: int, leaves: int) -> None:
    """The order keeps its place and loses kilograms, hidden ones first (semantics C1, C2)."""
    orders, lost = state.orders, whole_leaves(state, slot) - leaves
    orders["quantity"][slot] -= lost
    take_from(state, slot, lost)
    if ladder & 1 == SELL:
        list_goods(state, orders["lot"][slot], -lost)
    change_hold(
        state, slot, hold_fen(state, ladder >> 2, ladder & 1, np.int64(orders["price"][slot]), leaves), 0
    )
    n = emit_order(state, turn, REPLACED, slot, ladder)
    turn.events["flags"][n] |= KEPT_PLACE
    turn.events["change_kg"][n] = -lost


@part
def enter_again(
    state: State, turn: Turn, slot: int, ladder: int, level: int, price: int, leaves: int
) -> None:
    """The order leaves its place and comes as incoming with its new price and quantity (semantics C2)."""
    nodes, orders, stop = state.nodes, state.orders, turn.commands["stop_fen_per_tonne"][turn.at]
    before, side_ladder = whole_leaves(state, slot), ladder & ~STOPS
    unlink(state, slot, ladder)
    state.accounts["live_orders"][nodes["account"][slot]] -= 1
    change_hold(state, slot, 0, 0)
    if ladder & 1 == SELL:
        list_goods(state, orders["lot"][slot], leaves - before)
    orders["quantity"][slot] += leaves - before
    orders["price"][slot] = price
    state.specials["hidden"][slot] = 0
    nodes["leaves"][slot] = leaves
    if stop != KEEP:
        state.specials["stop"][slot] = stop
    n = emit_order(state, turn, REPLACED, slot, ladder)
    turn.events["change_kg"][n] = leaves - before
    hold = hold_fen(state, ladder >> 2, ladder & 1, price, leaves)
    if ladder & STOPS and not enters_at_once(state, side_ladder, state.specials["stop"][slot]):
        wait(state, slot, side_ladder, hold)
        return
    order_cum = orders["cum"][slot]
    level = working_level(state, side_ladder, orders["order_type"][slot], level)
    rests, filled, _ = work_again(state, turn, side_ladder, slot, level, hold, 0)
    set_outcome(turn, n, rests, order_cum + filled, leaves - before)
    if filled > 0 and stops_wait(state, ladder >> 2):
        trigger_stops(state, turn, ladder >> 2)


@part
def is_chosen(state: State, turn: Turn, slot: int) -> Any:
    """True for an order of the account that a mass cancel means (semantics C5); NO_CANCEL keeps what rests
    (E1).
    """
    commands, at, ladder = turn.commands, turn.at, ladder_of(state, slot)
    session = commands["session"][at]
    if session != NO_SESSION and state.orders["session"][slot] != session & SLOT_MASK:
        return False
    if commands["instrument"][at] != NOBODY and ladder >> 2 != commands["instrument"][at]:
        return False
    if commands["side"][at] != ANY_SIDE and ladder & 1 != commands["side"][at]:
        return False
    return state.instruments["phase"][ladder >> 2] != NO_CANCEL


@routine
def mass_cancel(state: State, turn: Turn) -> None:
    """Cancel the account's orders by session (0: any), instrument (-1) and side (255), by order id (C5)."""
    reason = judge_session(state, turn)
    if reason != OK:
        emit_rejected(state, turn, reason)
        return
    found, count = gather_of_account(state, turn.commands["account"][turn.at]), np.int64(0)
    for at in range(found):
        order_id, state.scratch[at] = state.scratch[at], 0
        if is_chosen(state, turn, order_id & SLOT_MASK):
            state.scratch[count] = order_id
            count += 1
    end_in_order(state, turn, count, MASS_CANCELED)
    n = emit_market(state, turn, ORDERS_CANCELED, NOBODY)
    turn.events["quantity_kg"][n] = count
