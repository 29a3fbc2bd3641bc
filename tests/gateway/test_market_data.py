"""The book is a replay of the events; snapshots and deltas give every subscriber the same one, and prove
it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.vocabulary import Event, Flag, Reason, Side
from gateway.client.book import Book
from gateway.codec import rows_of
from gateway.market_data import BUY, SELL, MarketData, checksum
from gateway.outbox import OUTBOX_PUBLIC_BYTES_MAX, Outbox
from tests.gateway.conftest import decoded
from tests.gateway.fake_engine import events_of

DEPTH, TRADES = ("depth", 0), ("trades", 0)


class Subscriber:
    """An outbox whose frames are read back, and a client's book made of them."""

    def __init__(self) -> None:
        self.unsent = 0
        self.outbox = Outbox(lambda _: None, lambda: self.unsent)
        self.book = Book()

    def read(self) -> list[dict[str, Any]]:
        data, messages = self.outbox.take(), []
        while data:
            length, start = data[1] & 0x7F, 2
            if length == 126:
                length, start = int.from_bytes(data[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(data[2:10], "big"), 10
            messages.append(decoded(data[start : start + length]))
            data = data[start + length :]
        return messages

    def follow(self) -> None:
        for message in self.read():
            assert self.book.apply(message), message


def end(sequence: int, *levels: dict[str, Any]) -> Any:
    rows = [{"kind": Event.LEVEL, "instrument": 0} | level for level in levels]
    return events_of(*rows, {"kind": Event.END, "sequence": sequence, "time_ns": 1})


def level(side: Side, price: int, kg: int, orders: int = 1) -> dict[str, Any]:
    return {"side": side, "price_fen_per_tonne": price, "quantity_kg": kg, "orders": orders}


def event(sequence: int, kind: Event, side: Side, price: int, kg: int, **more: Any) -> dict[str, Any]:
    row = {"sequence": sequence, "kind": kind, "side": side, "price_fen_per_tonne": price, "quantity_kg": kg}
    return row | {"instrument": 0, "account": 1} | more


def rested(sequence: int, side: Side, price: int, kg: int, **more: Any) -> dict[str, Any]:
    return event(sequence, Event.ACCEPTED, side, price, kg, leaves_kg=kg, **more)


def watched(*levels: dict[str, Any], sequence: int = 0) -> tuple[MarketData, Subscriber]:
    market, subscriber = MarketData(), Subscriber()
    assert market.subscribe(DEPTH, subscriber.outbox)
    market.load(0, end(sequence, *levels))
    subscriber.follow()
    return market, subscriber


def test_a_delta_follows_its_snapshot_and_carries_the_changed_levels_only() -> None:
    market, subscriber = watched(level(Side.SELL, 233_000, 2501), level(Side.SELL, 234_000, 2501), sequence=7)

    market.apply(rows_of(events_of(rested(8, Side.SELL, 233_000, 5002))))

    (delta,) = subscriber.read()
    assert (delta["previous_sequence"], delta["sequence"]) == (7, 8)
    assert (delta["bids"], delta["asks"]) == ([], [["2330.00", "7.503", 2]])


def test_events_of_the_snapshot_are_not_applied_twice() -> None:
    market, subscriber = MarketData(), Subscriber()
    market.subscribe(DEPTH, subscriber.outbox)
    for sequence in (4, 5, 6):  # held back: 5 is in the answer already, 6 is not
        market.apply(rows_of(events_of(rested(sequence, Side.BUY, 230_000, 2501))))

    market.load(0, end(5, level(Side.BUY, 230_000, 5002, 2)))
    market.apply(rows_of(events_of(rested(7, Side.BUY, 230_000, 2501))))
    subscriber.follow()

    assert [str(each) for each in subscriber.book.levels("bids")[0]] == ["2300.00", "10.004"]


def test_remainders_and_repeats_that_never_rested_leave_the_book_alone() -> None:
    market, subscriber = watched(level(Side.BUY, 230_000, 2501))

    market.apply(
        rows_of(
            events_of(
                event(1, Event.ACCEPTED, Side.BUY, 230_000, 2501),
                event(1, Event.CANCELED, Side.BUY, 230_000, 2501, reason=Reason.IOC_REMAINDER),
                rested(2, Side.BUY, 230_000, 2501, flags=Flag.DUPLICATE),
                event(3, Event.REJECTED, Side.BUY, 230_000, 2501, reason=Reason.INSUFFICIENT_FUNDS),
            )
        )
    )

    assert subscriber.read() == []


def test_a_trade_takes_from_the_resting_side_and_a_cancel_from_its_own() -> None:
    market, subscriber = watched(level(Side.SELL, 233_000, 5002, 2), level(Side.BUY, 230_000, 2501))

    market.apply(
        rows_of(
            events_of(
                event(1, Event.TRADE, Side.BUY, 233_000, 2501, counter_leaves_kg=0),
                event(2, Event.CANCELED, Side.BUY, 230_000, 2501, reason=Reason.CANCELED_BY_OWNER),
            )
        )
    )

    (delta,) = subscriber.read()
    assert (delta["asks"], delta["bids"]) == ([["2330.00", "2.501", 1]], [["2300.00", "0.000", 0]])


@given(
    st.lists(
        st.tuples(st.sampled_from(Side), st.integers(0, 25), st.integers(1, 9), st.booleans()), max_size=60
    ),
    st.integers(0, 60),
)
def test_every_subscriber_has_the_book_that_the_events_make(steps: list[Any], joins_at: int) -> None:
    market, early = watched()
    late = Subscriber()
    truth: dict[tuple[int, int], list[int]] = {}

    for sequence, (side, offset, bundles, adds) in enumerate(steps, 1):
        if sequence == joins_at:
            market.subscribe(DEPTH, late.outbox)
        price, kg = 230_000 + 100 * offset, 2501 * bundles
        orders = truth.setdefault((side, price), [])
        if adds or not orders:
            orders.append(kg)
            row = rested(sequence, side, price, kg)
        else:
            row = event(sequence, Event.CANCELED, side, price, orders.pop(), reason=Reason.CANCELED_BY_OWNER)
        market.apply(rows_of(events_of(row)))

    early.follow()
    late.follow()
    for side, name in ((BUY, "bids"), (SELL, "asks")):
        made = {int(price * 100): int(tonnes * 1000) for price, tonnes in early.book.levels(name)}
        assert made == {price: sum(kg) for (each, price), kg in truth.items() if each == side and kg}
        if 0 < joins_at <= len(steps):
            assert late.book.levels(name) == early.book.levels(name)


def test_the_checksum_is_the_one_that_the_protocol_prints() -> None:
    bids, asks = [(226_000, 29_880), (225_900, 2490)], [(226_100, 4980)]

    assert checksum(bids, asks) == 3361492278


def test_a_peer_that_is_behind_gets_a_fresh_snapshot_when_it_has_caught_up() -> None:
    market, subscriber = watched()
    subscriber.unsent = OUTBOX_PUBLIC_BYTES_MAX + 1
    market.apply(rows_of(events_of(rested(1, Side.BUY, 230_000, 2501))))
    market.refresh_stale(subscriber.outbox)
    assert subscriber.read() == []

    subscriber.unsent = 0
    market.refresh_stale(subscriber.outbox)
    market.apply(rows_of(events_of(rested(2, Side.BUY, 230_000, 2501))))

    messages = subscriber.read()
    assert [each["type"] for each in messages] == ["snapshot", "delta"]
    assert all(subscriber.book.apply(each) for each in messages)


def test_trades_come_as_they_happen_and_are_repeated_to_newcomers() -> None:
    market, early, late = MarketData(), Subscriber(), Subscriber()
    market.subscribe(TRADES, early.outbox)
    trade = event(3, Event.TRADE, Side.BUY, 233_000, 2501, match_id=12, time_ns=1436317200000000000)

    market.apply(rows_of(events_of(trade)))
    market.subscribe(TRADES, late.outbox)

    assert [(each["type"], len(each["trades"])) for each in early.read()] == [("snapshot", 0), ("update", 1)]
    (snapshot,) = late.read()
    assert snapshot["trades"] == [
        {
            "match_id": "12", "price": "2330.00", "quantity": "2.501", "side": "buy", "sequence": 3,
            "time": "2015-07-08T01:00:00.000000Z", "time_ns": 1436317200000000000,
        }
    ]  # fmt: skip


def test_the_last_to_leave_takes_the_book_along() -> None:
    market, subscriber = watched()

    market.leave(subscriber.outbox)

    assert not market.watching
    assert not market.watched.any()
    assert market.subscribe(DEPTH, subscriber.outbox), "the book must be fetched again"
