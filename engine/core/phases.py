"""Phases: what a change of phase does to the orders of an instrument (semantics B5, E1, E2, E7).

    closed ─▶ pre_open ─▶ auction ─▶ no_cancel ─▶ continuous ─▶ halted ─▶ continuous ─▶ closed

Law: continuous is entered through an uncross, so that its book is never crossed; the day's orders end at the
close.
"""

from typing import Any

from engine.core.auction import is_crossed, uncross
from engine.core.endings import AUCTION_ENDED, AUCTION_STARTED, carry_out_kept, end_orders
from engine.core.entry import trigger_stops
from engine.core.events import NOBODY, emit_market
from engine.core.jit import part, routine, spliced
from engine.core.judgement import (
    CLOSED,
    CONTINUOUS,
    HALTED,
    LISTED,
    NO_CANCEL,
    OK,
    UNKNOWN_INSTRUMENT,
)
from engine.core.layout import State, Turn
from engine.vocabulary import Event, Phase, Profile, Reason

PHASE_CHANGED = int(Event.PHASE_CHANGED)
UNKNOWN_PHASE, CN_SPOT = int(Reason.UNKNOWN_PHASE), int(Profile.CN_SPOT)
FORBIDDEN_BY_PROFILE = int(Reason.FORBIDDEN_BY_PROFILE)
DAY_END = int(Reason.DAY_END)
LAST_PHASE = int(Phase.NO_CANCEL)


@part
def gathers(phase: int) -> Any:
    """True for the phases of a call auction, in which orders gather and nothing matches."""
    return phase != CLOSED and phase != HALTED and phase != CONTINUOUS


@routine
def change_phase(state: State, turn: Turn, instrument: int, phase: int) -> None:
    """Do what the change demands, and state it."""
    before = state.instruments["phase"][instrument]
    opens = phase == CONTINUOUS and state.instruments["mode"][instrument] != LISTED
    if opens and (gathers(before) or is_crossed(state, instrument)):
        uncross(state, turn, instrument)
    if before == NO_CANCEL and phase != NO_CANCEL:
        carry_out_kept(state, turn, instrument)
    if phase == CLOSED:
        end_orders(state, turn, instrument, DAY_END)
    if gathers(phase) and not gathers(before):
        end_orders(state, turn, instrument, AUCTION_STARTED)
    if opens and before != CONTINUOUS:
        end_orders(state, turn, instrument, AUCTION_ENDED)
    state.instruments["phase"][instrument] = phase
    state.instruments["auction_until"][instrument] = 0
    emit_market(state, turn, PHASE_CHANGED, instrument)
    if opens:
        trigger_stops(state, turn, instrument)


@spliced
def set_phase(state: State, turn: Turn) -> Any:
    """Change the phase of one instrument, or of all (-1) (semantics E1)."""
    instrument, phase = turn.commands["instrument"][turn.at], turn.commands["phase"][turn.at]
    used = state.head["instruments_used"][0]
    if instrument < NOBODY or instrument >= used or used == 0:
        return UNKNOWN_INSTRUMENT
    if phase > LAST_PHASE:
        return UNKNOWN_PHASE
    if state.head["profile"][0] == CN_SPOT and gathers(phase):
        return FORBIDDEN_BY_PROFILE
    first, last = (0, used) if instrument == NOBODY else (instrument, instrument + 1)
    for each in range(first, last):
        if state.instruments["defined"][each] != 0:
            change_phase(state, turn, each, phase)
    return OK
