"""Flows of commands for hypothesis: small numbers that meet each other, now and then one that is wrong.

A flow is a list of commands out of a pool that a seed makes, plainest first; so one number is one command,
and what fails shrinks to few and plain ones. What a command cannot know beforehand it names by position:
`target` is the n-th live order, `of` the n-th session, `after_ns` a distance in time.
"""

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from engine.vocabulary import (
    Command,
    Flag,
    OrderType,
    Phase,
    ReplaceFlag,
    Scope,
    SelfTrade,
    Side,
    TimeInForce,
)
from tests.engine.pair import ACCOUNTS, BOOK_1, BOOK_2, LISTED, LOTS, LOWER, TICK, UPPER
from tests.engine.reference_auction import Ask
from tests.engine.words import words

SECOND_NS = 10**9
POOL_COMMANDS = 4_000
FLOW_COMMANDS = 40
NEAR = list(range(2255, 2290, TICK))
LOT_OF = {(account, instrument): lot for lot, (account, instrument, _) in LOTS.items()}
SMALL_KG = 10  # below the minimum of BOOK_1
NOTHING = Ask()  # the plainest command: none


class Line(Ask):
    """A command that prints itself as words."""

    def __repr__(self) -> str:
        named = (f" [{name} {self[name]}]" for name in ("target", "of", "after_ns") if name in self)
        return words(self) + "".join(named)


class Deck:
    """Draws commands; the fields that a choice leaves out are None and vanish."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)

    def one(self, *values: Any) -> Any:
        return self.random.choice(values)

    def often(self, value: Any, *others: Any) -> Any:
        return value if self.random.random() < 0.7 else self.random.choice(others)

    def account(self) -> int:
        return int(self.one(*ACCOUNTS))

    def session(self) -> Any:
        return self.often(None, 0, 1, 2)

    def target(self) -> dict[str, Any]:
        named = {"target": self.random.randrange(20), "account": self.account(), "of": self.session()}
        return named | {"mine": self.often(True, True, False), "dead": self.often(None, None, None, True)}

    def plain(self) -> dict[str, Any]:
        return {
            "kind": Command.NEW_ORDER,
            "account": self.account(),
            "side": self.one(*Side),
            "instrument": self.often(BOOK_1, BOOK_2),
            "quantity_kg": self.one(20, 30, 40, 50, 100),
            "price_fen_per_tonne": self.one(*NEAR),
            "time_in_force": self.often(TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC),
            "self_trade_mode": self.one(SelfTrade.CANCEL_NEWEST, SelfTrade.DECREMENT, *SelfTrade),
            "flags": self.often(0, 0, Flag.KEEP_ON_DISCONNECT),
            "of": self.session(),
            "mine": True,
        }

    def iceberg(self) -> dict[str, Any]:
        return self.plain() | {"display_quantity_kg": self.one(10, 20), "quantity_kg": self.one(50, 100, 200)}

    def stop(self) -> dict[str, Any]:
        kind = self.one(OrderType.STOP, OrderType.STOP_LIMIT)
        return self.plain() | {"order_type": kind, "stop_fen_per_tonne": self.one(*NEAR)}

    def market(self) -> dict[str, Any]:
        kind = self.one(OrderType.MARKET, OrderType.MARKET_TO_LIMIT)
        return self.plain() | {"order_type": kind, "quantity_kg": self.one(20, 50, 100, 200)}

    def dry_run(self) -> dict[str, Any]:
        tif, minimum = self.one((TimeInForce.FOK, None), (TimeInForce.IOC, 20), (TimeInForce.IOC, 50))
        numbers = {
            "time_in_force": tif,
            "minimum_quantity_kg": minimum,
            "quantity_kg": self.one(50, 100, 150),
        }
        return self.plain() | numbers | {"self_trade_mode": self.one(*SelfTrade)}

    def lasting(self) -> dict[str, Any]:
        """Times in force that end by themselves, post-only, a key that may come again."""
        tif = self.one(TimeInForce.GTD, TimeInForce.AT_OPEN, TimeInForce.CONTINUOUS_ONLY, TimeInForce.GTC)
        return self.plain() | {
            "time_in_force": tif,
            "flags": self.often(0, Flag.POST_ONLY),
            "key": self.often(None, 1, 2, 3),
            "after_ns": self.one(3_000, 9_000, SECOND_NS) if tif is TimeInForce.GTD else None,
        }

    def wild(self) -> dict[str, Any]:
        """Fields that seldom go together."""
        return self.plain() | {
            "account": self.one(*ACCOUNTS, 7),
            "order_type": self.one(*OrderType),
            "quantity_kg": self.often(50, 10, 60, 200, 400, 25, 0, 300),
            "price_fen_per_tonne": self.often(self.one(*NEAR), 2235, 2300, LOWER, UPPER, UPPER + TICK, 2271),
            "stop_fen_per_tonne": self.often(self.one(*NEAR), 2235, 2300, LOWER - TICK, UPPER + TICK, 2271),
            "time_in_force": self.one(*TimeInForce),
            "flags": self.often(0, Flag.POST_ONLY),
            "display_quantity_kg": self.often(None, 10, 20, 25),
            "minimum_quantity_kg": self.often(None, 20, 50),
            "lot": self.often(None, 3),
            "key": self.often(None, 1, 2, 3),
            "after_ns": self.often(None, 0, 3_000),
        }

    def listing(self) -> dict[str, Any]:
        side = self.often(Side.SELL, Side.BUY)
        return self.plain() | {
            "side": side,
            "instrument": LISTED,
            "quantity_kg": self.one(120, 80, 50, 60, 200),
            "minimum_quantity_kg": self.often(None, 30, 50),
        }

    def pick(self) -> dict[str, Any]:
        return {
            "kind": Command.PICK,
            **self.target(),
            "quantity_kg": self.one(30, 50, 80, 120),
            "listing_version": 1,
            "lot": self.often(None, 9, 10, 11),
            "exact": self.often(True, None),
            "listed": self.often(True, None),
            "mine": None,
        }

    def cancel(self) -> dict[str, Any]:
        return {"kind": Command.CANCEL_ORDER, **self.target()}

    def cancel_by_key(self) -> dict[str, Any]:
        flags = {"flags": Flag.BY_CLIENT_ORDER_ID, "key": self.one(1, 2, 3)}
        return {"kind": Command.CANCEL_ORDER, "account": self.account(), **flags}

    def replace(self) -> dict[str, Any]:
        return {
            "kind": Command.REPLACE_ORDER,
            **self.target(),
            "price_fen_per_tonne": self.often(None, *NEAR, *NEAR, UPPER + TICK),
            "quantity_kg": self.often(None, 20, 30, 50, 100, 200, 25, SMALL_KG),
            "stop_fen_per_tonne": self.often(None, None, None, *NEAR),
            "flags": self.often(0, 0, int(ReplaceFlag.BY_LEAVES)),
        }

    def mass_cancel(self) -> dict[str, Any]:
        where = {"instrument": self.often(-1, BOOK_1, BOOK_2, LISTED), "side": self.often(255, 0, 1)}
        return {"kind": Command.MASS_CANCEL, "account": self.account(), "of": self.session(), **where}

    def phase(self) -> dict[str, Any]:
        return {
            "kind": Command.SET_PHASE,
            "instrument": self.one(-1, BOOK_1, BOOK_2),
            "phase": self.one(*Phase),
        }

    def opening(self) -> dict[str, Any]:
        return {"kind": Command.SET_PHASE, "instrument": -1, "phase": Phase.CONTINUOUS}

    def close(self) -> dict[str, Any]:
        return {"kind": Command.SET_PHASE, "instrument": -1, "phase": Phase.CLOSED}

    def expiry(self) -> dict[str, Any]:
        return {"kind": Command.EXPIRE, "after_ns": 0, "jump_ns": self.one(0, 10_000, 60 * SECOND_NS)}

    def reference(self) -> dict[str, Any]:
        price = self.one(2270, 2240, 2300, 2271, 2265)
        return {"kind": Command.SET_REFERENCE, "instrument": self.one(0, 1), "price_fen_per_tonne": price}

    def roll(self) -> dict[str, Any]:
        return {"kind": Command.ROLL_DAY}

    def cash(self) -> dict[str, Any]:
        kind = self.one(Command.DEPOSIT, Command.WITHDRAW)
        return {"kind": kind, "account": self.account(), "amount_fen": self.one(200, 1_000, 0)}

    def goods(self) -> dict[str, Any]:
        return {
            "kind": Command.WITHDRAW_LOT,
            "lot": self.random.randrange(12),
            "quantity_kg": self.one(100, 400, 0),
        }

    def session_command(self) -> dict[str, Any]:
        kind = self.one(
            Command.START_SESSION, Command.START_SESSION, Command.END_SESSION, Command.CANCEL_ALL_AFTER
        )
        row = {"kind": kind, "account": self.account()}
        if kind == Command.START_SESSION:
            return row | {"scope": self.one(*Scope)}
        row |= {"of": self.one(0, 1, 2), "mine": self.often(True, None)}
        return row | ({"after_ns": self.one(5_000, 0, SECOND_NS)} if kind == Command.CANCEL_ALL_AFTER else {})

    def kill_switch(self) -> dict[str, Any]:
        kind = self.one(Command.BLOCK_ACCOUNT, Command.RELEASE_ACCOUNT, Command.RELEASE_ACCOUNT)
        return {"kind": kind, "account": self.account()}

    def bust(self) -> dict[str, Any]:
        numbers = {
            "price_fen_per_tonne": 2270,
            "quantity_kg": self.one(20, 50, 400),
            "match_id": self.often(1, 0),
        }
        fen = {"amount_fen": 45, "counter_amount_fen": 1, "lot": self.random.randrange(12)}
        return {"kind": Command.BUST_TRADE, "account": self.account(), **numbers, **fen}


WEIGHTS: list[tuple[Callable[[Deck], dict[str, Any]], int]] = [
    (Deck.plain, 30),
    (Deck.stop, 10),
    (Deck.market, 5),
    (Deck.dry_run, 6),
    (Deck.lasting, 7),
    (Deck.wild, 4),
    (Deck.iceberg, 8),
    (Deck.listing, 5),
    (Deck.pick, 6),
    (Deck.cancel, 4),
    (Deck.cancel_by_key, 2),
    (Deck.replace, 12),
    (Deck.mass_cancel, 2),
    (Deck.phase, 5),
    (Deck.opening, 8),
    (Deck.close, 1),
    (Deck.expiry, 2),
    (Deck.reference, 1),
    (Deck.cash, 2),
    (Deck.goods, 1),
    (Deck.roll, 1),
    (Deck.session_command, 5),
    (Deck.kill_switch, 2),
    (Deck.bust, 1),
]


def completed(row: dict[str, Any]) -> Ask:
    """Give a sell the lot of its seller, and a type only the fields that belong to it."""
    line = Line({name: int(value) for name, value in row.items() if value is not None})
    if line["kind"] != Command.NEW_ORDER:
        return line
    if line["side"] == Side.SELL and not line["lot"]:
        line["lot"] = LOT_OF.get((line["account"], line["instrument"]), 12)
    if line["side"] == Side.BUY and line["lot"]:
        del line["lot"]
    if line["order_type"] not in (OrderType.STOP, OrderType.STOP_LIMIT):
        line.pop("stop_fen_per_tonne", None)
    if line["order_type"] not in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        line.pop("price_fen_per_tonne", None)
    if line["order_type"] != OrderType.LIMIT:
        line["flags"] = line["flags"] & ~Flag.POST_ONLY
        line.pop("minimum_quantity_kg", None)
    if line["time_in_force"] == TimeInForce.GTD:
        line.setdefault("after_ns", 5_000)
    return line


def pool(number: int) -> list[Ask]:
    """The commands that a seed makes, plainest first."""
    deck = Deck(number)
    makers, weights = zip(*WEIGHTS, strict=True)
    drawn = [completed(make(deck)) for make in deck.random.choices(makers, weights, k=POOL_COMMANDS)]
    return [NOTHING, *sorted(drawn, key=lambda ask: (ask["kind"], sum(1 for value in ask.values() if value)))]


def flows(number: int) -> st.SearchStrategy[list[Ask]]:
    """Lists of commands out of the pool of a seed."""
    return st.lists(st.sampled_from(pool(number)), min_size=FLOW_COMMANDS, max_size=FLOW_COMMANDS)


def call(number: int) -> list[dict[str, Any]]:
    """A call auction: many limits close to each other, some withdrawn, some icebergs, then the uncross."""
    deck = Deck(number)
    where = {"instrument": BOOK_1, "time_in_force": TimeInForce.GTC, "flags": 0}
    trade = {"quantity_kg": 20, "price_fen_per_tonne": deck.one(*NEAR), **where}
    rows = [deck.plain() | trade | {"account": 3, "side": Side.SELL}]
    rows += [deck.plain() | trade | {"account": 4, "side": Side.BUY}]
    rows += [{"kind": Command.SET_PHASE, "instrument": BOOK_1, "phase": Phase.AUCTION}]
    for _ in range(deck.random.randrange(4, 14)):
        made = deck.random.choices((deck.plain, deck.iceberg, deck.cancel, deck.replace), (8, 2, 1, 1))[0]()
        rows.append(made | where if made["kind"] == Command.NEW_ORDER else made)
    return [*rows, {"kind": Command.SET_PHASE, "instrument": BOOK_1, "phase": Phase.CONTINUOUS}]


def calls() -> st.SearchStrategy[list[Ask]]:
    """Call auctions."""
    return st.integers(0, 1 << 20).map(lambda number: [completed(row) for row in call(number)])
