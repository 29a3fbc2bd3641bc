"""Entering: a new order, a triggered stop or a replaced order meets the book, and what is left gets its end.

Law: whatever enters, enters through `work`, from its slot; so one set of rules serves all three.
"""

from typing import Any

import numpy as np

from engine.core.book import (
    NO_SLOT,
    SLOT_BITS,
    SLOT_MASK,
    free_slot,
    is_full,
    link,
    owner_byte,
    slices_of,
    take_slot,
)
from engine.core.daily import note_trades
from engine.core.day import remember
from engine.core.dues import await_due
from engine.core.events import (
    ACCEPTED,
    emit_canceled,
    emit_order,
    emit_outcome_again,
    set_outcome,
)
from engine.core.feasibility import is_feasible
from engine.core.holds import BUY, SELL, change_hold, hold_fen, list_of_sell, of_side
from engine.core.identity import NO_ENTRY, judge_identity, refuse
from engine.core.jit import called, part, rare, routine, spliced
from engine.core.judgement import (
    CONTINUOUS,
    CONTINUOUS_ONLY,
    FOK,
    IOC,
    LISTED,
    OK,
    POST_ONLY,
    judge_admission,
    judge_form,
    judge_goods,
    judge_instrument,
    judge_parts,
    judge_phase,
    judge_prices,
    judge_quantities,
    plain_level,
)
from engine.core.ladder import level_index, level_price
from engine.core.layout import State, Turn
from engine.core.limits import (
    MARKET_TO_LIMIT,
    best_opposite_level,
    collar_level,
    crosses,
    is_market,
    is_stop,
    mirror,
    side_is_empty,
    working_level,
)
from engine.core.matching import sweep
from engine.core.stops import STOPS, is_reached, nearest_reached, release, stops_wait, wait
from engine.core.volatility import band_stopped, limit_in_band, open_auction
from engine.vocabulary import Reason

KEPT_CODES = np.uint64(0xFF00_19FF_FFFF_00FF)  # of a command: all but kind, phase and the flags of the moment
NO_LIQUIDITY, COLLAR = int(Reason.NO_LIQUIDITY), int(Reason.COLLAR)
POST_ONLY_WOULD_TRADE = int(Reason.POST_ONLY_WOULD_TRADE)
INSUFFICIENT_FUNDS, LIVE_ORDERS_FULL = int(Reason.INSUFFICIENT_FUNDS), int(Reason.LIVE_ORDERS_FULL)
IOC_REMAINDER, NOT_FEASIBLE = int(Reason.IOC_REMAINDER), int(Reason.NOT_FEASIBLE)


@routine
def judge_fully(state: State, turn: Turn, ladder: int) -> Any:
    """Why a new order is refused, or OK; and the level and price of its limit. Changes nothing."""
    commands, at, instrument = turn.commands, turn.at, ladder >> 2
    phase, kind = state.instruments["phase"][instrument], commands["order_type"][at]
    level, price = np.int64(0), np.int64(0)
    reason = judge_phase(phase)
    if reason == OK:
        reason = judge_admission(phase, kind, commands["time_in_force"][at])
    if reason == OK:
        reason = judge_form(state, turn, instrument)
    if reason == OK:
        reason = judge_parts(state, turn, instrument)
    if reason == OK:
        reason, level = judge_prices(state, turn, ladder)
    if reason == OK:
        reason = judge_quantities(state, turn, instrument)
    if reason != OK:
        return reason, level, price
    if kind == MARKET_TO_LIMIT:
        if side_is_empty(state, ladder ^ 1):
            return NO_LIQUIDITY, level, price
        level = best_opposite_level(state, ladder)
    elif is_market(kind) and not is_stop(kind):
        level = collar_level(state, ladder)
    price = level_price(state, ladder, level)
    if commands["flags"][at] & POST_ONLY and phase == CONTINUOUS and crosses(state, ladder, level):
        return POST_ONLY_WOULD_TRADE, level, price
    if ladder & 1 == SELL:
        reason = judge_goods(state, turn, instrument)
    return reason, level, price


@part
def judge_new_order(state: State, turn: Turn, ladder: int) -> Any:
    """As `judge_fully`, which only what is not plain has to go through; and whether the order is plain."""
    level = plain_level(state, turn, ladder)
    if level >= 0:
        return OK, level, turn.commands["price_fen_per_tonne"][turn.at], True
    rare()
    reason, level, price = judge_fully(state, turn, ladder)
    return reason, level, price, False


@part
def judge_means(state: State, turn: Turn, hold: int) -> Any:
    """Money for the hold, and room for one more order with its slices (law 7, semantics G5)."""
    commands, at = turn.commands, turn.at
    if state.accounts["available"][commands["account"][at]] < hold:
        return INSUFFICIENT_FUNDS
    display = commands["display_quantity_kg"][at]
    if is_full(state, slices_of(commands["quantity_kg"][at] - display, display)):
        return LIVE_ORDERS_FULL
    return OK


@spliced
def new_order(state: State, turn: Turn) -> None:
    """Judge an order, fill what crosses, rest or cancel what is left; then the stops that it reached
    (A5, B).
    """
    commands, at = turn.commands, turn.at
    reason, repeated, entry = judge_identity(state, turn)
    if repeated:
        rare()
        emit_outcome_again(state, turn, entry)
        return
    instrument = np.int64(commands["instrument"][at])
    ladder = 4 * instrument + (np.int64(commands["side"][at]) & 1)
    level, price, hold, plain = np.int64(0), np.int64(0), np.int64(0), False
    if reason == OK:
        reason = judge_instrument(state, instrument)
    if reason == OK:
        reason, level, price, plain = judge_new_order(state, turn, ladder)
    if reason == OK:
        hold = hold_fen(state, instrument, ladder & 1, price, commands["quantity_kg"][at])
        reason = judge_means(state, turn, hold)
    if reason != OK:
        refuse(state, turn, entry, reason)
        return
    if plain and commands["time_in_force"][at] != IOC and not crosses(state, ladder, level):
        rest_at_once(state, turn, entry, ladder, level, price, hold)
    else:
        enter(state, turn, entry, ladder, level, price, hold)


@spliced
def rest_at_once(
    state: State, turn: Turn, entry: int, ladder: int, level: int, price: int, hold: int
) -> None:
    """A plain order that meets nobody: what `enter` comes to for it, in half of the steps (as one more branch
    of `enter` it costs 2 % more).
    """
    commands, at, side = turn.commands, turn.at, ladder & 1
    slot, quantity = fill_slot(state, turn, price), commands["quantity_kg"][at]
    emit_order(state, turn, ACCEPTED, slot, ladder)
    list_of_sell(state, side, commands["lot"][at], quantity)
    rest(state, slot, ladder, level, hold)
    if entry != NO_ENTRY:
        remember(state, turn, entry, price, state.nodes["id"][slot], quantity, 0, 0)


@spliced
def enter(state: State, turn: Turn, entry: int, ladder: int, level: int, price: int, hold: int) -> None:
    """An order that was found good: acknowledge it, let it work or wait, and complete the acknowledgement."""
    commands, at = turn.commands, turn.at
    slot = fill_slot(state, turn, price)
    order_id = state.nodes["id"][slot]
    n = emit_order(state, turn, ACCEPTED, slot, ladder)
    list_of_sell(state, ladder & 1, commands["lot"][at], commands["quantity_kg"][at])
    if commands["minimum_quantity_kg"][at] != 0:
        rare()
        keep_minimum(state, turn, slot)
    rests, cum, amount = commands["quantity_kg"][at], np.int64(0), np.int64(0)
    if is_stop(commands["order_type"][at]) and not enters_at_once(
        state, ladder, commands["stop_fen_per_tonne"][at]
    ):
        rare()
        wait(state, slot, ladder, hold)
    else:
        level = working_level(state, ladder, commands["order_type"][at], level)
        minimum = commands["minimum_quantity_kg"][at]
        rests, cum, amount = work(state, turn, ladder, slot, level, hold, minimum)
    set_outcome(turn, n, rests, cum, amount)
    if entry != NO_ENTRY:
        remember(state, turn, entry, price, order_id, rests, cum, amount)
    if cum > 0 and stops_wait(state, ladder >> 2):
        rare()
        trigger_stops(state, turn, ladder >> 2)


@routine
def keep_minimum(state: State, turn: Turn, slot: int) -> None:
    """A listing keeps its minimum fill while it rests (semantics F2); that of an ioc ends with the
    command.
    """
    commands, at = turn.commands, turn.at
    if state.instruments["mode"][commands["instrument"][at]] == LISTED:
        state.orders["special"][slot] = 1
        state.specials["minimum"][slot] = commands["minimum_quantity_kg"][at]


@part
def enters_at_once(state: State, ladder: int, stop: int) -> Any:
    """True for a stop that the last price has reached already, in the continuous phase (semantics B4)."""
    return state.instruments["phase"][ladder >> 2] == CONTINUOUS and is_reached(state, ladder, stop)


@part
def fill_slot(state: State, turn: Turn, price: int) -> Any:
    """Write a new order into a slot of its own; its node has the whole quantity. Return the slot."""
    nodes, orders, commands, at = state.nodes, state.orders, turn.commands, turn.at
    slot = take_slot(state)
    nodes["leaves"][slot] = commands["quantity_kg"][at]
    nodes["account"][slot] = commands["account"][at]
    nodes["id"][slot] = commands["sequence"][at] << SLOT_BITS | slot
    state.owners[slot] = owner_byte(commands["account"][at])
    orders["client_order_id_0"][slot] = commands["client_order_id_0"][at]
    orders["client_order_id_1"][slot] = commands["client_order_id_1"][at]
    orders["quantity"][slot] = commands["quantity_kg"][at]
    orders["price"][slot] = price
    orders["session"][slot] = commands["session"][at] & SLOT_MASK
    orders["lot"][slot] = of_side(commands["side"][at], 0, commands["lot"][at])
    orders["version"][slot] = 1
    orders["codes"][slot] = commands["codes"][at] & KEPT_CODES
    display, due_ns = commands["display_quantity_kg"][at], commands["due_ns"][at]
    stop = commands["stop_fen_per_tonne"][at]
    if display != 0 or stop != 0 or due_ns != 0:
        rare()
        orders["special"][slot] = 1
        state.specials["display"][slot] = display
        state.specials["stop"][slot] = stop
        state.specials["expire_ns"][slot] = due_ns
        if due_ns != 0:
            await_due(state, due_ns, nodes["id"][slot])
            next_ns = state.head["next_expiry_ns"][0]
            if next_ns == 0 or due_ns < next_ns:
                state.head["next_expiry_ns"][0] = due_ns
    return slot


@part
def work(state: State, turn: Turn, ladder: int, slot: int, level: int, hold: int, minimum: int) -> Any:
    """Let the order in `slot` meet the book down to its limit; return (rests, filled, amount).

    `hold` is what its whole quantity holds. An order that ends here gives its slot back.
    """
    nodes, orders, instrument = state.nodes, state.orders, ladder >> 2
    quantity, cum, amount = nodes["leaves"][slot], orders["cum"][slot], np.int64(0)
    force, kind, why = orders["time_in_force"][slot], orders["order_type"][slot], OK
    opens = False
    if (
        state.instruments["phase"][instrument] == CONTINUOUS
        and state.instruments["mode"][instrument] != LISTED
    ):
        limit = mirror(state, ladder, level)
        within = limit
        if state.instruments["dynamic"][instrument] != 0:
            rare()
            within = limit_in_band(state, ladder, limit)
        wanted = quantity if force == FOK else minimum
        if wanted > 0 and not is_feasible(state, ladder, slot, within, wanted):
            rare()
            why = NOT_FEASIBLE
        else:
            amount, why = sweep(state, turn, ladder, slot, within)
            if why == OK and nodes["leaves"][slot] > 0 and band_stopped(state, ladder, limit, within):
                rare()
                why = COLLAR
                opens = state.instruments["volatility_s"][instrument] > 0
    leaves, filled = nodes["leaves"][slot], orders["cum"][slot] - cum
    stays = why == OK or (opens and force != CONTINUOUS_ONLY)
    if leaves > 0 and stays and force != IOC and force != FOK and not is_market(kind):
        if filled > 0 or leaves != quantity:
            hold = hold_fen(state, instrument, ladder & 1, np.int64(orders["price"][slot]), leaves)
        rest(state, slot, ladder, level, hold)
    else:
        if leaves > 0:
            cancel_remainder(state, turn, ladder, slot, why)
        free_slot(state, slot)
        leaves = np.int64(0)
    if filled > 0:
        note_trades(state, instrument, amount, filled)
    if opens:
        rare()
        open_auction(state, turn, instrument)
    return leaves, filled, amount


work_again = called(work)


@part
def cancel_remainder(state: State, turn: Turn, ladder: int, slot: int, why: int) -> None:
    """What is left of an incoming order gives its goods back and is canceled."""
    list_of_sell(state, ladder & 1, state.orders["lot"][slot], -state.nodes["leaves"][slot])
    if why == OK:
        why = remainder_reason(state, ladder, state.orders["order_type"][slot])
    emit_canceled(state, turn, slot, ladder, why)


@part
def remainder_reason(state: State, ladder: int, kind: int) -> Any:
    """Why what is left of an order that never rests is canceled (semantics B2, B5)."""
    if not is_market(kind):
        return IOC_REMAINDER
    return NO_LIQUIDITY if side_is_empty(state, ladder ^ 1) else COLLAR


@part
def rest(state: State, slot: int, ladder: int, level: int, hold: int) -> None:
    """Take the hold of what is left, hide what an iceberg hides, and queue it at its level."""
    nodes, orders, leaves = state.nodes, state.orders, state.nodes["leaves"][slot]
    change_hold(state, slot, hold, 0)
    state.accounts["live_orders"][nodes["account"][slot]] += 1
    if orders["special"][slot] != 0 and state.specials["display"][slot] != 0:
        rare()
        nodes["leaves"][slot] = min(state.specials["display"][slot], leaves)
        state.specials["hidden"][slot] = leaves - nodes["leaves"][slot]
    link(state, slot, ladder, level)


@routine
def trigger_stops(state: State, turn: Turn, instrument: int) -> None:
    """Let stops enter one by one, buys before sells, nearest first, until the last price reaches none
    (B4).
    """
    while state.instruments["phase"][instrument] == CONTINUOUS:
        ladder = 4 * instrument + BUY
        slot = nearest_reached(state, ladder + STOPS)
        if slot == NO_SLOT:
            ladder = 4 * instrument + SELL
            slot = nearest_reached(state, ladder + STOPS)
        if slot == NO_SLOT:
            return
        release(state, turn, slot, ladder + STOPS)
        fire(state, turn, slot, ladder)


@part
def fire(state: State, turn: Turn, slot: int, ladder: int) -> None:
    """A triggered stop enters as a market or limit order (semantics B4).

    Its limit is in the band and its hold is covered: a moved band ends what it puts outside or leaves
    uncovered (E7), and what `release` gave back was reckoned at the limit, or at the end of the band.
    """
    nodes, orders = state.nodes, state.orders
    level = collar_level(state, ladder)
    if not is_market(orders["order_type"][slot]):
        level = level_index(state, ladder, np.int64(orders["price"][slot]))
    price = level_price(state, ladder, level)
    hold = hold_fen(state, ladder >> 2, ladder & 1, price, nodes["leaves"][slot])
    work_again(state, turn, ladder, slot, level, hold, 0)
