"""The naive twin, the market: its state, its facts, the call auction, the day (semantics A6, D, E, G).

Law: nothing is cached. Queues are sorted when asked for, free money is what an account owns less the formula
over its live orders, free goods are what a lot has less their leaves; so nothing here can drift (G4). Orders
are named by the sequence of the command that brought them. Only words and the arithmetic of money are shared
with the core.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine import money
from engine.vocabulary import (
    BASIS_POINTS,
    Event,
    Flag,
    Mode,
    OrderType,
    Phase,
    Reason,
    Scope,
    SelfTrade,
    Side,
    TimeInForce,
)

Fact = dict[str, Any]  # {"kind": ..., and what that kind of event says}
GATHERING = {Phase.PRE_OPEN, Phase.AUCTION, Phase.NO_CANCEL}
LASTING = {TimeInForce.GTC, TimeInForce.GTD}


class Ask(dict[str, int]):
    """The fields of a command; one that is not named is 0."""

    def __missing__(self, name: str) -> int:
        return 0


@dataclass(eq=False)
class Order:
    id: int
    account: int
    instrument: int
    side: Side
    type: OrderType
    tif: TimeInForce
    flags: int
    mode: SelfTrade
    price: int
    quantity: int
    leaves: int
    lot: int
    display: int
    stop: int
    expire_ns: int
    minimum: int
    session: int
    upper: int  # of the band under which its hold was taken
    cum: int = 0
    shown: int = 0
    version: int = 1
    place: int = 0
    waiting: bool = False  # a stop that was not reached yet
    condemned: Reason = Reason.NONE  # its cancel is kept until the uncross (E1)
    amount: int = 0  # of the fills of the command at hand

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller is earlier: price (or stop), then place (A1, B4)."""
        if self.waiting:
            return self.stop if self.side is Side.BUY else -self.stop, self.place
        return -self.price if self.side is Side.BUY else self.price, self.place

    def show(self) -> None:
        self.shown = min(self.display or self.leaves, self.leaves)


@dataclass
class Instrument:
    terms: Ask
    reference: int
    lower: int
    upper: int
    phase: Phase = Phase.CLOSED
    last: int = 0
    amount: int = 0  # of the day's trades, less busts
    kg: int = 0
    auction_until_ns: int = 0  # of a volatility auction

    @property
    def listed(self) -> bool:
        return self.terms["mode"] == Mode.LISTED

    def inwards(self, price: int, bp: int) -> tuple[int, int]:
        """The band of so many basis points around a price, rounded inwards to the tick (E5)."""
        tick = self.terms["tick_fen_per_tonne"]
        lower = -(-price * (BASIS_POINTS - bp) // (BASIS_POINTS * tick)) * tick
        return lower, price * (BASIS_POINTS + bp) // (BASIS_POINTS * tick) * tick


@dataclass
class Account:
    group: int
    owns: int = 0  # fen, free and held
    events: int = 0
    reference: int = 0
    blocked: bool = False


@dataclass
class Lot:
    account: int
    instrument: int
    registered: int
    contracted: int = 0


@dataclass
class Session:
    account: int
    scope: Scope
    timer_ns: int = 0


@dataclass
class Market:
    """Everything there is, and what happens to many orders at once."""

    day_max: int = 1 << 10
    orders_max: int = 1 << 13
    profile: int = 0
    orders: dict[int, Order] = field(default_factory=dict)
    instruments: dict[int, Instrument] = field(default_factory=dict)
    accounts: dict[int, Account] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)
    day: dict[tuple[int, ...], tuple[Ask, Fact]] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)  # all that speak against the command at hand

    def is_full(self, slices: int = 0) -> bool:
        """No room for one more order with so many slices to show; two of them count as an order (G5)."""
        shown_later = sum(-(-(o.leaves - o.shown) // o.display) for o in self.orders.values() if o.display)
        return 2 * len(self.orders) + shown_later + slices > 2 * self.orders_max - 2

    places: int = 0
    outbox: int = 0
    day_started: int = 0  # the last roll's sequence

    # what is said

    def say(self, kind: Event, **fields: Any) -> Fact:
        self.facts.append({"kind": kind.name.lower(), **fields})
        return self.facts[-1]

    def count(self, account: int) -> int:
        """The account's next event number."""
        self.accounts[account].events += 1
        return self.accounts[account].events

    def say_order(self, kind: Event, order: Order, **fields: Any) -> Fact:
        """A fact about one order: what it is, what it has left."""
        names = (
            "account",
            "instrument",
            "side",
            "type",
            "tif",
            "version",
            "price",
            "quantity",
            "leaves",
            "cum",
        )
        said = {name: getattr(order, name) for name in names}
        lot = {"order": order.id, "lot": order.lot, "flags": order.flags}
        return self.say(kind, **{**said, **lot, "amount": 0, "number": self.count(order.account), **fields})

    def say_pair(self, kind: Event, order: Order, other: Order, price: int, kg: int, flags: int = 0) -> Fact:
        """Two orders met, after both leaves were changed."""
        fields = {"account": order.account, "counter_account": other.account, "order": order.id}
        numbers = {"number": self.count(order.account), "counter_number": self.count(other.account)}
        left = {"leaves": order.leaves, "counter_leaves": other.leaves, "price": price, "quantity": kg}
        lot = order.lot if order.side is Side.SELL else other.lot
        given = {"counter": other.id, "lot": lot, "side": order.side, "flags": order.flags | flags}
        return self.say(kind, instrument=order.instrument, **fields, **numbers, **left, **given)

    def say_market(self, kind: Event, number: int) -> None:
        """A fact about an instrument: its phase, band, last price and reference."""
        i = self.instruments[number]
        band = {"lower": i.lower, "upper": i.upper, "last": i.last, "price": i.reference}
        self.say(kind, instrument=number, phase=i.phase, **band)

    # money, goods, queues

    def hold(self, order: Order) -> int:
        """Semantics G3."""
        terms, buys = self.instruments[order.instrument].terms, order.side is Side.BUY
        points = terms["buyer_deposit_bp" if buys else "seller_deposit_bp"]
        at = order.price if buys else order.upper
        return int(money.hold_fen(at, order.leaves, terms["step_kg"], points, terms["fee_fen_per_tonne"]))

    def charge(self, order: Order, price: int, kg: int) -> None:
        """What a fill costs: the deposit on its amount and the fee (domain 4 P2)."""
        terms = self.instruments[order.instrument].terms
        points = terms["buyer_deposit_bp" if order.side is Side.BUY else "seller_deposit_bp"]
        deposit = money.deposit_fen(money.amount_fen(price, kg), points)
        self.accounts[order.account].owns -= int(deposit + money.fee_fen(kg, terms["fee_fen_per_tonne"]))

    def held(self, account: int) -> int:
        return sum(self.hold(order) for order in self.orders.values() if order.account == account)

    def free_money(self, account: int) -> int:
        return self.accounts[account].owns - self.held(account)

    def listed_kg(self, lot: int) -> int:
        return sum(order.leaves for order in self.orders.values() if order.lot == lot)

    def free_goods(self, lot: int) -> int:
        return self.lots[lot].registered - self.lots[lot].contracted - self.listed_kg(lot)

    def queue(self, instrument: int, side: int, *, waiting: bool = False) -> list[Order]:
        """The orders of a side in priority order."""
        mine = (
            o
            for o in self.orders.values()
            if (o.instrument, o.side, o.waiting) == (instrument, side, waiting)
        )
        return sorted(mine, key=lambda order: order.rank)

    def in_priority(self, instrument: int) -> list[Order]:
        """Buys, sells, waiting buys, waiting sells: the order in which a phase or a band ends them."""
        return [
            o for waits in (False, True) for side in Side for o in self.queue(instrument, side, waiting=waits)
        ]

    def own(self, order: Order, other: Order) -> bool:
        """Semantics D1."""
        group = self.accounts[order.account].group
        return group != 0 and group == self.accounts[other.account].group

    def give_place(self, order: Order) -> None:
        self.places += 1
        order.place = self.places

    def drop(self, order: Order, reason: Reason) -> None:
        """An order ends with kilograms left."""
        self.say_order(Event.CANCELED, order, quantity=order.leaves, leaves=0, reason=reason)
        self.orders.pop(order.id, None)

    def note_trade(self, order: Order, other: Order, price: int, kg: int, flags: int) -> None:
        """What every trade does to both orders, their money, the goods and the day's price."""
        i, amount = self.instruments[order.instrument], int(money.amount_fen(price, kg))
        for party in (order, other):
            party.leaves -= kg
            party.cum += kg
            party.amount += amount
            self.charge(party, price, kg)
        self.lots[order.lot if order.side is Side.SELL else other.lot].contracted += kg
        i.amount, i.kg = i.amount + amount, i.kg + kg
        fact = self.say_pair(Event.TRADE, order, other, price, kg, flags)
        fact["match"] = len(self.facts) - 1  # match id = sequence << 22 | index (A6)

    # the auction

    def equilibrium(self, instrument: int) -> tuple[int, int, int]:
        """(price, kilograms, buy less sell surplus), trying every tick (E2); price 0: nothing trades."""
        i = self.instruments[instrument]
        buys, sells = self.queue(instrument, Side.BUY), self.queue(instrument, Side.SELL)
        if not buys or not sells:
            return 0, 0, 0
        limits, tried = [o.price for o in buys + sells], []
        for price in range(min(limits), max(limits) + 1, i.terms["tick_fen_per_tonne"]):
            demand = sum(o.leaves for o in buys if o.price >= price)
            supply = sum(o.leaves for o in sells if o.price <= price)
            tried.append((-min(demand, supply), abs(demand - supply), price, demand - supply))
        volume, gap = min(tried)[:2]
        best = [(price, surplus) for v, g, price, surplus in tried if (v, g) == (volume, gap)]
        if volume == 0:
            return 0, 0, 0
        if all(surplus > 0 for _, surplus in best):
            return best[-1][0], -volume, best[-1][1]
        if all(surplus < 0 for _, surplus in best):
            return best[0][0], -volume, best[0][1]
        reference = i.last or i.reference
        price, surplus = min(best, key=lambda each: (abs(each[0] - reference), -each[0]))
        return price, -volume, surplus

    def say_auction(self, kind: Event, instrument: int) -> tuple[int, int]:
        """Semantics E4; returns price and volume."""
        i = self.instruments[instrument]
        price, volume, surplus = self.equilibrium(instrument)
        side = Side.BUY if surplus > 0 else Side.SELL
        fields = {"price": price, "quantity": volume, "leaves": abs(surplus), "side": side}
        self.say(kind, instrument=instrument, **fields, cum=i.last or i.reference)
        return price, volume

    def uncross(self, instrument: int) -> None:
        """Semantics E3, D2."""
        price, left = self.say_auction(Event.UNCROSSED, instrument)
        while left:
            buy, sell = self.queue(instrument, Side.BUY)[0], self.queue(instrument, Side.SELL)[0]
            kg = min(left, buy.leaves, sell.leaves)
            flags = Flag.IN_AUCTION | (Flag.SELF_TRADE if self.own(buy, sell) else 0)
            self.note_trade(buy, sell, price, kg, flags)
            left -= kg
            for order in (buy, sell):
                order.show()
                if not order.leaves:
                    del self.orders[order.id]
        if price:
            self.instruments[instrument].last = price

    def end_where(self, instrument: int, tifs: set[TimeInForce], reason: Reason) -> None:
        for order in self.in_priority(instrument):
            if order.tif in tifs:
                self.drop(order, reason)

    def carry_out_kept(self, instrument: int) -> None:
        """Cancels that came in no_cancel (E1), by order id."""
        for order in sorted(self.orders.values(), key=lambda each: each.id):
            if order.instrument == instrument and order.condemned:
                self.drop(order, order.condemned)

    def start_gathering(self, instrument: int, phase: Phase) -> None:
        self.end_where(instrument, {TimeInForce.CONTINUOUS_ONLY}, Reason.AUCTION_STARTED)
        self.instruments[instrument].phase = phase

    # the day

    def move_band(self, number: int, reference: int) -> None:
        """Semantics E5, E7, G3: what stands outside ends, what is not covered ends."""
        i = self.instruments[number]
        i.reference = reference
        i.lower, i.upper = i.inwards(reference, i.terms["band_bp"])
        for order in self.in_priority(number):
            if order.type is not OrderType.STOP and not i.lower <= order.price <= i.upper:
                self.drop(order, Reason.BAND_MOVED)
        for order in self.in_priority(number):
            before = order.price, order.upper
            order.upper = i.upper
            if order.type is OrderType.STOP:
                order.price = i.upper if order.side is Side.BUY else i.lower
            if self.free_money(order.account) < 0:
                order.price, order.upper = before
                self.drop(order, Reason.INSUFFICIENT_FUNDS)
        self.say_market(Event.REFERENCE_SET, number)

    def settlement_price(self, i: Instrument) -> int:
        """The day's volume-weighted price, half-up to the tick; without trades the reference (E5)."""
        tick = i.terms["tick_fen_per_tonne"]
        if i.kg <= 0 or i.amount <= 0:
            return i.reference
        return (2 * i.amount * 1000 + i.kg * tick) // (2 * i.kg * tick) * tick or i.reference

    def roll_day(self, ask: Ask) -> Iterator[Reason]:
        """Semantics C8, E5, E7."""
        if any(i.phase is not Phase.CLOSED for i in self.instruments.values()):
            yield Reason.INSTRUMENT_OPEN
            return
        for number, i in sorted(self.instruments.items()):
            if i.terms["band_bp"]:
                self.move_band(number, self.settlement_price(i))
            i.amount = i.kg = 0
        self.day_started = ask["sequence"]
        self.day = {key: kept for key, kept in self.day.items() if kept[1].get("order") in self.orders}
        self.say(Event.DAY_ROLLED)
