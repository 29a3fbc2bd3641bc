"""Idempotency: the day's client order ids and the first outcome of each (law 8, semantics C8).

Law: a client order id that was judged once today is never judged again. Open addressing with linear probing;
entries are not removed before the day rolls, so a probe ends at the first free entry.
"""

from typing import Any

import numpy as np

from engine.core.book import NO_SLOT, slot_of
from engine.core.jit import part, routine, wrapping_product
from engine.core.layout import DAY_FILL_DENOMINATOR, DAY_FILL_NUMERATOR, State, Turn

MIX = np.uint64(0x9E3779B97F4A7C15)
FOLD = np.uint64(32)


@part
def _mixed(hash_value: Any, word: Any) -> Any:
    mixed = wrapping_product(hash_value ^ np.uint64(word), MIX)
    return mixed ^ (mixed >> FOLD)


@part
def fingerprint(turn: Turn) -> Any:
    """A u64 over everything that a command asks for, but not over when and through whom it came."""
    commands, at = turn.commands, turn.at
    value = _mixed(MIX, commands["kind"][at])
    value = _mixed(value, commands["side"][at])
    value = _mixed(value, commands["order_type"][at])
    value = _mixed(value, commands["time_in_force"][at])
    value = _mixed(value, commands["instrument"][at])
    value = _mixed(value, commands["order_id"][at])
    value = _mixed(value, commands["price_fen_per_tonne"][at])
    value = _mixed(value, commands["quantity_kg"][at])
    value = _mixed(value, commands["lot"][at])
    value = _mixed(value, commands["stop_fen_per_tonne"][at])
    value = _mixed(value, commands["due_ns"][at])
    value = _mixed(value, commands["display_quantity_kg"][at])
    value = _mixed(value, commands["self_trade_mode"][at])
    value = _mixed(value, commands["flags"][at])
    return _mixed(value, commands["listing_version"][at])


@routine
def find_entry(state: State, account: int, word_0: Any, word_1: Any) -> Any:
    """The entry of (account, client order id), or the free one where it belongs."""
    day = state.day
    mask = state.head["day_max"][0] - 1
    value = _mixed(_mixed(_mixed(MIX, account), word_0), word_1)
    entry = np.int64(value & np.uint64(mask))
    while day["account"][entry] != 0:
        if (
            day["client_order_id_0"][entry] == word_0
            and day["client_order_id_1"][entry] == word_1
            and day["account"][entry] == account
        ):
            return entry
        entry = (entry + 1) & mask
    return entry


@part
def day_is_full(state: State) -> Any:
    """True when no further client order id is taken (semantics C8 `day_full`)."""
    return (
        state.head["day_entries"][0] * DAY_FILL_DENOMINATOR >= state.head["day_max"][0] * DAY_FILL_NUMERATOR
    )


@part
def remember(
    state: State, turn: Turn, entry: int, told: int, order_id: int, leaves: int, cum: int, amount: int
) -> None:
    """Store the first outcome of the command at hand in the free `entry`.

    `told` is the reason of a rejection (order id 0), or the price of an order.
    """
    day, commands, at = state.day, turn.commands, turn.at
    state.head["day_entries"][0] += 1
    day["account"][entry] = commands["account"][at]
    day["reason"][entry] = told
    day["client_order_id_0"][entry] = commands["client_order_id_0"][at]
    day["client_order_id_1"][entry] = commands["client_order_id_1"][at]
    day["content"][entry] = fingerprint(turn)
    day["order_id"][entry] = order_id
    day["leaves"][entry] = leaves
    day["cum"][entry] = cum
    day["amount"][entry] = amount


@routine
def forget_day(state: State) -> None:
    """Empty the table for a new day, but for the ids of orders that live (semantics C8).

    One walk around the table, from behind an entry that is free: each entry is taken out, and put in again
    where a search finds its place now, which is never behind where it stood.
    """
    day, mask = state.day, state.head["day_max"][0] - 1
    start = np.int64(0)
    while day["account"][start] != 0:
        start += 1
    for step in range(1, mask + 1):
        entry = (start + step) & mask
        if day["account"][entry] != 0:
            if slot_of(state, day["order_id"][entry]) != NO_SLOT:
                move_entry(state, entry)
            else:
                clear_entry(state, entry)
                state.head["day_entries"][0] -= 1


@part
def move_entry(state: State, entry: int) -> None:
    """Put an entry where a search finds it, now that what stood before it may be gone."""
    day = state.day
    account, reason = day["account"][entry], day["reason"][entry]
    word_0, word_1 = day["client_order_id_0"][entry], day["client_order_id_1"][entry]
    content, order_id = day["content"][entry], day["order_id"][entry]
    leaves, cum, amount = day["leaves"][entry], day["cum"][entry], day["amount"][entry]
    clear_entry(state, entry)
    place = find_entry(state, account, word_0, word_1)
    day["account"][place] = account
    day["reason"][place] = reason
    day["client_order_id_0"][place] = word_0
    day["client_order_id_1"][place] = word_1
    day["content"][place] = content
    day["order_id"][place] = order_id
    day["leaves"][place] = leaves
    day["cum"][place] = cum
    day["amount"][place] = amount


@part
def clear_entry(state: State, entry: int) -> None:
    """An entry is free again, and zero."""
    day = state.day
    day["account"][entry] = 0
    day["reason"][entry] = 0
    day["client_order_id_0"][entry] = 0
    day["client_order_id_1"][entry] = 0
    day["content"][entry] = 0
    day["order_id"][entry] = 0
    day["leaves"][entry] = 0
    day["cum"][entry] = 0
    day["amount"][entry] = 0
