"""An engine of a few lines behind the two real sockets, for the gateway's tests: it numbers, rests, trades
and cancels.

It speaks the frames of engine/frames.py, keeps its events until it is told to forget, and can misbehave on
request: hold answers back, refuse at the door, drop the event links, or die.
"""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.frames import ALL_KEPT, Frame, FrameReader, frame
from engine.link import hello, range_end
from engine.records import EVENT, Records, select
from engine.vocabulary import Command, Event, Flag, Reason, Side, TimeInForce

LINK_NUMBER = 7
TIME_NS = 1436317200_000000000  # 8 July 2015, 09:00 in Foshan


@dataclass
class Resting:
    """One live order."""

    order_id: int
    row: dict[str, Any]
    leaves: int
    cum: int = 0


class FakeEngine:
    """One instance per test; `start` listens, `stop` closes everything as a killed process would."""

    def __init__(self, folder: Path) -> None:
        self.commands_path, self.events_path = folder / "commands", folder / "events"
        self.epoch, self.sequence = 1, 0
        self.commands: list[dict[str, Any]] = []  # all but those that start and end sessions
        self.started: list[dict[str, Any]] = []
        self.ended: list[int] = []
        self.log: list[Records] = []
        self.forgotten = 0
        self.live: dict[int, Resting] = {}
        self.account_sequences: dict[int, int] = {}
        self.outcomes: dict[tuple[int, int, int], dict[str, Any]] = {}
        self.refusing = Reason.NONE
        self.rejecting = Reason.NONE
        self.cutting = False  # what is asked for by range ends like a link that is cut
        self.silent = False  # commands are taken, their events stay inside until `speak`
        self._unspoken: list[Records] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._subscribers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        for path, serve in ((self.commands_path, self._command_link), (self.events_path, self._event_link)):
            path.unlink(missing_ok=True)
            self._servers.append(await asyncio.start_unix_server(serve, str(path)))

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        self.drop_events()
        for writer in list(self._writers):
            writer.transport.abort()

    def drop_events(self) -> None:
        """Cut every event link, as for a subscriber that did not keep up."""
        for writer in list(self._subscribers):
            writer.transport.abort()
        self._subscribers.clear()

    def forget(self, sequence: int) -> None:
        """Keep the events behind this command only."""
        self.log = [batch for batch in self.log if batch["sequence"][0] > sequence]
        self.forgotten = sequence

    def speak(self) -> None:
        """Release what was held back."""
        self.silent = False
        for batch in self._unspoken:
            self._publish(batch)
        self._unspoken.clear()

    def happen(self, *rows: dict[str, Any]) -> None:
        """Events of one command that no gateway sent."""
        self.sequence += 1
        self._emit([dict(row) for row in rows])

    def rest(self, count: int, account: int, instrument: int = 0) -> None:
        """Orders of an account that rest already: buys of 1 t at 2330.00."""
        row = {
            "account": account, "instrument": instrument, "side": Side.BUY, "client_order_id_0": 1,
            "client_order_id_1": 0, "price_fen_per_tonne": 233_000, "quantity_kg": 1000, "lot": 0,
        }  # fmt: skip
        for order_id in range(1 << 22, (count + 1) << 22, 1 << 22):
            self.live[order_id] = Resting(order_id, row, 1000)

    async def _command_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        writer.write(hello(self.epoch, self.sequence, LINK_NUMBER))
        frames = FrameReader()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            while data := await reader.read(1 << 16):
                for kind, records in frames.feed(data):
                    self._take(kind, records, writer)
        self._writers.discard(writer)
        writer.close()

    def _take(self, kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        for at in range(len(records)):
            row = {name: records[name][at].item() for name in records.dtype.names or ()}
            if kind is Frame.QUERY:
                writer.write(frame(Frame.REPLY, self._answer(row)))
            elif self.refusing:
                refused = events_of({"kind": Event.REFUSED, "reason": self.refusing, "tag": row["tag"]})
                writer.write(frame(Frame.REFUSED, refused))
            else:
                self._judge(row)

    async def _event_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello(self.epoch, self.sequence))
        wish = None
        frames = FrameReader()
        while wish is None and (data := await reader.read(1 << 16)):
            for _, records in frames.feed(data):
                wish = records[0]
        if wish is not None:
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await self._feed(wish, reader, writer)
        writer.close()

    async def _feed(self, wish: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        after, account, until = int(wish["sequence"]), int(wish["account"]), int(wish["due_ns"])
        if after != ALL_KEPT and after < self.forgotten:
            return  # what it wants is no longer kept
        for batch in self.log:
            wanted = select(batch, (batch["sequence"] > after) & (batch["sequence"] <= (until or 2**62)))
            if account >= 0:
                wanted = select(
                    wanted, (wanted["account"] == account) | (wanted["counter_account"] == account)
                )
            if len(wanted):
                writer.write(frame(Frame.EVENTS, wanted))
        if until and not self.cutting:
            writer.write(range_end(until))
        elif not until:
            self._subscribers.add(writer)
            await reader.read()
            self._subscribers.discard(writer)

    def _session(self, row: dict[str, Any]) -> None:
        """Sessions take no sequence of their own here, so that tests count orders only."""
        if row["kind"] == Command.END_SESSION:
            self.ended.append(row["session"])
            return
        self.started.append(row)
        started = {"kind": Event.SESSION_STARTED, "tag": row["tag"], "account": row["account"]}
        events = events_of(started | {"order_id": len(self.started) << 22 | 1, "sequence": self.sequence})
        self._publish(events)

    def _judge(self, row: dict[str, Any]) -> None:
        if row["kind"] in (Command.START_SESSION, Command.END_SESSION):
            self._session(row)
            return
        self.commands.append(row)
        self.sequence += 1
        base = {"tag": row["tag"], "account": row["account"], "instrument": row["instrument"]}
        key = (row["account"], row["client_order_id_0"], row["client_order_id_1"])
        if self.rejecting:
            self._emit([base | {"kind": Event.REJECTED, "reason": self.rejecting}])
        elif row["kind"] in (Command.NEW_ORDER, Command.PICK) and key in self.outcomes:
            self._emit([base | self.outcomes[key] | {"flags": Flag.DUPLICATE}])
        elif row["kind"] == Command.NEW_ORDER:
            self._new_order(row, base, key)
        elif row["kind"] == Command.PICK:
            self._pick(row, base, key)
        elif row["kind"] == Command.CANCEL_ORDER:
            self._cancel(row, base)
        else:
            self._emit([base | {"kind": row["kind"], "phase": row["phase"]}])

    def _new_order(self, row: dict[str, Any], base: dict[str, Any], key: tuple[int, int, int]) -> None:
        order_id = self.sequence << 22
        buy = row["side"] == Side.BUY
        against = [
            each
            for each in self.live.values()
            if each.row["instrument"] == row["instrument"]
            and each.row["side"] != row["side"]
            and (each.row["price_fen_per_tonne"] <= row["price_fen_per_tonne"]) == buy
        ]
        against.sort(key=lambda each: (each.row["price_fen_per_tonne"] * (1 if buy else -1), each.order_id))
        self._cross(row, base, key, order_id, against)

    def _pick(self, row: dict[str, Any], base: dict[str, Any], key: tuple[int, int, int]) -> None:
        listing = self.live.get(row["order_id"])
        if listing is None:
            self._emit([base | {"kind": Event.REJECTED, "reason": Reason.UNKNOWN_ORDER}])
            return
        bid = dict(row, side=Side.BUY, price_fen_per_tonne=listing.row["price_fen_per_tonne"])
        bid["instrument"] = listing.row["instrument"]
        base["instrument"] = listing.row["instrument"]
        self._cross(bid, base, key, self.sequence << 22, [listing])

    def _cross(
        self,
        row: dict[str, Any],
        base: dict[str, Any],
        key: tuple[int, int, int],
        order_id: int,
        against: list[Resting],
    ) -> None:
        trades: list[dict[str, Any]] = []
        leaves, amount = row["quantity_kg"], 0
        for each in against:
            quantity = min(leaves, each.leaves)
            if quantity == 0:
                break
            leaves -= quantity
            each.leaves -= quantity
            each.cum += quantity
            price = each.row["price_fen_per_tonne"]
            amount += (price * quantity + 500) // 1000
            trades.append(
                base
                | {
                    "kind": Event.TRADE, "side": row["side"], "counter_account": each.row["account"],
                    "order_id": order_id, "counter_order_id": each.order_id, "price_fen_per_tonne": price,
                    "match_id": (self.sequence << 22) + len(trades), "quantity_kg": quantity,
                    "leaves_kg": leaves,
                    "counter_leaves_kg": each.leaves, "lot": each.row["lot"] or row["lot"],
                }
            )  # fmt: skip
            if each.leaves == 0:
                del self.live[each.order_id]
        cum = row["quantity_kg"] - leaves
        ioc = row["time_in_force"] == TimeInForce.IOC
        rests = 0 if ioc else leaves
        outcome = {
            "kind": Event.ACCEPTED, "order_id": order_id, "cum_kg": cum, "leaves_kg": rests,
            "amount_fen": amount,
        } | {name: row[name] for name in ("side", "time_in_force", "client_order_id_0", "client_order_id_1",
                                          "price_fen_per_tonne", "quantity_kg", "lot")}  # fmt: skip
        outcome["listing_version"] = 1
        self.outcomes[key] = outcome
        if rests:
            self.live[order_id] = Resting(order_id, row, rests, cum)
        events = [base | outcome, *trades]
        if ioc and leaves:
            canceled = {
                "kind": Event.CANCELED,
                "reason": Reason.IOC_REMAINDER,
                "quantity_kg": leaves,
                "leaves_kg": 0,
            }
            events.append(base | outcome | canceled)
        self._emit(events)

    def _cancel(self, row: dict[str, Any], base: dict[str, Any]) -> None:
        words = ("client_order_id_0", "client_order_id_1")
        found = [
            each
            for each in self.live.values()
            if each.row["account"] == row["account"]
            and (
                all(each.row[word] == row[word] for word in words)
                if row["flags"] & Flag.BY_CLIENT_ORDER_ID
                else each.order_id == row["order_id"]
            )
        ]
        if not found:
            self._emit([base | {"kind": Event.REJECTED, "reason": Reason.UNKNOWN_ORDER}])
            return
        order = self.live.pop(found[0].order_id)
        kept = {
            name: order.row[name] for name in ("instrument", "side", "price_fen_per_tonne", "lot", *words)
        }
        canceled = {"kind": Event.CANCELED, "reason": Reason.CANCELED_BY_OWNER, "order_id": order.order_id}
        self._emit([base | kept | canceled | {"quantity_kg": order.leaves, "cum_kg": order.cum}])

    def _emit(self, rows: list[dict[str, Any]]) -> None:
        for index, row in enumerate(rows):
            row |= {"sequence": self.sequence, "time_ns": TIME_NS + self.sequence * 1000, "index": index}
            counts = row["kind"] != Event.REJECTED and row["kind"] < 32 and not row.get("flags", 0)
            if counts and row.get("account", -1) >= 0:
                row["account_sequence"] = self._next(row["account"])
            if row["kind"] == Event.TRADE:
                row["counter_account_sequence"] = self._next(row["counter_account"])
        batch = events_of(*rows)
        self.log.append(batch)
        if self.silent:
            self._unspoken.append(batch)
        else:
            self._publish(batch)

    def _publish(self, batch: Records) -> None:
        for writer in self._subscribers:
            writer.write(frame(Frame.EVENTS, batch))

    def _next(self, account: int) -> int:
        self.account_sequences[account] = self.account_sequences.get(account, 0) + 1
        return self.account_sequences[account]

    def _answer(self, question: dict[str, Any]) -> Records:
        rows = [row | {"tag": question["tag"]} for row in self._answer_rows(question)]
        end = {"kind": Event.END, "sequence": self.sequence, "tag": question["tag"], "time_ns": TIME_NS}
        return events_of(*rows, end)

    def _answer_rows(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        kind, account, instrument = question["kind"], question["account"], question["instrument"]
        live = list(self.live.values())
        if kind == Command.QUERY_ORDERS:
            return [_order_row(each) for each in live if account in (-1, each.row["account"])]
        if kind == Command.QUERY_LISTINGS:
            return [
                _order_row(each) | {"pick_minimum_kg": each.row.get("minimum_quantity_kg", 0) or each.leaves}
                for each in live
                if each.row["instrument"] == instrument
            ]
        if kind == Command.QUERY_BALANCES:
            at = self.account_sequences.get(account, 0)
            money = {"available_fen": 12_345_678, "held_fen": 5}
            return [{"kind": Event.BALANCE, "account": account, "account_sequence": at} | money]
        if kind == Command.QUERY_LOTS:
            kilograms = {"free_kg": 1000, "listed_kg": 200, "contracted_kg": 30, "quantity_kg": 1230}
            return [{"kind": Event.LOT, "account": account, "instrument": 0, "lot": 7} | kilograms]
        if kind == Command.QUERY_DEPTH:
            return _level_rows([each for each in live if each.row["instrument"] == instrument])
        return [
            {"kind": Event.INSTRUMENT, "instrument": 0, "phase": 2, "lower_fen_per_tonne": 221_400,
             "upper_fen_per_tonne": 244_600, "price_fen_per_tonne": 233_000},
        ]  # fmt: skip


def events_of(*rows: dict[str, Any]) -> Records:
    """EVENT records from field dictionaries; what a row does not name is 0, instrument and account -1."""
    events = np.zeros(len(rows), EVENT)
    events["version"], events["account"], events["instrument"] = 1, -1, -1
    for at, row in enumerate(rows):
        for name, value in row.items():
            events[name][at] = value
    return events


def _order_row(order: Resting) -> dict[str, Any]:
    names = ("account", "instrument", "side", "client_order_id_0", "client_order_id_1", "price_fen_per_tonne",
             "quantity_kg", "lot")  # fmt: skip
    own = {"kind": Event.ORDER, "order_id": order.order_id, "leaves_kg": order.leaves, "cum_kg": order.cum}
    return {name: order.row[name] for name in names} | own | {"listing_version": 1}


def _level_rows(orders: list[Resting]) -> list[dict[str, Any]]:
    rows = []
    sign = {Side.BUY: -1, Side.SELL: 1}

    def place(each: Resting) -> tuple[int, int]:
        side = each.row["side"]
        return side, sign[side] * each.row["price_fen_per_tonne"]

    for (side, _), group in itertools.groupby(sorted(orders, key=place), key=place):
        level = list(group)
        rows.append(
            {"kind": Event.LEVEL, "side": side, "price_fen_per_tonne": level[0].row["price_fen_per_tonne"],
             "quantity_kg": sum(each.leaves for each in level), "orders": len(level)}
        )  # fmt: skip
    return rows
