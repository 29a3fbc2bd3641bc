"""The book is a replay of the events; snapshots and deltas give every subscriber the same one, and prove
it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.vocabulary import Event, Flag, Reason, Side
from gateway.client.book import Book
from gateway.codec import rows_of
from gateway.market_data import BUY, SELL, MarketData, checksum
from gateway.outbox import OUTBOX_PUBLIC_BYTES_MAX, Outbox
from tests.gateway.fake_engine import events_of
from tests.gateway.real_core import heard

DEPTH, TRADES = ("depth", 0), ("trades", 0)


class Subscriber:
    """An outbox whose frames are read back, and a client's book made of them."""

    def __init__(self) -> None:
        self.unsent = 0
        self.outbox = Outbox(lambda _: None, lambda: self.unsent)
        self.book = Book()

    def read(self) -> list[dict[str, Any]]:
        return heard(self.outbox)

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


class Market:
    """Market data whose questions are noted, and answered when a test says so."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.data = MarketData(self.asked.append)

    def happen(self, *rows: dict[str, Any]) -> None:
        self.data.apply(rows_of(events_of(*rows)))

    def answer(self, sequence: int, *levels: dict[str, Any]) -> None:
        """The engine answers the question under way, and the pause behind it passes."""
        instrument = self.asked.pop(0)
        self.data.load(instrument, end(sequence, *levels))
        self.data.ready(instrument)


def watched(*levels: dict[str, Any], sequence: int = 0) -> tuple[Market, Subscriber]:
    market, subscriber = Market(), Subscriber()
    market.data.subscribe(DEPTH, subscriber.outbox)
    market.answer(sequence, *levels)
    subscriber.follow()
    return market, subscriber


def test_a_delta_follows_its_snapshot_and_carries_the_changed_levels_only() -> None:
    far = level(Side.SELL, 234_000, 2501)
    market, subscriber = watched(level(Side.SELL, 233_000, 2501), far, sequence=7)

    market.happen(rested(8, Side.SELL, 233_000, 5002))
    market.answer(8, level(Side.SELL, 233_000, 7503, 2), far)

    (delta,) = subscriber.read()
    assert (delta["previous_sequence"], delta["sequence"]) == (7, 8)
    assert (delta["bids"], delta["asks"]) == ([], [["2330.00", "7.503", 2]])


def test_hidden_kilograms_of_an_accepted_order_are_not_shown() -> None:
    market, subscriber = watched()

    market.happen(rested(1, Side.SELL, 233_000, 25_010))
    market.answer(1, level(Side.SELL, 233_000, 2501))

    (delta,) = subscriber.read()
    assert delta["asks"] == [["2330.00", "2.501", 1]]


@pytest.mark.parametrize(
    "kind",
    [
        Event.TRADE, Event.CANCELED, Event.REPLACED, Event.TRIGGERED, Event.PREVENTED, Event.REFRESHED,
        Event.UNCROSSED, Event.PHASE_CHANGED, Event.REFERENCE_SET,
    ],
)  # fmt: skip
def test_whatever_may_move_the_book_asks_for_it_again(kind: Event) -> None:
    market, _ = watched()

    market.happen(event(1, kind, Side.BUY, 230_000, 2501))

    assert market.asked == [0]


def test_what_never_rested_asks_nothing() -> None:
    market, subscriber = watched(level(Side.BUY, 230_000, 2501))

    market.happen(
        event(1, Event.ACCEPTED, Side.BUY, 230_000, 2501),
        rested(2, Side.BUY, 230_000, 2501, flags=Flag.DUPLICATE),
        event(3, Event.REJECTED, Side.BUY, 230_000, 2501, reason=Reason.INSUFFICIENT_FUNDS),
        event(4, Event.INDICATIVE, Side.BUY, 230_000, 2501),
    )

    assert (market.asked, subscriber.read()) == ([], [])


def test_one_question_is_under_way_and_a_book_that_moved_meanwhile_is_asked_for_again() -> None:
    market, subscriber = watched()
    market.happen(rested(1, Side.BUY, 230_000, 2501))
    market.happen(rested(2, Side.BUY, 230_000, 2501))
    assert market.asked == [0]

    market.answer(1, level(Side.BUY, 230_000, 2501))
    assert market.asked == [0]
    market.answer(2, level(Side.BUY, 230_000, 5002, 2))

    assert market.asked == []
    assert [each["sequence"] for each in subscriber.read()] == [1, 2]


def test_an_answer_that_failed_is_asked_for_again() -> None:
    market, subscriber = Market(), Subscriber()
    market.data.subscribe(DEPTH, subscriber.outbox)

    market.data.abandon(market.asked.pop())
    market.data.ready(0)
    market.answer(3, level(Side.BUY, 230_000, 2501))

    assert [each["type"] for each in subscriber.read()] == ["snapshot"]


def test_a_crossed_call_book_is_not_shown_as_depth() -> None:
    market, subscriber = watched(level(Side.BUY, 230_000, 2501))

    market.happen(rested(1, Side.SELL, 229_000, 2501))
    market.answer(1, level(Side.BUY, 230_000, 2501), level(Side.SELL, 229_000, 2501))

    (delta,) = subscriber.read()
    assert (delta["bids"], delta["asks"]) == ([["2300.00", "0.000", 0]], [])


@given(
    st.lists(
        st.dictionaries(st.tuples(st.sampled_from(Side), st.integers(0, 25)), st.integers(1, 9), max_size=12),
        max_size=20,
    ),
    st.integers(0, 20),
)
def test_every_subscriber_has_the_book_that_the_engine_shows(books: list[Any], joins_at: int) -> None:
    market, early = watched()
    late, shown = Subscriber(), []

    for sequence, book in enumerate(books, 1):
        if sequence == joins_at:
            market.data.subscribe(DEPTH, late.outbox)
        price = {Side.BUY: 220_000, Side.SELL: 233_000}
        shown = [level(side, price[side] + 100 * at, 2501 * n) for (side, at), n in book.items()]
        market.happen(event(sequence, Event.REPLACED, Side.BUY, 230_000, 2501))
        market.answer(sequence, *shown)

    early.follow()
    late.follow()
    for side, name in ((BUY, "bids"), (SELL, "asks")):
        made = {int(price * 100): int(tonnes * 1000) for price, tonnes in early.book.levels(name)}
        expected = {
            each["price_fen_per_tonne"]: each["quantity_kg"] for each in shown if each["side"] == side
        }
        assert made == expected
        if 0 < joins_at <= len(books):
            assert late.book.levels(name) == early.book.levels(name)


def test_the_best_prices_come_when_they_change_and_only_then() -> None:
    market, subscriber = Market(), Subscriber()
    market.data.subscribe(("bbo", 0), subscriber.outbox)
    bid, ask = level(Side.BUY, 230_000, 2501), level(Side.SELL, 233_000, 2501)
    market.answer(1, bid)

    for sequence, levels in ((2, (bid, ask)), (3, (bid, ask, level(Side.SELL, 234_000, 2501))), (4, (ask,))):
        market.happen(event(sequence, Event.REPLACED, Side.SELL, 233_000, 2501))
        market.answer(sequence, *levels)

    low, high = ["2300.00", "2.501", 1], ["2330.00", "2.501", 1]
    found = [(each["sequence"], each["bid"], each["ask"]) for each in subscriber.read()]
    assert found == [(1, low, None), (2, low, high), (4, None, high)]


def test_the_indicative_price_is_told_as_it_changes_and_to_newcomers() -> None:
    market, early, late = Market(), Subscriber(), Subscriber()
    market.data.subscribe(("indicative", 0), early.outbox)
    auction = {"leaves_kg": 100, "cum_kg": 229_000}

    market.happen(event(5, Event.INDICATIVE, Side.SELL, 230_000, 700, **auction))
    market.happen(event(6, Event.UNCROSSED, Side.BUY, 0, 0, cum_kg=229_000))
    market.data.subscribe(("indicative", 0), late.outbox)

    names = ("type", "price", "quantity", "surplus", "surplus_side", "reference", "sequence")
    told = [tuple(each[name] for name in names) for each in early.read()]
    nothing = ("uncrossed", None, "0.000", "0.000", None, "2290.00", 6)
    assert told == [("indicative", "2300.00", "0.700", "0.100", "sell", "2290.00", 5), nothing]
    assert [tuple(each[name] for name in names) for each in late.read()] == [nothing]
    assert market.asked == []


def test_the_checksum_is_the_one_that_the_protocol_prints() -> None:
    bids, asks = [(226_000, 29_880), (225_900, 2490)], [(226_100, 4980)]

    assert checksum(bids, asks) == 3361492278


def test_a_peer_that_is_behind_gets_a_fresh_snapshot_when_it_has_caught_up() -> None:
    market, subscriber = watched()
    subscriber.unsent = OUTBOX_PUBLIC_BYTES_MAX + 1
    market.happen(rested(1, Side.BUY, 230_000, 2501))
    market.answer(1, level(Side.BUY, 230_000, 2501))
    market.data.refresh_stale(subscriber.outbox)
    assert subscriber.read() == []

    subscriber.unsent = 0
    market.data.refresh_stale(subscriber.outbox)
    market.happen(rested(2, Side.BUY, 230_000, 2501))
    market.answer(2, level(Side.BUY, 230_000, 5002, 2))

    messages = subscriber.read()
    assert [each["type"] for each in messages] == ["snapshot", "delta"]
    assert all(subscriber.book.apply(each) for each in messages)


def test_trades_come_as_they_happen_and_are_repeated_to_newcomers() -> None:
    market, early, late = Market(), Subscriber(), Subscriber()
    market.data.subscribe(TRADES, early.outbox)
    trade = event(3, Event.TRADE, Side.BUY, 233_000, 2501, match_id=12, time_ns=1436317200000000000)

    market.happen(trade)
    market.data.subscribe(TRADES, late.outbox)

    assert [(each["type"], len(each["trades"])) for each in early.read()] == [("snapshot", 0), ("update", 1)]
    (snapshot,) = late.read()
    assert snapshot["trades"] == [
        {
            "match_id": "12", "price": "2330.00", "quantity": "2.501", "side": "buy", "auction": False,
            "sequence": 3,
            "time": "2015-07-08T01:00:00.000000Z", "time_ns": 1436317200000000000,
        }
    ]  # fmt: skip


def test_answer_that_somebody_asked_for_who_has_left_is_not_shown_to_the_next() -> None:
    market, leaver = watched(sequence=7)
    market.happen(rested(8, Side.SELL, 233_000, 5002))
    asked_at_8 = level(Side.SELL, 233_000, 5002)
    market.data.leave(leaver.outbox)
    market.happen(event(9, Event.CANCELED, Side.SELL, 233_000, 5002))  # nobody watches

    comer = Subscriber()
    market.data.subscribe(DEPTH, comer.outbox)
    market.answer(8, asked_at_8)
    shown_too_early = comer.read()
    market.answer(9)

    assert shown_too_early == []
    (snapshot,) = comer.read()
    assert (snapshot["type"], snapshot["sequence"], snapshot["asks"]) == ("snapshot", 9, [])


def test_the_last_to_leave_takes_the_book_along() -> None:
    market, subscriber = watched()

    market.data.leave(subscriber.outbox)

    assert not market.data.watching
    assert not market.data.watched.any()
    market.data.subscribe(DEPTH, subscriber.outbox)
    assert market.asked == [0], "the book must be fetched again"


def test_who_comes_when_the_last_has_just_left_gets_the_book_after_the_pause() -> None:
    market, newcomer = Market(), Subscriber()
    leaving = Subscriber()
    market.data.subscribe(DEPTH, leaving.outbox)
    market.data.load(market.asked.pop(), end(3))

    market.data.leave(leaving.outbox)
    market.data.subscribe(DEPTH, newcomer.outbox)
    market.data.ready(0)
    market.answer(3, level(Side.BUY, 230_000, 2501))

    assert [each["type"] for each in newcomer.read()] == ["snapshot"]
