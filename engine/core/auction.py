"""The call auction: one price for all, found from the book and carried out at once (semantics E2-E4, D2).

Law: the price is a function of the book and the reference; only ticks between the best ask and the best bid
can trade, so only they are looked at.
"""

from typing import Any, NamedTuple

import numpy as np

from engine.core.book import SLOT_BITS, free_slot, unlink, veil, veiled_kg, whole_leaves
from engine.core.daily import note_trades
from engine.core.events import DUPLICATE, REJECTED, TRADE, emit_market, emit_pair
from engine.core.holds import BUY, SELL, amount_fen, change_hold, charge_fen, contract_goods, hold_fen
from engine.core.jit import part, routine
from engine.core.ladder import level_price
from engine.core.layout import State, Turn
from engine.core.limits import mirror, side_is_empty
from engine.core.matching import SELF_TRADE, same_group
from engine.vocabulary import Event, Flag, Phase

IN_AUCTION = int(Flag.IN_AUCTION)
UNCROSSED, INDICATIVE = int(Event.UNCROSSED), int(Event.INDICATIVE)
AUCTION = int(Phase.AUCTION)


class Equilibrium(NamedTuple):
    """What an auction would do: price in fen per tonne (0: nothing trades), kilograms, buy less sell
    surplus.
    """

    price: int
    volume: int
    surplus: int


@part
def level_kg(state: State, ladder: int, level: int) -> Any:
    """Whole kilograms on a level: an iceberg takes part with all it has (semantics B8)."""
    sentinel = state.ladders["base"][ladder] + level
    return state.nodes["leaves"][sentinel] + veiled_kg(state, sentinel)


@part
def reference_of(state: State, instrument: int) -> Any:
    """The last trade price, else the reference (semantics E2)."""
    last = state.instruments["last"][instrument]
    if last != 0:
        return last
    return state.instruments["reference"][instrument]


@part
def nearest_level(state: State, ladder: int, price: int, low: int, high: int) -> Any:
    """The level between low and high nearest a price, half upwards."""
    tick = state.instruments["tick"][ladder >> 2]
    level = (price - state.ladders["origin"][ladder] + tick // 2) // tick
    return min(max(level, low), high)


@part
def is_crossed(state: State, instrument: int) -> Any:
    """True when the best bid meets the best ask."""
    buys, sells = 4 * instrument + BUY, 4 * instrument + SELL
    if side_is_empty(state, buys) or side_is_empty(state, sells):
        return False
    return state.ladders["best"][sells] <= mirror(state, buys, state.ladders["best"][buys])


@routine
def equilibrium(state: State, instrument: int) -> Any:
    """The auction's price, volume and surplus (semantics E2): volume, then surplus, then side, then
    reference.
    """
    buys, sells = 4 * instrument + BUY, 4 * instrument + SELL
    if not is_crossed(state, instrument):
        return Equilibrium(np.int64(0), np.int64(0), np.int64(0))
    first, last = state.ladders["best"][sells], mirror(state, buys, state.ladders["best"][buys])
    demand, supply = np.int64(0), np.int64(0)
    for level in range(first, last + 1):
        demand += level_kg(state, buys, mirror(state, sells, level))
    best_volume, best_gap, low, high = np.int64(-1), np.int64(0), first, first
    low_surplus, high_surplus, low_end = np.int64(0), np.int64(0), first
    for level in range(first, last + 1):
        supply += level_kg(state, sells, level)
        volume, surplus = min(demand, supply), demand - supply
        if volume > best_volume or (volume == best_volume and abs(surplus) < best_gap):
            best_volume, best_gap, low, low_surplus = volume, abs(surplus), level, surplus
        if volume == best_volume and abs(surplus) == best_gap:
            high, high_surplus = level, surplus
            if surplus == low_surplus:
                low_end = level
        demand -= level_kg(state, buys, mirror(state, sells, level))
    if low_surplus > 0 and high_surplus > 0:
        at = high
    elif low_surplus < 0 and high_surplus < 0:
        at = low
    else:
        at = nearest_level(state, sells, reference_of(state, instrument), low, high)
    surplus = low_surplus if at <= low_end else high_surplus
    return Equilibrium(level_price(state, sells, at), best_volume, surplus)


@part
def emit_auction(state: State, turn: Turn, kind: int, instrument: int, found: Equilibrium) -> None:
    """State the auction's price, volume, surplus and its side, and the reference (semantics E4)."""
    events = turn.events
    n = emit_market(state, turn, kind, instrument)
    events["cum_kg"][n] = reference_of(state, instrument)
    events["price_fen_per_tonne"][n] = found.price
    events["quantity_kg"][n] = found.volume
    events["leaves_kg"][n] = abs(found.surplus)
    events["side"][n] = BUY if found.surplus > 0 else SELL


@routine
def indicate(state: State, turn: Turn, instrument: int) -> None:
    """After a change in the auction phase: what it would do now (semantics E1, E4)."""
    if state.instruments["phase"][instrument] == AUCTION:
        emit_auction(state, turn, INDICATIVE, instrument, equilibrium(state, instrument))


@part
def was_accepted(state: State, turn: Turn) -> Any:
    """True unless the command at hand was refused or repeated, which its first event tells."""
    first = state.head["first_event"][0]
    return turn.events["kind"][first] != REJECTED and turn.events["flags"][first] & DUPLICATE == 0


@routine
def indicate_touched(state: State, turn: Turn) -> None:
    """After a command about many orders: the indication of every instrument of which it said something
    (E4).
    """
    events, first, last = turn.events, state.head["first_event"][0], state.head["events"][0]
    used = state.head["instruments_used"][0]
    for n in range(first, last):
        instrument = events["instrument"][n]
        if instrument >= 0 and instrument < used and events["kind"][n] != REJECTED:
            state.scratch[instrument] = 1
    for instrument in range(used):
        if state.scratch[instrument] != 0:
            state.scratch[instrument] = 0
            indicate(state, turn, instrument)


@routine
def uncross(state: State, turn: Turn, instrument: int) -> None:
    """Trade everything that the one price allows, both sides in priority order (semantics E3)."""
    found = equilibrium(state, instrument)
    emit_auction(state, turn, UNCROSSED, instrument, found)
    buys, sells, left = 4 * instrument + BUY, 4 * instrument + SELL, found.volume
    while left > 0:
        buy, sell = first_of(state, buys), first_of(state, sells)
        quantity = min(left, min(whole_leaves(state, buy), whole_leaves(state, sell)))
        pair_off(state, turn, buys, buy, sell, found.price, quantity)
        left -= quantity
    if found.volume > 0:
        state.instruments["last"][instrument] = found.price


@part
def first_of(state: State, ladder: int) -> Any:
    """The first order of a ladder that is not empty."""
    return np.int64(state.nodes["next"][state.ladders["base"][ladder] + state.ladders["best"][ladder]])


@part
def pair_off(state: State, turn: Turn, buys: int, buy: int, sell: int, price: int, quantity: int) -> None:
    """One trade of the uncross: both orders rest, both get their improvement back (semantics G3)."""
    instrument, amount = buys >> 2, amount_fen(price, quantity)
    own = same_group(state, state.nodes["account"][buy], state.nodes["account"][sell])
    contract_goods(state, state.orders["lot"][sell], quantity)
    note_trades(state, instrument, amount, quantity)
    give(state, instrument, BUY, buy, amount, quantity)
    give(state, instrument, SELL, sell, amount, quantity)
    n = emit_pair(state, turn, TRADE, buys, buy, sell, price, quantity)
    turn.events["flags"][n] |= IN_AUCTION | (SELF_TRADE if own else 0)
    turn.events["match_id"][n] = turn.events["sequence"][n] << SLOT_BITS | turn.events["index"][n]
    leave_if_done(state, buy, buys)
    leave_if_done(state, sell, buys ^ 1)


@part
def give(state: State, instrument: int, side: int, slot: int, amount: int, quantity: int) -> None:
    """An order gives kilograms in the uncross; an iceberg keeps its place and shows a fresh slice (E3)."""
    nodes, orders, sentinel = state.nodes, state.orders, state.nodes["level"][slot]
    rest, shown = whole_leaves(state, slot) - quantity, nodes["leaves"][slot]
    veil(state, slot, sentinel, -1)
    nodes["leaves"][slot] = (
        rest if state.specials["display"][slot] == 0 else min(rest, state.specials["display"][slot])
    )
    state.specials["hidden"][slot] = rest - nodes["leaves"][slot]
    veil(state, slot, sentinel, 1)
    nodes["leaves"][sentinel] += nodes["leaves"][slot] - shown
    orders["cum"][slot] += quantity
    hold = hold_fen(state, instrument, side, np.int64(orders["price"][slot]), rest)
    change_hold(state, slot, hold, charge_fen(state, instrument, side, amount, quantity))


@part
def leave_if_done(state: State, slot: int, ladder: int) -> None:
    """An order that the uncross filled completely leaves the book."""
    if state.nodes["leaves"][slot] == 0:
        state.accounts["live_orders"][state.nodes["account"][slot]] -= 1
        unlink(state, slot, ladder)
        free_slot(state, slot)
