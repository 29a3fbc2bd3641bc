"""The life of every order, reckoned beside the core from what was asked and what the core says happened.

    commands ─▶ what an order is: side, limit, stop, slice        ┐
    events   ─▶ what becomes of it: fills, slices, changes, end   ┴▶ what the exchange must hold now

Law: at every moment quantity = cum + leaves + canceled, whoever changes an order and however often; who is
first in line trades first, and never beyond a limit (semantics A1-A3, B4, B8, C1, C2, E2, E3).
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine.exchange import Exchange
from engine.records import ORDER, TRADE, Records
from engine.vocabulary import (
    PRICE_MAX_FEN_PER_TONNE,
    Command,
    Event,
    Flag,
    OrderType,
    Phase,
    Side,
    TimeInForce,
)
from tests.simulation.auction import Call, best_call
from tests.simulation.programs import REBAR
from tests.simulation.report import Violation
from tests.simulation.shown import NUMBERS

BOOK: Final = NUMBERS[REBAR]
STOPS: Final = (OrderType.STOP, OrderType.STOP_LIMIT)
WITHOUT_LIMIT: Final = (OrderType.MARKET, OrderType.STOP)  # they never rest
IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)


@dataclass
class Life:
    """One order that lives."""

    order_id: int
    account: int
    instrument: int
    side: Side
    kind: OrderType
    force: TimeInForce
    limit: int  # fen per tonne; of an order without one the worst that it may get
    stop: int  # fen per tonne; 0: none
    slice_kg: int  # 0: it shows all
    lot: int
    quantity: int
    leaves: int
    place: int  # who has the lower one came first
    cum: int = 0
    shown: int = 0
    waits: bool = False  # a stop that nothing has reached yet

    @property
    def rank(self) -> tuple[int, int]:
        """Better price first, then the earlier place."""
        return (-self.limit if self.side is Side.BUY else self.limit), self.place

    def allows(self, price: int) -> bool:
        """Whether it may trade at a price."""
        return price <= self.limit if self.side is Side.BUY else price >= self.limit

    def reached(self, last: int) -> bool:
        """Whether the last price triggers it."""
        return bool(last) and (last >= self.stop if self.side is Side.BUY else last <= self.stop)

    def show(self) -> None:
        """Show the next slice, or all."""
        self.shown = min(self.slice_kg or self.leaves, self.leaves)


class Lives:
    """The orders that live, the last prices and phases; fed command by command."""

    def __init__(self, counts: Counter[str]) -> None:
        self.living: dict[int, Life] = {}
        self._counts = counts
        self._last: dict[int, int] = {}
        self._phases: dict[int, int] = {}
        self._places = 0
        self._incoming: Life | None = None  # who has not come to rest yet
        self._stated: list[tuple[Any, Life]] = []  # outcomes that stand in an acknowledgement, to be compared
        self._call: Call | None = None  # what is left to trade of the auction at hand

    def note(self, command: Any, events: Records) -> None:
        """Take note of one command and its events. Raises Violation."""
        self._incoming, self._call = None, None
        orders, trades = events.view(ORDER), events.view(TRADE)
        for at, kind in enumerate(events["kind"].tolist()):
            row = trades[at] if kind in (Event.TRADE, Event.PREVENTED) else orders[at]
            self._take(Event(kind), command, row)
        self._settle_outcomes()
        self._come_to_rest()
        if self._phases.get(BOOK) == Phase.CONTINUOUS:
            self._check_quiet(int(command["sequence"]))

    def _take(self, kind: Event, command: Any, row: Any) -> None:
        if kind is Event.ACCEPTED and not row["flags"] & Flag.DUPLICATE:
            self._enter(command, row)
        elif kind is Event.TRADE:
            self._trade(row)
        elif kind is Event.CANCELED:
            self._end(row)
        elif kind is Event.REPLACED:
            self._replace(command, row)
        elif kind is Event.TRIGGERED:
            self._trigger(row)
        elif kind is Event.REFRESHED:
            self._refresh(row)
        elif kind in (Event.UNCROSSED, Event.INDICATIVE):
            self._auction(kind, row)
        elif kind is Event.PHASE_CHANGED:
            self._phases[int(row["instrument"])] = int(row["phase"])
            self._expect(
                self._call is None or self._call.kg == 0, row, "the uncross traded less than it said"
            )
        elif kind is Event.PREVENTED:
            raise Violation(
                "orders", f"nobody here is of a company group, and command {row['sequence']} prevents"
            )

    def _expect(self, holds: bool, row: Any, text: str) -> None:
        """Raise Violation unless it holds."""
        if not holds:
            raise Violation("orders", f"command {int(row['sequence'])}: {text}; {row}")

    def _of(self, row: Any, name: str = "order_id") -> Life:
        life = self.living.get(int(row[name]))
        if life is None:
            raise Violation("orders", f"command {int(row['sequence'])} names an order that has ended; {row}")
        return life

    def _next_place(self) -> int:
        self._places += 1
        return self._places

    def _enter(self, command: Any, row: Any) -> None:
        picks = int(command["kind"]) == Command.PICK
        life = Life(
            order_id=int(row["order_id"]),
            account=int(command["account"]),
            instrument=int(row["instrument"]),
            side=Side(int(row["side"] if picks else command["side"])),
            kind=OrderType(int(command["order_type"])),
            force=TimeInForce(int(command["time_in_force"])),
            limit=self._limit(command, row),
            stop=0 if picks else int(command["stop_fen_per_tonne"]),
            slice_kg=0 if picks else int(command["display_quantity_kg"]),
            lot=int(row["lot"]),
            quantity=int(command["quantity_kg"]),
            leaves=int(command["quantity_kg"]),
            place=self._next_place(),
        )
        named = picks or life.kind in WITHOUT_LIMIT or int(row["price_fen_per_tonne"]) == life.limit
        self._expect(named and life.quantity == int(row["quantity_kg"]), row, "not what was asked")
        self._expect(picks or life.lot == int(command["lot"]), row, "another lot than was asked")
        self.living[life.order_id] = life
        self._come(life, row)

    @staticmethod
    def _limit(command: Any, row: Any) -> int:
        """Its limit; of a market order the collar that it was told, of a stop none."""
        if int(command["order_type"]) == OrderType.STOP:
            return PRICE_MAX_FEN_PER_TONNE if int(command["side"]) == Side.BUY else 0
        told = int(command["kind"]) == Command.PICK or int(command["order_type"]) == OrderType.MARKET
        return int((row if told else command)["price_fen_per_tonne"])

    def _come(self, life: Life, row: Any) -> None:
        """An order comes to the book, or waits for its stop price."""
        life.shown = 0
        life.waits = life.kind in STOPS and not (
            self._phases.get(life.instrument) == Phase.CONTINUOUS
            and life.reached(self._last.get(life.instrument, 0))
        )
        self._stated.append((row, life))
        self._incoming = life

    def _replace(self, command: Any, row: Any) -> None:
        """A new limit, stop or total (semantics C1, C2)."""
        life, asked = self._of(row), int(command["quantity_kg"])
        before, limit = life.leaves, int(command["price_fen_per_tonne"])
        change = asked - life.quantity if asked else 0
        limit = life.limit if limit == 0 or life.kind is OrderType.STOP else limit
        stop = int(command["stop_fen_per_tonne"]) or life.stop
        keeps = limit == life.limit and stop == life.stop and change <= 0
        life.quantity, life.leaves = life.quantity + change, life.leaves + change
        shown = limit if life.kind is OrderType.STOP else int(row["price_fen_per_tonne"])
        told = shown, int(row["quantity_kg"]), int(row["change_kg"])
        self._expect(told == (limit, life.quantity, change), row, f"{life} was to be replaced otherwise")
        self._expect(bool(row["flags"] & Flag.KEPT_PLACE) == keeps, row, "its place is not as it must be")
        life.limit, life.stop = limit, stop
        self._counts["orders replaced"] += 1
        if keeps:
            hidden = before - life.shown
            life.shown -= max(0, -change - hidden)  # what is hidden goes first
            self._stated.append((row, life))
            return
        life.place = self._next_place()
        if life.kind not in STOPS or life.waits:
            self._come(life, row)
        else:  # a stop-limit that was triggered is a limit
            life.shown, self._incoming = 0, life
            self._stated.append((row, life))

    def _trigger(self, row: Any) -> None:
        """A stop enters as an order of its own (semantics A5, B4)."""
        self._settle_outcomes()
        self._come_to_rest()
        life = self._of(row)
        last = self._last.get(life.instrument, 0)
        self._expect(life.waits and life.reached(last), row, f"{life} is not reached by {last}")
        life.waits, life.place = False, self._next_place()
        self._incoming = life
        self._counts[f"{life.kind.name.lower()} orders triggered"] += 1

    def _trade(self, row: Any) -> None:
        one, other = self._of(row), self._of(row, "counter_order_id")
        price, kg = int(row["price_fen_per_tonne"]), int(row["quantity_kg"])
        self._expect(one.allows(price) and other.allows(price), row, f"beyond a limit: {one}, {other}")
        self._expect(not one.waits and not other.waits, row, f"a stop that waits trades: {one}, {other}")
        self._expect(one.side is not other.side, row, f"both are of one side: {one}, {other}")
        if row["flags"] & Flag.IN_AUCTION:
            self._trade_in_auction(one, other, price, kg, row)
        else:
            self._trade_at_rest(one, other, price, kg, row)
        for life, leaves in ((one, row["leaves_kg"]), (other, row["counter_leaves_kg"])):
            life.leaves, life.cum = life.leaves - kg, life.cum + kg
            self._expect(life.leaves == int(leaves), row, f"{life} has {leaves} kg left")
            if row["flags"] & Flag.IN_AUCTION:
                life.show()
            if life.leaves == 0:
                del self.living[life.order_id]
            if life.kind is OrderType.MARKET:
                self._counts["market orders filled"] += 1
        self._last[one.instrument] = price

    def _trade_at_rest(self, one: Life, other: Life, price: int, kg: int, row: Any) -> None:
        """An incoming order meets the first in line of the other side (semantics A1, A2)."""
        self._expect(one is self._incoming, row, f"{one} did not come in")
        self._expect(price == other.limit, row, f"not at the price of who rested: {other}")
        if one.instrument == BOOK:
            self._expect(other is self._first(other.side), row, f"{other} is not the first in line")
            self._expect(kg == min(one.leaves, other.shown), row, f"{one} meets {other}")
            self._counts["trades with icebergs"] += bool(other.slice_kg)
        other.shown -= kg

    def _trade_in_auction(self, one: Life, other: Life, price: int, kg: int, row: Any) -> None:
        """Both sides stand in line, and the price is the auction's (semantics E3)."""
        call = self._call
        lines = self._first(one.side), self._first(other.side)
        self._expect(lines == (one, other), row, f"{lines} are the first in line")
        self._expect(
            call is not None and call.price == price and kg <= call.kg, row, f"the auction is {call}"
        )
        assert call is not None
        self._expect(kg == min(one.leaves, other.leaves, call.kg), row, f"{one} meets {other}")
        self._call = call._replace(kg=call.kg - kg)
        self._counts["trades in auctions"] += 1

    def _end(self, row: Any) -> None:
        """An order ends with what it has left, all of it."""
        life = self._of(row)
        told = int(row["quantity_kg"]), int(row["leaves_kg"]), int(row["cum_kg"])
        self._expect(told == (life.leaves, 0, life.cum), row, f"{life} was to end")
        life.leaves = 0
        del self.living[life.order_id]

    def _refresh(self, row: Any) -> None:
        """An iceberg's next slice takes a new place (semantics B8)."""
        life = self._of(row)
        self._expect(life.shown == 0 and life.slice_kg > 0, row, f"{life} shows its slice still")
        life.show()
        life.place = self._next_place()
        told = int(row["quantity_kg"]), int(row["leaves_kg"]), int(row["cum_kg"])
        self._expect(told == (life.shown, life.leaves, life.cum), row, f"{life} shows its next slice")
        self._counts["icebergs that showed another slice"] += 1

    def _auction(self, kind: Event, row: Any) -> None:
        """What the auction does, or would do now (semantics E2, E4)."""
        instrument = int(row["instrument"])
        if instrument != BOOK:
            return
        self._come_to_rest()
        reference = self._last.get(instrument) or int(row["cum_kg"])
        side = int(row["side"]) if int(row["leaves_kg"]) else 0
        call = best_call([life for side in Side for life in self._line(side)], reference)
        told = Call(int(row["price_fen_per_tonne"]), int(row["quantity_kg"]), int(row["leaves_kg"]), side)
        self._expect(told == call, row, f"{kind.name}: {told}, the orders say {call}")
        if kind is Event.UNCROSSED:
            self._call = call
            self._counts["auctions that traded"] += call.kg > 0

    def _line(self, side: Side) -> list[Life]:
        """Who stands in the book."""
        return [
            life
            for life in self.living.values()
            if (life.instrument, life.side, life.waits) == (BOOK, side, False) and life is not self._incoming
        ]

    def _first(self, side: Side) -> Life | None:
        return min(self._line(side), key=lambda life: life.rank, default=None)

    def _settle_outcomes(self) -> None:
        """What an acknowledgement states is what the order had become, before any stop was triggered."""
        for row, life in self._stated:
            told = int(row["leaves_kg"]), int(row["cum_kg"])
            self._expect(told == (life.leaves, life.cum), row, f"{life} was acknowledged otherwise")
        self._stated.clear()

    def _come_to_rest(self) -> None:
        """Who came in and still lives rests now; not everybody may."""
        life, self._incoming = self._incoming, None
        if life is None or life.order_id not in self.living or life.waits:
            return
        if life.force in IMMEDIATE or life.kind in WITHOUT_LIMIT:
            raise Violation("orders", f"{life} may not rest")
        if life.shown == 0:
            life.show()

    def _check_quiet(self, sequence: int) -> None:
        """In continuous trading bids and asks never meet, and no stop that was reached waits (semantics A3,
        B4).
        """
        bid, ask = self._first(Side.BUY), self._first(Side.SELL)
        if bid is not None and ask is not None and bid.limit >= ask.limit:
            raise Violation("orders", f"command {sequence} leaves {bid} and {ask} crossed")
        for life in self.living.values():
            if life.waits and life.instrument == BOOK and life.reached(self._last.get(BOOK, 0)):
                raise Violation("orders", f"command {sequence} forgets {life}")

    def check(self, exchange: Exchange) -> None:
        """The exchange holds these orders with these kilograms, and no other. Raises Violation."""
        state = exchange.state
        slots = np.flatnonzero(state.nodes["id"][: exchange.capacity.orders + 1])
        found = {}
        for slot in slots.tolist():
            shown, hidden = int(state.nodes["leaves"][slot]), int(state.specials["hidden"][slot])
            found[int(state.nodes["id"][slot])] = shown, shown + hidden, int(state.orders["cum"][slot])
        expected = {
            life.order_id: (life.leaves if life.waits else life.shown, life.leaves, life.cum)
            for life in self.living.values()
        }
        if found != expected:
            wrong = {key: (found.get(key), expected.get(key)) for key in found.keys() | expected.keys()}
            text = {key: pair for key, pair in wrong.items() if pair[0] != pair[1]}
            raise Violation("orders", f"shown, left and filled of orders, found and due: {text}")
