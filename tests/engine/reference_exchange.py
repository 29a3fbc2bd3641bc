"""The naive twin, the door: what each command does (A4, A5, E, F), from engine/RULES.md."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine import money
from engine.vocabulary import (
    AMOUNT_MAX_FEN,
    ORDER_SLOT_BITS,
    PRICE_MAX_FEN_PER_TONNE,
    QUANTITY_MAX_KG,
    Command,
    Event,
    Flag,
    Mode,
    Phase,
    Profile,
    Reason,
    Side,
    TimeInForce,
)
from tests.engine.reference_auction import GATHERING, LASTING, Account, Ask, Fact, Instrument, Lot, Order
from tests.engine.reference_changes import ANY, Changes

SETTLEMENT = range(Command.OPEN_ACCOUNT, Command.BUST_TRADE + 1)


@dataclass
class ReferenceExchange(Changes):
    """All commands, one at a time; `apply` returns what each one says."""

    def apply(self, ask: Ask) -> list[Fact]:
        self.facts = []
        kind = Command(ask["kind"])
        if kind in SETTLEMENT and ask["outbox"]:
            if ask["outbox"] <= self.outbox:
                self.say(Event.REPEATED)
                return self.facts
            self.outbox = ask["outbox"]
        self.reasons = list(getattr(self, f"_{kind.name.lower()}")(ask))
        reason = min(self.reasons, default=Reason.NONE)
        if reason:
            self.say(Event.REJECTED, account=ask["account"], reason=reason)
        elif kind in (Command.NEW_ORDER, Command.REPLACE_ORDER):
            self.trigger_stops(ask)
        if kind is not Command.SET_PHASE:
            self.indicate()
        return self.facts

    def indicate(self) -> None:
        """After an accepted change in an auction (E1, E4)."""
        touched = {fact.get("instrument") for fact in self.facts if not fact.get("flags", 0) & Flag.DUPLICATE}
        for number, i in sorted(self.instruments.items()):
            if number in touched and i.phase is Phase.AUCTION:
                self.say_auction(Event.INDICATIVE, number)

    def enter_once(self, ask: Ask) -> Iterator[Reason]:
        """New orders and picks: judged once, the outcome kept under the client order id."""
        reasons = list(self.identity(ask, enters=True)) or list(self.once(ask))
        if reasons or self.facts:
            yield from reasons
            return
        faults = self.new_faults if ask["kind"] == Command.NEW_ORDER else self.pick_faults
        faulty = list(faults(ask))
        reason = min(faulty, default=Reason.NONE)
        outcome: Fact = {"kind": "rejected", "account": ask["account"], "reason": reason}
        yield from faulty
        if reason:
            pass
        elif ask["kind"] == Command.NEW_ORDER:
            outcome = self.enter(ask)
        else:
            outcome = self.carry_out_pick(ask)
        if not ask["flags"] & Flag.BY_REFERENCE:
            names = ("kind", "account", "reason", "order", "price", "quantity", "leaves", "cum", "amount")
            self.day[self.key_of(ask)] = ask, {name: outcome[name] for name in names if name in outcome}

    _new_order = enter_once
    _pick = enter_once

    # picks (F2)

    def pick_faults(self, ask: Ask) -> Iterator[Reason]:
        listing = self.orders.get(ask["order_id"])
        if listing is None:
            yield Reason.UNKNOWN_ORDER
            return
        i = self.instruments[listing.instrument]
        faults = list(self.phase_faults(i))
        if i.phase in GATHERING - {Phase.NO_CANCEL}:
            faults.append(Reason.CONTINUOUS_PHASE_ONLY)
        if not i.listed:
            faults.append(Reason.NOT_LISTED)
        if faults:
            yield from faults
            return
        kg, minimum = self.picked_kg(ask, listing), listing.minimum or listing.leaves
        if listing.side is Side.BUY:
            lot = self.lots.get(ask["lot"])
            if lot is None or lot.account != ask["account"]:
                yield Reason.UNKNOWN_LOT
                kg = minimum  # what it would weigh is not asked
            elif lot.instrument != listing.instrument:
                yield Reason.LOT_OF_OTHER_INSTRUMENT
                kg = minimum
        fits = minimum <= kg <= listing.leaves
        if not fits or (listing.side is Side.SELL and 0 < listing.leaves - kg < minimum):
            yield Reason.WHOLE_LOT_ONLY
        if ask["listing_version"] != listing.version:
            yield Reason.STALE_VERSION
        groups = self.accounts[ask["account"]].group, self.accounts[listing.account].group
        if groups[0] and groups[0] == groups[1]:
            yield Reason.OWN_LISTING
        before = self.accounts[ask["account"]].owns
        self.charge(replace(listing, account=ask["account"], side=Side(1 - listing.side)), listing.price, kg)
        if self.free_money(ask["account"]) < 0:
            yield Reason.INSUFFICIENT_FUNDS
        self.accounts[ask["account"]].owns = before
        if self.is_full():
            yield Reason.LIVE_ORDERS_FULL

    def picked_kg(self, ask: Ask, listing: Order) -> int:
        """A sell is picked by kilograms, a bid by a lot with all that it has free."""
        if listing.side is Side.SELL:
            return ask["quantity_kg"]
        return self.free_goods(ask["lot"]) if ask["lot"] in self.lots else 0

    def carry_out_pick(self, ask: Ask) -> Fact:
        listing = self.orders[ask["order_id"]]
        kg, lot = self.picked_kg(ask, listing), listing.lot or ask["lot"]
        wish = {"side": 1 - listing.side, "quantity_kg": kg, "lot": lot, "instrument": listing.instrument}
        wish["price_fen_per_tonne"] = listing.price
        order = self.order_of(Ask({**ask, **wish, "minimum_quantity_kg": 0}))
        order.lot = lot
        fact = self.say_order(Event.ACCEPTED, order)
        self.note_trade(order, listing, listing.price, kg, 0)
        self.instruments[listing.instrument].last = listing.price
        listing.show()
        fact.update(leaves=0, cum=order.cum, amount=order.amount)
        if listing.leaves and listing.side is Side.BUY:
            self.drop(listing, Reason.PICKED)
        elif not listing.leaves:
            del self.orders[listing.id]
        return dict(fact)

    def _expire(self, ask: Ask) -> Iterator[Reason]:
        """Semantics B5, C7, E5, E6: orders, then timers, then volatility auctions."""
        due = [o for o in self.orders.values() if o.tif is TimeInForce.GTD and o.expire_ns <= ask["due_ns"]]
        ended = self.end_many(due, Reason.EXPIRED)
        dead = {key for key, session in self.sessions.items() if 0 < session.timer_ns <= ask["due_ns"]}
        for key in dead:
            self.sessions[key].timer_ns = 0
        of_dead = [order for order in self.orders.values() if order.session in dead]
        ended += self.end_many(of_dead, Reason.TIMER_EXPIRED, keep=True)
        for number, i in sorted(self.instruments.items()):
            if 0 < i.auction_until_ns <= ask["due_ns"]:
                self.change_phase(ask, number, Phase.CONTINUOUS)
        self.say(Event.TIME_REACHED, quantity=ended)
        return iter(())

    # the market (E, F)

    def _set_phase(self, ask: Ask) -> Iterator[Reason]:
        number, phase = ask["instrument"], ask["phase"]
        if number != ANY and number not in self.instruments:
            yield Reason.UNKNOWN_INSTRUMENT
        if phase not in list(Phase):
            yield Reason.UNKNOWN_PHASE
        elif self.profile == Profile.CN_SPOT and phase in GATHERING:
            yield Reason.FORBIDDEN_BY_PROFILE
        elif number == ANY or number in self.instruments:
            for each in sorted(self.instruments) if number == ANY else [number]:
                self.change_phase(ask, each, Phase(phase))

    def change_phase(self, ask: Ask, number: int, phase: Phase) -> None:
        """Semantics B5, E1, E2: continuous is entered through the uncross."""
        i, before = self.instruments[number], self.instruments[number].phase
        opens = phase is Phase.CONTINUOUS and before is not Phase.CONTINUOUS and not i.listed
        if opens and (before in GATHERING or self.equilibrium(number)[1]):
            self.uncross(number)
        if before is Phase.NO_CANCEL and phase is not Phase.NO_CANCEL:
            self.carry_out_kept(number)
        if opens:
            self.end_where(number, {TimeInForce.AT_OPEN}, Reason.AUCTION_ENDED)
        if phase is Phase.CLOSED:
            self.end_where(number, set(TimeInForce) - LASTING, Reason.DAY_END)
        if phase in GATHERING and before not in GATHERING:
            self.start_gathering(number, phase)
        i.phase, i.auction_until_ns = phase, 0
        self.say_market(Event.PHASE_CHANGED, number)
        self.trigger_stops(ask, number)

    def _set_reference(self, ask: Ask) -> Iterator[Reason]:
        i, price = self.instruments.get(ask["instrument"]), ask["price_fen_per_tonne"]
        if i is None:
            yield Reason.UNKNOWN_INSTRUMENT
            return
        if not 0 < price <= PRICE_MAX_FEN_PER_TONNE // 2 or not i.terms["band_bp"]:
            yield Reason.INVALID_TERMS
        elif i.phase is not Phase.CLOSED:
            yield Reason.INSTRUMENT_OPEN
        elif price % i.terms["tick_fen_per_tonne"]:
            yield Reason.PRICE_OFF_TICK
        else:
            self.move_band(ask["instrument"], price)

    def _roll_day(self, ask: Ask) -> Iterator[Reason]:
        return self.roll_day(ask)

    def _define_instrument(self, ask: Ask) -> Iterator[Reason]:
        if ask["instrument"] in self.instruments:
            yield Reason.INSTRUMENT_EXISTS
        if self.profile == Profile.CN_SPOT and ask["mode"] == Mode.BOOK:
            yield Reason.FORBIDDEN_BY_PROFILE
        elif ask["instrument"] not in self.instruments:
            band = ask["lower_fen_per_tonne"], ask["upper_fen_per_tonne"]
            self.instruments[ask["instrument"]] = Instrument(ask, ask["reference_fen_per_tonne"], *band)
            self.say_market(Event.INSTRUMENT_DEFINED, ask["instrument"])

    def _set_profile(self, ask: Ask) -> Iterator[Reason]:
        if self.instruments:
            yield Reason.INSTRUMENT_EXISTS
            return
        self.profile = ask["profile"]
        self.say(Event.PROFILE_SET)

    def _set_clock(self, ask: Ask) -> Iterator[Reason]:
        if ask["due_ns"] != ask["time_ns"]:
            yield Reason.CLOCK_NOT_STEPPED
            return
        self.say(Event.CLOCK_SET)

    # settlement (E8, law 8)

    def say_cash(self, kind: Event, account: int) -> None:
        free = self.free_money(account)
        self.say(kind, account=account, number=self.count(account), free=free, held=self.held(account))

    def say_lot(self, kind: Event, number: int, kg: int) -> None:
        lot = self.lots[number]
        said = {"account": lot.account, "number": self.count(lot.account), "lot": number, "quantity": kg}
        weights = {"free": self.free_goods(number), "listed": self.listed_kg(number)}
        self.say(kind, **said, **weights, contracted=lot.contracted)

    def _open_account(self, ask: Ask) -> Iterator[Reason]:
        if ask["account"] in self.accounts:
            yield Reason.ACCOUNT_EXISTS
            return
        self.accounts[ask["account"]] = Account(max(ask["group"], 0) if ask["group"] else ask["account"])
        self.say_cash(Event.ACCOUNT_OPENED, ask["account"])

    def _deposit(self, ask: Ask) -> Iterator[Reason]:
        if ask["account"] not in self.accounts:
            yield Reason.UNKNOWN_ACCOUNT
        elif not 0 < ask["amount_fen"] <= AMOUNT_MAX_FEN - self.free_money(ask["account"]):
            yield Reason.EXCEEDS_LIMIT
        else:
            self.accounts[ask["account"]].owns += ask["amount_fen"]
            self.say_cash(Event.DEPOSITED, ask["account"])

    def _withdraw(self, ask: Ask) -> Iterator[Reason]:
        if ask["account"] not in self.accounts:
            yield Reason.UNKNOWN_ACCOUNT
        elif not 0 < ask["amount_fen"] <= AMOUNT_MAX_FEN:
            yield Reason.EXCEEDS_LIMIT
        elif self.free_money(ask["account"]) < ask["amount_fen"]:
            yield Reason.INSUFFICIENT_FUNDS
        else:
            self.accounts[ask["account"]].owns -= ask["amount_fen"]
            self.say_cash(Event.WITHDRAWN, ask["account"])

    def _register_lot(self, ask: Ask) -> Iterator[Reason]:
        if ask["account"] not in self.accounts:
            yield Reason.UNKNOWN_ACCOUNT
        elif ask["instrument"] not in self.instruments:
            yield Reason.UNKNOWN_INSTRUMENT
        elif not 0 < ask["quantity_kg"] <= QUANTITY_MAX_KG:
            yield Reason.EXCEEDS_LIMIT
        elif ask["lot"] in self.lots:
            yield Reason.LOT_EXISTS
        else:
            self.lots[ask["lot"]] = Lot(ask["account"], ask["instrument"], ask["quantity_kg"])
            self.say_lot(Event.LOT_REGISTERED, ask["lot"], ask["quantity_kg"])

    def _withdraw_lot(self, ask: Ask) -> Iterator[Reason]:
        if ask["lot"] not in self.lots:
            yield Reason.UNKNOWN_LOT
        elif ask["quantity_kg"] <= 0:
            yield Reason.EXCEEDS_LIMIT
        elif self.free_goods(ask["lot"]) < ask["quantity_kg"]:
            yield Reason.INSUFFICIENT_GOODS
        else:
            self.lots[ask["lot"]].registered -= ask["quantity_kg"]
            self.say_lot(Event.LOT_WITHDRAWN, ask["lot"], ask["quantity_kg"])

    def _bust_trade(self, ask: Ask) -> Iterator[Reason]:
        """Semantics E8: money and goods go back, nothing else changes."""
        lot, kg = self.lots.get(ask["lot"]), ask["quantity_kg"]
        if ask["account"] not in self.accounts:
            yield Reason.UNKNOWN_ACCOUNT
        if ask["match_id"] <= 0 or (lot is not None and not 0 < kg <= lot.contracted):
            yield Reason.UNKNOWN_TRADE
        if lot is None:
            yield Reason.UNKNOWN_LOT
        elif ask["match_id"] > 0 and 0 < kg <= lot.contracted and ask["account"] in self.accounts:
            for account, fen in (
                (ask["account"], ask["amount_fen"]),
                (lot.account, ask["counter_amount_fen"]),
            ):
                self.accounts[account].owns += fen
            lot.contracted -= kg
            i = self.instruments[lot.instrument]
            if ask["match_id"] >> ORDER_SLOT_BITS >= self.day_started:  # a trade of today
                i.amount -= int(money.amount_fen(ask["price_fen_per_tonne"], kg))
                i.kg -= kg
            numbers = {"number": self.count(ask["account"]), "counter_number": self.count(lot.account)}
            self.say(Event.TRADE_BUSTED, account=ask["account"], lot=ask["lot"], quantity=kg, **numbers)
