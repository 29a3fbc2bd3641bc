"""The life of every order, reckoned beside the core from what was asked and what the core says happened.

    commands ─▶ what an order is: side, limit, stop, slice        ┐
    events   ─▶ what becomes of it: fills, slices, changes, end   ┴▶ what the exchange must hold now

Law: at every moment quantity = cum + leaves + canceled + prevented, whoever changes an order and however
often; who is first in line trades first, never beyond a limit, and never with its own group (semantics A1-A3,
B3-B8, C1, C2, D1, D2, E2, E3, F2).
"""

from collections import Counter
from typing import Any, Final

import numpy as np

from engine.exchange import Exchange
from engine.records import ORDER, TRADE, Records
from engine.vocabulary import (
    Command,
    Event,
    Flag,
    OrderType,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
)
from tests.simulation.auction import Call, best_call
from tests.simulation.life import IMMEDIATE, PRICED_BY_OTHERS, STOPS, WITHOUT_LIMIT, Life, entered
from tests.simulation.meetings import Groups
from tests.simulation.programs import REBAR
from tests.simulation.report import Violation
from tests.simulation.shown import NUMBERS

BOOK: Final = NUMBERS[REBAR]


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
        self._groups = Groups()
        self._prevented: Life | None = None  # who was canceled last because it met its own group

    def note(self, command: Any, events: Records) -> None:
        """Take note of one command and its events. Raises Violation."""
        self._incoming, self._call, self._prevented = None, None, None
        self._groups.note(command)
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
            self._prevent(row)
        elif kind is Event.REJECTED and int(command["kind"]) == Command.NEW_ORDER:
            self._refuse(command, row)

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
        life = entered(command, row, self._next_place())
        picks = int(command["kind"]) == Command.PICK
        named = picks or life.kind in WITHOUT_LIMIT or int(row["price_fen_per_tonne"]) == life.limit
        self._expect(named and life.quantity == int(row["quantity_kg"]), row, "not what was asked")
        listed = picks and life.side is Side.BUY  # then the lot is the listing's
        self._expect(listed or life.lot == int(command["lot"]), row, "another lot than was asked")
        if life.kind is OrderType.MARKET_TO_LIMIT:
            best = self._first(Side(1 - life.side))
            self._expect(
                best is not None and best.limit == life.limit, row, f"the best price is that of {best}"
            )
        self.living[life.order_id] = life
        self._come(life, row)

    def _refuse(self, command: Any, row: Any) -> None:
        """What a refusal says of the other side is so (semantics B3, B7)."""
        side, reason = int(command["side"]), int(row["reason"])
        if row["flags"] & Flag.DUPLICATE or reason not in (Reason.POST_ONLY_WOULD_TRADE, Reason.NO_LIQUIDITY):
            return
        best, price = self._first(Side(1 - side)), int(command["price_fen_per_tonne"])
        if reason == Reason.NO_LIQUIDITY:
            self._expect(best is None, row, f"{best} is there")
            return
        crosses = best is not None and (best.limit <= price if side == Side.BUY else best.limit >= price)
        self._expect(crosses, row, f"it would not trade with {best}")
        self._counts["post-only orders refused"] += 1

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
        own = self._groups.own(one.account, other.account)
        self._expect(bool(row["flags"] & Flag.SELF_TRADE) == own, row, "a trade within a group is flagged")
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
            if life.kind in PRICED_BY_OTHERS:
                self._counts[f"{life.kind.name.lower()} orders filled"] += 1
        self._last[one.instrument] = price

    def _trade_at_rest(self, one: Life, other: Life, price: int, kg: int, row: Any) -> None:
        """An incoming order meets the first in line of the other side (semantics A1, A2, B7, D1)."""
        self._expect(one is self._incoming and not one.post_only, row, f"{one} did not come in to trade")
        self._expect(price == other.limit, row, f"not at the price of who rested: {other}")
        self._expect(not self._groups.forbid(one, other), row, f"{one} and {other} are of one group")
        if one.instrument == BOOK:
            self._expect(other is self._first(other.side), row, f"{other} is not the first in line")
            self._expect(kg == min(one.leaves, other.shown), row, f"{one} meets {other}")
            self._counts["trades with icebergs"] += bool(other.slice_kg)
        else:
            self._expect(one.limit == price, row, f"{one} was told another price")
            self._pick(other, kg, row)
        other.shown -= kg

    def _pick(self, listing: Life, kg: int, row: Any) -> None:
        """A sell goes whole or in parts that suit the seller, a bid takes a lot that suits it (F2)."""
        least, left = listing.minimum or listing.leaves, listing.leaves - kg
        fits = least <= kg <= listing.leaves and (listing.side is Side.BUY or left == 0 or left >= least)
        self._expect(fits, row, f"{kg} kg do not suit {listing}")
        self._counts["bids picked"] += listing.side is Side.BUY
        self._counts["listings picked in part"] += listing.side is Side.SELL and left > 0

    def _prevent(self, row: Any) -> None:
        """Two orders of one group lose the same kilograms instead of trading, hidden ones first (semantics
        D1).
        """
        one, other, kg = self._of(row), self._of(row, "counter_order_id"), int(row["quantity_kg"])
        self._expect(
            one is self._incoming and one.mode is SelfTrade.DECREMENT, row, f"{one} asked for no such"
        )
        self._expect(self._would_meet(one) is other, row, f"{other} is not whom it would meet")
        self._expect(self._groups.forbid(one, other), row, f"{one} and {other} are of two groups")
        self._expect(kg == min(one.leaves, other.leaves), row, f"{one} meets {other}")
        other.shown -= kg - min(kg, other.leaves - other.shown)
        for life, leaves in ((one, row["leaves_kg"]), (other, row["counter_leaves_kg"])):
            life.leaves -= kg
            self._expect(life.leaves == int(leaves), row, f"{life} has {leaves} kg left")
            if life.leaves == 0:
                del self.living[life.order_id]
        self._counts["orders decremented"] += 1

    def _would_meet(self, life: Life) -> Life | None:
        """The first in line of the other side, if the order's limit allows its price."""
        other = self._first(Side(1 - life.side))
        return other if other is not None and life.allows(other.limit) else None

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
        self._check_end(life, Reason(int(row["reason"])), row)
        life.leaves = 0
        del self.living[life.order_id]

    def _check_end(self, life: Life, reason: Reason, row: Any) -> None:
        """The reason is so, as far as the other side of the book says (semantics B2, B5, B6, D1)."""
        if reason is Reason.SELF_TRADE_PREVENTION:
            self._check_prevented(life, row)
        elif reason is Reason.NOT_FEASIBLE:
            wanted = life.leaves if life.force is TimeInForce.FOK else life.minimum
            there = self._groups.fillable(life, self._line(Side(1 - life.side)), wanted)
            self._expect(
                life.cum == 0 and there < wanted, row, f"{there} of {wanted} kg are there for {life}"
            )
            self._counts["orders not feasible"] += 1
        elif reason in (Reason.IOC_REMAINDER, Reason.NO_LIQUIDITY):
            self._expect(self._would_meet(life) is None, row, f"{life} could trade on")

    def _check_prevented(self, life: Life, row: Any) -> None:
        """Who came in ends, or whom it met, or both (semantics D1)."""
        incoming = self._incoming
        assert incoming is not None, "only who comes in meets somebody"
        if life is incoming:
            met = self._would_meet(life) if life.mode is SelfTrade.CANCEL_NEWEST else self._prevented
            modes = SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH
        else:
            met = self._prevented = self._would_meet(incoming)
            modes = SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH
            self._expect(life is met, row, f"{met} is whom {incoming} meets")
        forbidden = met is not None and self._groups.forbid(incoming, met)
        self._expect(forbidden and incoming.mode in modes, row, f"{incoming} met {met}")
        self._counts[f"orders ended by {incoming.mode.name.lower()}"] += 1

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
            at_once = life.quantity if life.force is TimeInForce.FOK else life.minimum
            if life.force in IMMEDIATE and life.cum:
                self._expect(life.cum >= at_once, row, f"{life} got less than it wanted at once")
                self._counts["orders filled at once or not at all"] += at_once > 0
        self._stated.clear()

    def _come_to_rest(self) -> None:
        """Who came in and still lives rests now; not everybody may."""
        life, self._incoming = self._incoming, None
        met, self._prevented = self._prevented, None
        if life is None or life.order_id not in self.living or life.waits:
            return
        if met is not None and life.mode is SelfTrade.CANCEL_BOTH:
            raise Violation("orders", f"{life} lives on, though {met} was canceled because they met")
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
