"""What of the state's arrays is in use, and the hash over it (law 4).

Law: the state hash is a function of the state and of nothing else: freed slots are zeroed, what was never
used is zero and left out. Equal commands give equal hashes, compiled or interpreted, on any machine.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.layout import State

HASH_BYTES: Final = 32
LAYOUT_BYTES: Final = 8

Array = npt.NDArray[Any]
Rows = tuple[tuple[int, int], ...]  # half-open ranges


def _from_start(counter: str) -> Callable[[State], Rows]:
    return lambda state: ((0, _head(state, counter)),)


def _head(state: State, counter: str) -> int:
    return int(state.head[counter][0])


def _whole(state: State) -> Rows:
    return ((0, 1),)


def _slots(state: State) -> Rows:
    return ((0, _head(state, "slots_used") + 1),)


def _sessions(state: State) -> Rows:
    return ((0, _head(state, "sessions_used") + 1),)


def _nodes(state: State) -> Rows:
    first = _head(state, "orders_max") + 1
    return ((0, _head(state, "slots_used") + 1), (first, first + _head(state, "levels_used")))


def _ladders(state: State) -> Rows:
    each = len(state.ladders) // len(state.instruments)
    return ((0, each * _head(state, "instruments_used")),)


def _day(state: State) -> Rows:
    return ((0, len(state.day) if _head(state, "day_entries") else 0),)


# The one table: which rows of each array are in use. An array that is not named here is scratch, no state.
USED: Final[dict[str, Callable[[State], Rows]]] = {
    "head": _whole,
    "nodes": _nodes,
    "orders": _slots,
    "specials": _slots,
    "instruments": _from_start("instruments_used"),
    "ladders": _ladders,
    "bits": _from_start("words_used"),
    "accounts": _from_start("accounts_used"),
    "lots": _from_start("lots_used"),
    "day": _day,
    "sessions": _sessions,
    "dues": _from_start("dues_used"),
    "owners": _slots,
    "veiled": _from_start("levels_used"),
}
SCRATCH: Final = frozenset({"scratch"})  # arrays of the command at hand


def used_parts(state: State) -> Iterator[npt.NDArray[np.uint8]]:
    """The bytes of every part in use, in the order of State. Head comes first and says how long the others
    are, so that whoever fills the parts one after another meets them at the right places.
    """
    for name in state._fields:
        if name not in SCRATCH:
            array: Array = getattr(state, name)
            for first, end in USED[name](state):
                yield array[first:end].view(np.uint8).reshape(-1)


def state_hash(state: State) -> bytes:
    """SHA-256 over the parts in use: equal for equal states of equal capacity."""
    digest = hashlib.sha256()
    for part in used_parts(state):
        digest.update(part.data)
    return digest.digest()


def layout_digest() -> bytes:
    """LAYOUT_BYTES over the names and types of the arrays: a snapshot of another layout is not loaded."""
    from engine.core.layout import Capacity, empty_state

    tiny = empty_state(Capacity(orders=1, levels=16, instruments=1, accounts=1, lots=1, day=1))
    named = [(name, str(getattr(tiny, name).dtype)) for name in tiny._fields if name not in SCRATCH]
    return hashlib.sha256(repr(named).encode()).digest()[:LAYOUT_BYTES]
