"""A trading floor in plain words: orders are said as a trader says them, events come back as lines.

    floor.says("A sell 20 @ 2270 as near")     -> ["accepted, rests 20"]
    floor.says("B buy 50 @ 2271 ioc as taker") -> ["accepted, filled 20", "near x taker 20 @ 2270",
                                                   "taker canceled 30 ioc_remainder"]

The instrument has tick 1 and step 1 unless said otherwise; A, B, C are strangers, D and E one company group.
All are rich in money and goods. `RESTING x INCOMING` is a trade, in an uncross `BUY x SELL`.
"""

from typing import Any

from engine.exchange import Exchange
from engine.records import ORDER, TRADE, Records, client_order_id_words
from engine.vocabulary import (
    Command,
    Event,
    Flag,
    Mode,
    OrderType,
    Phase,
    Reason,
    ReplaceFlag,
    Scope,
    SelfTrade,
    Side,
    TimeInForce,
)
from tests.engine.builders import SMALL, Venue, terms

ACCOUNTS = {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5}
GROUPS = {"D": 9, "E": 9}
RICH_FEN, RICH_KG = 10**12, 10**9
TYPES = {kind.name.lower(): kind for kind in OrderType}
FORCES = {force.name.lower(): force for force in TimeInForce}
MODES = {mode.name.lower(): mode for mode in SelfTrade}
FLAGS = {"post_only": Flag.POST_ONLY, "keep": Flag.KEEP_ON_DISCONNECT}
NUMBERS = {
    "@": "price_fen_per_tonne",
    "stop": "stop_fen_per_tonne",
    "display": "display_quantity_kg",
    "min": "minimum_quantity_kg",
    "until": "due_ns",
    "lot": "lot",
    "to": "quantity_kg",
    "version": "listing_version",
    "instrument": "instrument",
}


class Floor(Venue):
    """An exchange with one BOOK instrument (0) and one LISTED (1), both open."""

    def __init__(self, **fields: int) -> None:
        self.given = {"tick_fen_per_tonne": 1, "step_kg": 1, "minimum_kg": 1, "maximum_kg": 10**6}
        self.given |= {
            "lower_fen_per_tonne": 2000,
            "upper_fen_per_tonne": 2500,
            "reference_fen_per_tonne": 2270,
        }
        self.given |= {"band_bp": 1000} | fields
        self.ids: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.sessions: dict[str, int] = {}
        super().__init__(Exchange(SMALL), time_ns=1_000)

    def __post_init__(self) -> None:
        listed = {name: value for name, value in self.given.items() if name not in ("step_kg", "minimum_kg")}
        self.send_records(terms(0, Mode.BOOK, **self.given), terms(1, Mode.LISTED, **listed))
        for name, account in ACCOUNTS.items():
            self.account(account, fen=RICH_FEN, group=GROUPS.get(name, 0))
            self.lot(account, account, RICH_KG, 0)
        self.phase(Phase.CONTINUOUS)

    def send_records(self, *commands: Records) -> Records:
        return super().send(*commands)

    def says(self, *lines: str) -> list[str]:
        """Say each line; the events of the last one."""
        events: list[str] = []
        for line in lines:
            events = self.lines_of(self.judge(line))
        return events

    def judge(self, line: str) -> Records:
        """Judge the command of one line; remember the name that it gives."""
        words = line.split()
        name = words[words.index("as") + 1] if "as" in words else f"o{self.orders + 1}"
        row = self.command_of(words[: words.index("as")] if "as" in words else words)
        if row["kind"] in (Command.NEW_ORDER, Command.PICK):
            self.orders += 1
            key = words[words.index("key") + 1] if "key" in words else f"o{self.orders}"
            row["client_order_id_0"], row["client_order_id_1"] = client_order_id_words(key.encode())
        events = self.command(**row)
        if row["kind"] in (Command.NEW_ORDER, Command.PICK) and int(events["kind"][0]) == Event.ACCEPTED:
            self.ids[name], self.names[int(events["order_id"][0])] = int(events["order_id"][0]), name
        if int(events["kind"][0]) == Event.SESSION_STARTED:
            self.sessions[name] = int(events["session"][0])
        return events

    def command_of(self, words: list[str]) -> dict[str, Any]:
        if words[0] in MARKET:
            return MARKET[words[0]](self, words)
        account, verb = ACCOUNTS[words[0]], words[1]
        row: dict[str, Any] = {"account": account, "flags": 0}
        if verb in ("buy", "sell"):
            side = Side[verb.upper()]
            row |= {"kind": Command.NEW_ORDER, "side": side, "quantity_kg": int(words[2])}
            row |= {"lot": account} if side is Side.SELL else {}
        elif verb in ("cancel", "replace", "pick"):
            kinds = {"cancel": Command.CANCEL_ORDER, "replace": Command.REPLACE_ORDER, "pick": Command.PICK}
            row |= {"kind": kinds[verb], "order_id": self.ids.get(words[2], 1 << 30)}
            row |= {"quantity_kg": int(words[3]), "listing_version": 1} if verb == "pick" else {}
        elif verb == "mass_cancel":
            sides = {"buy": int(Side.BUY), "sell": int(Side.SELL)}
            named = sides.get(words[2], 255) if len(words) > 2 else 255
            row |= {"kind": Command.MASS_CANCEL, "instrument": -1, "side": named}
        else:
            row |= ACCOUNT_COMMANDS[verb](self, words)
        return self.with_details(row, words)

    def with_details(self, row: dict[str, Any], words: list[str]) -> dict[str, Any]:
        """What follows the verb: a word of its own, or a word and its number."""
        for at, word in enumerate(words[2:], 2):
            if word in NUMBERS:
                row[NUMBERS[word]] = int(words[at + 1])
            elif word in TYPES:
                row["order_type"] = TYPES[word]
            elif word in FORCES:
                row["time_in_force"] = FORCES[word]
            elif word in MODES:
                row["self_trade_mode"] = MODES[word]
            elif word in FLAGS:
                row["flags"] |= FLAGS[word]
            elif word == "leaves":
                row["quantity_kg"], row["flags"] = int(words[at + 1]), row["flags"] | ReplaceFlag.BY_LEAVES
            elif word in ("in", "session") and at + 1 < len(words):
                row["session"] = self.sessions.get(words[at + 1], 77)
        if "stop" in words and words[1] in ("buy", "sell") and "stop_limit" not in words:
            row["order_type"] = OrderType.STOP
        return row

    def lines_of(self, events: Records) -> list[str]:
        pairs = zip(events.view(ORDER), events.view(TRADE), strict=True)
        return [self.line_of(Event(int(order["kind"])), order, pair) for order, pair in pairs]

    def line_of(self, kind: Event, order: Any, pair: Any) -> str:
        """One event as a line."""
        leaves, cum, kg = (int(order[name]) for name in ("leaves_kg", "cum_kg", "quantity_kg"))
        price, flags = int(order["price_fen_per_tonne"]), int(order["flags"])
        reason = Reason(int(order["reason"])).name.lower()
        name = self.names.get(int(order["order_id"]), "order")
        if kind is Event.ACCEPTED:
            name = name if int(order["order_id"]) in self.names else "order"
            again = " again" if flags & Flag.DUPLICATE else ""
            filled = f", filled {cum}" if cum else ""
            return f"accepted{again}{filled}" + (f", rests {leaves}" if leaves else "")
        if kind is Event.REJECTED:
            return f"rejected {reason}" + (" again" if flags & Flag.DUPLICATE else "")
        if kind in (Event.TRADE, Event.PREVENTED):
            return self.pair_line(kind, pair, kg, price, flags)
        if kind is Event.CANCELED:
            return f"{name} canceled {kg} {reason}"
        if kind is Event.REPLACED:
            kept = ", keeps its place" if flags & Flag.KEPT_PLACE else ""
            return f"{name} replaced, {leaves} @ {price}{kept}"
        if kind is Event.REFRESHED:
            return f"{name} shows {kg}"
        if kind is Event.TRIGGERED:
            return f"{name} triggered"
        if kind in (Event.UNCROSSED, Event.INDICATIVE):
            side = "buy" if int(order["side"]) == Side.BUY else "sell"
            surplus = f", {side} surplus {leaves}" if leaves else ""
            return f"{kind.name.lower()} {kg} @ {price}{surplus}"
        if kind is Event.PHASE_CHANGED:
            return f"phase {Phase(int(order['phase'])).name.lower()}"
        if kind in COUNTING:
            return f"{kind.name.lower()} {kg}"
        return kind.name.lower()

    def pair_line(self, kind: Event, pair: Any, kg: int, price: int, flags: int) -> str:
        incoming = self.names.get(int(pair["order_id"]), "incoming")
        resting = self.names.get(int(pair["counter_order_id"]), "resting")
        if kind is Event.PREVENTED:
            return f"{resting} and {incoming} lose {kg}"
        own = " self_trade" if flags & Flag.SELF_TRADE else ""
        first, second = (incoming, resting) if flags & Flag.IN_AUCTION else (resting, incoming)
        return f"{first} x {second} {kg} @ {price}{own}"

    def book(self) -> list[str]:
        """The resting orders in priority order: `name kg @ price`, shown kilograms in front of whole ones."""
        rows = self.ask(Command.QUERY_LISTINGS, instrument=0).view(ORDER)[:-1]
        found = []
        for row in rows:
            order_id, leaves = int(row["order_id"]), int(row["leaves_kg"])
            shown = int(self.exchange.state.nodes["leaves"][order_id & 0x3FFFFF])
            kg = f"{leaves}" if shown == leaves else f"{shown}/{leaves}"
            found.append(f"{self.names[order_id]} {kg} @ {int(row['price_fen_per_tonne'])}")
        return found

    def stops(self) -> list[str]:
        """The waiting stops, nearest first."""
        return [f"{self.names[i]} {kg} stop {stop}" for i, _, stop, kg in self.exchange.waiting_stops(0)]

    def trade_at(self, price: int) -> None:
        """Let the last price be `price`: A sells one kilogram to B."""
        self.says(f"A sell 1 @ {price}", f"B buy 1 @ {price}")


COUNTING = (Event.ORDERS_CANCELED, Event.TIME_REACHED, Event.SESSION_ENDED, Event.ACCOUNT_BLOCKED)


def _phase(floor: Floor, words: list[str]) -> dict[str, Any]:
    number = int(words[2]) if len(words) > 2 else 0
    return {"kind": Command.SET_PHASE, "instrument": number, "phase": Phase[words[1].upper()]}


def _time(floor: Floor, words: list[str]) -> dict[str, Any]:
    floor.time_ns = int(words[1])
    return {"kind": Command.EXPIRE, "due_ns": floor.time_ns}


def _reference(floor: Floor, words: list[str]) -> dict[str, Any]:
    return {"kind": Command.SET_REFERENCE, "instrument": 0, "price_fen_per_tonne": int(words[1])}


def _roll(floor: Floor, words: list[str]) -> dict[str, Any]:
    return {"kind": Command.ROLL_DAY}


MARKET = {"phase": _phase, "time": _time, "reference": _reference, "roll": _roll}


def _start(floor: Floor, words: list[str]) -> dict[str, Any]:
    return {"kind": Command.START_SESSION, "scope": Scope[words[2].upper()]}


def _end(floor: Floor, words: list[str]) -> dict[str, Any]:
    return {"kind": Command.END_SESSION, "session": floor.sessions[words[2]]}


def _timer(floor: Floor, words: list[str]) -> dict[str, Any]:
    return {"kind": Command.CANCEL_ALL_AFTER, "session": floor.sessions[words[2]]}


def _block(floor: Floor, words: list[str]) -> dict[str, Any]:
    return {"kind": Command.BLOCK_ACCOUNT}


def _release(floor: Floor, words: list[str]) -> dict[str, Any]:
    return {"kind": Command.RELEASE_ACCOUNT}


ACCOUNT_COMMANDS = {"start": _start, "end": _end, "timer": _timer, "block": _block, "release": _release}
