"""The dynamic band and the volatility auction that it may open (semantics E5).

Law: the band lies around the last trade as it stands when an order begins to match; no print lies outside it.
"""

from typing import Any

import numpy as np

from engine.core.endings import AUCTION_STARTED, end_orders
from engine.core.events import emit_market
from engine.core.jit import part, routine
from engine.core.layout import State, Turn
from engine.core.limits import ALL_BP
from engine.vocabulary import Event, Phase

PHASE_CHANGED, AUCTION = int(Event.PHASE_CHANGED), int(Phase.AUCTION)
SECOND_NS = 1_000_000_000
NOWHERE = -1  # a limit that no level is within


@routine
def limit_in_band(state: State, ladder: int, limit: int) -> Any:
    """The level of the other side down to which an order may print: `limit`, or the band's, or NOWHERE."""
    instruments, ladders, other = state.instruments, state.ladders, ladder ^ 1
    last, band = instruments["last"][ladder >> 2], np.int64(instruments["dynamic"][ladder >> 2])
    if last == 0:
        return limit
    tick = instruments["tick"][ladder >> 2]
    near = -(-last * (ALL_BP - band) // (ALL_BP * tick)) * tick
    far = last * (ALL_BP + band) // (ALL_BP * tick) * tick
    if ladder & 1:
        near, far = far, near
    origin, stride = ladders["origin"][other], ladders["stride"][other]
    if ladders["best"][other] < (near - origin) // stride:
        return np.int64(NOWHERE)
    return min(limit, (far - origin) // stride)


@part
def band_stopped(state: State, ladder: int, limit: int, within: int) -> Any:
    """True when an order with something left would go on to `limit`, but may go only `within` (a level)."""
    return within < limit and state.ladders["best"][ladder ^ 1] <= limit


@routine
def open_auction(state: State, turn: Turn, instrument: int) -> None:
    """A print outside the band was about to happen: a call auction for so many seconds, ended by EXPIRE."""
    end_orders(state, turn, instrument, AUCTION_STARTED)
    until = turn.commands["time_ns"][turn.at] + state.instruments["volatility_s"][instrument] * SECOND_NS
    state.instruments["phase"][instrument] = AUCTION
    state.instruments["auction_until"][instrument] = until
    next_ns = state.head["next_expiry_ns"][0]
    if next_ns == 0 or until < next_ns:
        state.head["next_expiry_ns"][0] = until
    emit_market(state, turn, PHASE_CHANGED, instrument)
