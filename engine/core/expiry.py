"""Expiry: what happens because its time has come (semantics B5, C7, E5, E6).

Law: at one instant good-till-date orders end first, then timers run out, then volatility auctions end.
"""

import numpy as np

from engine.core.endings import end_in_order
from engine.core.events import NOBODY, emit_market
from engine.core.jit import routine
from engine.core.judgement import CONTINUOUS, GTD
from engine.core.layout import State, Turn
from engine.core.phases import change_phase
from engine.core.sessions import run_out
from engine.vocabulary import Event, Reason

TIME_REACHED, EXPIRED = int(Event.TIME_REACHED), int(Reason.EXPIRED)


@routine
def expire(state: State, turn: Turn) -> None:
    """Do what is due at `due_ns`, and reckon when something is due next."""
    due_ns, count, next_ns = turn.commands["due_ns"][turn.at], np.int64(0), np.int64(0)
    for slot in range(1, state.head["slots_used"][0] + 1):
        if state.nodes["id"][slot] != 0 and state.orders["time_in_force"][slot] == GTD:
            expire_ns = state.specials["expire_ns"][slot]
            if expire_ns <= due_ns:
                state.scratch[count] = state.nodes["id"][slot]
                count += 1
            elif next_ns == 0 or expire_ns < next_ns:
                next_ns = expire_ns
    end_in_order(state, turn, count, EXPIRED)
    count += run_out(state, turn, due_ns)
    for session in range(1, state.head["sessions_used"][0] + 1):
        timer_ns = state.sessions["due_ns"][session]
        if timer_ns != 0 and (next_ns == 0 or timer_ns < next_ns):
            next_ns = timer_ns
    for instrument in range(state.head["instruments_used"][0]):
        until = state.instruments["auction_until"][instrument]
        if until > due_ns and (next_ns == 0 or until < next_ns):
            next_ns = until
    state.head["next_expiry_ns"][0] = next_ns
    for instrument in range(state.head["instruments_used"][0]):
        until = state.instruments["auction_until"][instrument]
        if until != 0 and until <= due_ns:
            change_phase(state, turn, instrument, CONTINUOUS)
    n = emit_market(state, turn, TIME_REACHED, NOBODY)
    turn.events["quantity_kg"][n] = count
