"""The market: instruments and their terms, phases, references, the day, the clock (semantics E, F).

Law: the band moves only while an instrument is closed; every order is taken out first and queued again, so
levels never change meaning under an order.
"""

from typing import Any

import numpy as np

from engine.core.book import SLOT_BITS, SLOT_MASK, ladder_of, link, slot_of, unlink, whole_leaves
from engine.core.daily import settlement_price
from engine.core.day import forget_day
from engine.core.endings import gather_of_instrument
from engine.core.entry import INSUFFICIENT_FUNDS
from engine.core.events import NOBODY, emit_market, emit_rejected
from engine.core.holds import BUY, SELL, change_hold, hold_fen
from engine.core.jit import part, routine, spliced
from engine.core.ladder import inverse_of, level_index
from engine.core.layout import State, Turn
from engine.core.limits import STOP
from engine.core.matching import drop_order
from engine.core.phases import set_phase
from engine.core.stops import STOPS, wait
from engine.vocabulary import (
    BASIS_POINTS,
    PRICE_MAX_FEN_PER_TONNE,
    QUANTITY_MAX_KG,
    Command,
    Event,
    Mode,
    Phase,
    Profile,
    Reason,
)

DEFINE_INSTRUMENT, SET_PHASE = int(Command.DEFINE_INSTRUMENT), int(Command.SET_PHASE)
SET_REFERENCE, ROLL_DAY = int(Command.SET_REFERENCE), int(Command.ROLL_DAY)
INSTRUMENT_DEFINED = int(Event.INSTRUMENT_DEFINED)
REFERENCE_SET, DAY_ROLLED, CLOCK_SET = int(Event.REFERENCE_SET), int(Event.DAY_ROLLED), int(Event.CLOCK_SET)
CLOSED, BOOK, LISTED = int(Phase.CLOSED), int(Mode.BOOK), int(Mode.LISTED)
CN_SPOT, SET_PROFILE = int(Profile.CN_SPOT), int(Command.SET_PROFILE)
PROFILE_SET = int(Event.PROFILE_SET)
FORBIDDEN_BY_PROFILE = int(Reason.FORBIDDEN_BY_PROFILE)
OK = int(Reason.NONE)
UNKNOWN_INSTRUMENT = int(Reason.UNKNOWN_INSTRUMENT)
INSTRUMENT_EXISTS, INVALID_TERMS = int(Reason.INSTRUMENT_EXISTS), int(Reason.INVALID_TERMS)
INSTRUMENT_OPEN, BAND_MOVED = int(Reason.INSTRUMENT_OPEN), int(Reason.BAND_MOVED)
PRICE_OFF_TICK, LEVELS_FULL = int(Reason.PRICE_OFF_TICK), int(Reason.LEVELS_FULL)
CLOCK_NOT_STEPPED = int(Reason.CLOCK_NOT_STEPPED)
PRICE_MAX, QUANTITY_MAX, ALL_BP = int(PRICE_MAX_FEN_PER_TONNE), int(QUANTITY_MAX_KG), int(BASIS_POINTS)
DIVISOR_MAX = 1 << 28  # ticks and steps below it divide by their inverses
GROWTH = 4  # a ladder owns room for a band this many times as wide as its first


@part
def terms_are_sound(turn: Turn) -> Any:
    """The permitted maxima of semantics G1, and a band that stands on the tick."""
    terms, at = turn.terms, turn.at
    tick, lower, upper = (
        terms["tick_fen_per_tonne"][at],
        terms["lower_fen_per_tonne"][at],
        terms["upper_fen_per_tonne"][at],
    )
    if tick <= 0 or tick >= DIVISOR_MAX or terms["step_kg"][at] >= DIVISOR_MAX:
        return False
    if lower <= 0 or upper < lower or upper > PRICE_MAX:
        return False
    if lower % tick != 0 or upper % tick != 0:
        return False
    if terms["step_kg"][at] <= 0 or terms["minimum_kg"][at] <= 0 or terms["maximum_kg"][at] > QUANTITY_MAX:
        return False
    if terms["buyer_deposit_bp"][at] < 0 or terms["buyer_deposit_bp"][at] > ALL_BP:
        return False
    if terms["seller_deposit_bp"][at] < 0 or terms["seller_deposit_bp"][at] > ALL_BP:
        return False
    if terms["fee_fen_per_tonne"][at] < 0 or terms["band_bp"][at] < 0 or terms["band_bp"][at] >= ALL_BP:
        return False
    if terms["collar_bp"][at] < 0 or terms["collar_bp"][at] >= ALL_BP:
        return False
    if terms["dynamic_band_bp"][at] < 0 or terms["dynamic_band_bp"][at] >= ALL_BP:
        return False
    if terms["volatility_auction_s"][at] < 0:
        return False
    return terms["mode"][at] >= 0 and terms["mode"][at] <= LISTED


@part
def words_of(levels: int) -> Any:
    """Words of the three tiers of a ladder's bitmap."""
    words_0 = (levels + 63) >> 6
    words_1 = (words_0 + 63) >> 6
    return words_0, words_1, (words_1 + 63) >> 6


@part
def build_ladder(state: State, ladder: int, capacity: int) -> None:
    """Give a ladder its sentinels, each an empty circle, and its words."""
    ladders, head, nodes = state.ladders, state.head, state.nodes
    base = 1 + head["orders_max"][0] + head["levels_used"][0]
    words_0, words_1, words_2 = words_of(capacity)
    ladders["base"][ladder] = base
    ladders["capacity"][ladder] = capacity
    ladders["tier_0"][ladder] = head["words_used"][0]
    ladders["tier_1"][ladder] = head["words_used"][0] + words_0
    ladders["tier_2"][ladder] = head["words_used"][0] + words_0 + words_1
    ladders["words_2"][ladder] = words_2
    head["levels_used"][0] += capacity
    head["words_used"][0] += words_0 + words_1 + words_2
    for sentinel in range(base, base + capacity):
        nodes["next"][sentinel] = sentinel
        nodes["previous"][sentinel] = sentinel
        nodes["level"][sentinel] = sentinel
        nodes["account"][sentinel] = ladder


@part
def place_band(state: State, instrument: int, lower: int, upper: int) -> None:
    """Let the four empty ladders span the band.

    Buys and sell stops count down from its top, sells and buy stops up from its bottom.
    """
    ladders, instruments = state.ladders, state.instruments
    tick = instruments["tick"][instrument]
    levels = (upper - lower) // tick + 1
    instruments["lower"][instrument] = lower
    instruments["upper"][instrument] = upper
    for k in range(4):
        ladder = 4 * instrument + k
        from_below = k == SELL or k == BUY + STOPS
        ladders["levels"][ladder] = levels
        ladders["best"][ladder] = levels
        ladders["origin"][ladder] = lower if from_below else upper
        ladders["stride"][ladder] = tick if from_below else -tick
        ladders["inverse"][ladder] = inverse_of(tick)


@spliced
def define_instrument(state: State, turn: Turn) -> Any:
    """Admit an instrument with its terms; it starts closed."""
    terms, at, instruments, head = turn.terms, turn.at, state.instruments, state.head
    instrument = terms["instrument"][at]
    if head["profile"][0] == CN_SPOT and terms["mode"][at] == BOOK:
        return FORBIDDEN_BY_PROFILE
    if instrument < 0 or instrument >= head["instruments_max"][0]:
        return UNKNOWN_INSTRUMENT
    if instruments["defined"][instrument] != 0:
        return INSTRUMENT_EXISTS
    if not terms_are_sound(turn):
        return INVALID_TERMS
    tick, lower, upper = (
        terms["tick_fen_per_tonne"][at],
        terms["lower_fen_per_tonne"][at],
        terms["upper_fen_per_tonne"][at],
    )
    capacity = (upper - lower) // tick + 1
    if terms["band_bp"][at] > 0:
        capacity *= GROWTH
    capacity += 1  # the level behind the last, where stops beyond the band wait
    if head["levels_used"][0] + 4 * capacity > head["levels_max"][0]:  # there are words for all levels
        return LEVELS_FULL
    instruments["code"][instrument] = terms["code"][at]
    instruments["defined"][instrument] = 1
    instruments["mode"][instrument] = terms["mode"][at]
    instruments["phase"][instrument] = CLOSED
    instruments["tick"][instrument] = tick
    instruments["step"][instrument] = terms["step_kg"][at]
    instruments["step_inverse"][instrument] = inverse_of(np.int64(terms["step_kg"][at]))
    instruments["minimum"][instrument] = terms["minimum_kg"][at]
    instruments["maximum"][instrument] = terms["maximum_kg"][at]
    instruments["reference"][instrument] = terms["reference_fen_per_tonne"][at]
    instruments["buyer_deposit"][instrument] = terms["buyer_deposit_bp"][at]
    instruments["seller_deposit"][instrument] = terms["seller_deposit_bp"][at]
    instruments["band"][instrument] = terms["band_bp"][at]
    instruments["collar"][instrument] = terms["collar_bp"][at]
    instruments["dynamic"][instrument] = terms["dynamic_band_bp"][at]
    instruments["volatility_s"][instrument] = terms["volatility_auction_s"][at]
    instruments["fee"][instrument] = terms["fee_fen_per_tonne"][at]
    for ladder in range(4 * instrument, 4 * instrument + 4):
        build_ladder(state, ladder, capacity)
    place_band(state, instrument, lower, upper)
    head["instruments_used"][0] = max(head["instruments_used"][0], instrument + 1)
    emit_market(state, turn, INSTRUMENT_DEFINED, instrument)
    return OK


@routine
def move_band(state: State, turn: Turn, instrument: int, lower: int, upper: int) -> None:
    """Move both sides' ladders and those of stops; what stands outside the new band ends (semantics E7)."""
    count = gather_of_instrument(state, instrument)
    kept = np.int64(0)
    for at in range(count):
        slot = slot_of(state, state.scratch[at])
        ladder, price = ladder_of(state, slot), state.orders["price"][slot]
        outside = price < lower or price > upper
        if outside and state.orders["order_type"][slot] != STOP:
            drop_order(state, turn, slot, ladder, BAND_MOVED)
        else:
            unlink(state, slot, ladder)
            state.scratch[kept] = ladder << SLOT_BITS | slot
            kept += 1
    place_band(state, instrument, lower, upper)
    for at in range(kept):
        settle_again(state, turn, state.scratch[at] & SLOT_MASK, state.scratch[at] >> SLOT_BITS)
    for at in range(count):
        state.scratch[at] = 0


@part
def settle_again(state: State, turn: Turn, slot: int, ladder: int) -> None:
    """Queue an order at its price in the moved ladder; its hold is reckoned anew and must be covered (G3)."""
    side_ladder, price = ladder & ~STOPS, np.int64(state.orders["price"][slot])
    if state.orders["order_type"][slot] == STOP:
        price = state.instruments["upper"][ladder >> 2]
        if ladder & 1 == SELL:
            price = state.instruments["lower"][ladder >> 2]
        state.orders["price"][slot] = price
    hold = hold_fen(state, ladder >> 2, ladder & 1, price, whole_leaves(state, slot))
    covered = state.accounts["available"][state.nodes["account"][slot]] + state.orders["hold"][slot] >= hold
    if ladder & STOPS:
        state.accounts["live_orders"][state.nodes["account"][slot]] -= 1
        wait(state, slot, side_ladder, hold if covered else state.orders["hold"][slot])
    else:
        link(state, slot, ladder, level_index(state, ladder, price))
        if covered:
            change_hold(state, slot, hold, 0)
    if not covered:
        drop_order(state, turn, slot, ladder, INSUFFICIENT_FUNDS)


@spliced
def set_reference(state: State, turn: Turn) -> Any:
    """A new day's reference price: the static band follows, rounded inwards (semantics E5)."""
    instrument, price = turn.commands["instrument"][turn.at], turn.commands["price_fen_per_tonne"][turn.at]
    instruments = state.instruments
    if instrument < 0 or instrument >= state.head["instruments_used"][0]:
        return UNKNOWN_INSTRUMENT
    if instruments["defined"][instrument] == 0:
        return UNKNOWN_INSTRUMENT
    if instruments["phase"][instrument] != CLOSED:
        return INSTRUMENT_OPEN
    if price <= 0 or price > PRICE_MAX // 2 or instruments["band"][instrument] == 0:
        return INVALID_TERMS
    if price % instruments["tick"][instrument] != 0:
        return PRICE_OFF_TICK
    if not fits(state, instrument, price):
        return LEVELS_FULL
    refer(state, turn, instrument, price)
    return OK


@part
def band_of(state: State, instrument: int, price: int) -> Any:
    """The static band around a reference, rounded inwards to the tick (semantics E5)."""
    tick, band = state.instruments["tick"][instrument], np.int64(state.instruments["band"][instrument])
    lower = -(-price * (ALL_BP - band) // (ALL_BP * tick)) * tick
    return lower, price * (ALL_BP + band) // (ALL_BP * tick) * tick


@part
def fits(state: State, instrument: int, price: int) -> Any:
    """True when the ladders have room for the band around a reference."""
    lower, upper = band_of(state, instrument, price)
    tick = state.instruments["tick"][instrument]
    return upper >= lower and (upper - lower) // tick + 2 <= state.ladders["capacity"][4 * instrument]


@routine
def refer(state: State, turn: Turn, instrument: int, price: int) -> None:
    """Set the reference; the static band follows it."""
    lower, upper = band_of(state, instrument, price)
    state.instruments["reference"][instrument] = price
    move_band(state, turn, instrument, lower, upper)
    emit_market(state, turn, REFERENCE_SET, instrument)


@spliced
def roll_day(state: State, turn: Turn) -> Any:
    """A new trading day, when everything is closed: settlement prices become references, what they put
    outside or leave uncovered ends, and the client order ids of orders that are gone are free again
    (semantics C8, E5, E7).

    A settlement price whose band the ladders have no room for does not become the reference.
    """
    for instrument in range(state.head["instruments_used"][0]):
        if state.instruments["phase"][instrument] != CLOSED:
            return INSTRUMENT_OPEN
    for instrument in range(state.head["instruments_used"][0]):
        if state.instruments["band"][instrument] != 0 and state.instruments["defined"][instrument] != 0:
            price = settlement_price(state, instrument)
            if price <= 0 or price > PRICE_MAX // 2 or not fits(state, instrument, price):
                price = state.instruments["reference"][instrument]
            if price > 0 and price <= PRICE_MAX // 2 and fits(state, instrument, price):
                refer(state, turn, instrument, price)
            else:
                emit_market(state, turn, REFERENCE_SET, instrument)
        state.instruments["day_amount"][instrument] = 0
        state.instruments["day_kg"][instrument] = 0
    forget_day(state)
    state.head["day_number"][0] += 1
    state.head["day_started"][0] = state.head["sequence"][0]
    emit_market(state, turn, DAY_ROLLED, NOBODY)
    return OK


@spliced
def set_profile(state: State, turn: Turn) -> Any:
    """What the venue may do, said before there is any instrument (semantics F3)."""
    profile = turn.commands["profile"][turn.at]
    if state.head["instruments_used"][0] != 0:
        return INSTRUMENT_EXISTS
    if profile < 0 or profile > CN_SPOT:
        return INVALID_TERMS
    state.head["profile"][0] = profile
    emit_market(state, turn, PROFILE_SET, NOBODY)
    return OK


@spliced
def set_clock(state: State, turn: Turn) -> Any:
    """The sequencer moved its stepped clock to the asked instant; a wall clock does not obey (law 2)."""
    if turn.commands["due_ns"][turn.at] != turn.commands["time_ns"][turn.at]:
        return CLOCK_NOT_STEPPED
    emit_market(state, turn, CLOCK_SET, NOBODY)
    return OK


@spliced
def operate(state: State, turn: Turn, kind: int) -> None:
    """Judge one command of an operator."""
    if kind == DEFINE_INSTRUMENT:
        reason = define_instrument(state, turn)
    elif kind == SET_PHASE:
        reason = set_phase(state, turn)
    elif kind == SET_REFERENCE:
        reason = set_reference(state, turn)
    elif kind == ROLL_DAY:
        reason = roll_day(state, turn)
    elif kind == SET_PROFILE:
        reason = set_profile(state, turn)
    else:
        reason = set_clock(state, turn)
    if reason != OK:
        emit_rejected(state, turn, reason)
