"""Foresight: a batch is known as a whole, so what its next commands touch is fetched while this one is
judged.

Law: nothing is changed here and nothing depends on it; a row that turns out to be another one costs a fetch.
"""

from typing import Any

import numpy as np

from engine.core.book import NO_SLOT, SLOT_MASK
from engine.core.jit import TABLES, part, rare
from engine.core.ladder import level_index
from engine.core.layout import LADDERS, State
from engine.core.tables import prefetch
from engine.vocabulary import Command

NEW_ORDER = int(Command.NEW_ORDER)
LADDERS_OF_INSTRUMENT = int(LADDERS)
COMMANDS, FAR, NEAR = 24, 8, 4  # ahead: the command, an order's own rows, what they lead to
CACHED_ORDERS, CACHED_INSTRUMENTS = 1 << 13, 1 << 6  # what stays in the processor's cache by itself


def _foresee_order_compiled(state: State, rows: Any, far: int) -> None:  # pragma: no cover - runs compiled
    """The order that a cancel names; without a branch, so other commands name slot 0."""
    slot = rows["order_id"][far] & SLOT_MASK
    prefetch(state.nodes, slot)
    prefetch(state.orders, slot)


def _foresee_market_compiled(
    state: State, rows: Any, far: int, near: int
) -> None:  # pragma: no cover - runs compiled
    """What lies outside the cache where there are many instruments or orders, an order's neighbours too."""
    instrument = np.int64(rows["instrument"][far])
    prefetch(state.instruments, instrument)
    prefetch(state.ladders, LADDERS_OF_INSTRUMENT * instrument)
    prefetch(state.ladders, LADDERS_OF_INSTRUMENT * instrument + 1)
    prefetch(state.accounts, np.int64(rows["account"][far]))
    prefetch(state.lots, rows["lot"][far])
    nodes, slot = state.nodes, rows["order_id"][near] & SLOT_MASK
    if slot != NO_SLOT and slot <= state.head["slots_used"][0]:
        prefetch(nodes, np.int64(nodes["level"][slot]))
        prefetch(nodes, np.int64(nodes["next"][slot]))
        prefetch(nodes, np.int64(nodes["previous"][slot]))
        prefetch(state.accounts, np.int64(nodes["account"][slot]))
        prefetch(state.lots, np.int64(state.orders["lot"][slot]))
    if rows["kind"][near] == NEW_ORDER:
        ladder = LADDERS_OF_INSTRUMENT * np.int64(rows["instrument"][near])
        if ladder >= 0 and ladder < LADDERS_OF_INSTRUMENT * state.head["instruments_used"][0]:
            ladder += rows["side"][near] & 1
            level = level_index(state, ladder, rows["price_fen_per_tonne"][near])
            prefetch(nodes, state.ladders["base"][ladder] + level)
            other = ladder ^ 1
            prefetch(nodes, state.ladders["base"][other] + state.ladders["best"][other])


foresee_order, foresee_market = part(_foresee_order_compiled), part(_foresee_market_compiled)


def _is_wide_compiled(state: State) -> Any:  # pragma: no cover - runs compiled
    head = state.head
    return head["slots_used"][0] > CACHED_ORDERS or head["instruments_used"][0] > CACHED_INSTRUMENTS


def _foresee_compiled(
    state: State, rows: Any, at: int, count: int, wide: bool
) -> None:  # pragma: no cover - runs compiled
    prefetch(rows, at + COMMANDS)
    far = min(at + FAR, count - 1)
    foresee_order(state, rows, far)
    if wide:
        rare()
        foresee_market(state, rows, far, min(at + NEAR, count - 1))


def _is_wide_never(state: State) -> bool:
    return False


def _foresee_nothing(state: State, rows: Any, at: int, count: int, wide: bool) -> None:
    return


is_wide = part(_is_wide_compiled if TABLES else _is_wide_never)
foresee = part(_foresee_compiled if TABLES else _foresee_nothing)
