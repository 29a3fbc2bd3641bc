"""The day's trades of an instrument, and the settlement price that follows from them (semantics E5).

Law: the settlement price is a function of the amounts and kilograms of the day's trades less busts.
"""

from typing import Any

import numpy as np

from engine.core.jit import part
from engine.core.layout import State


@part
def note_trades(state: State, instrument: int, amount: int, quantity: int) -> None:
    """Add fills to the day's; a bust takes them away with negative numbers."""
    state.instruments["day_amount"][instrument] += amount
    state.instruments["day_kg"][instrument] += quantity


@part
def settlement_price(state: State, instrument: int) -> Any:
    """amount x 1000 / kg of the day, half-up to the tick, or the reference if nothing was traded.

    Divided digit by digit: amount x 1000 would not always fit. Kilograms x tick stay below 9 x 10**17, which
    is 90 million million tonnes at a tick of 10 CNY.
    """
    amount, quantity = state.instruments["day_amount"][instrument], state.instruments["day_kg"][instrument]
    if quantity <= 0 or amount <= 0:
        return state.instruments["reference"][instrument]
    tick = state.instruments["tick"][instrument]
    unit = quantity * tick
    ticks, rest = amount // unit, amount % unit
    for _ in range(3):
        ticks, rest = ticks * 10 + rest * 10 // unit, rest * 10 % unit
    if rest >= unit - rest:
        ticks += np.int64(1)
    return ticks * tick
