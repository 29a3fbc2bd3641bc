"""A small exchange and the words to trade on it: what tests of the core are written with."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
    joined,
)
from engine.vocabulary import (
    RECORD_VERSION,
    Command,
    Event,
    Flag,
    Mode,
    Phase,
    Reason,
    Side,
)

SMALL = Capacity(
    orders=1 << 13, levels=1 << 15, instruments=8, accounts=64, lots=256, day=1 << 10, sessions=64
)
REBAR, COIL = 0, 1
STEP_KG, TICK, LOWER, UPPER = 2_490, 100, 214_700, 237_300
RICH_FEN = 10**13
COMMON: dict[str, int] = {
    "tick_fen_per_tonne": TICK,
    "lower_fen_per_tonne": LOWER,
    "upper_fen_per_tonne": UPPER,
    "reference_fen_per_tonne": 226_000,
    "maximum_kg": 5_000_000,
    "buyer_deposit_bp": 10_000,
    "band_bp": 500,
    "fee_fen_per_tonne": 50,
}


def fields_of(mode: int, **fields: int) -> dict[str, int]:
    """The terms of rebar in bundles of 2,490 kg or of a coil in kilograms, unless said otherwise."""
    step = STEP_KG if mode == Mode.BOOK else 1
    return {"mode": mode, "step_kg": step, "minimum_kg": step, **COMMON, **fields}


def terms(instrument: int, mode: int, **fields: int) -> Records:
    """A DEFINE_INSTRUMENT command."""
    row = np.zeros(1, INSTRUMENT_TERMS)
    row["version"], row["kind"], row["instrument"] = RECORD_VERSION, Command.DEFINE_INSTRUMENT, instrument
    for name, value in fields_of(mode, **fields).items():
        row[name] = value
    return row.view(COMMAND)


@dataclass
class Venue:
    """An exchange with a rebar book and a coil listing, both open; commands return their events."""

    exchange: Exchange = field(default_factory=lambda: Exchange(SMALL))
    time_ns: int = 1_436_313_600_000_000_000  # 8 July 2015, 08:00 in Beijing
    outbox: int = 0
    orders: int = 0

    def __post_init__(self) -> None:
        self.send(terms(REBAR, Mode.BOOK), terms(COIL, Mode.LISTED))
        self.command(kind=Command.SET_PHASE, instrument=-1, phase=Phase.CONTINUOUS)

    def send(self, *commands: Records) -> Records:
        """Stamp and judge commands; return a copy of their events."""
        batch = stamped(joined(commands), self.exchange.sequence + 1, self.time_ns)
        self.time_ns += 1_000
        return self.exchange.apply(batch).copy()

    def command(self, **fields: Any) -> Records:
        """Judge one command of these fields."""
        return self.send(commands_of(fields))

    def account(self, account: int, *, fen: int = RICH_FEN, group: int = 0) -> int:
        """Open an account with money."""
        self.settle(kind=Command.OPEN_ACCOUNT, account=account, group=group)
        if fen:
            self.settle(kind=Command.DEPOSIT, account=account, amount_fen=fen)
        return account

    def lot(self, lot: int, account: int, kg: int, instrument: int = REBAR) -> int:
        """Register a lot."""
        self.settle(
            kind=Command.REGISTER_LOT, lot=lot, account=account, instrument=instrument, quantity_kg=kg
        )
        return lot

    def settle(self, **fields: Any) -> Records:
        """A command of settlement with the next outbox number."""
        self.outbox += 1
        return self.command(outbox=self.outbox, **fields)

    def order(
        self, account: int, side: Side, price: int, kg: int, *, key: str = "", **fields: Any
    ) -> Records:
        """A limit order; the key is its client order id, made up when none is given."""
        self.orders += 1
        word_0, word_1 = client_order_id_words((key or f"o{self.orders}").encode())
        given = {"kind": Command.NEW_ORDER, "instrument": REBAR, "account": account, "side": side}
        identity = {"client_order_id_0": word_0, "client_order_id_1": word_1}
        return self.command(**given | identity | {"price_fen_per_tonne": price, "quantity_kg": kg} | fields)

    def buy(self, account: int, price: int, kg: int, **fields: Any) -> Records:
        """A buy limit order."""
        return self.order(account, Side.BUY, price, kg, **fields)

    def sell(self, account: int, price: int, kg: int, lot: int, **fields: Any) -> Records:
        """A sell limit order from a lot."""
        return self.order(account, Side.SELL, price, kg, lot=lot, **fields)

    def cancel(self, account: int, order_id: int) -> Records:
        """Cancel by order id."""
        return self.command(kind=Command.CANCEL_ORDER, account=account, order_id=order_id)

    def cancel_by_key(self, account: int, key: str) -> Records:
        """Cancel by client order id."""
        word_0, word_1 = client_order_id_words(key.encode())
        return self.command(
            kind=Command.CANCEL_ORDER,
            account=account,
            flags=Flag.BY_CLIENT_ORDER_ID,
            client_order_id_0=word_0,
            client_order_id_1=word_1,
        )

    def pick(
        self, account: int, order_id: int, kg: int, *, lot: int = 0, version: int = 1, key: str = ""
    ) -> Records:
        """Pick a listing."""
        self.orders += 1
        word_0, word_1 = client_order_id_words((key or f"p{self.orders}").encode())
        return self.command(
            kind=Command.PICK,
            account=account,
            order_id=order_id,
            quantity_kg=kg,
            lot=lot,
            listing_version=version,
            client_order_id_0=word_0,
            client_order_id_1=word_1,
        )

    def phase(self, phase: int, instrument: int = -1) -> Records:
        """Change the phase of one instrument or of all."""
        return self.command(kind=Command.SET_PHASE, instrument=instrument, phase=phase)

    def money(self, account: int) -> tuple[int, int]:
        """(available, held) of an account in fen."""
        row = self.ask(Command.QUERY_BALANCES, account=account).view(CASH)[0]
        return int(row["available_fen"]), int(row["held_fen"])

    def goods(self, lot: int) -> tuple[int, int, int]:
        """(free, listed, contracted) kilograms of a lot."""
        rows = self.ask(Command.QUERY_LOTS).view(LOT)
        row = rows[rows["lot"] == lot][0]
        return int(row["free_kg"]), int(row["listed_kg"]), int(row["contracted_kg"])

    def resting(self, instrument: int = REBAR) -> list[tuple[str, int, int]]:
        """(side, price, leaves) of the live orders in priority order."""
        rows = self.ask(Command.QUERY_LISTINGS, instrument=instrument).view(ORDER)[:-1]
        names = [(Side(int(row["side"])).name.lower(), row) for row in rows]
        return [(side, int(row["price_fen_per_tonne"]), int(row["leaves_kg"])) for side, row in names]

    def ask(self, kind: Command, **fields: Any) -> Records:
        """The answer to a question, END row included."""
        return self.exchange.answer(commands_of({"kind": kind, "account": -1, **fields}))


def kinds(events: Records) -> list[str]:
    """The kinds of events, by their wire names."""
    return [Event(int(kind)).name.lower() for kind in events["kind"]]


def reason_of(events: Records) -> Reason:
    """The reason of a lone rejection."""
    assert kinds(events) == ["rejected"], kinds(events)
    return Reason(int(events["reason"][0]))


def order_id_of(events: Records) -> int:
    """The order id of an acknowledgement."""
    assert int(events["kind"][0]) == Event.ACCEPTED, kinds(events)
    return int(events["order_id"][0])


def trades(events: Records) -> list[tuple[int, int]]:
    """(price, kilograms) of the trades."""
    rows = events[events["kind"] == Event.TRADE].view(TRADE) if len(events) else events
    return [(int(row["price_fen_per_tonne"]), int(row["quantity_kg"])) for row in rows]


def money_total(venue: Venue, accounts: Iterable[int]) -> int:
    """Available and held of several accounts together."""
    return sum(sum(venue.money(account)) for account in accounts)
