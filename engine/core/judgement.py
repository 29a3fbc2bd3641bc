"""Judging a new order: a ladder of early returns in the order of `Reason`; nothing changes here (semantics
A4).
"""

from typing import Any

import numpy as np

from engine.core.holds import SELL
from engine.core.jit import part, quotient
from engine.core.ladder import level_index
from engine.core.layout import State, Turn
from engine.core.limits import (
    MARKET,
    MARKET_TO_LIMIT,
    STOP_LIMIT,
    is_stop,
)
from engine.records import COMMAND
from engine.vocabulary import (
    PRICE_MAX_FEN_PER_TONNE,
    QUANTITY_MAX_KG,
    Flag,
    Mode,
    OrderType,
    Phase,
    Reason,
    SelfTrade,
    TimeInForce,
)

LISTED = int(Mode.LISTED)
CONTINUOUS, HALTED, CLOSED = int(Phase.CONTINUOUS), int(Phase.HALTED), int(Phase.CLOSED)
NO_CANCEL = int(Phase.NO_CANCEL)
LIMIT = int(OrderType.LIMIT)
DAY, GTC, IOC, FOK = int(TimeInForce.DAY), int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)
GTD, AT_OPEN = int(TimeInForce.GTD), int(TimeInForce.AT_OPEN)
CONTINUOUS_ONLY = int(TimeInForce.CONTINUOUS_ONLY)
POST_ONLY = int(Flag.POST_ONLY)
ALLOW = int(SelfTrade.ALLOW)
PRICE_MAX, QUANTITY_MAX = int(PRICE_MAX_FEN_PER_TONNE), int(QUANTITY_MAX_KG)
UNPLAIN = np.zeros(1, COMMAND)  # of a command's codes: what a plain limit order has not set
UNPLAIN["side"], UNPLAIN["order_type"], UNPLAIN["flags"] = 0xFE, 0xFF, POST_ONLY
UNPLAIN["time_in_force"] = 0xFF ^ (DAY | GTC | AT_OPEN | IOC)
UNPLAIN_CODES = UNPLAIN["codes"][0]
OK = int(Reason.NONE)
UNKNOWN_INSTRUMENT = int(Reason.UNKNOWN_INSTRUMENT)
INSTRUMENT_CLOSED = int(Reason.INSTRUMENT_CLOSED)
INSTRUMENT_HALTED = int(Reason.INSTRUMENT_HALTED)
CONTINUOUS_PHASE_ONLY = int(Reason.CONTINUOUS_PHASE_ONLY)
AUCTION_PHASE_ONLY = int(Reason.AUCTION_PHASE_ONLY)
NO_CANCEL_PHASE = int(Reason.NO_CANCEL_PHASE)
UNKNOWN_SIDE = int(Reason.UNKNOWN_SIDE)
UNSUPPORTED_ORDER_TYPE = int(Reason.UNSUPPORTED_ORDER_TYPE)
UNSUPPORTED_TIME_IN_FORCE = int(Reason.UNSUPPORTED_TIME_IN_FORCE)
UNSUPPORTED_SELF_TRADE_MODE = int(Reason.UNSUPPORTED_SELF_TRADE_MODE)
INVALID_DISPLAY_QUANTITY = int(Reason.INVALID_DISPLAY_QUANTITY)
INVALID_MINIMUM_QUANTITY = int(Reason.INVALID_MINIMUM_QUANTITY)
INVALID_STOP_PRICE, INVALID_EXPIRY = int(Reason.INVALID_STOP_PRICE), int(Reason.INVALID_EXPIRY)
PRICE_OFF_TICK = int(Reason.PRICE_OFF_TICK)
PRICE_EXCEEDS_BAND = int(Reason.PRICE_EXCEEDS_BAND)
QUANTITY_OFF_STEP = int(Reason.QUANTITY_OFF_STEP)
QUANTITY_BELOW_MINIMUM = int(Reason.QUANTITY_BELOW_MINIMUM)
EXCEEDS_LIMIT = int(Reason.EXCEEDS_LIMIT)
WHOLE_LOT_ONLY = int(Reason.WHOLE_LOT_ONLY)
UNKNOWN_LOT = int(Reason.UNKNOWN_LOT)
LOT_OF_OTHER_INSTRUMENT = int(Reason.LOT_OF_OTHER_INSTRUMENT)
INSUFFICIENT_GOODS = int(Reason.INSUFFICIENT_GOODS)


@part
def judge_instrument(state: State, instrument: int) -> Any:
    """UNKNOWN_INSTRUMENT, or OK."""
    if instrument < 0 or instrument >= state.head["instruments_used"][0]:
        return UNKNOWN_INSTRUMENT
    if state.instruments["defined"][instrument] == 0:
        return UNKNOWN_INSTRUMENT
    return OK


@part
def judge_phase(phase: int) -> Any:
    """Semantics E1: which phases admit new orders, replacements and picks at all."""
    if phase == HALTED:
        return INSTRUMENT_HALTED
    if phase == CLOSED:
        return INSTRUMENT_CLOSED
    if phase == NO_CANCEL:
        return NO_CANCEL_PHASE
    return OK


@part
def judge_admission(phase: int, kind: int, force: int) -> Any:
    """Semantics E2, B5: which types and times in force a phase admits."""
    if phase == CONTINUOUS:
        return AUCTION_PHASE_ONLY if force == AT_OPEN else OK
    if kind == MARKET or kind == MARKET_TO_LIMIT:
        return CONTINUOUS_PHASE_ONLY
    if force == IOC or force == FOK or force == CONTINUOUS_ONLY:
        return CONTINUOUS_PHASE_ONLY
    return OK


@part
def judge_form(state: State, turn: Turn, instrument: int) -> Any:
    """Side, type, time in force, prevention mode, and what LISTED instruments admit (semantics B, D1, F2)."""
    commands, at = turn.commands, turn.at
    kind, force = commands["order_type"][at], commands["time_in_force"][at]
    if commands["side"][at] > SELL:
        return UNKNOWN_SIDE
    if kind != LIMIT and kind != MARKET and kind != MARKET_TO_LIMIT and not is_stop(kind):
        return UNSUPPORTED_ORDER_TYPE
    if kind != LIMIT and commands["flags"][at] & POST_ONLY:
        return UNSUPPORTED_ORDER_TYPE  # semantics B7: only a limit can be known not to trade
    if not (force <= FOK or force == GTD or force == CONTINUOUS_ONLY):
        return UNSUPPORTED_TIME_IN_FORCE
    if state.instruments["mode"][instrument] == LISTED:
        if kind != LIMIT or commands["flags"][at] & POST_ONLY or commands["display_quantity_kg"][at] != 0:
            return UNSUPPORTED_ORDER_TYPE
        if force != DAY and force != GTC and force != GTD:
            return UNSUPPORTED_TIME_IN_FORCE
    if commands["self_trade_mode"][at] > ALLOW:
        return UNSUPPORTED_SELF_TRADE_MODE
    return OK


@part
def judge_parts(state: State, turn: Turn, instrument: int) -> Any:
    """Display and minimum quantity fit the order (semantics B6, B8, B9)."""
    commands, at = turn.commands, turn.at
    display, minimum = commands["display_quantity_kg"][at], commands["minimum_quantity_kg"][at]
    quantity, kind = commands["quantity_kg"][at], commands["order_type"][at]
    force = commands["time_in_force"][at]
    if display != 0:
        if display < 0 or display > quantity or display % state.instruments["step"][instrument] != 0:
            return INVALID_DISPLAY_QUANTITY
        if (kind != LIMIT and kind != STOP_LIMIT) or force == IOC:
            return INVALID_DISPLAY_QUANTITY
    if minimum != 0:
        if minimum < 0 or minimum > quantity or is_stop(kind):
            return INVALID_MINIMUM_QUANTITY
        if force != IOC and state.instruments["mode"][instrument] != LISTED:
            return INVALID_MINIMUM_QUANTITY
    return OK


@part
def judge_prices(state: State, turn: Turn, ladder: int) -> Any:
    """Stop, expiry and limit price (semantics B4, B5, G2, E5); return (reason, level of the limit or 0)."""
    commands, at = turn.commands, turn.at
    kind, price = commands["order_type"][at], commands["price_fen_per_tonne"][at]
    tick, stop = state.instruments["tick"][ladder >> 2], commands["stop_fen_per_tonne"][at]
    level = np.int64(0)
    if is_stop(kind):
        if stop <= 0 or stop > PRICE_MAX or stop % tick != 0:
            return INVALID_STOP_PRICE, level
    elif stop != 0:
        return INVALID_STOP_PRICE, level
    if commands["time_in_force"][at] == GTD:
        if commands["due_ns"][at] <= commands["time_ns"][at]:
            return INVALID_EXPIRY, level
    elif commands["due_ns"][at] != 0:
        return INVALID_EXPIRY, level
    if kind == LIMIT or kind == STOP_LIMIT:
        level = level_index(state, ladder, price)
        if level < 0:
            return PRICE_OFF_TICK if price % tick != 0 else PRICE_EXCEEDS_BAND, level
    return OK, level


@part
def is_off_step(state: State, instrument: int, quantity: int) -> Any:
    """True for a quantity that is no multiple of the step."""
    step = state.instruments["step"][instrument]
    if quantity < 0 or quantity > QUANTITY_MAX:
        return quantity % step != 0
    return quotient(quantity, state.instruments["step_inverse"][instrument]) * step != quantity


@part
def judge_quantities(state: State, turn: Turn, instrument: int) -> Any:
    """Quantity on step and within its limits (semantics G2)."""
    quantity, instruments = turn.commands["quantity_kg"][turn.at], state.instruments
    if is_off_step(state, instrument, quantity):
        return QUANTITY_OFF_STEP
    if quantity < instruments["minimum"][instrument]:
        return QUANTITY_BELOW_MINIMUM
    if quantity > instruments["maximum"][instrument]:
        return EXCEEDS_LIMIT
    return OK


@part
def plain_level(state: State, turn: Turn, ladder: int) -> Any:
    """The level of a plain limit order with which all is well; -1 for every other, so that it is judged
    fully.

    Plain are day, gtc and ioc in a continuous book, with nothing but a price and a quantity. What is accepted
    here is what the whole ladder of checks accepts, in a fifth of the steps.
    """
    commands, at, instruments, instrument = turn.commands, turn.at, state.instruments, ladder >> 2
    quantity, force = commands["quantity_kg"][at], commands["time_in_force"][at]
    extras = commands["minimum_quantity_kg"][at] | commands["stop_fen_per_tonne"][at]
    extras |= commands["due_ns"][at] | commands["display_quantity_kg"][at]
    if commands["codes"][at] & UNPLAIN_CODES or force == AT_OPEN or extras != 0:
        return np.int64(-1)
    if commands["self_trade_mode"][at] > ALLOW or instruments["mode"][instrument] == LISTED:
        return np.int64(-1)
    if instruments["phase"][instrument] != CONTINUOUS or quantity > instruments["maximum"][instrument]:
        return np.int64(-1)
    if quantity < instruments["minimum"][instrument] or is_off_step(state, instrument, quantity):
        return np.int64(-1)
    if not has_goods(state, turn, instrument, ladder & 1):
        return np.int64(-1)
    return level_index(state, ladder, commands["price_fen_per_tonne"][at])


@part
def has_goods(state: State, turn: Turn, instrument: int, side: int) -> Any:
    """Whether a sell of a BOOK instrument passes `judge_goods`; true for every buy, once there is any lot.
    Without a branch on the side, which nothing foretells: a buy is looked up in lot 0, which is nobody's.
    """
    lots, lot, quantity = (
        state.lots,
        turn.commands["lot"][turn.at] * side,
        turn.commands["quantity_kg"][turn.at],
    )
    if lot < 0 or lot >= state.head["lots_used"][0]:
        return False
    strange = (lots["account"][lot] ^ turn.commands["account"][turn.at]) | (
        lots["instrument"][lot] ^ instrument
    )
    return strange * side == 0 and lots["free"][lot] >= quantity * side


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
