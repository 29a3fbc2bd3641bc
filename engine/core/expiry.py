"""Expiry: what happens because its time has come (semantics B5, C7, E5, E6).

Law: at one instant good-till-date orders end first, then timers run out, then volatility auctions end.
"""

import numpy as np

from engine.core.dues import drop_first, next_due
from engine.core.endings import end_in_order
from engine.core.events import NOBODY, emit_market
from engine.core.jit import routine
from engine.core.judgement import CONTINUOUS
from engine.core.layout import State, Turn
from engine.core.phases import change_phase
from engine.core.sessions import run_out
from engine.vocabulary import Event, Reason

TIME_REACHED, EXPIRED = int(Event.TIME_REACHED), int(Reason.EXPIRED)


@routine
def expire(state: State, turn: Turn) -> None:
    """Do what is due at `due_ns`, and reckon when something is due next."""
    due_ns, count = turn.commands["due_ns"][turn.at], np.int64(0)
    next_ns, order_id = next_due(state)
    while 0 < next_ns <= due_ns:
        state.scratch[count] = order_id
        count += 1
        drop_first(state)
        next_ns, order_id = next_due(state)
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
