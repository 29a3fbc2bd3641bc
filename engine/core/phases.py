"""Phases: what a change of phase does to the orders of an instrument (semantics B5, E1, E2, E7).

    closed ─▶ pre_open ─▶ auction ─▶ no_cancel ─▶ continuous ─▶ halted ─▶ continuous ─▶ closed

Law: continuous is entered through an uncross, so that its book is never crossed; the day's orders end at the close.
"""

from typing import Any

import numpy as np

from engine.core.auction import is_crossed, uncross
from engine.core.entry import trigger_stops
from engine.core.events import NOBODY, emit_market
from engine.core.jit import part, routine, spliced
from engine.core.judgement import (
    AT_OPEN,
    CLOSED,
    CONTINUOUS,
    CONTINUOUS_ONLY,
    GTC,
    GTD,
    HALTED,
    LISTED,
    OK,
    UNKNOWN_INSTRUMENT,
)
from engine.core.ladder import lowest_level, next_level
from engine.core.layout import LADDERS, State, Turn
from engine.core.matching import drop_order
from engine.vocabulary import Event, Phase, Reason

PHASE_CHANGED = int(Event.PHASE_CHANGED)
UNKNOWN_PHASE = int(Reason.UNKNOWN_PHASE)
DAY_END, AUCTION_ENDED = int(Reason.DAY_END), int(Reason.AUCTION_ENDED)
AUCTION_STARTED = int(Reason.AUCTION_STARTED)
LAST_PHASE = int(Phase.NO_CANCEL)
LADDERS_OF_INSTRUMENT = int(LADDERS)


@part
def gathers(phase: int) -> Any:
    """True for the phases of a call auction, in which orders gather and nothing matches."""
    return phase != CLOSED and phase != HALTED and phase != CONTINUOUS


@part
def ends(force: int, reason: int) -> Any:
    """True when a phase change with this reason ends an order of this time in force (semantics B5)."""
    if reason == AUCTION_ENDED:
        return force == AT_OPEN
    if reason == AUCTION_STARTED:
        return force == CONTINUOUS_ONLY
    return force != GTC and force != GTD


@routine
def end_orders(state: State, turn: Turn, instrument: int, reason: int) -> None:
    """End the orders that a phase change ends: buys, sells, stops; best price first, oldest first."""
    nodes, ladders = state.nodes, state.ladders
    for ladder in range(LADDERS_OF_INSTRUMENT * instrument, LADDERS_OF_INSTRUMENT * (instrument + 1)):
        level = lowest_level(state, ladder)
        while level <= ladders["levels"][ladder]:
            sentinel = ladders["base"][ladder] + level
            slot = np.int64(nodes["next"][sentinel])
            while slot != sentinel:
                following = np.int64(nodes["next"][slot])
                if ends(state.orders["time_in_force"][slot], reason):
                    drop_order(state, turn, slot, ladder, reason)
                slot = following
            if level == ladders["levels"][ladder]:
                break
            level = next_level(state, ladder, level)


@spliced
def change_phase(state: State, turn: Turn, instrument: int, phase: int) -> None:
    """Do what the change demands, and state it."""
    before = state.instruments["phase"][instrument]
    if phase == CLOSED:
        end_orders(state, turn, instrument, DAY_END)
    if gathers(phase) and not gathers(before):
        end_orders(state, turn, instrument, AUCTION_STARTED)
    opens = phase == CONTINUOUS and state.instruments["mode"][instrument] != LISTED
    if opens and (gathers(before) or is_crossed(state, instrument)):
        uncross(state, turn, instrument)
    if opens and before != CONTINUOUS:
        end_orders(state, turn, instrument, AUCTION_ENDED)
    state.instruments["phase"][instrument] = phase
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
    first, last = (0, used) if instrument == NOBODY else (instrument, instrument + 1)
    for each in range(first, last):
        if state.instruments["defined"][each] != 0:
            change_phase(state, turn, each, phase)
    return OK
