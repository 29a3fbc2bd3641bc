"""The exchange: a pure state machine over commands (laws 1, 2, 4).

It reads no clock, file or socket. `apply` judges a batch in the compiled core; the answers are read from the
same arrays.
"""

from typing import Any, Final

import numpy as np

from engine.core.book import owner_byte
from engine.core.dispatch import apply_batch
from engine.core.ladder import next_level
from engine.core.layout import Capacity, State, empty_state
from engine.core.memory import memory_of
from engine.invariants import check_invariants
from engine.records import COMMAND, EVENT, Records, aligned_zeros, joined
from engine.vocabulary import RECORD_VERSION, Command, Event, Mode, Side

EVERYBODY: Final = -1
EVENTS_OF_A_BATCH: Final = 1 << 16  # room besides that for the largest command
EVENT_BUFFERS: Final = 3  # a batch is judged while the events of two others wait to be published


class Exchange:
    """All books, holds and lots of one shard."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.capacity = capacity or Capacity()
        self.state: State = empty_state(self.capacity)
        self._buffers: list[tuple[Records, Any]] = []  # of events, each with what the kernel takes for it

    @property
    def sequence(self) -> int:
        """The sequence of the last command judged."""
        return int(self.state.head["sequence"][0])

    @property
    def time_ns(self) -> int:
        """The time of the last command judged."""
        return int(self.state.head["time_ns"][0])

    @property
    def outbox(self) -> int:
        """Settlement's highest number that was applied."""
        return int(self.state.head["outbox"][0])

    def apply(self, commands: Records, buffer: int = 0) -> Records:
        """Judge stamped COMMAND records in order; return their EVENT records, valid until the next call with
        the same `buffer` (of EVENT_BUFFERS).
        """
        events, memory = self._buffer(buffer)
        done, written = apply_batch(memory, commands)
        if done == len(commands):
            return events[:written]
        parts = [events[:written].copy()]
        while done < len(commands):
            rest = commands[done:]
            step, written = apply_batch(memory, rest)
            assert step > 0, "the event buffer holds the events of any one command"
            parts.append(events[:written].copy())
            done += step
        return joined(parts)

    def _buffer(self, number: int) -> tuple[Records, Any]:
        """A buffer that holds the events of any command; its memory is touched only where it is used."""
        while len(self._buffers) <= number:
            events = aligned_zeros(self.capacity.events + EVENTS_OF_A_BATCH, EVENT)
            self._buffers.append((events, memory_of(self.state, events)))
        return self._buffers[number]

    def check_invariants(self) -> None:
        """Raise AssertionError if a cached number, a hold or a kilogram is not what it must be."""
        check_invariants(self.state)

    def answer(self, query: Records) -> Records:
        """The rows that answer one QUERY record, closed by an END row, all with its tag (EVENT records)."""
        kind, account = int(query["kind"][0]), int(query["account"][0])
        instrument = int(query["instrument"][0])
        known = 0 <= instrument < int(self.state.head["instruments_used"][0])
        if kind == Command.QUERY_ORDERS:
            rows = self._orders(self._slots_of(account))
        elif kind == Command.QUERY_BALANCES:
            rows = self._balances(account)
        elif kind == Command.QUERY_LOTS:
            rows = self._lots(account)
        elif kind == Command.QUERY_LISTINGS and known:
            rows = self._listings(instrument)
        elif kind == Command.QUERY_DEPTH and known:
            rows = self._levels(instrument)
        elif kind == Command.QUERY_INSTRUMENTS:
            rows = self._instruments()
        else:
            rows = np.zeros(0, EVENT)
        rows = joined([rows, _rows(1, Event.END)])
        rows["tag"] = query["tag"][0]
        rows["sequence"] = self.sequence
        rows["time_ns"] = self.time_ns
        return rows

    def _slots_of(self, account: int) -> list[int]:
        """Live slots of an account, or of everybody, in order of entry."""
        owners, nodes = self.state.owners[: int(self.state.head["slots_used"][0]) + 1], self.state.nodes
        if account == EVERYBODY:
            slots = np.flatnonzero(owners)
        else:
            slots = np.flatnonzero(owners == owner_byte(account))
            slots = slots[nodes["account"][slots] == account]
        return [int(slot) for slot in slots[np.argsort(nodes["id"][slots])]]

    def _sentinels(self, ladder: int) -> list[int]:
        """Sentinels of the levels of a ladder that hold orders, best first."""
        row = self.state.ladders[ladder]
        level, levels, found = int(row["best"]), int(row["levels"]), []
        while level < levels:
            found.append(int(row["base"]) + level)
            level = int(next_level(self.state, ladder, level))
        return found

    def _slots_in_priority(self, instrument: int) -> list[int]:
        """Live slots of an instrument: buys, then sells, best price first, oldest first (semantics A1)."""
        following = self.state.nodes["next"]
        slots = []
        for ladder in (4 * instrument, 4 * instrument + 1):
            for sentinel in self._sentinels(ladder):
                slot = int(following[sentinel])
                while slot != sentinel:
                    slots.append(slot)
                    slot = int(following[slot])
        return slots

    def waiting_stops(self, instrument: int) -> list[tuple[int, str, int, int]]:
        """(order id, side, stop in fen per tonne, leaves in kg) of the stops, buys first, nearest first."""
        found = []
        for side in Side:
            ladder = self.state.ladders[4 * instrument + 2 + side]
            for level in range(int(ladder["levels"]) + 1):
                sentinel = int(ladder["base"]) + level
                slot = int(self.state.nodes["next"][sentinel])
                while slot != sentinel:
                    node, special = self.state.nodes[slot], self.state.specials[slot]
                    found.append(
                        (int(node["id"]), side.name.lower(), int(special["stop"]), int(node["leaves"]))
                    )
                    slot = int(node["next"])
        return found

    def _orders(self, slots: list[int]) -> Records:
        rows, nodes, orders = (
            _rows(len(slots), Event.ORDER),
            self.state.nodes[slots],
            self.state.orders[slots],
        )
        ladders = self.state.nodes["account"][nodes["level"]]
        rows["instrument"], rows["side"] = ladders >> 2, ladders & 1
        rows["account"], rows["order_id"], rows["leaves_kg"] = (
            nodes["account"],
            nodes["id"],
            nodes["leaves"] + self.state.specials["hidden"][slots],
        )
        rows["price_fen_per_tonne"] = orders["price"]
        rows["order_type"], rows["time_in_force"] = orders["order_type"], orders["time_in_force"]
        rows["flags"], rows["listing_version"] = orders["flags"], orders["version"]
        rows["client_order_id_0"] = orders["client_order_id_0"]
        rows["client_order_id_1"] = orders["client_order_id_1"]
        rows["quantity_kg"], rows["lot"] = orders["quantity"], orders["lot"]
        rows["cum_kg"] = orders["cum"]
        return rows

    def _listings(self, instrument: int) -> Records:
        """The live orders of an instrument in priority order, each with the least that a pick takes of it
        (semantics F2).
        """
        slots = self._slots_in_priority(instrument)
        rows = self._orders(slots)
        if self.state.instruments["mode"][instrument] == Mode.LISTED:
            minimum = self.state.specials["minimum"][slots]
            rows["pick_minimum_kg"] = np.where(minimum, minimum, rows["leaves_kg"])
        return rows

    def _balances(self, account: int) -> Records:
        accounts = self.state.accounts
        numbers = (
            np.flatnonzero(accounts["open"]) if account == EVERYBODY else _one(account, accounts["open"])
        )
        rows = _rows(len(numbers), Event.BALANCE)
        rows["account"], rows["instrument"] = numbers, -1
        rows["available_fen"] = accounts["available"][numbers]
        rows["held_fen"] = accounts["held"][numbers]
        rows["account_sequence"] = accounts["sequence"][numbers]
        return rows

    def _lots(self, account: int) -> Records:
        used = int(self.state.head["lots_used"][0])
        lots = self.state.lots[:used]
        chosen = lots["account"] != 0 if account == EVERYBODY else lots["account"] == account
        numbers = np.flatnonzero(chosen & (lots["account"] != 0))
        rows = _rows(len(numbers), Event.LOT)
        rows["lot"], rows["account"] = numbers, lots["account"][numbers]
        rows["instrument"], rows["quantity_kg"] = lots["instrument"][numbers], lots["registered"][numbers]
        rows["free_kg"], rows["listed_kg"] = lots["free"][numbers], lots["listed"][numbers]
        rows["contracted_kg"] = lots["contracted"][numbers]
        return rows

    def _levels(self, instrument: int) -> Records:
        sides = [(side, self._sentinels(4 * instrument + side)) for side in (Side.BUY, Side.SELL)]
        rows = _rows(sum(len(found) for _, found in sides), Event.LEVEL)
        first = 0
        for side, found in sides:
            part, ladder = rows[first : first + len(found)], self.state.ladders[4 * instrument + side]
            part["side"], part["instrument"] = side, instrument
            levels = np.array(found, np.int64) - ladder["base"]
            part["price_fen_per_tonne"] = ladder["origin"] + levels * ladder["stride"]
            part["quantity_kg"] = self.state.nodes["leaves"][found]
            part["orders"] = self.state.nodes["id"][found]
            first += len(found)
        return rows

    def _instruments(self) -> Records:
        instruments = self.state.instruments
        numbers = np.flatnonzero(instruments["defined"])
        rows = _rows(len(numbers), Event.INSTRUMENT)
        rows["instrument"], rows["phase"] = numbers, instruments["phase"][numbers]
        rows["lower_fen_per_tonne"] = instruments["lower"][numbers]
        rows["upper_fen_per_tonne"] = instruments["upper"][numbers]
        rows["last_fen_per_tonne"] = instruments["last"][numbers]
        rows["price_fen_per_tonne"] = instruments["reference"][numbers]
        return rows


def _rows(count: int, kind: Event) -> Records:
    rows = np.zeros(count, EVENT)
    rows["version"], rows["kind"] = RECORD_VERSION, kind
    return rows


def _one(account: int, is_open: Records) -> list[int]:
    return [account] if 0 < account < len(is_open) and is_open[account] else []


def stamped(commands: Records, first_sequence: int, time_ns: int) -> Records:
    """Give commands their sequence numbers and time in place: what the sequencer does, for tests and tools
    too.
    """
    assert commands.dtype == COMMAND, "commands are COMMAND records"
    commands["sequence"] = np.arange(first_sequence, first_sequence + len(commands))
    commands["time_ns"] = time_ns
    return commands
