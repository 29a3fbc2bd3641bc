"""Stops: they wait in ladders of their own, nearest first, and enter when the last price reaches them
(semantics B4).

Law: a buy stop's index rises with its price, a sell stop's falls, so the nearest is the best of its ladder. A
stop beyond the band waits on the extra level behind the last one; one on the near side waits on level 0,
sorted by price.
"""

from typing import Any

import numpy as np

from engine.core.book import link, link_before, unlink
from engine.core.events import emit_order
from engine.core.holds import change_hold
from engine.core.jit import part
from engine.core.layout import State, Turn
from engine.vocabulary import Event, Phase

CONTINUOUS = int(Phase.CONTINUOUS)
TRIGGERED = int(Event.TRIGGERED)
STOPS = 2  # a stop waits in its side's ladder + 2


@part
def stop_level(state: State, ladder: int, stop: int) -> Any:
    """The level of a stop price in a ladder of stops, 0 on the near side of the band, `levels` beyond it."""
    ladders = state.ladders
    index = (stop - ladders["origin"][ladder]) // ladders["stride"][ladder]
    return max(np.int64(0), min(index, np.int64(ladders["levels"][ladder])))


@part
def is_reached(state: State, ladder: int, stop: int) -> Any:
    """True when the last price has reached a stop, inclusive: buy last >= stop, sell last <= stop."""
    last = state.instruments["last"][ladder >> 2]
    if last == 0:
        return False
    if ladder & 1:
        return last <= stop
    return last >= stop


@part
def wait(state: State, slot: int, ladder: int, hold: int) -> None:
    """Take the hold of a stop and queue it by price, then time; `ladder` is that of its side."""
    stops, stop = ladder + STOPS, state.specials["stop"][slot]
    change_hold(state, slot, hold, 0)
    state.accounts["live_orders"][state.nodes["account"][slot]] += 1
    level = stop_level(state, stops, stop)
    sentinel = state.ladders["base"][stops] + level
    younger = sentinel
    older = state.nodes["previous"][younger]
    while older != sentinel and is_nearer(stops, stop, state.specials["stop"][older]):
        younger = older
        older = state.nodes["previous"][younger]
    if younger == sentinel:
        link(state, slot, stops, level)
    else:
        link_before(state, slot, sentinel, younger)


@part
def is_nearer(ladder: int, stop: int, other: int) -> Any:
    """True when `stop` is reached before `other`: the lower of two buy stops, the higher of two sell
    stops.
    """
    if ladder & 1:
        return stop > other
    return stop < other


@part
def nearest_reached(state: State, ladder: int) -> Any:
    """The first waiting stop of a ladder of stops, if the last price has reached it; else 0."""
    best = state.ladders["best"][ladder]
    if best >= state.ladders["levels"][ladder]:
        return np.int64(0)
    slot = np.int64(state.nodes["next"][state.ladders["base"][ladder] + best])
    if is_reached(state, ladder, state.specials["stop"][slot]):
        return slot
    return np.int64(0)


@part
def stops_wait(state: State, instrument: int) -> Any:
    """True when a stop of the instrument may be reached: one waits within the band."""
    buys, sells, ladders = 4 * instrument + STOPS, 4 * instrument + STOPS + 1, state.ladders
    return (
        ladders["best"][buys] < ladders["levels"][buys] or ladders["best"][sells] < ladders["levels"][sells]
    )


@part
def release(state: State, turn: Turn, slot: int, ladder: int) -> None:
    """Take a reached stop out of its ladder and say that it is triggered; it holds nothing for the moment."""
    unlink(state, slot, ladder)
    state.accounts["live_orders"][state.nodes["account"][slot]] -= 1
    change_hold(state, slot, 0, 0)
    emit_order(state, turn, TRIGGERED, slot, ladder)
