"""The naive twin, the book: orders enter, meet, wait and trigger (A, B, D, G), from engine/RULES.md.

Law: every reason that applies is collected and the lowest code is the answer: that is precedence (A4).
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.vocabulary import (
    BASIS_POINTS,
    PRICE_MAX_FEN_PER_TONNE,
    Event,
    Flag,
    OrderType,
    Phase,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
)
from tests.engine.reference_auction import LASTING, Ask, Fact, Instrument, Market, Order

STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
NEVER_REST = (OrderType.MARKET, OrderType.STOP)
IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
KEPT_FLAGS = Flag.POST_ONLY | Flag.KEEP_ON_DISCONNECT


@dataclass
class Book(Market):
    """What an order meets."""

    # new orders

    def phase_faults(self, i: Instrument) -> Iterator[Reason]:
        if i.phase is Phase.CLOSED:
            yield Reason.INSTRUMENT_CLOSED
        if i.phase is Phase.HALTED:
            yield Reason.INSTRUMENT_HALTED
        if i.phase is Phase.NO_CANCEL:
            yield Reason.NO_CANCEL_PHASE

    def form_faults(self, ask: Ask, i: Instrument) -> Iterator[Reason]:
        """Semantics B5, D1, E2, F2."""
        kind, tif = ask["order_type"], ask["time_in_force"]
        if i.phase is Phase.CONTINUOUS and tif == TimeInForce.AT_OPEN:
            yield Reason.AUCTION_PHASE_ONLY
        if i.phase is not Phase.CONTINUOUS:
            late = (*IMMEDIATE, TimeInForce.CONTINUOUS_ONLY)
            if kind in (OrderType.MARKET, OrderType.MARKET_TO_LIMIT) or tif in late:
                yield Reason.CONTINUOUS_PHASE_ONLY
        if ask["side"] not in list(Side):
            yield Reason.UNKNOWN_SIDE
        plain = not ask["flags"] & Flag.POST_ONLY and not ask["display_quantity_kg"]
        if kind not in list(OrderType) or (i.listed and not (kind == OrderType.LIMIT and plain)):
            yield Reason.UNSUPPORTED_ORDER_TYPE
        if tif not in list(TimeInForce) or (i.listed and tif not in {TimeInForce.DAY, *LASTING}):
            yield Reason.UNSUPPORTED_TIME_IN_FORCE
        if ask["self_trade_mode"] not in list(SelfTrade):
            yield Reason.UNSUPPORTED_SELF_TRADE_MODE

    def quantity_faults(self, ask: Ask, i: Instrument, kg: int) -> Iterator[Reason]:
        """Semantics G1, G2."""
        if kg % i.terms["step_kg"]:
            yield Reason.QUANTITY_OFF_STEP
        if kg < i.terms["minimum_kg"]:
            yield Reason.QUANTITY_BELOW_MINIMUM
        if kg > i.terms["maximum_kg"]:
            yield Reason.EXCEEDS_LIMIT

    def price_faults(self, i: Instrument, price: int) -> Iterator[Reason]:
        if price % i.terms["tick_fen_per_tonne"]:
            yield Reason.PRICE_OFF_TICK
        if not i.lower <= price <= i.upper:
            yield Reason.PRICE_EXCEEDS_BAND

    def special_faults(self, ask: Ask, i: Instrument) -> Iterator[Reason]:
        """Stop, expiry, display and minimum quantity (B4, B5, B6, B8, B9)."""
        kind, tif, kg = ask["order_type"], ask["time_in_force"], ask["quantity_kg"]
        stop, display, minimum = (
            ask[n] for n in ("stop_fen_per_tonne", "display_quantity_kg", "minimum_quantity_kg")
        )
        if (kind in STOPS and not self.is_stop_price(i, stop)) or (kind not in STOPS and stop):
            yield Reason.INVALID_STOP_PRICE
        if (tif == TimeInForce.GTD and ask["due_ns"] <= ask["time_ns"]) or (
            tif != TimeInForce.GTD and ask["due_ns"]
        ):
            yield Reason.INVALID_EXPIRY
        slices = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) and tif != TimeInForce.IOC
        if display and not (slices and 0 < display <= kg and display % i.terms["step_kg"] == 0):
            yield Reason.INVALID_DISPLAY_QUANTITY
        if minimum and not (0 < minimum <= kg and (i.listed or tif == TimeInForce.IOC)):
            yield Reason.INVALID_MINIMUM_QUANTITY

    def is_stop_price(self, i: Instrument, stop: int) -> bool:
        return 0 < stop <= PRICE_MAX_FEN_PER_TONNE and stop % i.terms["tick_fen_per_tonne"] == 0

    def goods_faults(self, ask: Ask, kg: int) -> Iterator[Reason]:
        """Law 7: the lot is the seller's and has the kilograms."""
        lot = self.lots.get(ask["lot"])
        if lot is None or lot.account != ask["account"]:
            yield Reason.UNKNOWN_LOT
            return
        if lot.instrument != ask["instrument"]:
            yield Reason.LOT_OF_OTHER_INSTRUMENT
        elif self.free_goods(ask["lot"]) < kg:
            yield Reason.INSUFFICIENT_GOODS
        elif self.instruments[lot.instrument].listed and self.free_goods(ask["lot"]) != kg:
            yield Reason.WHOLE_LOT_ONLY

    def new_faults(self, ask: Ask) -> Iterator[Reason]:
        i = self.instruments.get(ask["instrument"])
        if i is None:
            yield Reason.UNKNOWN_INSTRUMENT
            return
        faults = list(self.phase_faults(i)) or list(self.form_faults(ask, i))
        if faults:
            yield from faults
            return
        yield from self.special_faults(ask, i)
        yield from self.quantity_faults(ask, i, ask["quantity_kg"])
        if ask["order_type"] in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            yield from self.price_faults(i, ask["price_fen_per_tonne"])
        side, kind = Side(ask["side"]), ask["order_type"]
        if kind == OrderType.MARKET_TO_LIMIT and not self.queue(ask["instrument"], 1 - side):
            yield Reason.NO_LIQUIDITY
            return
        order = self.order_of(ask)
        if ask["flags"] & Flag.POST_ONLY and i.phase is Phase.CONTINUOUS and self.meets(order, order.price):
            yield Reason.POST_ONLY_WOULD_TRADE
        if side is Side.SELL:
            yield from self.goods_faults(ask, ask["quantity_kg"])
        if self.free_money(order.account) < self.hold(order):
            yield Reason.INSUFFICIENT_FUNDS
        slices = -(-(order.leaves - order.display) // order.display) if order.display else 0
        if self.is_full(slices):
            yield Reason.LIVE_ORDERS_FULL

    def order_of(self, ask: Ask) -> Order:
        kind, side, i = OrderType(ask["order_type"]), Side(ask["side"]), self.instruments[ask["instrument"]]
        price = ask["price_fen_per_tonne"]
        if kind is OrderType.MARKET_TO_LIMIT:
            price = self.queue(ask["instrument"], 1 - side)[0].price
        elif kind is OrderType.MARKET:
            price = self.collar(ask["instrument"], side)
        elif kind is OrderType.STOP:
            price = i.upper if side is Side.BUY else i.lower
        return Order(
            id=ask["sequence"],
            account=ask["account"],
            instrument=ask["instrument"],
            side=side,
            type=kind,
            tif=TimeInForce(ask["time_in_force"]),
            flags=ask["flags"] & KEPT_FLAGS,
            mode=SelfTrade(ask["self_trade_mode"]),
            price=price,
            quantity=ask["quantity_kg"],
            leaves=ask["quantity_kg"],
            lot=ask["lot"] if side is Side.SELL else 0,
            display=ask["display_quantity_kg"],
            stop=ask["stop_fen_per_tonne"],
            expire_ns=ask["due_ns"],
            minimum=ask["minimum_quantity_kg"],
            session=ask["session"],
            upper=i.upper,
        )

    def collar(self, instrument: int, side: Side) -> int:
        """How far a market order goes (B2)."""
        i, other = self.instruments[instrument], self.queue(instrument, 1 - side)
        worst = i.upper if side is Side.BUY else i.lower
        if not other or not i.terms["collar_bp"]:
            return worst
        tick = i.terms["tick_fen_per_tonne"]
        beyond = other[0].price * i.terms["collar_bp"] // (BASIS_POINTS * tick) * tick
        return (
            min(worst, other[0].price + beyond) if side is Side.BUY else max(worst, other[0].price - beyond)
        )

    def meets(self, order: Order, limit: int) -> bool:
        other = self.queue(order.instrument, 1 - order.side)
        return bool(other) and (
            other[0].price <= limit if order.side is Side.BUY else other[0].price >= limit
        )

    def enter(self, ask: Ask) -> Fact:
        """Semantics A5: the acknowledgement comes first and is completed with the outcome."""
        order = self.order_of(ask)
        fact = self.say_order(Event.ACCEPTED, order)
        if order.type in STOPS and not self.is_reached(order):
            self.wait(order)
        else:
            self.work(order, ask, order.minimum)
        rests = order.leaves if order.id in self.orders else 0
        fact.update(leaves=rests, cum=order.cum, amount=order.amount)
        return dict(fact)

    def limit_of(self, order: Order) -> int:
        return self.collar(order.instrument, order.side) if order.type in NEVER_REST else order.price

    def wait(self, order: Order) -> None:
        order.waiting = True
        self.give_place(order)
        self.orders[order.id] = order

    def is_reached(self, order: Order) -> bool:
        i = self.instruments[order.instrument]
        if not i.last or i.phase is not Phase.CONTINUOUS:
            return False
        return i.last >= order.stop if order.side is Side.BUY else i.last <= order.stop

    # matching

    def work(self, order: Order, ask: Ask, minimum: int = 0) -> None:
        """Meet the book; then rest, or end with a reason. What rests or ends is in or out of `orders`."""
        i, why, limit = self.instruments[order.instrument], Reason.NONE, self.limit_of(order)
        opens = False
        if i.phase is Phase.CONTINUOUS and not i.listed:
            wanted = order.leaves if order.tif is TimeInForce.FOK else minimum
            if wanted and not self.is_feasible(order, limit, wanted):
                why = Reason.NOT_FEASIBLE
            else:
                why = self.sweep(order, limit)
                opens = why is Reason.COLLAR and i.terms["volatility_auction_s"] > 0
        resting = order.type not in NEVER_REST and order.tif not in IMMEDIATE
        if order.leaves and resting and (not why or (opens and order.tif is not TimeInForce.CONTINUOUS_ONLY)):
            order.show()
            order.waiting, order.upper = False, i.upper
            self.give_place(order)
            self.orders[order.id] = order
        elif order.leaves:
            nothing = not self.queue(order.instrument, 1 - order.side)
            end = Reason.NO_LIQUIDITY if nothing else Reason.COLLAR
            self.drop(order, why or (end if order.type in NEVER_REST else Reason.IOC_REMAINDER))
        if opens:
            self.start_gathering(order.instrument, Phase.AUCTION)
            i.auction_until_ns = ask["time_ns"] + i.terms["volatility_auction_s"] * 10**9
            self.say_market(Event.PHASE_CHANGED, order.instrument)

    def sweep(self, order: Order, limit: int) -> Reason:
        """Best price first, oldest first (A1-A3); why it stopped, if not for want of prices (D2, E5)."""
        i = self.instruments[order.instrument]
        low, high = 0, PRICE_MAX_FEN_PER_TONNE
        if i.last and i.terms["dynamic_band_bp"]:
            low, high = i.inwards(i.last, i.terms["dynamic_band_bp"])
        while order.leaves and self.meets(order, limit):
            other = self.queue(order.instrument, 1 - order.side)[0]
            if not low <= other.price <= high:
                return Reason.COLLAR
            own = self.own(order, other)
            if own and order.mode is not SelfTrade.ALLOW:
                if self.prevent(order, other):
                    return Reason.SELF_TRADE_PREVENTION
                continue
            kg = min(order.leaves, other.shown)
            other.shown -= kg
            self.note_trade(order, other, other.price, kg, Flag.SELF_TRADE if own else 0)
            i.last = other.price
            self.retire(other)
        return Reason.NONE

    def retire(self, order: Order) -> None:
        """A slice that is gone: the next one at the end of the queue, or the end (B8)."""
        if order.shown:
            return
        if not order.leaves:
            del self.orders[order.id]
            return
        order.show()
        self.give_place(order)
        self.say_order(Event.REFRESHED, order, quantity=order.shown)

    def prevent(self, order: Order, other: Order) -> bool:
        """True when the incoming order must stop (D1)."""
        if order.mode is SelfTrade.DECREMENT:
            kg = min(order.leaves, other.leaves)
            order.leaves -= kg
            self.shrink(other, kg)
            self.say_pair(Event.PREVENTED, order, other, other.price, kg)
            self.retire(other)
            return False
        if order.mode in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
            self.drop(other, Reason.SELF_TRADE_PREVENTION)
        return order.mode is not SelfTrade.CANCEL_OLDEST

    def shrink(self, order: Order, kg: int) -> None:
        """Kilograms are lost, hidden ones first (C1)."""
        order.shown -= kg - min(kg, order.leaves - order.shown)
        order.leaves -= kg

    def is_feasible(self, order: Order, limit: int, wanted: int) -> bool:
        """The same walk on a copy of everything, up to a prevention that touches the order itself (B6)."""
        twin, mine = copy.deepcopy((self, order))
        twin.facts, filled = [], 0
        twin.sweep(mine, limit)
        for fact in twin.facts:
            if fact["kind"] == "prevented":
                break
            filled += fact["quantity"] if fact["kind"] == "trade" else 0
        return filled >= wanted

    def trigger_stops(self, ask: Ask, instrument: int | None = None) -> None:
        """One reached stop after the other, until the last price reaches none (B4)."""
        for number in self.instruments if instrument is None else [instrument]:
            while reached := [
                o for s in Side for o in self.queue(number, s, waiting=True) if self.is_reached(o)
            ]:
                order = reached[0]
                self.say_order(Event.TRIGGERED, order)
                del self.orders[order.id]
                order.waiting = False
                limit, i = self.limit_of(order), self.instruments[number]
                needs = self.hold(replace(order, price=limit, upper=i.upper))
                if not i.lower <= limit <= i.upper:
                    self.drop(order, Reason.PRICE_EXCEEDS_BAND)
                elif self.free_money(order.account) < needs:
                    self.drop(order, Reason.INSUFFICIENT_FUNDS)
                else:
                    self.work(order, ask)
