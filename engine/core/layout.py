"""The state of the exchange: fourteen arrays of fixed layout, and nothing else (law 4).

    head        one row: counters, the free list, the clock
    nodes       32 bytes each, hot: order slots 1..orders_max, then one sentinel per price level
    orders      64 bytes each, cold: what matching seldom needs, same index as the slot
    specials    32 bytes each: of icebergs, stops, listings and orders that expire, same index
    instruments 192 bytes each: terms, phase, last price, the day's trades
    ladders     four rows per instrument (buy, sell, buy stops, sell stops): the price ladder of one side
    bits        u64 words: which levels of a ladder hold orders, in three tiers of 64
    accounts    64 bytes each: money available and held, counters
    veiled      i64 per level: kilograms of icebergs that the level does not show
    lots        64 bytes each: kilograms free, listed, contracted
    day         64 bytes each: the day's client order ids and their first outcomes (semantics C8)
    sessions    64 bytes each: who is connected, with which scope and timer, slots 1..sessions_max (C7)
    dues        16 bytes each: when which good-till-date order expires, the earliest first (dues.py)
    owners      a byte for each slot: whose order may be in it (book.owner_byte); 0: nobody's

A level is a circular list whose sentinel is a node like any other, so that linking and unlinking have no
branch:

    sentinel ⇄ oldest ⇄ … ⇄ youngest ⇄ sentinel   sentinel.leaves = kilograms, .id = orders, .account = ladder

Both sides are stored as "smaller index is better": price = origin + index x stride, with stride +tick for
sells and -tick for buys, so that one code path serves both. Slot 0 is nobody: 0 means "none" wherever a slot
stands.
"""

from typing import Final, NamedTuple

import numpy as np

from engine.records import Records, aligned_zeros

HEAD: Final = np.dtype(
    [
        ("sequence", "<i8"),
        ("time_ns", "<i8"),
        ("outbox", "<i8"),  # highest number of settlement's that was applied
        ("free_slot", "<i8"),  # top of the stack of freed slots, linked by `next`; 0: none
        ("slots_used", "<i8"),  # slots 1..slots_used have been used at least once
        ("live_orders", "<i8"),
        ("levels_used", "<i8"),
        ("words_used", "<i8"),
        ("day_entries", "<i8"),
        ("day_number", "<i8"),
        ("accounts_used", "<i8"),  # highest account number + 1
        ("lots_used", "<i8"),
        ("instruments_used", "<i8"),
        ("orders_max", "<i8"),  # sizes of the arrays; this = index of the first sentinel - 1
        ("levels_max", "<i8"),
        ("instruments_max", "<i8"),
        ("accounts_max", "<i8"),
        ("lots_max", "<i8"),
        ("day_max", "<i8"),
        ("dues_used", "<i8"),
        ("next_expiry_ns", "<i8"),  # no order, timer or volatility auction is due earlier; 0: none is
        ("slices", "<i8"),  # that the resting icebergs have still to show
        ("events", "<i8"),  # written in this call; 0 between calls
        ("first_event", "<i8"),  # of the command at hand; 0 between calls
        ("sessions_used", "<i8"),  # slots 1..sessions_used have been used at least once
        ("sessions_max", "<i8"),
        ("free_session", "<i8"),  # top of the stack of freed sessions, linked by `next`; 0: none
        ("day_started", "<i8"),  # sequence of the last roll of the day
        ("profile", "<i8"),  # vocabulary.Profile (semantics F3)
    ]
)

NODE: Final = np.dtype(
    [
        ("next", "<i4"),
        ("previous", "<i4"),
        ("leaves", "<i8"),  # kg shown; an incoming order's whole live quantity
        ("level", "<i4"),  # node index of the level's sentinel
        ("account", "<i4"),
        ("id", "<i8"),  # order id; 0: the slot is free
    ]
)

_ORDER_COLD_FIELDS: Final = {
    "client_order_id_0": ("<u8", 0),
    "client_order_id_1": ("<u8", 8),
    "quantity": ("<i8", 16),  # kg; = cum + leaves + prevented
    "cum": ("<i8", 24),  # kg
    "hold": ("<i8", 32),  # fen held for what it has left (semantics G3)
    "price": ("<i4", 40),  # its limit, fen per tonne; at most 10**8
    "session": ("<i4", 44),  # slot of the session that it was entered in, while that lives; 0: none
    "lot": ("<i4", 48),
    "version": ("<i4", 52),
    "codes": ("<u8", 56),  # the bytes that follow stand as in COMMAND and EVENT, to be copied as one word
    "special": ("u1", 57),  # 1: the row of `specials` is in use
    "side": ("u1", 58),
    "order_type": ("u1", 59),
    "time_in_force": ("u1", 60),
    "flags": ("u1", 61),
    "condemned": ("u1", 62),  # the reason for which it is canceled after the uncross (semantics E1); 0: none
    "self_trade_mode": ("u1", 63),
}

ORDER_COLD: Final = np.dtype(
    {
        "names": list(_ORDER_COLD_FIELDS),
        "formats": [kind for kind, _ in _ORDER_COLD_FIELDS.values()],
        "offsets": [offset for _, offset in _ORDER_COLD_FIELDS.values()],
        "itemsize": 64,
    }
)

_SPECIAL_FIELDS: Final = {
    "hidden": ("<i8", 0),  # kg of an iceberg that it does not show
    "display": ("<i8", 8),  # kg of a slice
    "stop": ("<i8", 16),  # fen per tonne, of a stop
    "minimum": ("<i8", 16),  # kg, of a listing: the least that a pick takes or a bid gets; 0: all
    "expire_ns": ("<i8", 24),
}

SPECIAL: Final = np.dtype(
    {
        "names": list(_SPECIAL_FIELDS),
        "formats": [kind for kind, _ in _SPECIAL_FIELDS.values()],
        "offsets": [offset for _, offset in _SPECIAL_FIELDS.values()],
        "itemsize": 32,
    }
)

INSTRUMENT_ROW: Final = np.dtype(
    [
        ("code", "S16"),
        ("defined", "<i8"),
        ("mode", "<i8"),
        ("phase", "<i8"),
        ("tick", "<i8"),  # fen per tonne
        ("step", "<i8"),  # kg
        ("minimum", "<i8"),  # kg
        ("maximum", "<i8"),  # kg
        ("reference", "<i8"),  # fen per tonne
        ("lower", "<i8"),
        ("upper", "<i8"),
        ("last", "<i8"),
        ("buyer_deposit", "<i4"),  # basis points
        ("seller_deposit", "<i4"),
        ("band", "<i4"),
        ("fee", "<i4"),  # fen per tonne
        ("collar", "<i4"),  # basis points of market orders; 0: the band
        ("dynamic", "<i4"),  # basis points around the last trade; 0: none (semantics E5)
        ("volatility_s", "<i8"),  # what a print beyond it opens; 0: it ends the incoming order
        ("auction_until", "<i8"),  # ns, of a volatility auction; 0: none
        ("day_amount", "<i8"),  # fen and kg of the day's trades less busts (semantics E5)
        ("day_kg", "<i8"),
        ("kept_cancels", "<i8"),  # 1: there may be condemned orders
        ("step_inverse", "<i8"),  # for holds and the check of the step
        ("reserved_0", "<i8"),
        ("reserved_1", "<i8"),
    ]
)

LADDERS: Final = 4  # of an instrument: 0 buys, 1 sells, 2 buy stops, 3 sell stops

LADDER: Final = np.dtype(
    [
        ("best", "<i8"),  # index of the best level that holds orders; = levels when there is none
        ("base", "<i8"),  # node index of level 0's sentinel
        ("origin", "<i8"),  # price of level 0, fen per tonne
        ("stride", "<i8"),  # +tick or -tick
        ("inverse", "<i8"),  # of the tick, for ladder.level_index
        ("levels", "<i4"),  # levels of the band
        ("capacity", "<i4"),  # sentinels owned
        ("tier_0", "<i4"),  # index of the first word of each tier in `bits`
        ("tier_1", "<i4"),
        ("tier_2", "<i4"),
        ("words_2", "<i4"),
    ]
)

ACCOUNT: Final = np.dtype(
    [
        ("open", "<i8"),
        ("group", "<i8"),
        ("available", "<i8"),  # fen
        ("held", "<i8"),  # fen
        ("sequence", "<i8"),  # events that concerned the account
        ("reference", "<u8"),  # highest client reference seen
        ("live_orders", "<i8"),
        ("blocked", "<i8"),  # 1: by the kill switch (semantics C6)
    ]
)

LOT_ROW: Final = np.dtype(
    [
        ("registered", "<i8"),  # kg ever registered less kg withdrawn
        ("free", "<i8"),
        ("listed", "<i8"),
        ("contracted", "<i8"),
        ("account", "<i4"),
        ("instrument", "<i4"),
        ("reserved_0", "<i8"),
        ("reserved_1", "<i8"),
        ("reserved_2", "<i8"),
    ]
)

DAY_ENTRY: Final = np.dtype(
    [
        ("account", "<i4"),  # 0: the entry is free
        ("reason", "<i4"),  # of a rejection (order id 0); else the price of the order, fen per tonne
        ("client_order_id_0", "<u8"),
        ("client_order_id_1", "<u8"),
        ("content", "<u8"),  # fingerprint of the command
        ("order_id", "<i8"),
        ("leaves", "<i8"),
        ("cum", "<i8"),
        ("amount", "<i8"),
    ]
)


SESSION_ROW: Final = np.dtype(
    [
        ("id", "<i8"),  # sequence << 22 | slot; 0: the row is free
        ("account", "<i4"),
        ("scope", "<i4"),  # of cancel-on-disconnect, vocabulary.Scope
        ("due_ns", "<i8"),  # its dead-man timer; 0: none
        ("next", "<i8"),  # of the stack of freed rows
        ("reserved_0", "<i8"),
        ("reserved_1", "<i8"),
        ("reserved_2", "<i8"),
        ("reserved_3", "<i8"),
    ]
)


DUE: Final = np.dtype([("due_ns", "<i8"), ("order_id", "<i8")])
OWNERS_AT_ONCE: Final = 64  # are looked at with a few instructions
DUES_PER_ORDER: Final = 2  # rows: as many of ended orders as of live ones, before they are cleared away


class State(NamedTuple):
    """All of the exchange. Kernels take it whole; field names are the arrays of the module's drawing."""

    head: Records
    nodes: Records
    orders: Records
    specials: Records
    instruments: Records
    ladders: Records
    bits: "np.typing.NDArray[np.uint64]"
    accounts: Records
    lots: Records
    day: Records
    veiled: "np.typing.NDArray[np.int64]"
    sessions: Records
    dues: Records
    owners: "np.typing.NDArray[np.uint8]"
    scratch: "np.typing.NDArray[np.int64]"  # of the command at hand; no state


EVENTS_PER_ORDER: Final = 4  # a stop is triggered, trades, refreshes or loses a partner, and ends
EVENTS_PER_INSTRUMENT: Final = 4  # an auction ends, the phase changes, and again, and is indicated
SPARE_EVENTS: Final = 64  # of one command besides those of orders and one for each instrument


class Turn(NamedTuple):
    """What one command of a batch is judged with: row `at` of the batch, and where its events go."""

    commands: Records
    terms: Records  # the same bytes as INSTRUMENT_TERMS
    events: Records
    at: int


class Capacity(NamedTuple):
    """Named maxima of every array (law 10). Memory is touched only where it is used."""

    orders: int = 1_000_000  # live orders at once, at most 2**22 - 1 (the slot's bits in an order id)
    levels: int = 1 << 18  # price levels of all ladders
    instruments: int = 1 << 10
    accounts: int = 1 << 16
    lots: int = 1 << 20
    day: int = 1 << 20  # client order ids a day, a power of two
    sessions: int = 1 << 14  # live at once

    @property
    def events(self) -> int:
        """What the largest command can cause: every live order ends, every instrument changes."""
        return EVENTS_PER_ORDER * self.orders + EVENTS_PER_INSTRUMENT * self.instruments + SPARE_EVENTS


DAY_FILL_NUMERATOR: Final = 7  # the day's table takes new ids up to 7/8 of its size
DAY_FILL_DENOMINATOR: Final = 8


def owners_for(orders: int) -> int:
    """Bytes of `owners`: one for each slot, and to the end of those that are looked at at once."""
    return -(-(1 + orders) // OWNERS_AT_ONCE) * OWNERS_AT_ONCE


def empty_state(capacity: Capacity) -> State:
    """Arrays of zeros for a new exchange."""
    assert capacity.orders < 1 << 22, "an order id has 22 bits for the slot"
    assert capacity.day & (capacity.day - 1) == 0, "the day's table has a power of two of entries"
    words = 2 * capacity.levels // 16 + 32 * capacity.instruments
    head = np.zeros(1, HEAD)
    head["orders_max"], head["levels_max"] = capacity.orders, capacity.levels
    head["instruments_max"], head["accounts_max"] = capacity.instruments, capacity.accounts
    head["lots_max"], head["day_max"] = capacity.lots, capacity.day
    head["sessions_max"] = capacity.sessions
    return State(
        head=head,
        nodes=aligned_zeros(1 + capacity.orders + capacity.levels, NODE),
        orders=aligned_zeros(1 + capacity.orders, ORDER_COLD),
        specials=aligned_zeros(1 + capacity.orders, SPECIAL),
        instruments=aligned_zeros(capacity.instruments, INSTRUMENT_ROW),
        ladders=aligned_zeros(LADDERS * capacity.instruments, LADDER),
        bits=np.zeros(words, np.uint64),
        accounts=aligned_zeros(capacity.accounts, ACCOUNT),
        lots=aligned_zeros(capacity.lots, LOT_ROW),
        day=aligned_zeros(capacity.day, DAY_ENTRY),
        veiled=np.zeros(capacity.levels, np.int64),
        sessions=aligned_zeros(1 + capacity.sessions, SESSION_ROW),
        dues=aligned_zeros(DUES_PER_ORDER * capacity.orders, DUE),
        owners=np.zeros(owners_for(capacity.orders), np.uint8),
        scratch=np.zeros(1 + max(capacity.orders, capacity.instruments), np.int64),
    )
