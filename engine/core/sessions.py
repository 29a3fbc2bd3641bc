"""Sessions: who is connected, what becomes of the orders when a link ends, dead-man timers (semantics C5-C7).

Law: a session's id is sequence << 22 | slot, so that the id of a session that ended is never valid again;
orders keep the slot, and lose it when the session ends, because another session may get it.
"""

from typing import Any

import numpy as np

from engine.core.book import SLOT_BITS, SLOT_MASK
from engine.core.endings import condemn_or_drop, gather, gather_of_account
from engine.core.events import NOBODY, emit_market, emit_rejected
from engine.core.identity import NO_SESSION, account_is_open, judge_session
from engine.core.jit import part, routine
from engine.core.judgement import INVALID_EXPIRY, OK
from engine.core.layout import State, Turn
from engine.vocabulary import Command, Event, Flag, Reason, Scope

START_SESSION, END_SESSION = int(Command.START_SESSION), int(Command.END_SESSION)
SESSION_STARTED, SESSION_ENDED = int(Event.SESSION_STARTED), int(Event.SESSION_ENDED)
TIMER_SET = int(Event.TIMER_SET)
UNKNOWN_ACCOUNT, UNKNOWN_SESSION = int(Reason.UNKNOWN_ACCOUNT), int(Reason.UNKNOWN_SESSION)
INVALID_TERMS, SESSIONS_FULL = int(Reason.INVALID_TERMS), int(Reason.SESSIONS_FULL)
DISCONNECTED, TIMER_EXPIRED = int(Reason.DISCONNECTED), int(Reason.TIMER_EXPIRED)
SCOPE_SESSION, SCOPE_ACCOUNT = int(Scope.SESSION), int(Scope.ACCOUNT)
KEEP_ON_DISCONNECT = int(Flag.KEEP_ON_DISCONNECT)


@part
def emit_session(state: State, turn: Turn, kind: int, session: int) -> Any:
    """A fact about a session of the account at hand. Returns its row."""
    n = emit_market(state, turn, kind, NOBODY)
    turn.events["account"][n] = turn.commands["account"][turn.at]
    turn.events["session"][n] = session
    return n


@part
def take_session(state: State) -> Any:
    """The slot of a new session, or 0 when none is left."""
    head = state.head
    slot = head["free_session"][0]
    if slot != NO_SESSION:
        head["free_session"][0] = state.sessions["next"][slot]
        state.sessions["next"][slot] = 0
    elif head["sessions_used"][0] < head["sessions_max"][0]:
        slot = head["sessions_used"][0] + 1
        head["sessions_used"][0] = slot
    return slot


@routine
def start_session(state: State, turn: Turn) -> Any:
    """A client's link is accepted; `scope` says what its end cancels (semantics C7)."""
    commands, at, sessions = turn.commands, turn.at, state.sessions
    account, scope = commands["account"][at], commands["scope"][at]
    if not account_is_open(state, account):
        return UNKNOWN_ACCOUNT
    if scope < 0 or scope > SCOPE_ACCOUNT:
        return INVALID_TERMS
    slot = take_session(state)
    if slot == NO_SESSION:
        return SESSIONS_FULL
    session = commands["sequence"][at] << SLOT_BITS | slot
    sessions["id"][slot] = session
    sessions["account"][slot] = account
    sessions["scope"][slot] = scope
    sessions["due_ns"][slot] = 0
    emit_session(state, turn, SESSION_STARTED, session)
    return OK


@part
def judge_own_session(state: State, turn: Turn) -> Any:
    """UNKNOWN_ACCOUNT, UNKNOWN_SESSION or OK, for a command that must name its session."""
    if turn.commands["session"][turn.at] == NO_SESSION:
        account = turn.commands["account"][turn.at]
        return UNKNOWN_SESSION if account_is_open(state, account) else UNKNOWN_ACCOUNT
    return judge_session(state, turn)


@part
def keep_what_ends(state: State, slot: int, scope: int, count: int) -> Any:
    """Of the account's orders in scratch[0:count], keep those that the end of session `slot` cancels."""
    kept, orders = np.int64(0), state.orders
    for at in range(count):
        order_id = state.scratch[at]
        order, state.scratch[at] = order_id & SLOT_MASK, 0
        inside = orders["session"][order] == slot
        if inside:
            orders["session"][order] = NO_SESSION
        chosen = scope == SCOPE_ACCOUNT or (scope == SCOPE_SESSION and inside)
        if chosen and orders["flags"][order] & KEEP_ON_DISCONNECT == 0:
            state.scratch[kept] = order_id
            kept += 1
    return kept


@routine
def end_session(state: State, turn: Turn) -> Any:
    """A session ends: its scope's orders are canceled by order id, but those flagged to stay (semantics
    C7).
    """
    reason = judge_own_session(state, turn)
    if reason != OK:
        return reason
    sessions, session = state.sessions, turn.commands["session"][turn.at]
    slot = session & SLOT_MASK
    count = gather_of_account(state, turn.commands["account"][turn.at])
    ended = condemn_or_drop(
        state, turn, keep_what_ends(state, slot, sessions["scope"][slot], count), DISCONNECTED
    )
    sessions["id"][slot] = 0
    sessions["account"][slot] = 0
    sessions["scope"][slot] = 0
    sessions["due_ns"][slot] = 0
    sessions["next"][slot] = state.head["free_session"][0]
    state.head["free_session"][0] = slot
    n = emit_session(state, turn, SESSION_ENDED, session)
    turn.events["quantity_kg"][n] = ended
    return OK


@routine
def cancel_all_after(state: State, turn: Turn) -> Any:
    """Set the session's dead-man timer, or stop it (0); EXPIRE lets it run out (semantics C7, E6)."""
    commands, at = turn.commands, turn.at
    reason, due_ns = judge_own_session(state, turn), commands["due_ns"][at]
    if reason != OK:
        return reason
    if due_ns != 0 and due_ns <= commands["time_ns"][at]:
        return INVALID_EXPIRY
    state.sessions["due_ns"][commands["session"][at] & SLOT_MASK] = due_ns
    next_ns = state.head["next_expiry_ns"][0]
    if due_ns != 0 and (next_ns == 0 or due_ns < next_ns):
        state.head["next_expiry_ns"][0] = due_ns
    n = emit_session(state, turn, TIMER_SET, commands["session"][at])
    turn.events["due_ns"][n] = due_ns
    return OK


@routine
def operate_session(state: State, turn: Turn, kind: int) -> None:
    """Judge one command of a session about itself."""
    if kind == START_SESSION:
        reason = start_session(state, turn)
    elif kind == END_SESSION:
        reason = end_session(state, turn)
    else:
        reason = cancel_all_after(state, turn)
    if reason != OK:
        emit_rejected(state, turn, reason)


@routine
def run_out(state: State, turn: Turn, due_ns: int) -> Any:
    """Timers due at `due_ns` stop and cancel all orders of their sessions, also those flagged to stay (C7).

    Return how many orders.
    """
    sessions, count = state.sessions, np.int64(0)
    for session in range(1, state.head["sessions_used"][0] + 1):
        if is_due(state, session, due_ns):
            sessions["due_ns"][session] = 0
            count = gather(state, np.int64(sessions["account"][session]), session, count)
    return condemn_or_drop(state, turn, count, TIMER_EXPIRED)


@part
def is_due(state: State, session: int, due_ns: int) -> Any:
    """True for a session whose timer has run out."""
    timer_ns = state.sessions["due_ns"][session]
    return timer_ns != 0 and timer_ns <= due_ns
