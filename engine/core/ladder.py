"""The price ladder of one side: which level is best, and where a price stands.

Law: `best` of a ladder is always its lowest set bit, and a bit is set exactly when its level holds orders. A
bit of tier 1 says that a word of tier 0 is not zero, a bit of tier 2 that a word of tier 1 is not; the words
of tier 2 are scanned (four for a million levels, one for 262,144).
"""

from typing import Any

import numpy as np

from engine.core.jit import INVERSE_BITS, lowest_bit, part, quotient
from engine.core.layout import State
from engine.vocabulary import PRICE_MAX_FEN_PER_TONNE

PRICE_MAX = int(PRICE_MAX_FEN_PER_TONNE)
SCALE = 1 << INVERSE_BITS
ONE = np.uint64(1)
NONE = np.uint64(0)


@part
def inverse_of(divisor: int) -> Any:
    """What `quotient` multiplies with instead of dividing: 2**62 / divisor, rounded up; divisor below
    2**29.
    """
    return (SCALE - 1) // divisor + 1


@part
def level_index(state: State, ladder: int, price: int) -> Any:
    """The index of a price in its ladder, or -1 when it is off the tick or outside the band."""
    ladders = state.ladders
    stride = ladders["stride"][ladder]
    sign = (stride >> 63) | 1
    distance = (price - ladders["origin"][ladder]) * sign
    if distance < 0 or distance > PRICE_MAX:
        return np.int64(-1)
    index = quotient(distance, ladders["inverse"][ladder])
    if index * stride * sign != distance or index >= ladders["levels"][ladder]:
        return np.int64(-1)
    return index


@part
def level_price(state: State, ladder: int, level: int) -> Any:
    """The price of a level in fen per tonne."""
    return state.ladders["origin"][ladder] + level * state.ladders["stride"][ladder]


@part
def mark(state: State, ladder: int, level: int) -> None:
    """The level has got its first order."""
    bits, ladders = state.bits, state.ladders
    bits[ladders["tier_0"][ladder] + (level >> 6)] |= ONE << np.uint64(level & 63)
    bits[ladders["tier_1"][ladder] + (level >> 12)] |= ONE << np.uint64((level >> 6) & 63)
    bits[ladders["tier_2"][ladder] + (level >> 18)] |= ONE << np.uint64((level >> 12) & 63)
    if level < ladders["best"][ladder]:
        ladders["best"][ladder] = level


@part
def unmark(state: State, ladder: int, level: int) -> None:
    """The level has lost its last order."""
    bits, ladders = state.bits, state.ladders
    word = ladders["tier_0"][ladder] + (level >> 6)
    bits[word] &= ~(ONE << np.uint64(level & 63))
    if bits[word] == NONE:
        word = ladders["tier_1"][ladder] + (level >> 12)
        bits[word] &= ~(ONE << np.uint64((level >> 6) & 63))
        if bits[word] == NONE:
            word = ladders["tier_2"][ladder] + (level >> 18)
            bits[word] &= ~(ONE << np.uint64((level >> 12) & 63))
    if level == ladders["best"][ladder]:
        ladders["best"][ladder] = lowest_level(state, ladder)


@part
def lowest_level(state: State, ladder: int) -> Any:
    """The lowest marked level, or the number of levels when none is marked."""
    bits, ladders = state.bits, state.ladders
    first = ladders["tier_2"][ladder]
    for word in range(ladders["words_2"][ladder]):
        if bits[first + word] != NONE:
            index = (word << 6) + np.int64(lowest_bit(bits[first + word]))
            index = (index << 6) + np.int64(lowest_bit(bits[ladders["tier_1"][ladder] + index]))
            return (index << 6) + np.int64(lowest_bit(bits[ladders["tier_0"][ladder] + index]))
    return ladders["levels"][ladder]


@part
def _next_in_tier(bits: Any, first: int, index: int, words: int) -> Any:
    """The lowest set bit at `index` or above within the word of `index`; -1 when that word has none."""
    word = index >> 6
    if word >= words:
        return np.int64(-1)
    masked = bits[first + word] >> np.uint64(index & 63)
    if masked == NONE:
        return np.int64(-1)
    return index + np.int64(lowest_bit(masked))


@part
def next_level(state: State, ladder: int, level: int) -> Any:
    """The lowest marked level above `level`, or the number of levels."""
    bits, ladders = state.bits, state.ladders
    tier_0, tier_1, tier_2 = ladders["tier_0"][ladder], ladders["tier_1"][ladder], ladders["tier_2"][ladder]
    words_0, words_1, words_2 = tier_1 - tier_0, tier_2 - tier_1, ladders["words_2"][ladder]
    found = _next_in_tier(bits, tier_0, level + 1, words_0)
    if found >= 0:
        return found
    word = _next_in_tier(bits, tier_1, ((level + 1) >> 6) + 1, words_1)
    if word < 0:
        group = _next_in_tier(bits, tier_2, ((level + 1) >> 12) + 1, words_2)
        following = ((level + 1) >> 18) + 1
        while group < 0 and following < words_2:
            group = _next_in_tier(bits, tier_2, following << 6, words_2)
            following += 1
        if group < 0:
            return ladders["levels"][ladder]
        word = _next_in_tier(bits, tier_1, group << 6, words_1)
    return _next_in_tier(bits, tier_0, word << 6, words_0)
