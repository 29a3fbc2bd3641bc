"""`python -m engine match`: the shipped core on standard input and output, one JSON object a line.

One BOOK instrument with tick 1, step 1, band 1..1,000,000, continuous; accounts without limits: each is given
more money and goods than any flow can use. Commands gather until one needs to know what became of an order,
then go through the core as one batch.

    line ─▶ COMMAND records ─┐  flush: a line names an order of this batch, or asks, or nothing more is there
                             └─▶ core ─▶ EVENT records ─▶ lines, each with the number of its cause
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

import msgspec
import numpy as np

from engine.core.layout import Capacity
from engine.exchange import Exchange
from engine.match_words import (
    PHASES,
    REASONS,
    SIDES,
    Line,
    LineError,
    Said,
    auction_line,
    choice,
    integer,
    order_fields,
    order_line,
    pair_line,
    replace_fields,
    text,
)
from engine.records import COMMAND, INSTRUMENT_TERMS, ORDER, Records, commands_of
from engine.vocabulary import (
    ORDER_SLOT_BITS,
    QUANTITY_MAX_KG,
    RECORD_VERSION,
    Command,
    Event,
    Mode,
    Phase,
    SelfTrade,
    Side,
    TimeInForce,
)

LOWEST_PRICE, HIGHEST_PRICE = 1, 1_000_000
CAPACITY: Final = Capacity(
    orders=1 << 20, levels=1 << 22, instruments=1, accounts=1 << 16, lots=1 << 17, day=2
)
BATCH_MAX: Final = 4096
BLOCK_BYTES: Final = 1 << 20
MONEY_FEN: Final = 10**17 - 1
GOODS_KG: Final = 1 << 60  # more than all orders together can name
NOBODY: Final = ""  # the owner of an order that names none
ANY_SIDE: Final = 255
ANY_INSTRUMENT: Final = -1
OF_ONE_ORDER: Final = frozenset({Event.ACCEPTED, Event.CANCELED, Event.REPLACED, Event.TRIGGERED})
OF_A_PAIR: Final = frozenset({Event.TRADE, Event.PREVENTED})
FIELDS: Final = (
    "kind",
    "side",
    "order_type",
    "time_in_force",
    "flags",
    "phase",
    "self_trade_mode",
    "account",
    "instrument",
    "client_order_id_0",
    "order_id",
    "price_fen_per_tonne",
    "quantity_kg",
    "lot",
    "minimum_quantity_kg",
    "stop_fen_per_tonne",
    "due_ns",
    "display_quantity_kg",
    "time_ns",
    "sequence",
)


class Matcher:
    """Maps names to order ids and owners to accounts around one exchange."""

    def __init__(self, self_trade: SelfTrade, highest_price: int = HIGHEST_PRICE) -> None:
        self.exchange = Exchange(CAPACITY)
        self.out: list[Line] = []
        self._self_trade = self_trade
        self._accounts: dict[str, int] = {}
        self._live: dict[str, int] = {}  # name -> order id, while the order lives
        self._orders: dict[int, tuple[str, str]] = {}  # order id -> (name, owner)
        self._pending: list[dict[str, int]] = []
        self._lines: list[int] = []  # number of the line of each pending command
        self._entering: dict[int, tuple[str, str]] = {}  # sequence -> (name, owner) of a pending order
        self._asked: dict[int, str] = {}  # sequence -> name of the order that a pending change means
        self._touched: set[str] = set()
        self._time_ns = 0
        self._sequence = 0
        self._next_expiry_ns = 0  # no order expires earlier; 0: none does
        self._ops: dict[str, Callable[[int, Line], None]] = {
            "new": self._new,
            "cancel": self._cancel,
            "replace": self._replace,
            "mass_cancel": self._mass_cancel,
            "phase": self._phase,
            "uncross": self._uncross,
            "reference": self._reference,
            "clock": self._clock,
            "book": self._book,
            "orders": self._print_orders,
        }
        self._highest_price = highest_price
        self._open_market()

    def feed(self, number: int, data: bytes) -> None:
        """Take one line; its events stand in `out` after the next `flush`."""
        try:
            line = msgspec.json.decode(data)
            if not isinstance(line, dict):
                raise LineError("a line must be a JSON object")
            judge = choice(line, "op", self._ops)
            if line.get("ts") is not None and line["op"] != "clock":
                self._clock(number, line)
            judge(number, line)
        except (LineError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._say(number, {"ev": "error", "message": str(error)})
        if len(self._pending) >= BATCH_MAX:
            self.flush()

    def flush(self) -> None:
        """Let the core judge what is pending and turn its events into lines."""
        if not self._pending:
            return
        pending, lines = self._pending, self._lines
        self._pending, self._lines = [], []
        first = int(pending[0]["sequence"])
        for row in Said(self.exchange.apply(_records(pending))).rows:
            if (line := self._line(row)) is not None:
                self.out.append({"n": lines[row[0] - first], **line})
        self._touched.clear()
        self._entering.clear()
        self._asked.clear()
        self._next_expiry_ns = int(self.exchange.state.head["next_expiry_ns"][0])

    def _say(self, number: int, line: Line) -> None:
        self.flush()
        self.out.append({"n": number, **line})

    def _push(self, number: int, kind: Command, **fields: int) -> int:
        """Let a command wait for the next flush; return its sequence."""
        self._sequence += 1
        stamp = {"sequence": self._sequence, "time_ns": self._time_ns}
        self._pending.append({"kind": kind, **fields, **stamp})
        self._lines.append(number)
        return self._sequence

    # orders

    def _new(self, number: int, line: Line) -> None:
        name, owner = text(line, "id"), text(line, "owner", NOBODY)
        fields, account = order_fields(line, self._self_trade), self._account_of(owner)
        if name in self._touched or name in self._live:
            self.flush()  # it may have ended meanwhile
        if name in self._live:
            self._say(number, {"ev": "rejected", "id": name, "reason": "duplicate_client_order_id"})
            return
        fields["lot"] = account if fields["side"] == Side.SELL else 0
        sequence = self._push(number, Command.NEW_ORDER, account=account, **fields)
        self._pending[-1]["client_order_id_0"] = sequence  # a reference that rises
        self._entering[sequence] = name, owner
        self._touched.add(name)
        if fields["time_in_force"] == TimeInForce.GTD:
            due = fields["due_ns"]
            self._next_expiry_ns = min(self._next_expiry_ns or due, due)

    def _change(self, number: int, line: Line, kind: Command, fields: dict[str, int]) -> None:
        """A cancel or replace of a live order; refused for its owner only if both orders name one."""
        name, owner = text(line, "id"), text(line, "owner", NOBODY)
        if name in self._touched:
            self.flush()
        order_id = self._live.get(name, 0)
        _, actual = self._orders.get(order_id, ("", NOBODY))
        if not order_id or (owner and actual and owner != actual):
            self._say(number, {"ev": "rejected", "id": name, "reason": "unknown_order"})
            return
        account = self._account_of(actual)
        self._asked[self._push(number, kind, account=account, order_id=order_id, **fields)] = name

    def _cancel(self, number: int, line: Line) -> None:
        self._change(number, line, Command.CANCEL_ORDER, {})

    def _replace(self, number: int, line: Line) -> None:
        self._change(number, line, Command.REPLACE_ORDER, replace_fields(line))

    def _mass_cancel(self, number: int, line: Line) -> None:
        """Without an owner everybody's orders; in order of entry, whoever owns them (semantics C5)."""
        side = int(choice(line, "side", SIDES)) if line.get("side") is not None else ANY_SIDE
        named, owner = line.get("owner") is not None, text(line, "owner", NOBODY)
        self.flush()
        before = len(self.out)
        for account in [self._accounts.get(owner, 0)] if named else list(self._accounts.values()):
            if account:
                what = {"account": account, "instrument": ANY_INSTRUMENT, "side": side}
                self._push(number, Command.MASS_CANCEL, **what)
        ages = dict(self._live)
        self.flush()
        self.out[before:] = sorted(self.out[before:], key=lambda said: ages.get(said.get("id", ""), 0))

    # the market

    def _phase(self, number: int, line: Line) -> None:
        self._push(number, Command.SET_PHASE, phase=choice(line, "phase", PHASES))

    def _uncross(self, number: int, line: Line) -> None:
        """End the auction; a reference price given here decides ties, but is no last trade."""
        given = integer(line, "reference_price", 0)
        self.flush()
        row = self.exchange.state.instruments
        last, reference = int(row["last"][0]), int(row["reference"][0])
        if given:
            row["last"][0], row["reference"][0] = 0, given
        if int(row["phase"][0]) not in (Phase.PRE_OPEN, Phase.AUCTION, Phase.NO_CANCEL):
            row["phase"][0] = Phase.AUCTION
        self._push(number, Command.SET_PHASE, phase=Phase.CONTINUOUS)
        self.flush()
        if given:
            row["reference"][0] = reference
            if int(row["last"][0]) == 0:
                row["last"][0] = last
                self._trigger(number)

    def _reference(self, number: int, line: Line) -> None:
        price = integer(line, "price")
        if not LOWEST_PRICE <= price <= self._highest_price:
            raise LineError(f"price must lie within {LOWEST_PRICE} and {self._highest_price}")
        self.flush()
        self.exchange.state.instruments["last"][0] = price
        self._trigger(number)

    def _trigger(self, number: int) -> None:
        """Let stops enter that the last price reaches: entering continuous once more looks at them."""
        if int(self.exchange.state.instruments["phase"][0]) == Phase.CONTINUOUS:
            self._push(number, Command.SET_PHASE, phase=Phase.CONTINUOUS)
            self.flush()

    def _clock(self, number: int, line: Line) -> None:
        self._time_ns = max(self._time_ns, integer(line, "ts"))
        if 0 < self._next_expiry_ns <= self._time_ns:
            self._push(number, Command.EXPIRE, due_ns=self._time_ns)
            self.flush()

    # questions

    def _book(self, number: int, line: Line) -> None:
        self.flush()
        sides: tuple[list[list[int]], list[list[int]]] = ([], [])
        for row in self.exchange.answer(commands_of({"kind": Command.QUERY_DEPTH}))[:-1]:
            level = [int(row[name]) for name in ("price_fen_per_tonne", "quantity_kg", "orders")]
            sides[int(row["side"])].append(level)
        last = int(self.exchange.state.instruments["last"][0]) or None
        self._say(number, {"ev": "book", "bids": sides[0], "asks": sides[1], "last": last})

    def _print_orders(self, number: int, line: Line) -> None:
        self.flush()
        sides: tuple[list[list[Any]], list[list[Any]]] = ([], [])
        leaves = self.exchange.state.nodes["leaves"]
        for row in self.exchange.answer(commands_of({"kind": Command.QUERY_LISTINGS}))[:-1].view(ORDER):
            order_id, price = int(row["order_id"]), int(row["price_fen_per_tonne"])
            shown = int(leaves[order_id & (1 << ORDER_SLOT_BITS) - 1])
            said = [self._orders[order_id][0], price, shown, int(row["leaves_kg"])]
            sides[int(row["side"])].append(said)
        waiting = self.exchange.waiting_stops(0)
        stops = [[self._orders[order_id][0], side, stop, kg] for order_id, side, stop, kg in waiting]
        self._say(number, {"ev": "orders", "bids": sides[0], "asks": sides[1], "stops": stops})

    # what the core says

    def _line(self, row: tuple[int, ...]) -> Line | None:
        """The line of an event, or None; keeps the names of what lives."""
        sequence, kind, side, flags, reason, order_id, counter_id, price, quantity, leaves, counter_leaves = (
            row
        )
        if kind == Event.ACCEPTED:
            self._orders[order_id] = self._entering[sequence]
            self._live[self._entering[sequence][0]] = order_id
        if kind in OF_ONE_ORDER:
            if kind == Event.CANCELED:
                self._forget(order_id)
            return order_line(kind, self._orders[order_id][0], quantity, price, leaves, flags, reason)
        if kind in OF_A_PAIR:
            names = self._orders[counter_id][0], self._orders[order_id][0]
            for each, left in ((counter_id, counter_leaves), (order_id, leaves)):
                if left == 0:
                    self._forget(each)
            return pair_line(kind, *names, side, price, quantity, flags)
        if kind == Event.REJECTED:
            name = (
                self._entering[sequence][0] if sequence in self._entering else self._asked.get(sequence, "")
            )
            return {"ev": "rejected", "id": name, "reason": REASONS[reason]}
        if kind == Event.UNCROSSED:
            return auction_line(price, quantity, leaves, side)
        return None

    def _forget(self, order_id: int) -> None:
        name = self._orders[order_id][0]
        if self._live.get(name) == order_id:
            del self._live[name]

    # setting up

    def _account_of(self, owner: str) -> int:
        """The account of an owner, opened with more than it can use when it is first named."""
        if owner in self._accounts:
            return self._accounts[owner]
        account = len(self._accounts) + 1
        if account >= CAPACITY.accounts:
            raise LineError(f"owner: there is room for {CAPACITY.accounts - 1} owners")
        self.flush()
        self._accounts[owner] = account
        for fields in (
            {"kind": Command.OPEN_ACCOUNT, "group": account if owner else -1},
            {"kind": Command.DEPOSIT, "amount_fen": MONEY_FEN},
            {"kind": Command.REGISTER_LOT, "lot": account, "quantity_kg": QUANTITY_MAX_KG},
        ):
            self._set_up(commands_of({**fields, "account": account}))
        lots = self.exchange.state.lots
        lots["registered"][account], lots["free"][account] = GOODS_KG, GOODS_KG
        return account

    def _open_market(self) -> None:
        terms = np.zeros(1, INSTRUMENT_TERMS)
        terms["version"], terms["kind"], terms["mode"] = RECORD_VERSION, Command.DEFINE_INSTRUMENT, Mode.BOOK
        terms["tick_fen_per_tonne"], terms["step_kg"], terms["minimum_kg"] = 1, 1, 1
        terms["lower_fen_per_tonne"], terms["upper_fen_per_tonne"] = LOWEST_PRICE, self._highest_price
        terms["maximum_kg"], terms["reference_fen_per_tonne"] = QUANTITY_MAX_KG, HIGHEST_PRICE // 2
        self._set_up(terms.view(COMMAND))
        self._set_up(commands_of({"kind": Command.SET_PHASE, "phase": Phase.CONTINUOUS}))

    def _set_up(self, command: Records) -> None:
        self._sequence += 1
        command["sequence"], command["time_ns"] = self._sequence, self._time_ns
        assert not self.exchange.apply(command)["reason"].any(), "what the tool sets up is sound"


def _records(rows: list[dict[str, int]]) -> Records:
    """COMMAND records, column by column."""
    commands = np.zeros(len(rows), COMMAND)
    commands["version"] = RECORD_VERSION
    for name in FIELDS:
        commands[name] = [row.get(name, 0) for row in rows]
    return commands


def run(
    read: Callable[[int], bytes], self_trade: SelfTrade, highest_price: int = HIGHEST_PRICE
) -> Iterator[bytes]:
    """Blocks of JSON lines in, blocks of JSON lines out: what has come is answered before more is waited for.

    `read(n)` returns up to n bytes as soon as there are some, and nothing at the end. A narrower band than
    the tool's own is set up faster.
    """
    matcher, encoder, number, rest = Matcher(self_trade, highest_price), msgspec.json.Encoder(), 0, b""
    while block := read(BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        number = yield from _answers(matcher, encoder, number, lines)
    yield from _answers(matcher, encoder, number, [rest])


def _answers(
    matcher: Matcher, encoder: msgspec.json.Encoder, number: int, lines: list[bytes]
) -> Generator[bytes, None, int]:
    """Feed lines, yield what they cause, return the number of the last line."""
    for line in lines:
        number += 1
        if line.strip():
            matcher.feed(number, line)
        if len(matcher.out) >= BATCH_MAX:
            yield encoder.encode_lines(matcher.out)
            matcher.out.clear()
    matcher.flush()
    if matcher.out:
        yield encoder.encode_lines(matcher.out)
        matcher.out.clear()
    return number
