"""Sessions with the real core behind them and no socket: what is typed, what the core does, what is told."""

import json
from typing import Any

import pytest

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
from tests.gateway.conftest import decoded

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
            self.pushes[each] += heard(self.sessions[each])

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


def heard(session: Session) -> list[dict[str, Any]]:
    data, found = session.outbox.take(), []
    while data:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        found.append(decoded(data[start : start + length]))
        data = data[start + length :]
    return found


@pytest.fixture
def house() -> House:
    return House()


def test_an_iceberg_shows_a_slice_and_its_owner_hears_of_each(house: House) -> None:
    house.ask(TRADER, "subscribe", channel="depth", instruments=[REBAR])
    house.told(TRADER, "depth")
    house.order(MILL, "sell", "2330.00", 4, display_quantity=tonnes(1))

    house.order(TRADER, "buy", "2330.00", 2)

    shown = [each["asks"] for each in house.told(TRADER, "depth")]
    assert shown == [[["2330.00", "2.501", 1]]], "the trade took two slices and a third is shown"
    changes = [(each.get("change"), each["leaves"]) for each in house.told(MILL, "private")]
    left = [tonnes(4), tonnes(3), tonnes(3), tonnes(2), tonnes(2)]
    assert changes == list(zip(["accepted", None, "refreshed", None, "refreshed"], left, strict=True))
    house.assert_books_agree()


def test_a_stop_waits_triggers_and_tells(house: House) -> None:
    house.order(MILL, "sell", "2331.00", 5)
    waiting = house.order(TRADER, "buy", "2340.00", 2, type="stop_limit", stop_price="2331.00")
    assert (waiting["ok"], waiting["leaves"]) == (True, tonnes(2))

    house.order(SISTER, "buy", "2331.00", 1, self_trade_mode="allow")

    events = house.told(TRADER, "private")
    assert [each.get("change", each["event"]) for each in events] == ["accepted", "triggered", "fill"]
    assert (events[0]["type"], events[1]["status"]) == ("stop_limit", "new")
    house.assert_books_agree()


def test_a_replacement_says_what_became_of_the_order(house: House) -> None:
    placed = house.order(MILL, "sell", "2330.00", 5)
    name = {"order_id": placed["order_id"]}

    smaller = house.ask(MILL, "replace_order", **name, quantity=tonnes(3))
    dearer = house.ask(MILL, "replace_order", **name, price="2332.00", leaves=tonnes(4))
    gone = house.ask(MILL, "replace_order", **name, quantity="0")

    assert [(each["kept_place"], each["version"], each["leaves"]) for each in (smaller, dearer)] == [
        (True, 2, tonnes(3)), (False, 3, tonnes(4)),
    ]  # fmt: skip
    assert (gone["ok"], gone["canceled"]) == (True, tonnes(4))
    assert [each["change"] for each in house.told(MILL, "private")] == [
        "accepted", "replaced", "replaced", "canceled",
    ]  # fmt: skip
    house.assert_books_agree()


def test_a_prevention_is_told_to_both(house: House) -> None:
    house.order(MILL, "sell", "2330.00", 5)
    taken = house.order(SISTER, "buy", "2330.00", 2, self_trade_mode="decrement")

    (sister,) = [each for each in house.told(SISTER, "private") if each["event"] == "prevented"]
    (mill,) = [each for each in house.told(MILL, "private") if each["event"] == "prevented"]

    assert (taken["cum"], taken["leaves"]) == ("0.000", "0.000")
    assert (sister["side"], sister["leaves"], sister["lot"]) == ("buy", "0.000", "")
    assert (mill["side"], mill["leaves"], mill["lot"]) == ("sell", tonnes(3), str(MILL))
    assert sister["counter_order_id"] == mill["order_id"]
    house.assert_books_agree()


def test_a_mass_cancel_answers_with_its_count(house: House) -> None:
    for side in ("sell", "sell", "buy"):
        house.order(MILL, side, "2330.00" if side == "sell" else "2300.00", 1)

    sells = house.ask(MILL, "mass_cancel", side="sell")
    rest = house.ask(MILL, "mass_cancel", instrument=REBAR)

    assert (sells["canceled"], rest["canceled"]) == (2, 1)
    house.assert_books_agree()


def test_an_auction_is_indicated_and_uncrossed_and_its_crossed_book_is_not_shown(house: House) -> None:
    house.ask(0, "set_phase", phase="auction", instrument=REBAR)
    for channel in ("depth", "indicative", "trades", "bbo"):
        house.ask(TRADER, "subscribe", channel=channel, instruments=[REBAR])
    house.order(MILL, "sell", "2329.00", 2)
    house.order(TRADER, "buy", "2331.00", 3)

    house.ask(0, "set_phase", phase="continuous", instrument=REBAR)

    told = [(each["type"], each["price"], each["quantity"]) for each in house.told(TRADER, "indicative")]
    assert told[-1][0] == "uncrossed"
    assert told[-2:] == [("indicative", *told[-1][1:]), told[-1]]
    depth = house.told(TRADER, "depth")
    assert [each["asks"] for each in depth[:2]] == [[["2329.00", "5.002", 1]], [["2329.00", "0.000", 0]]]
    assert depth[-1]["bids"] == [["2331.00", "2.501", 1]]
    assert house.told(TRADER, "bbo")[-1]["bid"] == ["2331.00", "2.501", 1]
    (trade,) = house.told(TRADER, "trades")[-1]["trades"]
    assert (trade["auction"], trade["quantity"]) == (True, "5.002")
    fills = [each for each in house.told(TRADER, "private") if each["event"] == "fill"]
    assert [each["role"] for each in fills] == ["auction"]
    house.assert_books_agree()


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "market_to_limit", "price": None}, "no_liquidity", "$.instrument"),
    ({"time_in_force": "at_open"}, "auction_phase_only", "$.time_in_force"),
    ({"display_quantity": "1.000"}, "invalid_display_quantity", "$.display_quantity"),
    ({"min_quantity": tonnes(1)}, "invalid_minimum_quantity", "$.min_quantity"),
    ({"type": "stop", "price": None}, "invalid_stop_price", "$.stop_price"),
    ({"stop_price": "2330.00"}, "invalid_stop_price", "$.stop_price"),
    ({"time_in_force": "gtd"}, "invalid_expiry", "$.expire_at"),
    ({"expire_at": "2015-07-10T15:00:00+08:00"}, "invalid_expiry", "$.expire_at"),
    ({"price": "2330.50"}, "price_off_tick", "$.price"),
    ({"price": "9000.00"}, "price_exceeds_band", "$.price"),
    ({"quantity": "1.000"}, "quantity_off_step", "$.quantity"),
    ({"quantity": "0.000"}, "quantity_below_minimum", "$.quantity"),
    ({"quantity": tonnes(10_000)}, "exceeds_limit", "$.quantity"),
    ({"side": "sell", "lot": ""}, "unknown_lot", "$.lot"),
    ({"side": "sell", "lot": str(MILL)}, "unknown_lot", "$.lot"),
    ({"side": "sell", "lot": str(TRADER), "instrument": "RB14-9-SG", "quantity": "5.000"},
     "lot_of_other_instrument", "$.lot"),
    ({"side": "sell", "lot": str(TRADER), "quantity": tonnes(1001)}, "insufficient_goods", "$.quantity"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "code", "path"), REFUSED)
def test_the_core_refuses_an_order_and_the_field_is_named(
    house: House, changed: dict[str, Any], code: str, path: str
) -> None:
    if changed.get("instrument") == "RB14-9-SG":
        changed = changed | {"quantity": codec_step("RB14-9-SG"), "price": codec_reference("RB14-9-SG")}

    terms: dict[str, Any] = {"side": "buy", "price": "2330.00", "bundles": 2} | changed
    answer = house.order(TRADER, **terms)

    assert (answer["ok"], answer["error"]["code"], answer["error"]["path"]) == (False, code, path)
    house.exchange.check_invariants()


def codec_step(code: str) -> str:
    return f"{codec.INSTRUMENTS[codec.INSTRUMENT_NUMBERS[code]].step_kg / 1000:.3f}"


def codec_reference(code: str) -> str:
    return f"{codec.INSTRUMENTS[codec.INSTRUMENT_NUMBERS[code]].reference_fen_per_tonne / 100:.2f}"


def test_the_state_of_the_market_refuses_and_says_so(house: House) -> None:
    first = house.order(MILL, "sell", "2330.00", 2)
    codes = [
        house.order(TRADER, "buy", "2330.00", 1, post_only=True),
        house.order(POOR, "buy", "2330.00", 1),
        house.ask(TRADER, "cancel_order", order_id=first["order_id"]),
        house.ask(TRADER, "replace_order", order_id=first["order_id"], price="2331.00"),
        house.ask(TRADER, "pick", client_order_id="p", order_id=first["order_id"], quantity="1", version=1),
    ]
    for phase in ("no_cancel", "halted", "closed"):
        house.ask(0, "set_phase", phase=phase, instrument=REBAR)
        codes.append(house.order(TRADER, "buy", "2330.00", 1))
    house.ask(0, "set_phase", phase="auction", instrument=REBAR)
    codes.append(house.order(TRADER, "buy", "2330.00", 1, time_in_force="fok"))
    house.ask(0, "set_phase", phase="continuous", instrument=REBAR)
    codes.append(house.ask(MILL, "cancel_order", order_id=first["order_id"]))

    assert [(each["error"]["code"], each["error"]["path"]) for each in codes] == [
        ("post_only_would_trade", "$.price"), ("insufficient_funds", "$.quantity"),
        ("unknown_order", "$.order_id"), ("unknown_order", "$.order_id"), ("not_listed", "$.order_id"),
        ("no_cancel_phase", "$.instrument"), ("instrument_halted", "$.instrument"),
        ("instrument_closed", "$.instrument"), ("continuous_phase_only", "$.instrument"),
        ("unknown_order", "$.order_id"),
    ]  # fmt: skip


def test_a_fill_or_kill_that_cannot_be_filled_ends_with_its_reason(house: House) -> None:
    answer = house.order(TRADER, "buy", "2330.00", 1, time_in_force="fok")

    assert (answer["ok"], answer["cum"]) == (True, "0.000")
    events = house.told(TRADER, "private")
    assert [(each["change"], each["reason"]) for each in events] == [
        ("accepted", ""), ("canceled", "not_feasible"),
    ]  # fmt: skip
