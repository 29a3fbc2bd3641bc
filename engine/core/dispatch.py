"""The door of the core: one call per batch of commands (law 9).

Law: the state after a batch is a function of the state before it and of the batch; nothing else is read.
"""

from typing import Any

from engine.core.accounts import settle
from engine.core.auction import indicate, indicate_touched, was_accepted
from engine.core.changes import cancel_order, mass_cancel, replace_order
from engine.core.entry import new_order
from engine.core.events import emit_rejected
from engine.core.expiry import expire
from engine.core.foresight import foresee, is_wide
from engine.core.jit import kernel, part, rare, routine, spliced
from engine.core.kill_switch import switch_account
from engine.core.layout import EVENTS_PER_INSTRUMENT, EVENTS_PER_ORDER, SPARE_EVENTS, State, Turn
from engine.core.market import operate
from engine.core.memory import open_memory, rows_of
from engine.core.picks import pick
from engine.core.sessions import operate_session
from engine.records import COMMAND, INSTRUMENT_TERMS
from engine.vocabulary import Command, Phase, Reason

NEW_ORDER, CANCEL_ORDER, PICK = int(Command.NEW_ORDER), int(Command.CANCEL_ORDER), int(Command.PICK)
REPLACE_ORDER, MASS_CANCEL = int(Command.REPLACE_ORDER), int(Command.MASS_CANCEL)
EXPIRE, AUCTION = int(Command.EXPIRE), int(Phase.AUCTION)
START_SESSION, CANCEL_ALL_AFTER = int(Command.START_SESSION), int(Command.CANCEL_ALL_AFTER)
BLOCK_ACCOUNT, RELEASE_ACCOUNT = int(Command.BLOCK_ACCOUNT), int(Command.RELEASE_ACCOUNT)
OPEN_ACCOUNT, BUST_TRADE = int(Command.OPEN_ACCOUNT), int(Command.BUST_TRADE)
DEFINE_INSTRUMENT, SET_CLOCK = int(Command.DEFINE_INSTRUMENT), int(Command.SET_CLOCK)
SET_PROFILE = int(Command.SET_PROFILE)
UNSUPPORTED_COMMAND = int(Reason.UNSUPPORTED_COMMAND)


@part
def most_events(state: State) -> Any:
    """What one command can cause at most: every live order ends, every instrument changes (semantics G5)."""
    head = state.head
    of_orders = EVENTS_PER_ORDER * head["live_orders"][0] + 2 * head["slices"][0]
    return of_orders + EVENTS_PER_INSTRUMENT * head["instruments_used"][0] + SPARE_EVENTS


@spliced
def indicate_if(state: State, turn: Turn, instrument: int) -> None:
    """Publish what the auction would do, if the instrument is in one and the command was not refused (E4)."""
    if instrument >= 0 and instrument < state.head["instruments_used"][0]:
        if state.instruments["phase"][instrument] == AUCTION and was_accepted(state, turn):
            rare()
            indicate(state, turn, instrument)


@routine
def judge_rare(state: State, turn: Turn, kind: int) -> None:
    """Judge a command that does not come by the million."""
    if kind == PICK:
        pick(state, turn)
    elif kind == MASS_CANCEL or kind == EXPIRE or kind == BLOCK_ACCOUNT:
        if kind == MASS_CANCEL:
            mass_cancel(state, turn)
        elif kind == EXPIRE:
            expire(state, turn)
        else:
            switch_account(state, turn, 1)
        indicate_touched(state, turn)
    elif START_SESSION <= kind <= CANCEL_ALL_AFTER:
        operate_session(state, turn, kind)
        indicate_touched(state, turn)
    elif kind == RELEASE_ACCOUNT:
        switch_account(state, turn, 0)
    elif OPEN_ACCOUNT <= kind <= BUST_TRADE:
        settle(state, turn, kind)
    elif DEFINE_INSTRUMENT <= kind <= SET_CLOCK or kind == SET_PROFILE:
        operate(state, turn, kind)
    else:
        emit_rejected(state, turn, UNSUPPORTED_COMMAND)


@kernel
def apply_batch(memory, commands):  # type: ignore[no-untyped-def]
    """Judge commands in order until the batch is done or the buffer might not hold what the next can cause.

    `memory` is layout.memory_of(state, events), `commands` are COMMAND records stamped with sequence and
    time. Returns (commands done, events written).
    """
    state, events, room = open_memory(memory)
    head, count, at = state.head, len(commands), 0
    rows, terms = rows_of(commands, COMMAND), rows_of(commands, INSTRUMENT_TERMS)
    wide = is_wide(state)
    head["events"][0] = 0
    while at < count and head["events"][0] + most_events(state) <= room:
        foresee(state, rows, at, count, wide)
        head["first_event"][0] = head["events"][0]
        head["sequence"][0] = rows["sequence"][at]
        head["time_ns"][0] = rows["time_ns"][at]
        turn = Turn(rows, terms, events, at)
        kind = rows["kind"][at]
        if kind == NEW_ORDER:
            new_order(state, turn)
            indicate_if(state, turn, rows["instrument"][at])
        elif kind == CANCEL_ORDER:
            indicate_if(state, turn, cancel_order(state, turn))
        elif kind == REPLACE_ORDER:
            rare()
            indicate_if(state, turn, replace_order(state, turn))
        else:
            rare()
            judge_rare(state, turn, kind)
        at += 1
    written = head["events"][0]
    head["events"][0] = 0
    head["first_event"][0] = 0
    return at, written
