"""How the arrays reach the kernels: as a list of addresses, so that handing over a batch costs next to
nothing.
"""

from typing import Any

import numpy as np

from engine.core.jit import TABLES, part
from engine.core.layout import (
    ACCOUNT,
    DAY_ENTRY,
    DUE,
    HEAD,
    INSTRUMENT_ROW,
    LADDER,
    LOT_ROW,
    NODE,
    ORDER_COLD,
    SESSION_ROW,
    SPECIAL,
    State,
)
from engine.core.tables import table_at, table_of
from engine.records import EVENT, Records

U64, I64, U8 = np.dtype(np.uint64), np.dtype(np.int64), np.dtype(np.uint8)


def memory_of(state: State, events: Records) -> Any:
    """What `apply_batch` takes for the state and the buffer of events; both must outlive it."""
    return _addresses_of(state, events) if TABLES else (state, events)


def _addresses_of(state: State, events: Records) -> Any:  # pragma: no cover - kernels read it compiled
    arrays = [*state, events]
    return np.array([array.ctypes.data for array in arrays] + [len(events)], np.int64)


def _open_addresses(memory: Any) -> Any:  # pragma: no cover - runs compiled
    state = State(
        table_at(memory[0], HEAD),
        table_at(memory[1], NODE),
        table_at(memory[2], ORDER_COLD),
        table_at(memory[3], SPECIAL),
        table_at(memory[4], INSTRUMENT_ROW),
        table_at(memory[5], LADDER),
        table_at(memory[6], U64),
        table_at(memory[7], ACCOUNT),
        table_at(memory[8], LOT_ROW),
        table_at(memory[9], DAY_ENTRY),
        table_at(memory[10], I64),
        table_at(memory[11], SESSION_ROW),
        table_at(memory[12], DUE),
        table_at(memory[13], U8),
        table_at(memory[14], I64),
    )
    return state, table_at(memory[15], EVENT), memory[16]


def _open_arrays(memory: Any) -> Any:
    state, events = memory
    return state, events, len(events)


def _rows_of_address(array: Any, row: Any) -> Any:  # pragma: no cover - runs compiled
    return table_of(array, row)


def _rows_of_array(array: Any, row: Any) -> Any:
    return array.view(row)


open_memory = part(_open_addresses if TABLES else _open_arrays)
rows_of = part(_rows_of_address if TABLES else _rows_of_array)
