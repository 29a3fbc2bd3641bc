"""Doubles: events as the engine writes them, and a small engine that speaks its frames over Unix sockets."""

from typing import Any

import numpy as np

from engine.records import CASH, EVENT, LOT, ORDER, TRADE, Records
from engine.vocabulary import RECORD_VERSION, Event, Flag, Reason, Side

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
            if fields["kind"] != Event.REJECTED:
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
        taken = np.concatenate([row.view("u1") for row in self.rows]).view(EVENT)
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


DUPLICATE = int(Flag.DUPLICATE)
