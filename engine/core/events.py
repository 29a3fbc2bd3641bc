"""Events: every fact the core states, written into the caller's buffer.

Law: an event is written whole, all 128 bytes, because the buffer is used again; and whatever concerns an
account takes the next number of that account's own sequence.
"""

from typing import Any

import numpy as np

from engine.core.book import whole_leaves
from engine.core.jit import part
from engine.core.layout import State, Turn
from engine.vocabulary import Command, Event, Flag

OPEN_ACCOUNT, BUST_TRADE = int(Command.OPEN_ACCOUNT), int(Command.BUST_TRADE)
ACCEPTED = int(Event.ACCEPTED)
REJECTED = int(Event.REJECTED)
TRADE = int(Event.TRADE)
CANCELED = int(Event.CANCELED)
REPEATED = int(Event.REPEATED)
PICK = int(Command.PICK)
BY_REFERENCE = int(Flag.BY_REFERENCE)
DUPLICATE = int(Flag.DUPLICATE)
NOBODY = -1
KIND_SHIFT = np.uint64(8)
COMMAND_CODES = np.uint64(0x0000_01FF_FFFF_00FF)  # version, side, type, time in force, flag BY_REFERENCE
ORDER_CODES = np.uint64(0x0000_FFFF_FFFF_00FF)  # the same and all flags


@part
def open_row(state: State, turn: Turn) -> Any:
    """Take the next row of the buffer and write what every event of the command at hand shares; return it."""
    head, events, commands, at = state.head, turn.events, turn.commands, turn.at
    n = head["events"][0]
    head["events"][0] = n + 1
    events["sequence"][n] = commands["sequence"][at]
    events["time_ns"][n] = commands["time_ns"][at]
    events["index"][n] = n - head["first_event"][0]
    events["tag"][n] = commands["tag"][at]
    return n


@part
def begin(state: State, turn: Turn, kind: int) -> Any:
    """Start an event about the command at hand; return its row."""
    events, commands, at = turn.events, turn.commands, turn.at
    n = open_row(state, turn)
    events["codes"][n] = commands["codes"][at] & COMMAND_CODES | np.uint64(kind) << KIND_SHIFT
    events["instrument"][n] = commands["instrument"][at]
    events["account"][n] = commands["account"][at]
    return n


@part
def next_of_account(state: State, account: int) -> Any:
    """The account's next sequence number."""
    sequence = state.accounts["sequence"][account] + 1
    state.accounts["sequence"][account] = sequence
    return sequence


@part
def clear_body(events: Any, n: int) -> None:
    """Zero what stands behind the head: for the kinds that fill little of it."""
    events["counter_account"][n] = 0
    events["account_sequence"][n] = 0
    events["counter_account_sequence"][n] = 0
    events["order_id"][n] = 0
    events["client_order_id_0"][n] = 0
    events["client_order_id_1"][n] = 0
    events["price_fen_per_tonne"][n] = 0
    events["quantity_kg"][n] = 0
    events["leaves_kg"][n] = 0
    events["cum_kg"][n] = 0
    events["lot"][n] = 0


@part
def emit_rejected(state: State, turn: Turn, reason: int) -> Any:
    """The command was judged and refused: it carries what it asked for, and settlement's number if any."""
    commands, at, events = turn.commands, turn.at, turn.events
    n = begin(state, turn, REJECTED)
    clear_body(events, n)
    events["reason"][n] = reason
    events["order_id"][n] = commands["order_id"][at]
    events["client_order_id_0"][n] = commands["client_order_id_0"][at]
    events["client_order_id_1"][n] = commands["client_order_id_1"][at]
    events["price_fen_per_tonne"][n] = commands["price_fen_per_tonne"][at]
    events["quantity_kg"][n] = commands["quantity_kg"][at]
    events["lot"][n] = commands["lot"][at]
    if commands["kind"][at] >= OPEN_ACCOUNT and commands["kind"][at] <= BUST_TRADE:  # else it is a session
        events["outbox"][n] = commands["outbox"][at]
    return n


@part
def emit_repeated(state: State, turn: Turn) -> None:
    """A command of settlement came again; every command has an event, so that readers see it pass."""
    n = begin(state, turn, REPEATED)
    clear_body(turn.events, n)
    turn.events["outbox"][n] = turn.commands["outbox"][turn.at]


@part
def emit_order(state: State, turn: Turn, kind: int, slot: int, ladder: int) -> Any:
    """A fact about the order in `slot`, with what it has left; the caller adds what is special. Return its
    row.
    """
    events, nodes, orders = turn.events, state.nodes, state.orders
    account, leaves = nodes["account"][slot], whole_leaves(state, slot)
    n = open_row(state, turn)
    events["codes"][n] = orders["codes"][slot] & ORDER_CODES | np.uint64(kind) << KIND_SHIFT
    events["instrument"][n] = ladder >> 2
    events["account"][n] = account
    events["listing_version"][n] = orders["version"][slot]
    events["account_sequence"][n] = next_of_account(state, account)
    events["amount_fen"][n] = 0
    events["order_id"][n] = nodes["id"][slot]
    events["client_order_id_0"][n] = orders["client_order_id_0"][slot]
    events["client_order_id_1"][n] = orders["client_order_id_1"][slot]
    events["price_fen_per_tonne"][n] = orders["price"][slot]
    events["quantity_kg"][n] = orders["quantity"][slot]
    events["leaves_kg"][n] = leaves
    events["cum_kg"][n] = orders["cum"][slot]
    events["lot"][n] = orders["lot"][slot]
    return n


@part
def set_outcome(turn: Turn, n: int, leaves: int, cum: int, amount: int) -> None:
    """Complete an acknowledgement: what rests, what was filled and for how much."""
    turn.events["leaves_kg"][n] = leaves
    turn.events["cum_kg"][n] = cum
    turn.events["amount_fen"][n] = amount


@part
def emit_canceled(state: State, turn: Turn, slot: int, ladder: int, reason: int) -> None:
    """An order ended with kilograms left; `slot` still holds it."""
    events = turn.events
    n = emit_order(state, turn, CANCELED, slot, ladder)
    events["reason"][n] = reason
    events["quantity_kg"][n] = events["leaves_kg"][n]
    events["leaves_kg"][n] = 0


@part
def emit_pair(
    state: State, turn: Turn, kind: int, ladder: int, incoming: int, resting: int, price: int, quantity: int
) -> Any:
    """Two orders met, after both leaves were changed (semantics A2, D1). Returns its row."""
    events, nodes, orders = turn.events, state.nodes, state.orders
    account, counter_account = nodes["account"][incoming], nodes["account"][resting]
    n = open_row(state, turn)
    events["codes"][n] = orders["codes"][incoming] & ORDER_CODES | np.uint64(kind) << KIND_SHIFT
    events["instrument"][n] = ladder >> 2
    events["account"][n] = account
    events["counter_account"][n] = counter_account
    events["account_sequence"][n] = next_of_account(state, account)
    events["counter_account_sequence"][n] = next_of_account(state, counter_account)
    events["order_id"][n] = nodes["id"][incoming]
    events["counter_order_id"][n] = nodes["id"][resting]
    events["match_id"][n] = 0
    events["price_fen_per_tonne"][n] = price
    events["quantity_kg"][n] = quantity
    events["leaves_kg"][n] = whole_leaves(state, incoming)
    events["counter_leaves_kg"][n] = whole_leaves(state, resting)
    events["lot"][n] = orders["lot"][incoming if ladder & 1 else resting]
    return n


@part
def emit_outcome_again(state: State, turn: Turn, entry: int) -> None:
    """The first outcome of a repeated command, marked as a duplicate (semantics C8)."""
    commands, day, events = turn.commands, state.day, turn.events
    accepted, told = day["order_id"][entry] != 0, day["reason"][entry]
    n = emit_rejected(state, turn, 0 if accepted else told)
    events["flags"][n] |= DUPLICATE
    if accepted:
        events["price_fen_per_tonne"][n] = told
        events["kind"][n] = ACCEPTED
        events["listing_version"][n] = 1
        events["amount_fen"][n] = day["amount"][entry]
        events["order_id"][n] = day["order_id"][entry]
        events["leaves_kg"][n] = day["leaves"][entry]
        events["cum_kg"][n] = day["cum"][entry]
        if commands["kind"][turn.at] == PICK:  # that of a bid names a lot, not kilograms; each is filled
            events["quantity_kg"][n] = day["cum"][entry]


@part
def emit_cash(state: State, turn: Turn, kind: int, account: int) -> None:
    """Money arrived or left, or an account was opened: amounts after the command."""
    events, commands, at = turn.events, turn.commands, turn.at
    n = begin(state, turn, kind)
    clear_body(events, n)
    events["instrument"][n] = NOBODY
    events["account_sequence"][n] = next_of_account(state, account)
    events["amount_fen"][n] = commands["amount_fen"][at]
    events["available_fen"][n] = state.accounts["available"][account]
    events["held_fen"][n] = state.accounts["held"][account]
    events["outbox"][n] = commands["outbox"][at]


@part
def emit_lot(state: State, turn: Turn, kind: int, lot: int) -> None:
    """A lot was registered or left the warehouse: kilograms after the command."""
    events, lots, commands, at = turn.events, state.lots, turn.commands, turn.at
    account = lots["account"][lot]
    n = begin(state, turn, kind)
    clear_body(events, n)
    events["instrument"][n] = lots["instrument"][lot]
    events["account"][n] = account
    events["account_sequence"][n] = next_of_account(state, account)
    events["free_kg"][n] = lots["free"][lot]
    events["listed_kg"][n] = lots["listed"][lot]
    events["outbox"][n] = commands["outbox"][at]
    events["quantity_kg"][n] = commands["quantity_kg"][at]
    events["contracted_kg"][n] = lots["contracted"][lot]
    events["lot"][n] = lot


@part
def emit_market(state: State, turn: Turn, kind: int, instrument: int) -> Any:
    """Something about an instrument, or (NOBODY) about the whole market: the day, the clock. Returns
    its row.
    """
    events = turn.events
    n = begin(state, turn, kind)
    clear_body(events, n)
    events["instrument"][n] = instrument
    events["account"][n] = NOBODY
    if instrument != NOBODY:
        instruments = state.instruments
        events["phase"][n] = instruments["phase"][instrument]
        events["lower_fen_per_tonne"][n] = instruments["lower"][instrument]
        events["upper_fen_per_tonne"][n] = instruments["upper"][instrument]
        events["last_fen_per_tonne"][n] = instruments["last"][instrument]
        events["price_fen_per_tonne"][n] = instruments["reference"][instrument]
    return n
