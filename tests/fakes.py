"""Doubles: events as the engine writes them, and a small engine behind the ports of its two links."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine import money as untyped_money
from engine.frames import LinkDownError
from engine.records import CASH, EVENT, LOT, ORDER, TRADE, Records, joined, select
from engine.vocabulary import RECORD_VERSION, Command, Event, Flag, Reason, Side

JULY_8_2015_NS = 1_436_317_200_000_000_000  # 09:00 in Beijing


class Tape:
    """Writes events in the engine's form, one command after the other: tests read like a trading day."""

    def __init__(self) -> None:
        """An empty tape: the first command is number 1."""
        self.sequence = 0
        self.rows: list[Records] = []
        self.account_sequences: dict[int, int] = {}
        self.match_id = 0

    def command(self, *events: tuple[np.dtype[np.void], dict[str, Any]]) -> int:
        """One command with its events, each a record type and its fields; returns the command's sequence."""
        self.sequence += 1
        for index, (layout, fields) in enumerate(events):
            row = np.zeros(1, layout)
            row["version"] = RECORD_VERSION
            row["sequence"] = self.sequence
            row["time_ns"] = JULY_8_2015_NS + self.sequence
            row["index"] = index
            for name, value in fields.items():
                row[name] = value
            if fields["kind"] not in (Event.REJECTED, Event.REPEATED):
                row["account_sequence"] = self._next(fields["account"])
            if "counter_account" in fields:
                row["counter_account_sequence"] = self._next(fields["counter_account"])
            self.rows.append(row.view(EVENT))
        return self.sequence

    def _next(self, account: int) -> int:
        self.account_sequences[account] = self.account_sequences.get(account, 0) + 1
        return self.account_sequences[account]

    def take(self) -> Records:
        """The events since the last call."""
        taken = joined(self.rows)
        self.rows.clear()
        return taken

    def opened(self, account: int, outbox: int) -> int:
        return self.command(
            (CASH, {"kind": Event.ACCOUNT_OPENED, "account": account, "outbox": outbox, "tag": outbox})
        )

    def deposited(self, account: int, amount_fen: int, outbox: int, *, out: bool = False) -> int:
        kind = Event.WITHDRAWN if out else Event.DEPOSITED
        fields = {"kind": kind, "account": account, "amount_fen": amount_fen, "outbox": outbox, "tag": outbox}
        return self.command((CASH, fields))

    def registered(self, lot: int, account: int, instrument: int, quantity_kg: int, outbox: int) -> int:
        fields = {"kind": Event.LOT_REGISTERED, "account": account, "lot": lot, "instrument": instrument}
        return self.command((LOT, fields | {"quantity_kg": quantity_kg, "outbox": outbox, "tag": outbox}))

    def refused(self, outbox: int, reason: Reason) -> int:
        return self.command(
            (CASH, {"kind": Event.REJECTED, "account": 1, "outbox": outbox, "tag": outbox, "reason": reason})
        )

    def repeated(self, outbox: int) -> int:
        return self.command((CASH, {"kind": Event.REPEATED, "outbox": outbox, "tag": outbox}))

    def sell(
        self, account: int, lot: int, instrument: int, price: int, quantity_kg: int, flags: int = 0
    ) -> int:
        """A sell order that rests; returns its order id."""
        order_id = (self.sequence + 1) << 22
        fields = {"kind": Event.ACCEPTED, "side": Side.SELL, "account": account, "lot": lot, "flags": flags}
        fields |= {"instrument": instrument, "price_fen_per_tonne": price, "quantity_kg": quantity_kg}
        self.command((ORDER, fields | {"leaves_kg": quantity_kg, "order_id": order_id}))
        return order_id

    def canceled(self, account: int, side: Side, lot: int, instrument: int, quantity_kg: int) -> int:
        fields = {
            "kind": Event.CANCELED,
            "side": side,
            "account": account,
            "lot": lot,
            "instrument": instrument,
        }
        return self.command(
            (ORDER, fields | {"quantity_kg": quantity_kg, "reason": Reason.CANCELED_BY_OWNER})
        )

    def buy(self, account: int, instrument: int, *fills: dict[str, Any]) -> int:
        """A buy that trades at once: each fill names seller, lot, price, quantity_kg; returns the command."""
        order_id = (self.sequence + 1) << 22
        quantity = sum(fill["quantity_kg"] for fill in fills)
        order = {"kind": Event.ACCEPTED, "side": Side.BUY, "account": account, "instrument": instrument}
        events: list[tuple[np.dtype[np.void], dict[str, Any]]] = [
            (ORDER, order | {"quantity_kg": quantity, "cum_kg": quantity, "order_id": order_id})
        ]
        for fill in fills:
            self.match_id += 1
            events.append(
                (
                    TRADE,
                    {
                        "kind": Event.TRADE,
                        "side": Side.BUY,
                        "account": account,
                        "counter_account": fill["seller"],
                        "instrument": instrument,
                        "order_id": order_id,
                        "counter_order_id": fill.get("order", 0),
                        "match_id": self.match_id,
                        "lot": fill["lot"],
                        "price_fen_per_tonne": fill["price"],
                        "quantity_kg": fill["quantity_kg"],
                    },
                )
            )
        return self.command(*events)

    def busted(self, command: Any, seller: int, outbox: int) -> int:
        """A BUST_TRADE command carried out; the trade's layout has no room for the number but the tag."""
        names = ("account", "instrument", "lot", "match_id", "price_fen_per_tonne", "quantity_kg")
        fields = {name: command[name] for name in names} | {"counter_account": seller, "tag": outbox}
        return self.command((TRADE, fields | {"kind": Event.TRADE_BUSTED}))


DUPLICATE = int(Flag.DUPLICATE)
FEE_FEN_PER_TONNE = 50
money: Any = untyped_money


@dataclass
class Kilograms:
    """Where a lot's goods are, as the engine sees it."""

    account: int
    free: int = 0
    listed: int = 0
    contracted: int = 0


@dataclass
class FakeEngine:
    """Applies settlement's commands, trades when told to, keeps what the engine keeps: money, goods, a log.

    `down` refuses connections; `refusals` frames are turned away at the door; `hang_up` cuts every link.
    """

    epoch: int = 1
    down: bool = False
    refusing_busts: bool = False
    refusals: int = 0
    tape: Tape = field(default_factory=Tape)
    log: list[Records] = field(default_factory=list)
    outbox: int = 0
    sent: list[int] = field(default_factory=list)
    available: dict[int, int] = field(default_factory=dict)
    lots: dict[int, Kilograms] = field(default_factory=dict)
    links: "list[FakeLink]" = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def command_link(self) -> "FakeLink":
        """A command link. Raises LinkDownError."""
        return self._dial()

    async def event_link(self, after: int) -> "FakeLink":
        """An event link after a sequence. Raises LinkDownError."""
        link = self._dial()
        link.after = after
        return link

    def _dial(self) -> "FakeLink":
        if self.down:
            raise LinkDownError("the fake engine is down")
        link = FakeLink(self)
        self.links.append(link)
        return link

    def hang_up(self) -> None:
        for link in self.links:
            link.close()
        self.links.clear()

    def publish(self) -> None:
        """Make what stands on the tape durable and known."""
        if self.tape.rows:
            self.log.append(self.tape.take())
            self.grown.set()
            self.grown = asyncio.Event()

    def apply(self, commands: Records) -> None:
        """Judge settlement's commands; numbers that were applied are answered with REPEATED."""
        for command in commands:
            self.sent.append(int(command["outbox"]))
            if command["outbox"] <= self.outbox:
                self.tape.repeated(int(command["outbox"]))
                continue
            self.outbox = int(command["outbox"])
            self._apply_one(command)
        self.publish()

    def _apply_one(self, command: Any) -> None:
        account, amount, number = int(command["account"]), int(command["amount_fen"]), int(command["outbox"])
        match command["kind"]:
            case Command.OPEN_ACCOUNT:
                self.available[account] = 0
                self.tape.opened(account, number)
            case Command.DEPOSIT:
                self.available[account] += amount
                self.tape.deposited(account, amount, number)
            case Command.WITHDRAW if self.available[account] < amount:
                self.tape.refused(number, Reason.INSUFFICIENT_FUNDS)
            case Command.WITHDRAW:
                self.available[account] -= amount
                self.tape.deposited(account, amount, number, out=True)
            case Command.REGISTER_LOT:
                lot, quantity_kg = int(command["lot"]), int(command["quantity_kg"])
                self.lots[lot] = Kilograms(account, free=quantity_kg)
                self.tape.registered(lot, account, int(command["instrument"]), quantity_kg, number)
            case Command.BUST_TRADE if self.refusing_busts:
                self.tape.refused(number, Reason.EXCEEDS_LIMIT)
            case Command.BUST_TRADE:
                goods, quantity_kg = self.lots[int(command["lot"])], int(command["quantity_kg"])
                self.available[account] += amount
                self.available[goods.account] += int(command["counter_amount_fen"])
                goods.contracted -= quantity_kg
                goods.free += quantity_kg
                self.tape.busted(command, goods.account, number)

    def sell(self, lot: int, instrument: int, price: int, quantity_kg: int) -> int:
        goods = self.lots[lot]
        goods.free -= quantity_kg
        goods.listed += quantity_kg
        order = self.tape.sell(goods.account, lot, instrument, price, quantity_kg)
        self.publish()
        return order

    def cancel(self, lot: int, instrument: int, quantity_kg: int) -> None:
        goods = self.lots[lot]
        goods.listed -= quantity_kg
        goods.free += quantity_kg
        self.tape.canceled(goods.account, Side.SELL, lot, instrument, quantity_kg)
        self.publish()

    def buy(self, buyer: int, lot: int, instrument: int, price: int, quantity_kg: int) -> None:
        """A fill of what is listed of `lot`, FULL_PAY."""
        goods = self.lots[lot]
        fee = money.fee_fen(quantity_kg, FEE_FEN_PER_TONNE)
        self.available[buyer] -= money.amount_fen(price, quantity_kg) + fee
        self.available[goods.account] -= fee
        goods.listed -= quantity_kg
        goods.contracted += quantity_kg
        fill = {"seller": goods.account, "lot": lot, "price": price, "quantity_kg": quantity_kg}
        self.tape.buy(buyer, instrument, fill)
        self.publish()

    def answer(self, kind: Command) -> Records:
        """The rows of a question, END last."""
        rows: list[Records] = []
        if kind == Command.QUERY_BALANCES:
            for account, fen in self.available.items():
                rows.append(_row(CASH, kind=Event.BALANCE, account=account, available_fen=fen))
        for lot, goods in self.lots.items():
            if kind == Command.QUERY_LOTS:
                kilograms = {
                    "free_kg": goods.free,
                    "listed_kg": goods.listed,
                    "contracted_kg": goods.contracted,
                }
                rows.append(_row(LOT, kind=Event.LOT, account=goods.account, lot=lot, **kilograms))
            if kind == Command.QUERY_ORDERS and goods.listed:
                order = {"side": Side.SELL, "account": goods.account, "lot": lot, "leaves_kg": goods.listed}
                rows.append(_row(ORDER, kind=Event.ORDER, **order))
        rows.append(_row(CASH, kind=Event.END, sequence=self.tape.sequence))
        return joined(rows)


def _row(layout: np.dtype[np.void], **fields: Any) -> Records:
    row = np.zeros(1, layout)
    for name, value in fields.items():
        row[name] = value
    return row.view(EVENT)


class FakeLink:
    """Either end of a link to a FakeEngine."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._gone = asyncio.Event()
        self.epoch = engine.epoch
        self.sequence = engine.tape.sequence
        self.on_refused: Callable[[Records], None] = lambda rows: None
        self.after = 0

    def close(self) -> None:
        self._gone.set()

    async def closed(self) -> None:
        await self._gone.wait()

    def send(self, commands: Records) -> None:
        if self._gone.is_set():
            raise LinkDownError("the fake engine is gone")
        if self._engine.refusals:
            self._engine.refusals -= 1
            self.on_refused(commands.view(EVENT))
        else:
            self._engine.apply(commands)

    async def query(self, kind: Command, *, account: int = -1, instrument: int = -1) -> Records:
        if self._gone.is_set():
            raise LinkDownError("the fake engine is gone")
        return self._engine.answer(kind)

    async def __aiter__(self) -> AsyncIterator[Records]:
        at = 0
        while not self._gone.is_set():
            grown = self._engine.grown
            while at < len(self._engine.log):
                events = self._engine.log[at]
                at += 1
                wanted = events["sequence"] > self.after
                if wanted.any():
                    yield select(events, wanted)
            waits = [asyncio.ensure_future(event.wait()) for event in (grown, self._gone)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
