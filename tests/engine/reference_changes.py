"""The naive twin, changes: who asks; replace, cancel, sessions, kill switch (C), from engine/RULES.md."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.vocabulary import Event, Flag, OrderType, Phase, Reason, ReplaceFlag, Scope, Side
from tests.engine.reference_auction import Ask, Order, Session
from tests.engine.reference_book import Book

NAMED = (
    "kind",
    "side",
    "order_type",
    "time_in_force",
    "instrument",
    "order_id",
    "price_fen_per_tonne",
    "quantity_kg",
    "lot",
    "stop_fen_per_tonne",
    "due_ns",
    "display_quantity_kg",
    "self_trade_mode",
    "flags",
    "minimum_quantity_kg",
    "listing_version",
)
ANY = -1
ANY_SIDE = 255


@dataclass
class Changes(Book):
    """What becomes of orders that live."""

    # who asks (C7, C8)

    def identity(self, ask: Ask, *, enters: bool) -> Iterator[Reason]:
        account, session = self.accounts.get(ask["account"]), self.sessions.get(ask["session"])
        if account is None:
            yield Reason.UNKNOWN_ACCOUNT
            return
        if ask["session"] and (session is None or session.account != ask["account"]):
            yield Reason.UNKNOWN_SESSION
        if enters and account.blocked:
            yield Reason.ACCOUNT_BLOCKED

    def key_of(self, ask: Ask) -> tuple[int, ...]:
        return ask["account"], ask["client_order_id_0"], ask["client_order_id_1"]

    def once(self, ask: Ask) -> Iterator[Reason]:
        """A reference must rise, a client order id must be new; a repeat says its first outcome."""
        account, first = self.accounts[ask["account"]], self.day.get(self.key_of(ask))
        if ask["flags"] & Flag.BY_REFERENCE:
            if ask["client_order_id_0"] <= account.reference:
                yield Reason.STALE_REFERENCE
            account.reference = max(account.reference, ask["client_order_id_0"])
        elif not ask["client_order_id_0"]:
            yield Reason.MISSING_CLIENT_ORDER_ID
        elif first is not None and any(ask[name] != first[0][name] for name in NAMED):
            yield Reason.DUPLICATE_CLIENT_ORDER_ID
        elif first is not None:
            self.facts.append({**first[1], "flags": int(Flag.DUPLICATE)})
        elif len(self.day) * 8 >= self.day_max * 7:
            yield Reason.DAY_FULL

    # changing and ending (C)

    def target(self, ask: Ask, *, enters: bool) -> tuple[Order | None, list[Reason]]:
        """The live order that a cancel or replace means, or why there is none (C4)."""
        if reasons := list(self.identity(ask, enters=enters)):
            return None, reasons
        number, gone = ask["order_id"], Reason.UNKNOWN_ORDER
        if ask["flags"] & Flag.BY_CLIENT_ORDER_ID:
            _, outcome = self.day.get(self.key_of(ask), (ask, {}))
            number = outcome.get("order", 0)
            gone = Reason.TOO_LATE if number else gone
        order = self.orders.get(number)
        if order is None:
            return None, [gone]
        if order.account != ask["account"]:
            return None, [Reason.UNKNOWN_ORDER]
        if self.instruments[order.instrument].phase is Phase.NO_CANCEL:
            return None, [Reason.NO_CANCEL_PHASE]
        return order, []

    def _cancel_order(self, ask: Ask) -> Iterator[Reason]:
        order, reasons = self.target(ask, enters=False)
        if order is not None:
            self.drop(order, Reason.CANCELED_BY_OWNER)
        yield from reasons

    def _replace_order(self, ask: Ask) -> Iterator[Reason]:
        order, reasons = self.target(ask, enters=True)
        if order is None:
            yield from reasons
            return
        if reasons := list(self.phase_faults(self.instruments[order.instrument])):
            yield from reasons
            return
        kg, named = ask["quantity_kg"], order.quantity - order.leaves
        leaves = kg - named if kg else order.leaves
        if ask["flags"] & ReplaceFlag.BY_LEAVES:
            leaves = kg
        if leaves <= 0:
            self.drop(order, Reason.REPLACED_TO_NOTHING)
            return
        fixed = order.type is OrderType.STOP or not ask["price_fen_per_tonne"]
        price = order.price if fixed else ask["price_fen_per_tonne"]
        changed = replace(order, price=price, leaves=leaves, stop=ask["stop_fen_per_tonne"] or order.stop)
        changed.quantity, changed.upper = named + leaves, self.instruments[order.instrument].upper
        reasons = list(self.replace_faults(ask, order, changed))
        yield from reasons
        if not reasons:
            self.carry_out_replace(ask, order, changed)

    def replace_faults(self, ask: Ask, order: Order, changed: Order) -> Iterator[Reason]:
        """Semantics C3."""
        i, stop = self.instruments[order.instrument], ask["stop_fen_per_tonne"]
        if stop and not (order.waiting and self.is_stop_price(i, stop)):
            yield Reason.INVALID_STOP_PRICE
        if order.type is not OrderType.STOP:
            yield from self.price_faults(i, changed.price)
        yield from self.quantity_faults(ask, i, changed.quantity)
        if i.listed and changed.leaves != order.leaves:
            yield Reason.WHOLE_LOT_ONLY
        if i.listed and order.cum:
            yield Reason.TOO_LATE
        rests = i.phase is Phase.CONTINUOUS and not order.waiting
        if order.flags & Flag.POST_ONLY and rests and self.meets(order, changed.price):
            yield Reason.POST_ONLY_WOULD_TRADE
        if order.side is Side.SELL and self.free_goods(order.lot) + order.leaves < changed.leaves:
            yield Reason.INSUFFICIENT_GOODS
        if self.free_money(order.account) + self.hold(order) < self.hold(changed):
            yield Reason.INSUFFICIENT_FUNDS
        grown = changed.leaves - order.leaves
        if order.display and grown > 0 and self.is_full(-(-grown // order.display) - 2):
            yield Reason.LIVE_ORDERS_FULL

    def carry_out_replace(self, ask: Ask, order: Order, changed: Order) -> None:
        """Semantics C1, C2."""
        keeps = (changed.price, changed.stop) == (order.price, order.stop) and changed.leaves <= order.leaves
        change, order.quantity = changed.leaves - order.leaves, changed.quantity
        order.version += 1
        if keeps:
            self.shrink(order, -change)
            self.say_order(Event.REPLACED, order, flags=order.flags | Flag.KEPT_PLACE, amount=change)
            return
        del self.orders[order.id]
        order.price, order.stop, order.leaves, order.amount = changed.price, changed.stop, changed.leaves, 0
        fact = self.say_order(Event.REPLACED, order, amount=change)
        if order.waiting and not self.is_reached(order):
            order.upper = changed.upper
            self.wait(order)
            return
        order.waiting = False
        self.work(order, ask)
        fact.update(leaves=order.leaves if order.id in self.orders else 0, cum=order.cum)

    def end_many(self, orders: list[Order], reason: Reason, *, keep: bool = False) -> int:
        """Cancel by order id (C5); in no_cancel the cancel is kept where that is asked (E1)."""
        for order in sorted(orders, key=lambda each: each.id):
            if keep and self.instruments[order.instrument].phase is Phase.NO_CANCEL:
                order.condemned = order.condemned or reason
            else:
                self.drop(order, reason)
        return len(orders)

    def _mass_cancel(self, ask: Ask) -> Iterator[Reason]:
        if reasons := list(self.identity(ask, enters=False)):
            yield from reasons
            return
        meant = [
            order
            for order in self.orders.values()
            if order.account == ask["account"]
            and ask["instrument"] in (ANY, order.instrument)
            and ask["side"] in (ANY_SIDE, order.side)
            and ask["session"] in (0, order.session)
            and self.instruments[order.instrument].phase is not Phase.NO_CANCEL
        ]
        self.say(Event.ORDERS_CANCELED, quantity=self.end_many(meant, Reason.MASS_CANCELED))

    def _block_account(self, ask: Ask) -> Iterator[Reason]:
        """Semantics C6."""
        if ask["account"] not in self.accounts:
            yield Reason.UNKNOWN_ACCOUNT
            return
        self.accounts[ask["account"]].blocked = True
        meant = [order for order in self.orders.values() if order.account == ask["account"]]
        ended = self.end_many(meant, Reason.KILL_SWITCH, keep=True)
        self.say(Event.ACCOUNT_BLOCKED, account=ask["account"], quantity=ended)

    def _release_account(self, ask: Ask) -> Iterator[Reason]:
        if ask["account"] not in self.accounts:
            yield Reason.UNKNOWN_ACCOUNT
            return
        self.accounts[ask["account"]].blocked = False
        self.say(Event.ACCOUNT_RELEASED, account=ask["account"])

    # sessions (C7)

    def _start_session(self, ask: Ask) -> Iterator[Reason]:
        if ask["account"] not in self.accounts:
            yield Reason.UNKNOWN_ACCOUNT
            return
        self.sessions[ask["sequence"]] = Session(ask["account"], Scope(ask["scope"]))
        self.say(Event.SESSION_STARTED, account=ask["account"], session=ask["sequence"])

    def session_faults(self, ask: Ask) -> list[Reason]:
        session = self.sessions.get(ask["session"])
        return [] if session and session.account == ask["account"] else [Reason.UNKNOWN_SESSION]

    def _end_session(self, ask: Ask) -> Iterator[Reason]:
        if reasons := list(self.identity(ask, enters=False)) + self.session_faults(ask):
            yield from reasons
            return
        scope = self.sessions.pop(ask["session"]).scope
        meant = [
            order
            for order in self.orders.values()
            if order.account == ask["account"]
            and not order.flags & Flag.KEEP_ON_DISCONNECT
            and (scope is Scope.ACCOUNT or (scope is Scope.SESSION and order.session == ask["session"]))
        ]
        ended = self.end_many(meant, Reason.DISCONNECTED, keep=True)
        self.say(Event.SESSION_ENDED, account=ask["account"], session=ask["session"], quantity=ended)

    def _cancel_all_after(self, ask: Ask) -> Iterator[Reason]:
        if reasons := list(self.identity(ask, enters=False)) + self.session_faults(ask):
            yield from reasons
        elif ask["due_ns"] and ask["due_ns"] <= ask["time_ns"]:
            yield Reason.INVALID_EXPIRY
        else:
            self.sessions[ask["session"]].timer_ns = ask["due_ns"]
            self.say(Event.TIMER_SET, account=ask["account"], session=ask["session"], due_ns=ask["due_ns"])
