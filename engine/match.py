"""`python -m engine match`: the shipped core on standard input and output, one JSON object a line.

One BOOK instrument with tick 1, step 1, band 1..1,000,000, continuous; accounts without limits: each is given more
money and goods than any flow can use. Commands gather until one needs to know what became of an order, then go
through the core as one batch.

    line ─▶ COMMAND records ─┐  flush: a cancel or replace names an order of this batch, or a question
                             └─▶ core ─▶ EVENT records ─▶ lines, each with the number of the line that caused it
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
import numpy as np

from engine.core.layout import Capacity
from engine.exchange import Exchange, stamped
from engine.records import (
    COMMAND,
    INSTRUMENT_TERMS,
    ORDER,
    TRADE,
    Records,
    commands_of,
    joined,
)
from engine.vocabulary import (
    ORDER_SLOT_BITS,
    QUANTITY_MAX_KG,
    RECORD_VERSION,
    Command,
    Event,
    Flag,
    Mode,
    OrderType,
    Phase,
    Reason,
    ReplaceFlag,
    SelfTrade,
    Side,
    TimeInForce,
)

BAND: Final = (1, 1_000_000)
CAPACITY: Final = Capacity(
    orders=1 << 20, levels=1 << 22, instruments=1, accounts=1 << 16, lots=1 << 17, day=2
)
BATCH_MAX: Final = 4096
MONEY_FEN: Final = 10**17 - 1
GOODS_KG: Final = QUANTITY_MAX_KG
NOBODY: Final = ""
OPS: Final = frozenset(
    {"new", "cancel", "replace", "mass_cancel", "phase", "uncross", "reference", "clock", "book", "orders"}
)


class LineError(Exception):
    """A line that cannot be understood; the message says what to change."""


class Matcher:
    """Maps names to order ids and owners to accounts around one exchange."""

    def __init__(self, self_trade: SelfTrade = SelfTrade.ALLOW) -> None:
        self.exchange = Exchange(CAPACITY)
        self._self_trade = self_trade
        self._accounts: dict[str, int] = {}
        self._live: dict[str, int] = {}  # name -> order id, while the order lives
        self._names: dict[int, str] = {}  # order id -> name
        self._owners: dict[int, str] = {}  # order id -> owner
        self._pending: list[dict[str, Any]] = []
        self._lines: list[int] = []  # line number of each pending command
        self._entering: dict[int, tuple[str, str]] = {}  # pending position -> (name, owner)
        self._touched: set[str] = set()
        self._time_ns = 0
        self._sequence = 0
        self._out: list[dict[str, Any]] = []
        self._set_up()

    def feed(self, number: int, line: bytes) -> None:
        """Take one line; events come out of `drain`."""
        try:
            command = msgspec.json.decode(line)
            if not isinstance(command, dict) or command.get("op") not in OPS:
                raise LineError(f"op must be one of {', '.join(sorted(OPS))}")
            if "ts" in command and command["op"] != "clock":
                self._clock(number, command)
            getattr(self, f"_{command['op']}")(number, command)
        except (LineError, msgspec.DecodeError, OverflowError) as error:
            self._flush()
            self._out.append({"n": number, "ev": "error", "message": str(error)})

    def drain(self, *, all_of_it: bool = False) -> Iterator[dict[str, Any]]:
        """The events so far."""
        if all_of_it or len(self._pending) >= BATCH_MAX:
            self._flush()
        yield from self._out
        self._out.clear()

    def _new(self, number: int, command: dict[str, Any]) -> None:
        name, owner = _text(command, "id"), _text(command, "owner", NOBODY)
        if name in self._touched or name in self._live:
            self._flush()  # it may have ended meanwhile
        if name in self._live:
            self._out.append(
                {"n": number, "ev": "rejected", "id": name, "reason": "duplicate_client_order_id"}
            )
            return
        row = self._order_of(command) | {"account": self._account_of(owner)}
        self._entering[len(self._pending)] = (name, owner)
        self._touched.add(name)
        self._push(number, row)

    def _order_of(self, command: dict[str, Any]) -> dict[str, Any]:
        side = Side[_choice(command, "side", {"buy", "sell"}).upper()]
        kinds = {"limit", "market", "stop", "stop_limit", "market_to_limit"}
        kind = OrderType[_choice(command, "type", kinds).upper()]
        force = TimeInForce[_choice(command, "tif", {"GTC", "DAY", "IOC", "FOK", "GTD"}, "GTC")]
        modes = {mode.name.lower() for mode in SelfTrade}
        mode = _choice(command, "stp", modes, self._self_trade.name.lower())
        flags = Flag.POST_ONLY if command.get("post_only") else Flag(0)
        return {
            "kind": Command.NEW_ORDER,
            "side": side,
            "order_type": kind,
            "time_in_force": force,
            "self_trade_mode": SelfTrade[mode.upper()],
            "flags": flags | Flag.BY_REFERENCE,
            "price_fen_per_tonne": _number(command, "price", 0),
            "quantity_kg": _number(command, "qty"),
            "stop_fen_per_tonne": _number(command, "stop", 0),
            "display_quantity_kg": _number(command, "display", 0),
            "minimum_quantity_kg": _number(command, "min_qty", 0),
            "due_ns": _number(command, "expire_at", 0) if force is TimeInForce.GTD else 0,
        }

    def _target(self, number: int, command: dict[str, Any]) -> tuple[str, int] | None:
        """(name, order id) that a cancel or replace means; None after stating that there is none."""
        name, owner = _text(command, "id"), _text(command, "owner", NOBODY)
        if name in self._touched:
            self._flush()
        order_id = self._live.get(name)
        actual = self._owners.get(order_id, NOBODY) if order_id else NOBODY
        if order_id is None or (owner and actual and owner != actual):
            self._flush()
            self._out.append({"n": number, "ev": "rejected", "id": name, "reason": "unknown_order"})
            return None
        return name, order_id

    def _cancel(self, number: int, command: dict[str, Any]) -> None:
        if (target := self._target(number, command)) is not None:
            account = self._account_of(self._owners[target[1]])
            self._push(number, {"kind": Command.CANCEL_ORDER, "order_id": target[1], "account": account})

    def _replace(self, number: int, command: dict[str, Any]) -> None:
        if (target := self._target(number, command)) is None:
            return
        self._flush()
        if target[0] not in self._live:
            self._out.append({"n": number, "ev": "rejected", "id": target[0], "reason": "unknown_order"})
            return
        quantity, flags = _number(command, "qty", 0), Flag(0)
        if "leaves" in command:
            quantity, flags = _number(command, "leaves"), ReplaceFlag.BY_LEAVES
        elif "qty" in command and quantity == 0:
            flags = ReplaceFlag.BY_LEAVES
        account = self._account_of(self._owners[target[1]])
        row = {
            "kind": Command.REPLACE_ORDER,
            "order_id": target[1],
            "account": account,
            "quantity_kg": quantity,
        }
        self._push(number, row | {"price_fen_per_tonne": _number(command, "price", 0), "flags": flags})
        self._flush()

    def _mass_cancel(self, number: int, command: dict[str, Any]) -> None:
        side = command.get("side")
        row = {"kind": Command.MASS_CANCEL, "instrument": -1, "side": Side[side.upper()] if side else 255}
        owners = [command["owner"]] if command.get("owner") else list(self._accounts)
        for owner in owners:
            self._push(number, row)
        self._flush()

    def _phase(self, number: int, command: dict[str, Any]) -> None:
        phase = Phase[_choice(command, "phase", {p.name.lower() for p in Phase}).upper()]
        self._push(number, {"kind": Command.SET_PHASE, "phase": phase})
        self._flush()

    def _uncross(self, number: int, command: dict[str, Any]) -> None:
        self._flush()
        if "reference_price" in command:
            self.exchange.state.instruments["last"][0] = _number(command, "reference_price")
        if int(self.exchange.state.instruments["phase"][0]) == Phase.CONTINUOUS:
            self.exchange.state.instruments["phase"][0] = Phase.AUCTION
        self._push(number, {"kind": Command.SET_PHASE, "phase": Phase.CONTINUOUS})
        self._flush()

    def _reference(self, number: int, command: dict[str, Any]) -> None:
        self._flush()
        self.exchange.state.instruments["last"][0] = _number(command, "price")
        if int(self.exchange.state.instruments["phase"][0]) == Phase.CONTINUOUS:
            self._push(number, {"kind": Command.SET_PHASE, "phase": Phase.CONTINUOUS})
            self._flush()

    def _clock(self, number: int, command: dict[str, Any]) -> None:
        self._time_ns = max(self._time_ns, _number(command, "ts"))
        self._push(number, {"kind": Command.EXPIRE, "due_ns": self._time_ns})
        self._flush()

    def _book(self, number: int, command: dict[str, Any]) -> None:
        self._flush()
        sides: tuple[list[list[int]], list[list[int]]] = ([], [])
        rows = self.exchange.answer(commands_of({"kind": Command.QUERY_DEPTH}))[:-1]
        for row in rows:
            level = [int(row[name]) for name in ("price_fen_per_tonne", "quantity_kg", "orders")]
            sides[int(row["side"])].append(level)
        last = int(self.exchange.state.instruments["last"][0]) or None
        self._out.append({"n": number, "ev": "book", "bids": sides[0], "asks": sides[1], "last": last})

    def _orders(self, number: int, command: dict[str, Any]) -> None:
        self._flush()
        sides: tuple[list[list[Any]], list[list[Any]]] = ([], [])
        rows = self.exchange.answer(commands_of({"kind": Command.QUERY_LISTINGS}))[:-1]
        for row in rows.view(ORDER):
            shown = int(
                self.exchange.state.nodes["leaves"][int(row["order_id"]) & (1 << ORDER_SLOT_BITS) - 1]
            )
            name = self._names[int(row["order_id"])]
            sides[int(row["side"])].append(
                [name, int(row["price_fen_per_tonne"]), shown, int(row["leaves_kg"])]
            )
        stops = [[self._names[i], side, stop, kg] for i, side, stop, kg in self.exchange.waiting_stops(0)]
        self._out.append({"n": number, "ev": "orders", "bids": sides[0], "asks": sides[1], "stops": stops})

    def _account_of(self, owner: str) -> int:
        if owner not in self._accounts:
            account = len(self._accounts) + 1
            self._flush()
            self._accounts[owner] = account
            group = account if owner else -1
            rows = (
                {"kind": Command.OPEN_ACCOUNT, "account": account, "group": group},
                {"kind": Command.DEPOSIT, "account": account, "amount_fen": MONEY_FEN},
                {"kind": Command.REGISTER_LOT, "account": account, "lot": account, "quantity_kg": GOODS_KG},
            )
            assert not self._apply(commands_of(*rows))["reason"].any(), "accounts have no limits here"
        return self._accounts[owner]

    def _push(self, number: int, row: dict[str, Any]) -> None:
        self._pending.append(row)
        self._lines.append(number)

    def _flush(self) -> None:
        """Let the core judge what is pending and turn its events into lines."""
        if not self._pending:
            return
        pending, lines, entering = self._pending, self._lines, self._entering
        self._pending, self._lines, self._entering = [], [], {}
        self._touched.clear()
        first = self._sequence + 1
        events = self._apply(_records(pending, first))
        for order, pair in zip(events.view(ORDER), events.view(TRADE), strict=True):
            at = int(order["sequence"]) - first
            if at in entering and Event(int(order["kind"])) is Event.ACCEPTED:
                self._enter(int(order["order_id"]), *entering[at])
            name = (
                entering[at][0]
                if at in entering
                else self._names.get(int(pending[at].get("order_id", 0)), "")
            )
            if (line := self._line(order, pair, name)) is not None:
                self._out.append({"n": lines[at], **line})

    def _enter(self, order_id: int, name: str, owner: str) -> None:
        self._live[name], self._names[order_id], self._owners[order_id] = order_id, name, owner

    def _apply(self, commands: Records) -> Records:
        stamped(commands, self._sequence + 1, self._time_ns)
        self._sequence += len(commands)
        return self.exchange.apply(commands).copy()

    def _line(self, order: np.void, pair: np.void, asked: str) -> dict[str, Any] | None:
        kind = Event(int(order["kind"]))
        if kind is Event.REJECTED:
            return {"ev": "rejected", "id": asked, "reason": Reason(int(order["reason"])).name.lower()}
        if kind in PAIRS:
            return self._pair_line(kind, pair)
        if kind is Event.UNCROSSED:
            return _auction_line(order)
        if kind not in LINES:
            return None
        name = self._names[int(order["order_id"])]
        if kind is Event.CANCELED:
            self._forget(name, int(order["order_id"]))
        return LINES[kind](order, name)

    def _pair_line(self, kind: Event, pair: np.void) -> dict[str, Any]:
        resting, incoming = int(pair["counter_order_id"]), int(pair["order_id"])
        maker, taker, quantity = self._names[resting], self._names[incoming], int(pair["quantity_kg"])
        side = Side(int(pair["side"])).name.lower()
        for order_id, name, leaves in ((resting, maker, "counter_leaves_kg"), (incoming, taker, "leaves_kg")):
            if int(pair[leaves]) == 0:
                self._forget(name, order_id)
        if kind is Event.PREVENTED:
            return {"ev": "prevented", "maker": maker, "taker": taker, "qty": quantity}
        price = int(pair["price_fen_per_tonne"])
        if int(pair["flags"]) & Flag.IN_AUCTION:
            return {"ev": "trade", "buy": taker, "sell": maker, "price": price, "qty": quantity}
        return {"ev": "trade", "maker": maker, "taker": taker, "price": price, "qty": quantity, "side": side}

    def _forget(self, name: str, order_id: int) -> None:
        if self._live.get(name) == order_id:
            del self._live[name]

    def _set_up(self) -> None:
        terms = np.zeros(1, INSTRUMENT_TERMS)
        terms["version"], terms["kind"], terms["mode"] = RECORD_VERSION, Command.DEFINE_INSTRUMENT, Mode.BOOK
        terms["tick_fen_per_tonne"], terms["step_kg"], terms["minimum_kg"] = 1, 1, 1
        terms["lower_fen_per_tonne"], terms["upper_fen_per_tonne"] = BAND
        terms["maximum_kg"], terms["reference_fen_per_tonne"] = QUANTITY_MAX_KG, BAND[1] // 2
        opening = commands_of({"kind": Command.SET_PHASE, "phase": Phase.CONTINUOUS})
        events = self._apply(joined([terms.view(COMMAND), opening]))
        assert not events["reason"].any(), "the instrument is sound"


PAIRS: Final = frozenset({Event.TRADE, Event.PREVENTED})


def _accepted_line(order: np.void, name: str) -> dict[str, Any]:
    return {"ev": "accepted", "id": name}


def _canceled_line(order: np.void, name: str) -> dict[str, Any]:
    quantity, reason = int(order["quantity_kg"]), Reason(int(order["reason"]))
    if reason is Reason.EXPIRED:
        return {"ev": "expired", "id": name, "qty": quantity}
    return {"ev": "canceled", "id": name, "qty": quantity, "reason": reason.name.lower()}


def _replaced_line(order: np.void, name: str) -> dict[str, Any]:
    kept = bool(int(order["flags"]) & Flag.KEPT_PLACE)
    price, leaves = int(order["price_fen_per_tonne"]), int(order["leaves_kg"])
    return {"ev": "replaced", "id": name, "price": price, "leaves": leaves, "kept_place": kept}


def _triggered_line(order: np.void, name: str) -> dict[str, Any]:
    return {"ev": "triggered", "id": name}


LINES: Final[dict[Event, Callable[[np.void, str], dict[str, Any]]]] = {
    Event.ACCEPTED: _accepted_line,
    Event.CANCELED: _canceled_line,
    Event.REPLACED: _replaced_line,
    Event.TRIGGERED: _triggered_line,
}


def _auction_line(order: np.void) -> dict[str, Any]:
    volume, surplus = int(order["quantity_kg"]), int(order["leaves_kg"])
    side = Side(int(order["side"])).name.lower() if surplus else None
    price = int(order["price_fen_per_tonne"]) or None
    return {"ev": "uncrossed", "price": price, "qty": volume, "surplus": surplus, "surplus_side": side}


def _records(rows: list[dict[str, Any]], first: int) -> Records:
    commands = np.zeros(len(rows), COMMAND)
    commands["version"] = RECORD_VERSION
    for at, row in enumerate(rows):
        for name, value in row.items():
            commands[name][at] = value
    sells = (commands["kind"] == Command.NEW_ORDER) & (commands["side"] == Side.SELL)
    commands["lot"] = np.where(sells, commands["account"], 0)
    new = commands["kind"] == Command.NEW_ORDER
    commands["client_order_id_0"] = np.where(new, first + np.arange(len(rows)), 0)
    return commands


def _text(command: dict[str, Any], key: str, default: str | None = None) -> str:
    value = command.get(key, default)
    if not isinstance(value, str) or (default is None and not value):
        raise LineError(f"{key} must be a string")
    return value


def _choice(command: dict[str, Any], key: str, words: set[str], default: str | None = None) -> str:
    value = command.get(key, default)
    if value not in words:
        raise LineError(f"{key} must be one of {', '.join(sorted(words))}")
    return str(value)


def _number(command: dict[str, Any], key: str, default: int | None = None) -> int:
    value = command.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**62:
        raise LineError(f"{key} must be an integer")
    return value


def run(lines: Iterable[bytes], self_trade: SelfTrade) -> Iterator[bytes]:
    """Feed lines of JSON, yield lines of JSON."""
    matcher, encode = Matcher(self_trade), msgspec.json.Encoder().encode
    for number, line in enumerate(lines, 1):
        if line.strip():
            matcher.feed(number, line)
            for event in matcher.drain():
                yield encode(event)
    for event in matcher.drain(all_of_it=True):
        yield encode(event)
