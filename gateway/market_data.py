"""Public market data: books, best prices, trades and auctions of the instruments that somebody watches.

Law: a delta's `previous_sequence` is the sequence of the snapshot or delta before it, and the CRC32 of the
top 10 after applying it is `checksum`; whoever sees both agree has the engine's book. What the engine shows
is the book: events do not say how much of an order is displayed, so a book that moved is asked for again, one
question per instrument under way, and the difference is the delta. Hidden kilograms are never in it.

    event of the instrument --> it moved --> QUERY_DEPTH --load--> book --> snapshot to newcomers, deltas
                     (again, when it moved meanwhile, after a pause: conflated, never behind for long)
"""

import zlib
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.records import EVENT, LEVEL, Records
from engine.vocabulary import Event, Flag, Mode
from gateway import codec, pushes
from gateway.notation import money_text, time_text, tonnes_text
from gateway.outbox import Outbox, Topic, text_frame

CHECKSUM_LEVELS: Final = 10
RECENT_TRADES_MAX: Final = 50  # of an instrument, repeated to newcomers
BUY, SELL = 0, 1

_ROW_FIELDS: Final = (
    "sequence", "time_ns", "kind", "side", "flags", "instrument", "match_id", "price_fen_per_tonne",
    "quantity_kg", "leaves_kg", "cum_kg",
)  # fmt: skip
market_rows: Final = codec.record_struct(EVENT, *_ROW_FIELDS).iter_unpack
_LEVEL_ROWS: Final = codec.record_struct(
    LEVEL, "sequence", "time_ns", "kind", "side", "price_fen_per_tonne", "quantity_kg", "orders"
).iter_unpack
_ACCEPTED, _TRADE, _LEVEL = int(Event.ACCEPTED), int(Event.TRADE), int(Event.LEVEL)
_BUSTED: Final = int(Event.TRADE_BUSTED)
_STANDING: Final = {int(Event.REJECTED), int(Event.INDICATIVE), _BUSTED}  # what moves no book
_AUCTIONS: Final = {int(Event.INDICATIVE): "indicative", int(Event.UNCROSSED): "uncrossed"}
_DUPLICATE, _IN_AUCTION = int(Flag.DUPLICATE), int(Flag.IN_AUCTION)

Row = tuple[Any, ...]
Levels = tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]  # by side: price -> (kg, orders)


class DepthBook:
    """Price levels of one instrument as the engine showed them, and what changed since the last delta."""

    def __init__(self, instrument: int) -> None:
        self.instrument = instrument
        self.sequence = 0
        self.time_ns = 0
        self._levels: Levels = ({}, {})
        self._prices: tuple[list[int], list[int]] = ([], [])  # rising
        self._changed: set[tuple[int, int]] = set()

    def show(self, levels: Levels, sequence: int, time_ns: int) -> None:
        """Become these levels, as of `sequence`; a crossed call book is not shown as depth (semantics E4)."""
        if codec.INSTRUMENTS[self.instrument].mode is Mode.BOOK and _is_crossed(levels):
            levels = ({}, {})
        for side in (BUY, SELL):
            for price in self._levels[side].keys() - levels[side].keys():
                self._put(side, price, None)
            for price, level in levels[side].items():
                if self._levels[side].get(price) != level:
                    self._put(side, price, level)
        self.sequence, self.time_ns = sequence, time_ns

    def _put(self, side: int, price: int, level: tuple[int, int] | None) -> None:
        if level is None:
            del self._levels[side][price]
            del self._prices[side][bisect_left(self._prices[side], price)]
        else:
            if price not in self._levels[side]:
                insort(self._prices[side], price)
            self._levels[side][price] = level
        self._changed.add((side, price))

    def levels(self, side: int, count: int | None = None) -> list[tuple[int, int, int]]:
        """(price, kilograms, orders), best first."""
        prices = self._prices[side]
        best_first = prices[::-1] if side == BUY else prices
        levels = self._levels[side]
        return [(price, *levels[price]) for price in best_first[:count]]

    def checksum(self) -> int:
        """CRC32 of the top 10 asks then bids, each as its digits of fen and of kilograms (PROTOCOL.md,
        Checksum)."""
        return checksum(self.levels(BUY, CHECKSUM_LEVELS), self.levels(SELL, CHECKSUM_LEVELS))

    def snapshot(self) -> pushes.Depth:
        """The whole book."""
        sides = [[_level(*each) for each in self.levels(side)] for side in (BUY, SELL)]
        return self._depth("snapshot", sides[BUY], sides[SELL])

    def delta(self, previous_sequence: int) -> pushes.Depth | None:
        """What changed since the last call, None when no level did."""
        if not self._changed:
            return None
        sides: tuple[list[pushes.Level], list[pushes.Level]] = ([], [])
        for side, price in sorted(self._changed):
            kg, orders = self._levels[side].get(price, (0, 0))
            sides[side].append(_level(price, kg, orders))
        self._changed.clear()
        depth = self._depth("delta", sides[BUY], sides[SELL])
        depth.previous_sequence = previous_sequence
        return depth

    def best(self) -> pushes.Bbo:
        """The best bid and the best ask."""
        bid, ask = ([*self.levels(side, 1), None][0] for side in (BUY, SELL))
        return pushes.Bbo(
            instrument=codec.INSTRUMENT_CODES[self.instrument],
            sequence=self.sequence,
            time=time_text(self.time_ns),
            time_ns=self.time_ns,
            bid=_level(*bid) if bid else None,
            ask=_level(*ask) if ask else None,
        )

    def _depth(self, kind: Any, bids: list[pushes.Level], asks: list[pushes.Level]) -> pushes.Depth:
        return pushes.Depth(
            type=kind,
            instrument=codec.INSTRUMENT_CODES[self.instrument],
            sequence=self.sequence,
            time=time_text(self.time_ns),
            time_ns=self.time_ns,
            bids=bids,
            asks=asks,
            checksum=self.checksum(),
        )


def _is_crossed(levels: Levels) -> bool:
    bids, asks = levels
    return bool(bids and asks) and max(bids) >= min(asks)


def checksum(bids: Iterable[tuple[int, ...]], asks: Iterable[tuple[int, ...]]) -> int:
    """CRC32 over the digits of price in fen and quantity in kilograms, asks rising then bids falling."""
    text = "".join(f"{each[0]}{each[1]}" for side in (asks, bids) for each in side)
    return zlib.crc32(text.encode("ascii"))


def _level(price: int, quantity_kg: int, orders: int) -> pushes.Level:
    return pushes.Level(money_text(price), tonnes_text(quantity_kg), orders)


class MarketData:
    """Who watches what, and the books of what is watched; `ask` brings a QUERY_DEPTH's answer to `load`."""

    def __init__(self, ask: Callable[[int], None]) -> None:
        self.watched: npt.NDArray[np.bool_] = np.zeros(
            len(codec.INSTRUMENTS) + 1, np.bool_
        )  # last: instrument -1
        self._ask = ask
        self._subscribers: dict[Topic, dict[int, Outbox]] = {}  # by id(outbox)
        self._books: dict[int, DepthBook] = {}
        self._asked: set[int] = set()  # a question is under way, or its pause
        self._outdated: set[int] = set()  # of these, asked before all left: what moved since was not heard
        self._moved: dict[int, int] = {}  # sequence of the last event that the book may not have
        self._published: dict[int, int] = {}  # sequence of the last snapshot state or delta
        self._best: dict[int, tuple[Any, Any]] = {}  # the best levels that were published last
        self._recent: dict[int, deque[pushes.PublicTrade]] = {}
        self._auctions: dict[int, pushes.Indicative] = {}

    @property
    def watching(self) -> bool:
        """Whether anybody watches anything."""
        return bool(self._subscribers)

    def subscribe(self, topic: Topic, outbox: Outbox) -> None:
        """Add a subscriber; it gets a snapshot now, or when the engine has said how the book stands."""
        instrument = topic[1]
        self._subscribers.setdefault(topic, {})[id(outbox)] = outbox
        self._watch()
        if self._needs_book(instrument) and instrument not in self._books:
            self._fetch(instrument)
        self.refresh(topic, outbox)

    def unsubscribe(self, topic: Topic, outbox: Outbox) -> None:
        """Remove a subscriber; the last one takes the book along."""
        channel, instrument = topic
        subscribers = self._subscribers.get(topic, {})
        subscribers.pop(id(outbox), None)
        outbox.stale.discard(topic)
        if not subscribers:
            self._subscribers.pop(topic, None)
            if not self._needs_book(instrument):
                self._drop(instrument)
            if channel == "trades":
                self._recent.pop(instrument, None)
            elif channel == "indicative":
                self._auctions.pop(instrument, None)
        self._watch()

    def leave(self, outbox: Outbox) -> None:
        """Remove a connection from everything."""
        for topic in [each for each, subscribers in self._subscribers.items() if id(outbox) in subscribers]:
            self.unsubscribe(topic, outbox)

    def clear(self) -> None:
        """The engine is gone: forget the books; what subscribers there were are gone too."""
        self._subscribers.clear()
        for instrument in [*self._books]:
            self._drop(instrument)
        self._asked.clear()
        self._outdated.clear()
        self._moved.clear()
        self._recent.clear()
        self._auctions.clear()
        self._watch()

    def load(self, instrument: int, answer: Records) -> None:
        """The LEVEL rows of a QUERY_DEPTH answer are the book now; greet with it, or publish what changed."""
        if not self._needs_book(instrument) or instrument in self._outdated:
            return  # nobody watches any more, or another one does: `ready` asks again
        levels: Levels = ({}, {})
        sequence, time_ns = 0, 0
        for row in _LEVEL_ROWS(codec.rows_of(answer)):
            sequence, time_ns, kind, side, price, quantity_kg, orders = row  # the last one is END's
            if kind == _LEVEL:
                levels[side][price] = (quantity_kg, orders)
        known = instrument in self._books
        book = self._books.setdefault(instrument, DepthBook(instrument))
        book.show(levels, sequence, time_ns)
        if self._moved.get(instrument, 0) <= sequence:
            self._moved.pop(instrument, None)
        if known:
            self._publish_delta(book)
            self._publish_best(book)
        else:
            book.delta(0)
            self._published[instrument] = sequence
            self._greet(("depth", instrument))
            self._publish_best(book)

    def abandon(self, instrument: int) -> None:
        """The answer to QUERY_DEPTH will not come: `ready` asks again."""
        self._moved.setdefault(instrument, 0)

    def ready(self, instrument: int) -> None:
        """The question was answered, or will not be, and its pause is over: ask again if the book moved, or
        was dropped with its last subscriber and a new one has come.
        """
        self._asked.discard(instrument)
        self._outdated.discard(instrument)
        stale = instrument in self._moved or instrument not in self._books
        if stale and self._needs_book(instrument):
            self._fetch(instrument)

    def apply(self, rows: bytes) -> None:
        """Events of watched instruments, in order: books move, subscribers hear of trades and auctions."""
        trades: dict[int, list[pushes.PublicTrade]] = {}
        for row in market_rows(rows):
            sequence, kind, instrument = row[0], row[2], row[5]
            if self._moves_book(row):
                self._moved[instrument] = sequence
            if kind == _TRADE and ("trades", instrument) in self._subscribers:
                trades.setdefault(instrument, []).append(_trade(row))
            elif kind == _BUSTED and ("trades", instrument) in self._subscribers:
                self._publish_trades(instrument, trades.pop(instrument, []))
                self._publish_bust(instrument, _trade(row))
            elif kind in _AUCTIONS and ("indicative", instrument) in self._subscribers:
                self._auctions[instrument] = auction = _auction(row)
                self._publish(("indicative", instrument), codec.encode(auction))
        for instrument in self._moved.keys() - self._asked:
            self._fetch(instrument)
        for instrument, batch in trades.items():
            self._publish_trades(instrument, batch)

    def refresh(self, topic: Topic, outbox: Outbox) -> None:
        """Send the topic's snapshot, if there is one yet."""
        channel, instrument = topic
        book = self._books.get(instrument)
        found: Any = None
        if channel == "trades":
            recent = list(self._recent.get(instrument, ()))
            code = codec.INSTRUMENT_CODES[instrument]
            found = pushes.Trades(type="snapshot", instrument=code, trades=recent)
        elif channel == "indicative":
            found = self._auctions.get(instrument)
        elif book is not None:
            found = book.best() if channel == "bbo" else self._snapshot(book)
        if found is not None:
            outbox.publish(text_frame(codec.encode(found)), topic)

    def refresh_stale(self, outbox: Outbox) -> None:
        """Start the topics again that a peer was too slow for, once it has caught up."""
        while outbox.stale and outbox.caught_up:
            topic = outbox.stale.pop()
            self.refresh(topic, outbox)

    def _moves_book(self, row: Row) -> bool:
        _, _, kind, _, flags, instrument, _, _, _, leaves_kg, _ = row
        if kind in _STANDING or not self._needs_book(instrument):
            return False
        return kind != _ACCEPTED or (leaves_kg > 0 and not flags & _DUPLICATE)

    def _needs_book(self, instrument: int) -> bool:
        return ("depth", instrument) in self._subscribers or ("bbo", instrument) in self._subscribers

    def _fetch(self, instrument: int) -> None:
        if instrument not in self._asked:
            self._asked.add(instrument)
            self._ask(instrument)

    def _snapshot(self, book: DepthBook) -> pushes.Depth:
        snapshot = book.snapshot()
        snapshot.sequence = self._published[book.instrument]
        return snapshot

    def _publish_delta(self, book: DepthBook) -> None:
        delta = book.delta(self._published[book.instrument])
        if delta is not None:
            self._published[book.instrument] = book.sequence
            self._publish(("depth", book.instrument), codec.encode(delta))

    def _publish_best(self, book: DepthBook) -> None:
        best = book.best()
        if self._best.get(book.instrument) != (best.bid, best.ask):
            self._best[book.instrument] = (best.bid, best.ask)
            self._publish(("bbo", book.instrument), codec.encode(best))

    def _publish_bust(self, instrument: int, bust: pushes.PublicTrade) -> None:
        """A trade is reversed: it is no trade of the instrument any more, newcomers never hear of it (E8)."""
        recent = self._recent.get(instrument, deque())
        for trade in [each for each in recent if each.match_id == bust.match_id]:
            bust.side, bust.auction = trade.side, trade.auction  # the event does not say
            recent.remove(trade)
        code = codec.INSTRUMENT_CODES[instrument]
        payload = codec.encode(pushes.Trades(type="busted", instrument=code, trades=[bust]))
        self._publish(("trades", instrument), payload)

    def _publish_trades(self, instrument: int, batch: list[pushes.PublicTrade]) -> None:
        if not batch:
            return
        self._recent.setdefault(instrument, deque(maxlen=RECENT_TRADES_MAX)).extend(batch)
        update = pushes.Trades(type="update", instrument=codec.INSTRUMENT_CODES[instrument], trades=batch)
        self._publish(("trades", instrument), codec.encode(update))

    def _publish(self, topic: Topic, payload: bytes) -> None:
        frame = text_frame(payload)
        for outbox in self._subscribers.get(topic, {}).values():
            outbox.publish(frame, topic)

    def _greet(self, topic: Topic) -> None:
        for outbox in self._subscribers.get(topic, {}).values():
            self.refresh(topic, outbox)

    def _drop(self, instrument: int) -> None:
        if instrument in self._asked:
            self._outdated.add(instrument)
        self._books.pop(instrument, None)
        self._moved.pop(instrument, None)
        self._published.pop(instrument, None)
        self._best.pop(instrument, None)

    def _watch(self) -> None:
        self.watched[:] = False
        for _, instrument in self._subscribers:
            self.watched[instrument] = True


def _trade(row: Row) -> pushes.PublicTrade:
    sequence, time_ns, _, side, flags, _, match_id, price, quantity_kg, _, _ = row
    return pushes.PublicTrade(
        match_id=str(match_id),
        price=money_text(price),
        quantity=tonnes_text(quantity_kg),
        side=codec.SIDES[side],
        auction=flags & _IN_AUCTION != 0,
        sequence=sequence,
        time=time_text(time_ns),
        time_ns=time_ns,
    )


def _auction(row: Row) -> pushes.Indicative:
    sequence, time_ns, kind, side, _, instrument, _, price, volume_kg, surplus_kg, reference = row
    return pushes.Indicative(
        type=_AUCTIONS[kind],  # type: ignore[arg-type]
        instrument=codec.INSTRUMENT_CODES[instrument],
        price=money_text(price) if price else None,
        quantity=tonnes_text(volume_kg),
        surplus=tonnes_text(surplus_kg),
        surplus_side=codec.SIDES[side] if surplus_kg else None,
        reference=money_text(reference),
        sequence=sequence,
        time=time_text(time_ns),
        time_ns=time_ns,
    )
