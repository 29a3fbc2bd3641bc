"""Claims about whole arrays: each holds for every row, or the first row that breaks it is named.

UnsoundError    a claim does not hold; the text says which, and where first
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.vocabulary import ORDER_SLOT_BITS

Integers = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

JUMPS_MAX: Final = int(ORDER_SLOT_BITS) + 1  # each doubles the distance: more than there are slots


class UnsoundError(Exception):
    """The state contradicts itself."""


def claim(good: bool, rule: str) -> None:
    """Raise UnsoundError with the rule if it does not hold."""
    if not good:
        raise UnsoundError(rule)


def claim_all(good: Truths, numbers: Integers, rule: str) -> None:
    """Raise UnsoundError naming the first of `numbers` for which the rule does not hold."""
    if not good.all():
        raise UnsoundError(rule.format(int(numbers[int(np.argmin(good))])))


def claim_tiles(starts: Integers, lengths: Integers, first: int, end: int, what: str) -> None:
    """Ranges lie one behind another from `first` to `end`."""
    order = np.argsort(starts)
    borders = np.append(starts[order], end)
    good = borders[0] == first and np.array_equal(borders[1:], starts[order] + lengths[order])
    claim(bool(good), f"ladders share no {what}")


def ends(following: Integers) -> Integers:
    """Where each row ends up that follows the links; a row that is no end lies on a circle."""
    for _ in range(JUMPS_MAX):
        further = following[following]
        if np.array_equal(further, following):
            break
        following = further
    return following


def sums(of: Integers, amounts: Integers, count: int) -> Integers:
    """The sum of the amounts of each of `count` rows."""
    summed = np.zeros(count, np.int64)
    np.add.at(summed, of, amounts)
    return summed


def wide(numbers: npt.NDArray[Any]) -> Integers:
    """As 64-bit integers, which do not wrap."""
    return numbers.astype(np.int64)
