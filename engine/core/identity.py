"""Who asks, and whether it was asked before: the first checks of every order and pick (semantics A4, C8).

Law: a repeat is found before anything is matched, and answered with the first outcome.
"""

from typing import Any

from engine.core.book import SLOT_MASK
from engine.core.day import day_is_full, find_entry, fingerprint, remember
from engine.core.events import emit_rejected
from engine.core.jit import part, rare
from engine.core.layout import State, Turn
from engine.vocabulary import Flag, Reason

BY_REFERENCE = int(Flag.BY_REFERENCE)
NO_ENTRY = -1
NO_SESSION = 0
OK = int(Reason.NONE)
UNKNOWN_ACCOUNT = int(Reason.UNKNOWN_ACCOUNT)
UNKNOWN_SESSION, ACCOUNT_BLOCKED = int(Reason.UNKNOWN_SESSION), int(Reason.ACCOUNT_BLOCKED)
MISSING_CLIENT_ORDER_ID = int(Reason.MISSING_CLIENT_ORDER_ID)
DUPLICATE_CLIENT_ORDER_ID = int(Reason.DUPLICATE_CLIENT_ORDER_ID)
STALE_REFERENCE = int(Reason.STALE_REFERENCE)
DAY_FULL = int(Reason.DAY_FULL)


@part
def account_is_open(state: State, account: int) -> Any:
    """True for the number of an account that was opened."""
    return account > 0 and account < state.head["accounts_used"][0] and state.accounts["open"][account] != 0


@part
def judge_session(state: State, turn: Turn) -> Any:
    """The account is open, and the session that the command came in, if any, is live and the account's
    (C7).
    """
    account, session = turn.commands["account"][turn.at], turn.commands["session"][turn.at]
    if not account_is_open(state, account):
        return UNKNOWN_ACCOUNT
    if session != NO_SESSION:
        slot = session & SLOT_MASK
        if slot > state.head["sessions_used"][0] or state.sessions["id"][slot] != session:
            return UNKNOWN_SESSION
        if state.sessions["account"][slot] != account:
            return UNKNOWN_SESSION
    return OK


@part
def judge_identity(state: State, turn: Turn) -> Any:
    """Account, session and idempotency; return (reason, repeated, entry to remember the outcome in)."""
    commands, at, accounts = turn.commands, turn.at, state.accounts
    account = commands["account"][at]
    reason = judge_session(state, turn)
    if reason == OK and accounts["blocked"][account] != 0:
        reason = ACCOUNT_BLOCKED
    if reason != OK:
        rare()
        return reason, False, NO_ENTRY
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
    rare()
    emit_rejected(state, turn, reason)
    if entry != NO_ENTRY:
        remember(state, turn, entry, reason, 0, 0, 0, 0)
