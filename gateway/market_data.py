"""Public market data: depth books and trades of the instruments that somebody watches.

Law: a delta's `previous_sequence` is the sequence of the snapshot or delta before it, and the CRC32 of the
top 10 after applying it is `checksum`; whoever sees both agree has the engine's book. One delta per
instrument and event batch.

    QUERY_DEPTH at sequence S --load--> book  <--apply-- events after S (held back while the answer is under
    way)
                                        book  --> snapshot to newcomers, deltas to subscribers
"""

import zlib
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.records import EVENT, LEVEL, Records
from engine.vocabulary import Event, Flag, Reason
from gateway import codec, pushes
from gateway.notation import money_text, time_text, tonnes_text
from gateway.outbox import Outbox, Topic, text_frame

CHECKSUM_LEVELS: Final = 10
RECENT_TRADES_MAX: Final = 50  # of an instrument, repeated to newcomers
HELD_EVENTS_MAX: Final = 100_000  # of an instrument while its snapshot is under way
BUY, SELL = 0, 1

_ROW_FIELDS: Final = (
    "sequence", "time_ns", "kind", "side", "flags", "reason", "instrument", "match_id", "price_fen_per_tonne",
    "quantity_kg", "leaves_kg", "counter_leaves_kg",
)  # fmt: skip
market_rows: Final = codec.record_struct(EVENT, *_ROW_FIELDS).iter_unpack
_LEVEL_ROWS: Final = codec.record_struct(
    LEVEL, "sequence", "time_ns", "kind", "side", "price_fen_per_tonne", "quantity_kg", "orders"
).iter_unpack
_ACCEPTED, _TRADE, _CANCELED = int(Event.ACCEPTED), int(Event.TRADE), int(Event.CANCELED)
_LEVEL, _DUPLICATE = int(Event.LEVEL), int(Flag.DUPLICATE)
_IOC_REMAINDER: Final = int(Reason.IOC_REMAINDER)

Row = tuple[Any, ...]


class DepthBook:
    """Price levels of one instrument; a replay of its events onto a snapshot of the engine's."""

    def __init__(self, instrument: int) -> None:
        self.instrument = instrument
        self.sequence = 0
        self.time_ns = 0
        self._levels: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})  # price -> [kg, orders]
        self._prices: tuple[list[int], list[int]] = ([], [])  # rising
        self._changed: set[tuple[int, int]] = set()

    def set_level(self, side: int, price: int, quantity_kg: int, orders: int) -> None:
        """Put a level as a snapshot states it."""
        if price not in self._levels[side]:
            insort(self._prices[side], price)
        self._levels[side][price] = [quantity_kg, orders]

    def apply(self, row: Row) -> None:
        """Apply one event; those at or before the book's sequence are in it already."""
        (
            sequence,
            time_ns,
            kind,
            side,
            flags,
            reason,
            _,
            _,
            price,
            quantity_kg,
            leaves_kg,
            counter_leaves_kg,
        ) = row
        if kind == _TRADE:
            self._reduce(1 - side, price, quantity_kg, counter_leaves_kg == 0)
        elif kind == _ACCEPTED and leaves_kg > 0 and not flags & _DUPLICATE:
            self._rest(side, price, leaves_kg)
        elif kind == _CANCELED and reason != _IOC_REMAINDER:
            self._reduce(side, price, quantity_kg, gone=True)
        self.sequence, self.time_ns = sequence, time_ns

    def _rest(self, side: int, price: int, quantity_kg: int) -> None:
        level = self._levels[side].get(price)
        if level is None:
            self.set_level(side, price, quantity_kg, 1)
        else:
            level[0] += quantity_kg
            level[1] += 1
        self._changed.add((side, price))

    def _reduce(self, side: int, price: int, quantity_kg: int, gone: bool) -> None:
        level = self._levels[side][price]
        level[0] -= quantity_kg
        level[1] -= gone
        assert level[0] >= 0, f"level {price} of instrument {self.instrument} fell below zero"
        if level[0] == 0:
            del self._levels[side][price]
            del self._prices[side][bisect_left(self._prices[side], price)]
        self._changed.add((side, price))

    def levels(self, side: int, count: int | None = None) -> list[tuple[int, int, int]]:
        """(price, kilograms, orders), best first."""
        prices = self._prices[side]
        best_first = prices[::-1] if side == BUY else prices
        levels = self._levels[side]
        return [(price, levels[price][0], levels[price][1]) for price in best_first[:count]]

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


def checksum(bids: Iterable[tuple[int, ...]], asks: Iterable[tuple[int, ...]]) -> int:
    """CRC32 over the digits of price in fen and quantity in kilograms, asks rising then bids falling."""
    text = "".join(f"{each[0]}{each[1]}" for side in (asks, bids) for each in side)
    return zlib.crc32(text.encode("ascii"))


def _level(price: int, quantity_kg: int, orders: int) -> pushes.Level:
    return pushes.Level(money_text(price), tonnes_text(quantity_kg), orders)


class MarketData:
    """Who watches what, and the books of what is watched."""

    def __init__(self) -> None:
        self.watched: npt.NDArray[np.bool_] = np.zeros(
            len(codec.INSTRUMENTS) + 1, np.bool_
        )  # last: instrument -1
        self.watching = False
        self._subscribers: dict[Topic, dict[int, Outbox]] = {}  # by id(outbox)
        self._books: dict[int, DepthBook] = {}
        self._held: dict[int, list[Row]] = {}
        self._published: dict[int, int] = {}  # sequence of the last snapshot state or delta
        self._recent: dict[int, deque[pushes.PublicTrade]] = {}

    def subscribe(self, topic: Topic, outbox: Outbox) -> bool:
        """Add a subscriber; True when the caller must fetch QUERY_DEPTH and call `load`."""
        channel, instrument = topic
        self._subscribers.setdefault(topic, {})[id(outbox)] = outbox
        self._watch()
        if channel == "depth" and instrument not in self._books and instrument not in self._held:
            self._held[instrument] = []
            return True
        self.refresh(topic, outbox)
        return False

    def unsubscribe(self, topic: Topic, outbox: Outbox) -> None:
        """Remove a subscriber; the last one takes the book along."""
        subscribers = self._subscribers.get(topic, {})
        subscribers.pop(id(outbox), None)
        outbox.stale.discard(topic)
        if not subscribers:
            self._subscribers.pop(topic, None)
            if topic[0] == "depth":
                self._drop(topic[1])
            else:
                self._recent.pop(topic[1], None)
        self._watch()

    def leave(self, outbox: Outbox) -> None:
        """Remove a connection from everything."""
        for topic in [each for each, subscribers in self._subscribers.items() if id(outbox) in subscribers]:
            self.unsubscribe(topic, outbox)

    def clear(self) -> None:
        """The engine is gone: forget the books; what subscribers there were are gone too."""
        self._subscribers.clear()
        for instrument in [*self._books, *self._held]:
            self._drop(instrument)
        self._recent.clear()
        self._watch()

    def load(self, instrument: int, answer: Records) -> None:
        """Start a book from the LEVEL rows of a QUERY_DEPTH answer and the events held since; greet its
        subscribers."""
        held = self._held.pop(instrument, None)
        if held is None:
            return  # nobody watches any more
        book = DepthBook(instrument)
        for sequence, time_ns, kind, side, price, quantity_kg, orders in _LEVEL_ROWS(codec.rows_of(answer)):
            if kind == _LEVEL:
                book.set_level(side, price, quantity_kg, orders)
            else:
                book.sequence, book.time_ns = sequence, time_ns
        for row in held:
            if row[0] > int(answer["sequence"][-1]):
                book.apply(row)
        self._books[instrument] = book
        book.delta(0)
        self._published[instrument] = book.sequence
        self._greet(("depth", instrument))

    def abandon(self, instrument: int) -> None:
        """The answer to QUERY_DEPTH will not come."""
        self._held.pop(instrument, None)

    def apply(self, rows: bytes) -> None:
        """Events of watched instruments, in order: books move, subscribers hear of it."""
        moved: dict[int, None] = {}
        trades: dict[int, list[pushes.PublicTrade]] = {}
        for row in market_rows(rows):
            instrument = row[6]
            book = self._books.get(instrument)
            if book is not None:
                if row[0] > book.sequence or instrument in moved:
                    book.apply(row)
                    moved[instrument] = None
            elif instrument in self._held:
                self._hold(instrument, row)
            if row[2] == _TRADE and ("trades", instrument) in self._subscribers:
                trades.setdefault(instrument, []).append(_trade(row))
        for instrument in moved:
            self._publish_delta(instrument)
        for instrument, batch in trades.items():
            self._publish_trades(instrument, batch)

    def refresh(self, topic: Topic, outbox: Outbox) -> None:
        """Send the topic's snapshot, if there is one yet."""
        channel, instrument = topic
        if channel == "trades":
            recent = list(self._recent.get(instrument, ()))
            snapshot = pushes.Trades(
                type="snapshot", instrument=codec.INSTRUMENT_CODES[instrument], trades=recent
            )
            outbox.publish(text_frame(codec.encode(snapshot)), topic)
        elif instrument in self._books:
            outbox.publish(text_frame(codec.encode(self._snapshot(instrument))), topic)

    def refresh_stale(self, outbox: Outbox) -> None:
        """Start the topics again that a peer was too slow for, once it has caught up."""
        while outbox.stale and outbox.caught_up:
            topic = outbox.stale.pop()
            self.refresh(topic, outbox)

    def _snapshot(self, instrument: int) -> pushes.Depth:
        snapshot = self._books[instrument].snapshot()
        snapshot.sequence = self._published[instrument]
        return snapshot

    def _hold(self, instrument: int, row: Row) -> None:
        held = self._held[instrument]
        assert len(held) < HELD_EVENTS_MAX, "a QUERY_DEPTH answer is overdue"
        held.append(row)

    def _publish_delta(self, instrument: int) -> None:
        book = self._books[instrument]
        delta = book.delta(self._published[instrument])
        if delta is not None:
            self._published[instrument] = book.sequence
            self._publish(("depth", instrument), codec.encode(delta))

    def _publish_trades(self, instrument: int, batch: list[pushes.PublicTrade]) -> None:
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
        self._books.pop(instrument, None)
        self._held.pop(instrument, None)
        self._published.pop(instrument, None)

    def _watch(self) -> None:
        self.watched[:] = False
        for _, instrument in self._subscribers:
            self.watched[instrument] = True
        self.watching = bool(self._subscribers)


def _trade(row: Row) -> pushes.PublicTrade:
    sequence, time_ns, _, side, _, _, _, match_id, price, quantity_kg, _, _ = row
    return pushes.PublicTrade(
        match_id=str(match_id),
        price=money_text(price),
        quantity=tonnes_text(quantity_kg),
        side=codec.SIDES[side],
        sequence=sequence,
        time=time_text(time_ns),
        time_ns=time_ns,
    )
