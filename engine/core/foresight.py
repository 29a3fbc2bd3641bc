"""Foresight: a batch is known as a whole, so what its next commands touch is fetched while this one is
judged.

Law: nothing is changed here and nothing depends on it; a row that turns out to be another one costs a fetch.
"""

from typing import Any

import numpy as np

from engine.core.book import SLOT_MASK
from engine.core.jit import TABLES, part
from engine.core.ladder import level_index
from engine.core.layout import LADDERS, State
from engine.core.tables import prefetch
from engine.vocabulary import Command

NEW_ORDER, CANCEL_ORDER = int(Command.NEW_ORDER), int(Command.CANCEL_ORDER)
LADDERS_OF_INSTRUMENT = int(LADDERS)
COMMANDS, FAR, NEAR = 24, 8, 4  # ahead: the command, an order's own rows, what they lead to


def _foresee_far(state: State, rows: Any, at: int) -> None:  # pragma: no cover - runs compiled
    kind = rows["kind"][at]
    if kind == CANCEL_ORDER:
        slot = rows["order_id"][at] & SLOT_MASK
        if slot <= state.head["slots_used"][0]:
            prefetch(state.nodes, slot)
            prefetch(state.orders, slot)
    elif kind == NEW_ORDER:
        instrument = np.int64(rows["instrument"][at])
        prefetch(state.instruments, instrument)
        prefetch(state.ladders, LADDERS_OF_INSTRUMENT * instrument)
        prefetch(state.ladders, LADDERS_OF_INSTRUMENT * instrument + 1)
        prefetch(state.accounts, np.int64(rows["account"][at]))
        prefetch(state.lots, rows["lot"][at])
        prefetch(state.orders, state.head["free_slot"][0])


def _foresee_near(state: State, rows: Any, at: int) -> None:  # pragma: no cover - runs compiled
    kind = rows["kind"][at]
    if kind == NEW_ORDER:
        ladder = LADDERS_OF_INSTRUMENT * np.int64(rows["instrument"][at])
        if ladder >= 0 and ladder < LADDERS_OF_INSTRUMENT * state.head["instruments_used"][0]:
            ladder += rows["side"][at] & 1
            level = level_index(state, ladder, rows["price_fen_per_tonne"][at])
            prefetch(state.nodes, state.ladders["base"][ladder] + level)
            other = ladder ^ 1
            prefetch(state.nodes, state.ladders["base"][other] + state.ladders["best"][other])
    if kind != CANCEL_ORDER:
        return
    slot = rows["order_id"][at] & SLOT_MASK
    if slot <= state.head["slots_used"][0]:
        nodes = state.nodes
        prefetch(nodes, np.int64(nodes["level"][slot]))
        prefetch(nodes, np.int64(nodes["next"][slot]))
        prefetch(nodes, np.int64(nodes["previous"][slot]))
        prefetch(state.accounts, np.int64(nodes["account"][slot]))
        prefetch(state.lots, np.int64(state.orders["lot"][slot]))


foresee_far, foresee_near = part(_foresee_far), part(_foresee_near)


def _foresee_compiled(
    state: State, rows: Any, at: int, count: int
) -> None:  # pragma: no cover - runs compiled
    prefetch(rows, at + COMMANDS)
    if at + FAR < count:
        foresee_far(state, rows, at + FAR)
    if at + NEAR < count:
        foresee_near(state, rows, at + NEAR)


def _foresee_nothing(state: State, rows: Any, at: int, count: int) -> None:
    return


foresee = part(_foresee_compiled if TABLES else _foresee_nothing)
