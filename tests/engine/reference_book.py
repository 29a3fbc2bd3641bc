"""The naive twin of the core in plain Python (semantics A, B, F2, G3); only words and money are shared."""

from dataclasses import dataclass, field

from sortedcontainers import SortedDict

from engine import money
from engine.vocabulary import Mode, Phase, Reason, Side, TimeInForce

Facts = list[tuple[object, ...]]


@dataclass
class Order:
    key: str
    account: int
    side: Side
    price: int
    leaves: int
    lot: int

    @property
    def rank(self) -> int:  # the better price first on either side
        return self.price if self.side is Side.SELL else -self.price


@dataclass
class ReferenceBook:
    """One instrument (fields of its terms), its accounts (available fen) and lots (owner, free kg)."""

    terms: dict[str, int]
    available: dict[int, int]
    lots: dict[int, tuple[int, int]]
    sides: tuple[SortedDict, SortedDict] = field(default_factory=lambda: (SortedDict(), SortedDict()))
    orders: dict[str, Order] = field(default_factory=dict)
    phase: Phase = Phase.CONTINUOUS

    def hold(self, order: Order) -> int:
        points = self.terms["buyer_deposit_bp"] if order.side is Side.BUY else 0
        step, fee = self.terms["step_kg"], self.terms["fee_fen_per_tonne"]
        return int(money.hold_fen(order.price, order.leaves, step, points, fee))

    def new(self, order: Order, tif: TimeInForce) -> Facts:
        if (reason := self._refuse(order, tif)) is not Reason.NONE:
            return [("rejected", reason)]
        self._move_goods(order, -(quantity := order.leaves))
        trades = self._sweep(order) if self.terms["mode"] == Mode.BOOK else []
        rests = order.leaves if tif is TimeInForce.DAY else 0
        if rests:
            self.available[order.account] -= self.hold(order)
            self.sides[order.side].setdefault(order.rank, []).append(order)
            self.orders[order.key] = order
        facts: Facts = [("accepted", rests, quantity - order.leaves), *trades]
        if order.leaves and not rests:
            self._move_goods(order, order.leaves)
            facts.append(("canceled", order.key, order.leaves, Reason.IOC_REMAINDER))
        return facts

    def cancel(self, key: str, reason: Reason = Reason.CANCELED_BY_OWNER) -> Facts:
        if (order := self.orders.get(key)) is None:
            return [("rejected", Reason.UNKNOWN_ORDER)]
        self._unlink(order)
        self.available[order.account] += self.hold(order)
        self._move_goods(order, order.leaves)
        return [("canceled", key, order.leaves, reason)]

    def close(self) -> Facts:
        self.phase, keys = Phase.CLOSED, [o.key for side in self.sides for q in side.values() for o in q]
        return [fact for key in keys for fact in self.cancel(key, Reason.DAY_END)]

    def _refuse(self, order: Order, tif: TimeInForce) -> Reason:
        terms, sell, kg = self.terms, order.side is Side.SELL, order.leaves
        low, high = terms["lower_fen_per_tonne"], terms["upper_fen_per_tonne"]
        listed = terms["mode"] == Mode.LISTED
        owner, free = self.lots.get(order.lot, (0, 0))
        ladder = [
            (self.phase is Phase.CLOSED, Reason.INSTRUMENT_CLOSED),
            (self.phase is Phase.HALTED, Reason.INSTRUMENT_HALTED),
            (listed and tif is TimeInForce.IOC, Reason.UNSUPPORTED_TIME_IN_FORCE),
            (listed and not sell, Reason.NOT_BOOK),
            (order.price % terms["tick_fen_per_tonne"] != 0, Reason.PRICE_OFF_TICK),
            (not low <= order.price <= high, Reason.PRICE_EXCEEDS_BAND),
            (kg % terms["step_kg"] != 0, Reason.QUANTITY_OFF_STEP),
            (kg < terms["minimum_kg"], Reason.QUANTITY_BELOW_MINIMUM),
            (kg > terms["maximum_kg"], Reason.EXCEEDS_LIMIT),
            (sell and owner != order.account, Reason.UNKNOWN_LOT),
            (sell and free < kg, Reason.INSUFFICIENT_GOODS),
            (self.available[order.account] < self.hold(order), Reason.INSUFFICIENT_FUNDS),
        ]
        return next((reason for fails, reason in ladder if fails), Reason.NONE)

    def _sweep(self, order: Order) -> Facts:
        book, trades = self.sides[1 - order.side], Facts()
        while order.leaves and book and book.peekitem(0)[0] + order.rank <= 0:
            resting = book.peekitem(0)[1][0]
            kg = min(order.leaves, resting.leaves)
            self.available[resting.account] += self.hold(resting)
            for party in (order, resting):
                party.leaves -= kg
                amount = money.amount_fen(resting.price, kg) if party.side is Side.BUY else 0
                self.available[party.account] -= int(
                    amount + money.fee_fen(kg, self.terms["fee_fen_per_tonne"])
                )
            self.available[resting.account] -= self.hold(resting)
            trades.append(("trade", resting.key, order.key, resting.price, kg))
            if not resting.leaves:
                self._unlink(resting)
        return trades

    def _unlink(self, order: Order) -> None:
        queue = self.sides[self.orders.pop(order.key).side][order.rank]
        queue.remove(order)
        if not queue:
            del self.sides[order.side][order.rank]

    def _move_goods(self, order: Order, kg: int) -> None:
        if order.side is Side.SELL:
            self.lots[order.lot] = (order.account, self.lots[order.lot][1] + kg)
