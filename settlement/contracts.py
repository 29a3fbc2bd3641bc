"""The contract's life after the fill: its states, what follows what, and the text that both sides agreed to.

Law: a contract moves along TRANSITIONS only (domain 3). In profile FULL_PAY the buyer's money is there at the
fill, so MATCHED, CONFIRMED and PAID follow in the fill's own batch.

The text is of fixed width, its numbers zero-padded, so that the texts of a whole batch are built in one
vectorised step and only the SHA-256 itself is taken contract by contract (0.7 microseconds each).
"""

from collections.abc import Mapping
from enum import IntEnum
from hashlib import sha256
from typing import Any, Final

import numpy as np
import numpy.typing as npt

DIGEST_BYTES: Final = 32


class State(IntEnum):
    """Where a contract stands (domain 3); numbers are stored, so they never change their meaning."""

    MATCHED = 1
    CONFIRMED = 2
    PAID = 4
    BUSTED = 32  # reversed by two operators before delivery (semantics E8); nothing follows


TRANSITIONS: Final[Mapping[State | None, State]] = {
    None: State.MATCHED,  # 1: fill; posting P2
    State.MATCHED: State.CONFIRMED,  # 2: the text and its hash
    State.CONFIRMED: State.PAID,  # 3: FULL_PAY; posting P3
}
BUSTABLE: Final = State.PAID  # with FULL_PAY the one state before DO_ISSUED that a contract is found in


def path_at_fill() -> tuple[State, ...]:
    """The states that a FULL_PAY contract enters in its fill's batch, in order."""
    path: list[State] = []
    state: State | None = None
    while state in TRANSITIONS:
        state = TRANSITIONS[state]
        path.append(state)
    return tuple(path)


# Every number of the text is a column of the contract's row. Widths hold the largest permitted values
# (engine.vocabulary); a column that outgrew its width would raise, never be cut.
TERMS: Final = (
    ("contract", 19),
    ("traded_ns", 19),
    ("instrument", 5),
    ("lot", 19),
    ("buyer", 10),
    ("seller", 10),
    ("buyer_order", 19),
    ("seller_order", 19),
    ("price_fen_per_tonne", 9),
    ("quantity_kg", 10),
    ("amount_fen", 18),
    ("buyer_deposit_fen", 18),
    ("seller_deposit_fen", 18),
    ("buyer_fee_fen", 18),
    ("seller_fee_fen", 18),
)
HEADING: Final = "lecong contract of sale, version 1\n"
DELIVERY: Final = "ex warehouse against the lot's receipt; VAT included in the price\n"


def _template() -> tuple[npt.NDArray[np.uint8], dict[str, slice]]:
    """The text with zeros for numbers, and where each number stands."""
    text, holes = HEADING, {}
    for name, width in TERMS:
        start = len(text) + len(name) + 1
        holes[name] = slice(start, start + width)
        text += f"{name} {'0' * width}\n"
    return np.frombuffer((text + DELIVERY).encode("ascii"), np.uint8), holes


TEMPLATE, HOLES = _template()

# Four digits at a time: a division costs more than a look-up. 5 groups hold every int64.
GROUP: Final = 4
GROUP_BASES: Final = 10 ** np.arange(4 * GROUP, -1, -GROUP, dtype=np.int64)
GROUP_DIGITS: Final = (np.arange(10**GROUP)[:, None] // [1000, 100, 10, 1] % 10).astype(np.uint8)
DIGITS_MAX: Final = 19


def texts(terms: Mapping[str, Any], count: int) -> npt.NDArray[np.uint8]:
    """The canonical ASCII texts of `count` contracts, one row of bytes each.

    `terms` maps every name of TERMS to an int64 array of `count` values, or one value for all. Raises
    ValueError for a number that is negative or wider than its place.
    """
    rows = np.repeat(TEMPLATE[None, :], count, axis=0)
    for name, width in TERMS:
        values = np.broadcast_to(np.asarray(terms[name], np.int64), count)
        if count and (values.min() < 0 or (width < DIGITS_MAX and values.max() >= 10**width)):
            raise ValueError(f"contract text: a {name} does not fit its {width} digits")
        groups = (width + GROUP - 1) // GROUP
        bases = GROUP_BASES[-groups:]
        digits = GROUP_DIGITS[values[:, None] // bases % 10**GROUP].reshape(count, groups * GROUP)
        rows[:, HOLES[name]] += digits[:, -width:]
    return rows


def text_hashes(terms: Mapping[str, Any], count: int) -> npt.NDArray[np.uint8]:
    """SHA-256 of each contract's canonical text, shape (count, 32)."""
    rows = memoryview(texts(terms, count).tobytes())
    width = len(TEMPLATE)
    digests = b"".join([sha256(rows[i : i + width]).digest() for i in range(0, count * width, width)])
    return np.frombuffer(digests, np.uint8).reshape(count, DIGEST_BYTES)
