"""The shipped core behind the judge's protocol: `python -m tests.conformance.adapter` serves it.

Prices are ticks, quantities multiples of 2**-24 (traces halve them), symbols are instruments, owners are
accounts; money and goods are more than any trace can use. The reduce of the judge is a replace to fewer
leaves; its replace always loses the place, so one that would keep it here is a cancel and a new order.
"""

import os
import sys
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tracebook.conformance import (
    BookSnapshot,
    BookState,
    ConformanceConfig,
    ConformanceError,
    EngineMetadata,
    Observation,
    Outcome,
    RestingOrder,
    TradeFill,
    canonical_decimal,
    serve_stdio,
)
from tracebook.core.order import NO_OWNER, OrderSide, OrderType, SelfTradePolicy
from tracebook.events import MarketEvent

from engine.core.layout import Capacity
from engine.exchange import Exchange, stamped
from engine.records import ORDER, TRADE, Records, commands_of
from engine.vocabulary import (
    QUANTITY_MAX_KG,
    Command,
    Event,
    Flag,
    Mode,
    Phase,
    ReplaceFlag,
    SelfTrade,
    Side,
    TimeInForce,
)
from engine.vocabulary import OrderType as Type
from tests.engine.builders import terms

CAPACITY = Capacity(orders=1 << 12, levels=1 << 18, instruments=8, accounts=64, lots=1 << 10, day=2)
UNITS = 1 << 24  # of quantity
HIGHEST_TICKS = 15_000
PLENTY = 1 << 60
MODES = {
    SelfTradePolicy.NONE: SelfTrade.ALLOW,
    SelfTradePolicy.CANCEL_RESTING: SelfTrade.CANCEL_OLDEST,
    SelfTradePolicy.CANCEL_INCOMING: SelfTrade.CANCEL_NEWEST,
}
FORCES = {
    OrderType.LIMIT: TimeInForce.GTC,
    OrderType.MARKET: TimeInForce.IOC,
    OrderType.IOC: TimeInForce.IOC,
    OrderType.FOK: TimeInForce.FOK,
}


class Adapter:
    """One exchange, told of each event of a trace and asked for its books."""

    metadata = EngineMetadata("lecong", "0.1.0", "Python and numba")

    def __init__(self, config: ConformanceConfig) -> None:
        if config.matching_algorithm != "fifo":
            raise ConformanceError("the core matches by price and time only")
        self.config, self.tick = config, Decimal(canonical_decimal(config.tick_size))
        self.exchange = Exchange(CAPACITY)
        self.symbols: dict[str, int] = {}
        self.accounts: dict[int, int] = {}
        self.source: dict[int, tuple[int, int]] = {}  # order id -> (source id, owner)
        self.state = BookState()

    def apply(self, event: MarketEvent, index: int) -> Observation:
        """Carry out one event."""
        reason, events = self.carry_out(event)
        trades = tuple(self.trades(event.symbol, events))
        self.state = self.books()
        outcome = Outcome("rejected", reason) if reason else Outcome("applied")
        return Observation(index, outcome, trades, self.state.digest(), self.state.order_count)

    def snapshot(self) -> BookState:
        return self.state

    def close(self) -> None:
        """Nothing to let go of."""

    def carry_out(self, event: MarketEvent) -> tuple[str, list[Records]]:
        """(why it was refused or "", events of the core)."""
        if event.op == "new":
            number = self.instrument(event.symbol)
            if self.resting(event) is not None:
                return "DUPLICATE_ORDER_ID", []
            return self.enter(event, number, self.order_fields(event))
        if event.op == "clear":
            fields = {"kind": Command.MASS_CANCEL, "instrument": self.instrument(event.symbol), "side": 255}
            return "", [self.judge(**fields, account=account) for account in self.accounts.values()]
        order = self.resting(event)
        if order is None:
            return "ORDER_NOT_ACTIVE", []
        if event.op == "cancel":
            return "", [self.judge(kind=Command.CANCEL_ORDER, **self.named(order))]
        return self.reduce(event, order) if event.op == "reduce" else self.replace(event, order)

    def reduce(self, event: MarketEvent, order: Any) -> tuple[str, list[Records]]:
        assert event.quantity is not None, "a reduction names its quantity"
        leaves = int(order["leaves_kg"]) - self.units(event.quantity)
        if leaves < 0:
            return "INVALID_ORDER", []
        return "", [self.replace_to(order, leaves, 0)]

    def replace(self, event: MarketEvent, order: Any) -> tuple[str, list[Records]]:
        """A new place in any case; a wrong price or quantity leaves the original alone."""
        price = int(order["price_fen_per_tonne"]) if event.price is None else self.ticks(event.price)
        leaves = int(order["leaves_kg"]) if event.quantity is None else self.units(event.quantity)
        if leaves <= 0 or price <= 0:
            return "INVALID_REPLACEMENT", []
        if price != int(order["price_fen_per_tonne"]) or leaves > int(order["leaves_kg"]):
            events = self.replace_to(order, leaves, price)
            return ("INVALID_REPLACEMENT" if int(events["kind"][0]) == Event.REJECTED else ""), [events]
        source, owner = self.source[int(order["order_id"])]
        gone = self.judge(kind=Command.CANCEL_ORDER, **self.named(order))
        fields = {"side": int(order["side"]), "price_fen_per_tonne": price, "quantity_kg": leaves}
        again = MarketEvent("new", event.symbol, source, OrderSide.BUY, OrderType.LIMIT, 1.0, 1.0, owner)
        reason, events_again = self.enter(again, int(order["instrument"]), fields)
        return reason, [gone, *events_again]

    def replace_to(self, order: Any, leaves: int, price: int) -> Records:
        change = {"quantity_kg": leaves, "price_fen_per_tonne": price, "flags": int(ReplaceFlag.BY_LEAVES)}
        return self.judge(kind=Command.REPLACE_ORDER, **change, **self.named(order))

    def named(self, order: Any) -> dict[str, int]:
        return {"account": int(order["account"]), "order_id": int(order["order_id"])}

    def enter(self, event: MarketEvent, number: int, fields: dict[str, int]) -> tuple[str, list[Records]]:
        account = self.account(event.owner)
        fields = {"time_in_force": TimeInForce.GTC, **fields, "account": account, "instrument": number}
        fields |= {"flags": Flag.BY_REFERENCE, "client_order_id_0": self.exchange.sequence + 1}
        fields |= {"self_trade_mode": MODES[self.config.self_trade_policy]}
        if fields["side"] == Side.SELL:
            fields["lot"] = self.lot(account, number)
        events = self.judge(kind=Command.NEW_ORDER, **fields)
        if int(events["kind"][0]) == Event.REJECTED:
            return "INVALID_ORDER", []
        assert event.order_id is not None, "an order has an id"
        self.source[int(events["order_id"][0])] = event.order_id, event.owner
        return "", [events]

    def order_fields(self, event: MarketEvent) -> dict[str, int]:
        assert event.side is not None, "an order has a side"
        assert event.quantity is not None, "an order has a quantity"
        fields = {"side": int(Side[event.side.name]), "quantity_kg": self.units(event.quantity)}
        fields["time_in_force"] = FORCES[event.order_type]
        if event.order_type == OrderType.MARKET:
            return fields | {"order_type": int(Type.MARKET)}
        return fields | {"price_fen_per_tonne": self.ticks(event.price or 0)}

    def ticks(self, price: float) -> int:
        """A price on the grid, as the judge rounds it."""
        return int((Decimal(str(price)) / self.tick).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))

    def units(self, quantity: float) -> int:
        units = Decimal(str(quantity)) * UNITS
        if units != int(units):
            raise ConformanceError(f"quantity {quantity} is no multiple of 2**-24")
        return int(units)

    # the core

    def judge(self, **fields: int) -> Records:
        command = commands_of(fields)
        return self.exchange.apply(stamped(command, self.exchange.sequence + 1, 1)).copy()

    def instrument(self, symbol: str) -> int:
        if symbol not in self.symbols:
            number = self.symbols[symbol] = len(self.symbols)
            book = {"tick_fen_per_tonne": 1, "step_kg": 1, "minimum_kg": 1, "maximum_kg": QUANTITY_MAX_KG}
            book |= {"lower_fen_per_tonne": 1, "upper_fen_per_tonne": HIGHEST_TICKS, "band_bp": 0}
            free = {"buyer_deposit_bp": 0, "fee_fen_per_tonne": 0}
            defined = terms(number, Mode.BOOK, **book, **free)
            self.exchange.apply(stamped(defined, self.exchange.sequence + 1, 1))
            self.judge(kind=Command.SET_PHASE, instrument=number, phase=Phase.CONTINUOUS)
        return self.symbols[symbol]

    def account(self, owner: int) -> int:
        if owner not in self.accounts:
            account = self.accounts[owner] = len(self.accounts) + 1
            group = -1 if owner == NO_OWNER else account
            self.judge(kind=Command.OPEN_ACCOUNT, account=account, group=group)
            self.judge(kind=Command.DEPOSIT, account=account, amount_fen=10**17)
        return self.accounts[owner]

    def lot(self, account: int, number: int) -> int:
        lot, lots = account * CAPACITY.instruments + number, self.exchange.state.lots
        if int(lots["account"][lot]) == 0:
            goods = {"lot": lot, "account": account, "instrument": number, "quantity_kg": QUANTITY_MAX_KG}
            self.judge(kind=Command.REGISTER_LOT, **goods)
            lots["registered"][lot], lots["free"][lot] = PLENTY, PLENTY
        return lot

    # what the judge compares

    def rows(self, number: int) -> Records:
        ask = {"kind": Command.QUERY_LISTINGS, "instrument": number}
        return self.exchange.answer(commands_of(ask))[:-1].view(ORDER)

    def resting(self, event: MarketEvent) -> Any:
        """The resting order that an event names, or None."""
        if event.symbol not in self.symbols:
            return None
        for row in self.rows(self.symbols[event.symbol]):
            if self.source[int(row["order_id"])][0] == event.order_id:
                return row.copy()
        return None

    def decimal(self, units: int) -> str:
        return canonical_decimal(Decimal(units) / UNITS, self.config.quantity_decimal_places)

    def price(self, ticks: int) -> str:
        return canonical_decimal(ticks * self.tick)

    def trades(self, symbol: str, batches: list[Records]) -> Iterable[TradeFill]:
        for events in batches:
            for row in events[events["kind"] == Event.TRADE].view(TRADE) if len(events) else ():
                pair = [self.source[int(row[name])][0] for name in ("order_id", "counter_order_id")]
                buy, sell = pair if int(row["side"]) == Side.BUY else reversed(pair)
                price, quantity = int(row["price_fen_per_tonne"]), int(row["quantity_kg"])
                yield TradeFill(symbol, buy, sell, self.price(price), self.decimal(quantity))

    def books(self) -> BookState:
        return BookState(tuple(self.book(symbol) for symbol in sorted(self.symbols)))

    def book(self, symbol: str) -> BookSnapshot:
        sides: tuple[list[RestingOrder], list[RestingOrder]] = ([], [])
        for row in self.rows(self.symbols[symbol]):
            source, owner = self.source[int(row["order_id"])]
            price, leaves = self.price(int(row["price_fen_per_tonne"])), self.decimal(int(row["leaves_kg"]))
            sides[int(row["side"])].append(RestingOrder(source, price, leaves, owner))
        return BookSnapshot(symbol, tuple(sides[0]), tuple(sides[1]))


if __name__ == "__main__":
    code = serve_stdio(Adapter)
    sys.stdout.flush()
    os._exit(code)  # the judge waits half a second, less than an interpreter with compiled code needs to end
