"""Accounts and lots: money and goods that settlement moves in and out (domain 4 P0, design section 5).

Law: a command of settlement carries a number that rises; what was applied once is never applied again (law
8).
"""

from typing import Any

from engine.core.busts import bust_trade
from engine.core.events import emit_cash, emit_lot, emit_rejected, emit_repeated
from engine.core.identity import account_is_open
from engine.core.jit import spliced
from engine.core.layout import State, Turn
from engine.vocabulary import AMOUNT_MAX_FEN, QUANTITY_MAX_KG, Command, Event, Reason

OPEN_ACCOUNT, DEPOSIT = int(Command.OPEN_ACCOUNT), int(Command.DEPOSIT)
WITHDRAW, REGISTER_LOT = int(Command.WITHDRAW), int(Command.REGISTER_LOT)
WITHDRAW_LOT, BUST_TRADE = int(Command.WITHDRAW_LOT), int(Command.BUST_TRADE)
ACCOUNT_OPENED, DEPOSITED = int(Event.ACCOUNT_OPENED), int(Event.DEPOSITED)
WITHDRAWN, LOT_REGISTERED = int(Event.WITHDRAWN), int(Event.LOT_REGISTERED)
LOT_WITHDRAWN = int(Event.LOT_WITHDRAWN)
OK = int(Reason.NONE)
UNKNOWN_ACCOUNT, ACCOUNT_EXISTS = int(Reason.UNKNOWN_ACCOUNT), int(Reason.ACCOUNT_EXISTS)
UNKNOWN_INSTRUMENT = int(Reason.UNKNOWN_INSTRUMENT)
EXCEEDS_LIMIT = int(Reason.EXCEEDS_LIMIT)
UNKNOWN_LOT, LOT_EXISTS = int(Reason.UNKNOWN_LOT), int(Reason.LOT_EXISTS)
INSUFFICIENT_GOODS = int(Reason.INSUFFICIENT_GOODS)
INSUFFICIENT_FUNDS = int(Reason.INSUFFICIENT_FUNDS)
ACCOUNTS_FULL, LOTS_FULL = int(Reason.ACCOUNTS_FULL), int(Reason.LOTS_FULL)
AMOUNT_MAX, QUANTITY_MAX = int(AMOUNT_MAX_FEN), int(QUANTITY_MAX_KG)


@spliced
def open_account(state: State, turn: Turn) -> Any:
    """Open the account of a member; its group is its own number where none is named, none if negative
    (D1).
    """
    account, group = turn.commands["account"][turn.at], turn.commands["group"][turn.at]
    accounts = state.accounts
    if account <= 0 or account >= state.head["accounts_max"][0]:
        return ACCOUNTS_FULL
    if accounts["open"][account] != 0:
        return ACCOUNT_EXISTS
    accounts["open"][account] = 1
    accounts["group"][account] = max(group, 0) if group != 0 else account
    state.head["accounts_used"][0] = max(state.head["accounts_used"][0], account + 1)
    emit_cash(state, turn, ACCOUNT_OPENED, account)
    return OK


@spliced
def deposit(state: State, turn: Turn) -> Any:
    """Money in: P0."""
    account, amount = turn.commands["account"][turn.at], turn.commands["amount_fen"][turn.at]
    if not account_is_open(state, account):
        return UNKNOWN_ACCOUNT
    if amount <= 0 or amount > AMOUNT_MAX - state.accounts["available"][account]:
        return EXCEEDS_LIMIT
    state.accounts["available"][account] += amount
    emit_cash(state, turn, DEPOSITED, account)
    return OK


@spliced
def withdraw(state: State, turn: Turn) -> Any:
    """Money out, only from what is free: P0 reversed."""
    account, amount = turn.commands["account"][turn.at], turn.commands["amount_fen"][turn.at]
    if not account_is_open(state, account):
        return UNKNOWN_ACCOUNT
    if amount <= 0 or amount > AMOUNT_MAX:
        return EXCEEDS_LIMIT
    if state.accounts["available"][account] < amount:
        return INSUFFICIENT_FUNDS
    state.accounts["available"][account] -= amount
    emit_cash(state, turn, WITHDRAWN, account)
    return OK


@spliced
def register_lot(state: State, turn: Turn) -> Any:
    """Goods arrive against a warehouse receipt: kilograms become FREE."""
    commands, at, lots = turn.commands, turn.at, state.lots
    account, instrument, lot = commands["account"][at], commands["instrument"][at], commands["lot"][at]
    if not account_is_open(state, account):
        return UNKNOWN_ACCOUNT
    if instrument < 0 or instrument >= state.head["instruments_used"][0]:
        return UNKNOWN_INSTRUMENT
    if state.instruments["defined"][instrument] == 0:
        return UNKNOWN_INSTRUMENT
    if commands["quantity_kg"][at] <= 0 or commands["quantity_kg"][at] > QUANTITY_MAX:
        return EXCEEDS_LIMIT
    if lot <= 0 or lot >= state.head["lots_max"][0]:
        return LOTS_FULL
    if lots["account"][lot] != 0:
        return LOT_EXISTS
    lots["account"][lot] = account
    lots["instrument"][lot] = instrument
    lots["registered"][lot] = commands["quantity_kg"][at]
    lots["free"][lot] = commands["quantity_kg"][at]
    state.head["lots_used"][0] = max(state.head["lots_used"][0], lot + 1)
    emit_lot(state, turn, LOT_REGISTERED, lot)
    return OK


@spliced
def withdraw_lot(state: State, turn: Turn) -> Any:
    """Goods leave before they were sold: only free kilograms."""
    commands, at, lots = turn.commands, turn.at, state.lots
    lot, quantity = commands["lot"][at], commands["quantity_kg"][at]
    if lot <= 0 or lot >= state.head["lots_used"][0] or lots["account"][lot] == 0:
        return UNKNOWN_LOT
    if quantity <= 0:
        return EXCEEDS_LIMIT
    if lots["free"][lot] < quantity:
        return INSUFFICIENT_GOODS
    lots["free"][lot] -= quantity
    lots["registered"][lot] -= quantity
    emit_lot(state, turn, LOT_WITHDRAWN, lot)
    return OK


@spliced
def settle(state: State, turn: Turn, kind: int) -> None:
    """Judge one command of settlement; one whose number was applied already changes nothing (law 8)."""
    outbox = turn.commands["outbox"][turn.at]
    if outbox != 0:
        if outbox <= state.head["outbox"][0]:
            emit_repeated(state, turn)
            return
        state.head["outbox"][0] = outbox
    if kind == DEPOSIT:
        reason = deposit(state, turn)
    elif kind == WITHDRAW:
        reason = withdraw(state, turn)
    elif kind == REGISTER_LOT:
        reason = register_lot(state, turn)
    elif kind == WITHDRAW_LOT:
        reason = withdraw_lot(state, turn)
    elif kind == BUST_TRADE:
        reason = bust_trade(state, turn)
    else:
        reason = open_account(state, turn)
    if reason != OK:
        emit_rejected(state, turn, reason)
