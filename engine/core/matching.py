"""Matching: an incoming order meets the other side, best price first, oldest first (semantics A1-A3, A7).

One loop for both sides: levels are numbered so that a smaller index is better on either side.
"""

from typing import Any

import numpy as np

from engine.core.book import free_slot, unlink
from engine.core.events import Fill, emit_trade
from engine.core.holds import amount_fen, change_hold, charge_fen, hold_fen
from engine.core.jit import part
from engine.core.ladder import level_price
from engine.core.layout import State, Turn
from engine.vocabulary import Side

BUY = int(Side.BUY)


@part
def sweep(
    state: State, turn: Turn, instrument: int, side: int, order_id: int, quantity: int, limit: int, lot: int
) -> Any:
    """Fill against the other ladder down to the level index `limit`; return (leaves, amount of the fills)."""
    nodes, ladders = state.nodes, state.ladders
    other = 2 * instrument + 1 - side
    base = ladders["base"][other]
    leaves, total, match_id = quantity, np.int64(0), order_id & ~np.int64(0x3FFFFF)
    while leaves > 0 and ladders["best"][other] <= limit:
        level = ladders["best"][other]
        price = level_price(state, other, level)
        sentinel = base + level
        while leaves > 0 and nodes["next"][sentinel] != sentinel:
            resting = np.int64(nodes["next"][sentinel])
            filled = min(leaves, nodes["leaves"][resting])
            leaves -= filled
            goods = state.orders["lot"][resting] if side == BUY else lot
            fill = Fill(instrument, side, order_id, leaves, resting, match_id, price, filled, goods)
            total += execute(state, turn, fill, other)
            match_id += 1
    if leaves < quantity:
        state.instruments["last"][instrument] = price
    return leaves, total


@part
def execute(state: State, turn: Turn, fill: Fill, other: int) -> Any:
    """Carry out one fill: goods, money of both, the resting order's leaves, the event. Returns its amount in
    fen.
    """
    nodes, resting = state.nodes, fill.resting
    account = turn.commands["account"][turn.at]
    amount = amount_fen(fill.price, fill.quantity)
    state.lots["listed"][fill.lot] -= fill.quantity
    state.lots["contracted"][fill.lot] += fill.quantity
    state.accounts["available"][account] -= charge_fen(
        state, fill.instrument, fill.side, amount, fill.quantity
    )
    rest = nodes["leaves"][resting] - fill.quantity
    charged = charge_fen(state, fill.instrument, 1 - fill.side, amount, fill.quantity)
    change_hold(state, resting, hold_fen(state, fill.instrument, 1 - fill.side, fill.price, rest), charged)
    nodes["leaves"][resting] = rest
    nodes["leaves"][nodes["level"][resting]] -= fill.quantity
    emit_trade(state, turn, fill)
    if rest == 0:
        state.accounts["live_orders"][nodes["account"][resting]] -= 1
        unlink(state, resting, other)
        free_slot(state, resting)
    return amount
