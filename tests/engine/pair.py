"""The core and its naive twin side by side: one command to both, all that can be seen compared."""

from typing import Any

import numpy as np

from engine.claims import UnsoundError
from engine.core.layout import Capacity
from engine.exchange import Exchange, stamped
from engine.records import (
    CASH,
    COMMAND,
    INSTRUMENT_TERMS,
    LOT,
    ORDER,
    TRADE,
    Records,
    client_order_id_words,
    commands_of,
)
from engine.soundness import check_sound
from engine.vocabulary import (
    ORDER_SLOT_BITS,
    RECORD_VERSION,
    Command,
    Event,
    Flag,
    Mode,
    OrderType,
    Phase,
    Side,
)
from tests.engine.reference_auction import Ask, Fact, Order
from tests.engine.reference_exchange import ReferenceExchange
from tests.engine.words import lines_of, words

CAPACITY = Capacity(orders=64, levels=1 << 13, instruments=4, accounts=8, lots=16, day=128)
BOOK_1, BOOK_2, LISTED = 0, 1, 2
STEP_KG, TICK, LOWER, UPPER, REFERENCE = 10, 5, 2225, 2315, 2270
COMMON = {"tick_fen_per_tonne": TICK, "lower_fen_per_tonne": LOWER, "upper_fen_per_tonne": UPPER}
COMMON |= {"reference_fen_per_tonne": REFERENCE, "band_bp": 200, "fee_fen_per_tonne": 50}
TERMS = (
    {"minimum_kg": 20, "maximum_kg": 400, "step_kg": STEP_KG, "buyer_deposit_bp": 1000, "collar_bp": 100},
    {"minimum_kg": 10, "maximum_kg": 300, "step_kg": STEP_KG, "buyer_deposit_bp": 10_000},
    {"minimum_kg": 1, "maximum_kg": 500, "step_kg": 1, "buyer_deposit_bp": 10_000, "mode": Mode.LISTED},
)
MORE_TERMS: dict[int, dict[str, int]] = {
    BOOK_1: {"seller_deposit_bp": 1000, "dynamic_band_bp": 100},
    BOOK_2: {"dynamic_band_bp": 50, "volatility_auction_s": 30},
    LISTED: {},
}
ACCOUNTS = {1: 7, 2: 7, 3: 0, 4: -1}  # account -> group: 1 and 2 are one company's, 4 is nobody's
MONEY_FEN = 900
LOTS = {1: (1, BOOK_1, 500), 2: (2, BOOK_1, 300), 3: (3, BOOK_1, 500), 4: (4, BOOK_1, 200)}
LOTS |= {5: (1, BOOK_2, 300), 6: (2, BOOK_2, 500), 7: (3, BOOK_2, 200), 8: (4, BOOK_2, 500)}
LOTS |= {9: (2, LISTED, 120), 10: (3, LISTED, 80), 11: (4, LISTED, 50)}
START_NS = 10**9
TURN_NS = 1_000

ORDER_FIELDS = {
    "account": "account",
    "instrument": "instrument",
    "side": "side",
    "type": "order_type",
    "tif": "time_in_force",
    "version": "listing_version",
    "price": "price_fen_per_tonne",
    "quantity": "quantity_kg",
    "leaves": "leaves_kg",
    "cum": "cum_kg",
    "amount": "amount_fen",
    "lot": "lot",
    "number": "account_sequence",
}
PAIR_FIELDS = {
    "account": "account",
    "counter_account": "counter_account",
    "instrument": "instrument",
    "side": "side",
    "number": "account_sequence",
    "counter_number": "counter_account_sequence",
    "leaves": "leaves_kg",
    "counter_leaves": "counter_leaves_kg",
    "price": "price_fen_per_tonne",
    "quantity": "quantity_kg",
    "lot": "lot",
}
MARKET_FIELDS = {
    "instrument": "instrument",
    "phase": "phase",
    "lower": "lower_fen_per_tonne",
    "upper": "upper_fen_per_tonne",
    "last": "last_fen_per_tonne",
    "price": "price_fen_per_tonne",
}
AUCTION_FIELDS = {"instrument": "instrument", "price": "price_fen_per_tonne", "quantity": "quantity_kg"}
AUCTION_FIELDS |= {"leaves": "leaves_kg", "side": "side", "cum": "cum_kg"}
CASH_FIELDS = {
    "account": "account",
    "number": "account_sequence",
    "free": "available_fen",
    "held": "held_fen",
}
LOT_FIELDS = {"account": "account", "number": "account_sequence", "lot": "lot", "quantity": "quantity_kg"}
LOT_FIELDS |= {"free": "free_kg", "listed": "listed_kg", "contracted": "contracted_kg"}
COUNT_FIELDS = {"quantity": "quantity_kg"}
OWNER_FIELDS = {"account": "account", "quantity": "quantity_kg"}
FIELDS: dict[Event, dict[str, str]] = {
    **dict.fromkeys((Event.ACCEPTED, Event.TRIGGERED, Event.REFRESHED, Event.REPLACED), ORDER_FIELDS),
    Event.CANCELED: ORDER_FIELDS | {"reason": "reason"},
    Event.REJECTED: {"account": "account", "reason": "reason"},
    **dict.fromkeys((Event.TRADE, Event.PREVENTED), PAIR_FIELDS),
    **dict.fromkeys((Event.PHASE_CHANGED, Event.REFERENCE_SET, Event.INSTRUMENT_DEFINED), MARKET_FIELDS),
    **dict.fromkeys((Event.UNCROSSED, Event.INDICATIVE), AUCTION_FIELDS),
    **dict.fromkeys((Event.ACCOUNT_OPENED, Event.DEPOSITED, Event.WITHDRAWN), CASH_FIELDS),
    **dict.fromkeys((Event.LOT_REGISTERED, Event.LOT_WITHDRAWN), LOT_FIELDS),
    **dict.fromkeys((Event.ORDERS_CANCELED, Event.TIME_REACHED), COUNT_FIELDS),
    Event.ACCOUNT_BLOCKED: OWNER_FIELDS,
    Event.ACCOUNT_RELEASED: {"account": "account"},
    Event.SESSION_STARTED: {"account": "account"},
    Event.SESSION_ENDED: OWNER_FIELDS,
    Event.TIMER_SET: {"account": "account", "due_ns": "due_ns"},
    Event.TRADE_BUSTED: {
        "account": "account",
        "lot": "lot",
        "quantity": "quantity_kg",
        "number": "account_sequence",
        "counter_number": "counter_account_sequence",
    },
}
DUPLICATE_FIELDS = {
    "account": "account",
    "price": "price_fen_per_tonne",
    "quantity": "quantity_kg",
    "leaves": "leaves_kg",
    "cum": "cum_kg",
    "amount": "amount_fen",
}
SOUND_EVERY = 4  # commands between two looks of the quick check: it is dear for so small a state
SAID_FLAGS = 0xFF & ~Flag.BY_REFERENCE
BY_COMMAND_SEQUENCE = {Event.SESSION_STARTED, Event.SESSION_ENDED, Event.TIMER_SET}


def facts_of(events: Records) -> list[Fact]:
    """What the core says, in the twin's form."""
    return [fact_of(events[at : at + 1]) for at in range(len(events))]


def fact_of(event: Records) -> Fact:
    kind, flags = Event(int(event["kind"][0])), int(event["flags"][0]) & SAID_FLAGS
    fields = FIELDS.get(kind, {})
    if flags & Flag.DUPLICATE:
        fields = DUPLICATE_FIELDS if kind is Event.ACCEPTED else FIELDS[Event.REJECTED]
    fact: Fact = {name: int(event[field][0]) for name, field in fields.items()}
    fact["kind"] = kind.name.lower()
    if (
        fields in (ORDER_FIELDS, FIELDS[Event.CANCELED], PAIR_FIELDS, DUPLICATE_FIELDS)
        or flags & Flag.DUPLICATE
    ):
        fact["flags"] = flags
    if fields in (ORDER_FIELDS, FIELDS[Event.CANCELED], PAIR_FIELDS, DUPLICATE_FIELDS):
        fact["order"] = int(event["order_id"][0]) >> ORDER_SLOT_BITS
    if fields is PAIR_FIELDS:
        fact["counter"] = int(event.view(TRADE)["counter_order_id"][0]) >> ORDER_SLOT_BITS
    if kind is Event.TRADE:
        match_id = int(event["match_id"][0])
        assert match_id >> ORDER_SLOT_BITS == int(event["sequence"][0]), "a match id is of its command"
        fact["match"] = match_id & ((1 << ORDER_SLOT_BITS) - 1)
    if kind in BY_COMMAND_SEQUENCE:
        fact["session"] = int(event["session"][0]) >> ORDER_SLOT_BITS
    return fact


def compared(fact: Fact) -> Fact:
    """A fact without what is nobody's business: the price that a stop order would never print."""
    plain = {name: int(value) if name != "kind" else value for name, value in fact.items()}
    if plain.get("type") == OrderType.STOP:
        plain.pop("price")
    return plain


class Pair:
    """Both worlds, set up alike; `play` gives one command to both and compares all that can be seen."""

    def __init__(self) -> None:
        self.core, self.twin = Exchange(CAPACITY), ReferenceExchange(day_max=CAPACITY.day, orders_max=64)
        self.time_ns, self.outbox, self.keys = START_NS, 0, 0
        self.ids: dict[int, int] = {}  # the twin's number of an order or session -> the core's id
        self.entered: list[int] = []
        self.sessions: list[int] = []
        self.lines: list[str] = []
        self.is_set_up = False
        for number, terms in enumerate(TERMS):
            self.play(
                Ask(
                    kind=Command.DEFINE_INSTRUMENT, instrument=number, **COMMON, **terms, **MORE_TERMS[number]
                )
            )
        for account, group in ACCOUNTS.items():
            self.play(Ask(kind=Command.OPEN_ACCOUNT, account=account, group=group))
            self.play(Ask(kind=Command.DEPOSIT, account=account, amount_fen=MONEY_FEN))
        for lot, (account, instrument, kg) in LOTS.items():
            goods = {"lot": lot, "account": account, "instrument": instrument, "quantity_kg": kg}
            self.play(Ask(kind=Command.REGISTER_LOT, **goods))
        self.play(Ask(kind=Command.SET_PHASE, instrument=-1, phase=Phase.CONTINUOUS))
        self.lines.clear()
        self.is_set_up = True

    def play(self, drawn: Ask) -> None:
        ask = self.completed(drawn)
        expected = [compared(fact) for fact in self.twin.apply(ask)]
        events = self.to_core(ask)
        got = [compared(fact) for fact in facts_of(events)]
        self.lines.append(f"{ask['sequence']:>4}  {words(ask)}")
        for fact, event in zip(facts_of(events), events, strict=True):
            if fact["kind"] in ("accepted", "session_started") and not fact.get("flags", 0) & Flag.DUPLICATE:
                known = self.sessions if fact["kind"] == "session_started" else self.entered
                known.append(ask["sequence"])
                self.ids[ask["sequence"]] = int(event["order_id"])
        if got != expected:
            raise AssertionError(self.story("the events differ", lines_of(expected), lines_of(got)))
        if self.is_set_up:
            self.compare_states()

    def completed(self, drawn: Ask) -> Ask:
        """A command as the sequencer would stamp it; `target` and `of` choose among what is known by now."""
        self.time_ns += TURN_NS + drawn["jump_ns"]
        ask = Ask({**drawn, "time_ns": self.time_ns, "sequence": self.core.sequence + 1})
        if drawn["kind"] in range(Command.OPEN_ACCOUNT, Command.BUST_TRADE + 1):
            self.outbox += 1
            ask["outbox"] = self.outbox
        if "target" in drawn:
            live = sorted(
                o.id for o in self.twin.orders.values() if o.instrument == LISTED or not drawn["listed"]
            )
            live = live or self.entered[-1:] or [0]
            pool = self.entered if drawn["dead"] and self.entered else live
            ask["order_id"] = pool[drawn["target"] % len(pool)]
            if drawn["mine"] and ask["order_id"] in self.twin.orders:
                ask["account"] = self.twin.orders[ask["order_id"]].account
            if drawn["exact"] and ask["order_id"] in self.twin.orders:
                ask["quantity_kg"] = self.twin.orders[ask["order_id"]].leaves
                ask["listing_version"] = self.twin.orders[ask["order_id"]].version
        if "of" in drawn and self.sessions:
            ask["session"] = self.sessions[drawn["of"] % len(self.sessions)]
            if drawn["mine"] and ask["session"] in self.twin.sessions:
                ask["account"] = self.twin.sessions[ask["session"]].account
        if "after_ns" in drawn:
            ask["due_ns"] = self.time_ns + drawn["after_ns"]
        if "key" in drawn:
            ask["client_order_id_0"], ask["client_order_id_1"] = client_order_id_words(b"k%d" % drawn["key"])
        elif drawn["kind"] in (Command.NEW_ORDER, Command.PICK):
            self.keys += 1
            ask["client_order_id_0"], ask["client_order_id_1"] = client_order_id_words(b"o%d" % self.keys)
        return ask

    def to_core(self, ask: Ask) -> Records:
        row = {name: value for name, value in ask.items() if name in (COMMAND.names or ())}
        if ask["kind"] == Command.DEFINE_INSTRUMENT:
            terms = np.zeros(1, INSTRUMENT_TERMS)
            terms["version"] = RECORD_VERSION
            for name, value in ask.items():
                terms[name] = value
            command = terms.view(COMMAND)
        else:
            for name in ("order_id", "session"):
                if row.get(name):
                    row[name] = self.ids.get(row[name], row[name])
            row = {
                name: value
                for name, value in row.items()
                if value or name not in ("listing_version", "outbox")
            }
            command = commands_of(row)
        return self.core.apply(stamped(command, ask["sequence"], ask["time_ns"])).copy()

    def compare_states(self) -> None:
        try:
            self.core.check_invariants()
            if self.core.sequence % SOUND_EVERY == 0:
                check_sound(self.core.state)
        except (AssertionError, UnsoundError) as error:
            raise AssertionError(self.story(f"the core's invariants: {error}", [], [])) from None
        for name, expected, got in (
            ("money", self.twin_money(), self.core_money()),
            ("goods", self.twin_goods(), self.core_goods()),
            ("orders", self.twin_orders(), self.core_orders()),
            ("stops", self.twin_stops(), self.core_stops()),
        ):
            if expected != got:
                raise AssertionError(self.story(f"the {name} differ", lines_of(expected), lines_of(got)))

    def twin_money(self) -> list[Any]:
        return [
            (account, self.twin.free_money(account), self.twin.held(account))
            for account in self.twin.accounts
        ]

    def core_money(self) -> list[Any]:
        rows = self.core.answer(commands_of({"kind": Command.QUERY_BALANCES, "account": -1}))[:-1].view(CASH)
        return [(int(r["account"]), int(r["available_fen"]), int(r["held_fen"])) for r in rows]

    def twin_goods(self) -> list[Any]:
        twin = self.twin
        return [(n, twin.free_goods(n), twin.listed_kg(n), lot.contracted) for n, lot in twin.lots.items()]

    def core_goods(self) -> list[Any]:
        rows = self.core.answer(commands_of({"kind": Command.QUERY_LOTS, "account": -1}))[:-1].view(LOT)
        names = ("lot", "free_kg", "listed_kg", "contracted_kg")
        return [tuple(int(row[name]) for name in names) for row in rows]

    def twin_orders(self) -> list[Any]:
        queues = [self.twin.queue(number, side) for number in self.twin.instruments for side in Side]
        return [(o.id, o.price, o.shown, o.leaves, o.cum, self.least(o)) for queue in queues for o in queue]

    def least(self, order: Order) -> int:
        """What a pick must take of a listing (F2)."""
        return (order.minimum or order.leaves) if self.twin.instruments[order.instrument].listed else 0

    def core_orders(self) -> list[Any]:
        found, nodes = [], self.core.state.nodes
        for number in self.twin.instruments:
            ask = {"kind": Command.QUERY_LISTINGS, "instrument": number}
            for row in self.core.answer(commands_of(ask))[:-1].view(ORDER):
                number, price = int(row["order_id"]), int(row["price_fen_per_tonne"])
                shown = int(nodes["leaves"][number & ((1 << ORDER_SLOT_BITS) - 1)])
                kilograms = (int(row[name]) for name in ("leaves_kg", "cum_kg", "pick_minimum_kg"))
                found.append((number >> ORDER_SLOT_BITS, price, shown, *kilograms))
        return found

    def twin_stops(self) -> list[Any]:
        queues = [self.twin.queue(n, side, waiting=True) for n in self.twin.instruments for side in Side]
        return [(o.id, o.side.name.lower(), o.stop, o.leaves) for queue in queues for o in queue]

    def core_stops(self) -> list[Any]:
        stops = [stop for number in self.twin.instruments for stop in self.core.waiting_stops(number)]
        return [(order_id >> ORDER_SLOT_BITS, side, stop, kg) for order_id, side, stop, kg in stops]

    def story(self, what: str, expected: list[str], got: list[str]) -> str:
        """The flow so far as a table, and where the two worlds part."""
        parts = [f"{what} after:", *self.lines]
        for n in range(max(len(expected), len(got))):
            rule, core = (side[n] if n < len(side) else "(nothing)" for side in (expected, got))
            parts += [f"      {rule}"] if rule == core else [f"  rules: {rule}", f"  core:  {core}"]
        return "\n".join(parts)
