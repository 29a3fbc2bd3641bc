"""A gateway with the real core behind it and no socket: what is typed, what the core does, what is told."""

import json
from typing import Any

from engine.core.layout import Capacity
from engine.exchange import Exchange, stamped
from engine.instruments import load_instruments
from engine.records import LOT, Records, commands_of, joined, select
from engine.vocabulary import Command
from gateway import codec
from gateway.directory import Directory
from gateway.dispatch import Dispatcher
from gateway.outbox import Outbox
from gateway.session import Session
from gateway.trading import TradingDesk
from settlement.clearing import CHAIN_START, Position, clear, default_terms
from settlement.continuity import Continuity
from settlement.ledger import Goods, account

REBAR, COIL, STEP_KG = "RB12-9-SG", "HC5.75-LG", 2501
MILL, TRADER, SISTER, POOR = 1, 2, 3, 4  # the sister is of the mill's group
SMALL = Capacity(orders=1 << 12, levels=1 << 18, instruments=64, accounts=64, lots=64, day=1 << 10)
EIGHT_NS = 1_436_313_600_000_000_000  # 8 July 2015, 08:00 in Beijing


class House:
    """One gateway's dispatcher over one Exchange; time moves by a microsecond per batch."""

    def __init__(self) -> None:
        self.exchange, self.seen, self.asked = Exchange(SMALL), list[Records](), list[int]()
        self.desk = TradingDesk()
        self.desk.open(1)
        self.dispatcher = Dispatcher(self.desk, None, None, Directory(), lambda job: job.close())  # type: ignore[arg-type]
        self.dispatcher.market._ask = self.asked.append
        self.outbox, self.requests = 0, 0
        self.sessions = {member: self._session(member) for member in (0, MILL, TRADER, SISTER, POOR)}
        self.pushes: dict[int, list[dict[str, Any]]] = {member: [] for member in self.sessions}
        self.apply(joined([each.terms() for each in load_instruments()]))
        for member, group in ((MILL, 9), (TRADER, 0), (SISTER, 9), (POOR, 0)):
            self.settle(kind=Command.OPEN_ACCOUNT, account=member, group=group)
        for member in (MILL, TRADER, SISTER):
            self.settle(kind=Command.DEPOSIT, account=member, amount_fen=10**12)
            self.settle(
                kind=Command.REGISTER_LOT,
                lot=member,
                account=member,
                quantity_kg=1000 * STEP_KG,
                instrument=0,
            )
        self.ask(0, "set_phase", phase="continuous")
        for member in (MILL, TRADER, SISTER):
            stream = self.dispatcher.private.join(self.sessions[member])
            stream.last = int(self.exchange.state.accounts["sequence"][member])
            stream.go_live()

    def _session(self, member: int) -> Session:
        one = Session(f"c{member}", Outbox(lambda _: None, lambda: 0))
        one.member, one.scopes = member, frozenset({"operate" if member == 0 else "trade", "read"})
        return one

    def settle(self, **fields: Any) -> None:
        self.outbox += 1
        self.apply(commands_of(fields | {"outbox": self.outbox}))

    def apply(self, commands: Records, time_ns: int = 0) -> Records:
        at = self.exchange.sequence + 1
        time_ns = max(time_ns, self.exchange.time_ns, EIGHT_NS + 1000 * at)
        events = self.exchange.apply(stamped(commands.copy(), at, time_ns)).copy()
        self.seen.append(events)
        market, private = self.dispatcher.market, self.dispatcher.private
        self.desk.answer(codec.rows_of(select(events, self.desk.tells(events))))
        broken = private.apply(codec.rows_of(select(events, private.concerned(events))))
        assert not broken, "a gap in a private stream"
        market.apply(codec.rows_of(select(events, market.watched[events["instrument"]])))
        for number in [*self.asked]:
            self.asked.remove(number)
            question = commands_of({"kind": Command.QUERY_DEPTH, "instrument": number})
            market.load(number, self.exchange.answer(question))
            market.ready(number)
        return events

    def flush(self) -> None:
        """What the desk has for the engine is judged now."""
        if commands := self.desk.take_commands():
            self.apply(codec.commands_from(commands))

    def hear(self) -> None:
        """Take what the sessions were sent."""
        for each in self.sessions:
            self.pushes[each] += heard(self.sessions[each].outbox)

    def ask(self, member: int, op: str, /, **fields: Any) -> dict[str, Any]:
        """What the session hears in answer to a request; pushes are kept."""
        self.requests += 1
        request = {"op": op, "id": str(self.requests), **fields}
        self.dispatcher.receive(self.sessions[member], json.dumps(request).encode(), EIGHT_NS)
        self.flush()
        self.hear()
        found = [each for each in self.pushes[member] if each.get("id") == str(self.requests)]
        assert len(found) == 1, "every request has one response"
        self.pushes[member].remove(found[0])
        return found[0]

    def order(self, member: int, side: str, price: str, bundles: int, **fields: Any) -> dict[str, Any]:
        """A new order of so many bundles; a sell is of the member's own lot."""
        own = {"client_order_id": f"o{self.requests}", "instrument": REBAR, "side": side}
        own |= {"price": price, "quantity": tonnes(bundles)} | (
            {"lot": str(member)} if side == "sell" else {}
        )
        return self.ask(member, "new_order", **{k: v for k, v in (own | fields).items() if v is not None})

    def told(self, member: int, channel: str) -> list[dict[str, Any]]:
        """The pushes of a channel since the last call."""
        self.hear()
        found = [each for each in self.pushes[member] if each["channel"] == channel]
        self.pushes[member] = [each for each in self.pushes[member] if each["channel"] != channel]
        return found

    def assert_books_agree(self) -> None:
        """The goods of every lot, from settlement's entries and from the engine."""
        events = joined(self.seen)
        Continuity().check(events)
        batch = clear(events, Position(0, 0, CHAIN_START), 1, default_terms())
        kept = dict(zip(*(column.tolist() for column in batch.goods_deltas), strict=True))
        rows = self.exchange.answer(commands_of({"kind": Command.QUERY_LOTS, "account": -1})).view(LOT)[:-1]
        for row in rows:
            found = [kept.get(account(int(row["lot"]), kind), 0) for kind in (Goods.FREE, Goods.LISTED)]
            assert found == [row["free_kg"], row["listed_kg"]]


def tonnes(bundles: int) -> str:
    return f"{bundles * STEP_KG / 1000:.3f}"


def heard(outbox: Outbox) -> list[dict[str, Any]]:
    """The messages that a connection would have got in its next write."""
    data, found = outbox.take(), []
    while data:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        found.append(json.loads(data[start : start + length]))
        data = data[start + length :]
    return found


def codec_step(code: str) -> str:
    return f"{codec.INSTRUMENTS[codec.INSTRUMENT_NUMBERS[code]].step_kg / 1000:.3f}"


def codec_reference(code: str) -> str:
    return f"{codec.INSTRUMENTS[codec.INSTRUMENT_NUMBERS[code]].reference_fen_per_tonne / 100:.2f}"
