"""The simulator can fail, second part: days, what the public is shown, and the client of records."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.core.layout import State
from engine.exchange import Exchange
from engine.records import Records, joined
from engine.subscribers import Subscribers
from engine.vocabulary import Command, Event, TimeInForce
from gateway import market_data
from gateway.market_data import DepthBook, MarketData
from gateway.pushes import PublicTrade
from tests.simulation.by_hand import Fault, all_found, before_each_command


def forget_the_days_trades(patch: pytest.MonkeyPatch) -> None:
    def forget(state: State) -> None:
        state.instruments["day_kg"] = 0

    before_each_command(patch, forget)


def let_orders_of_the_day_outlive_the_close(patch: pytest.MonkeyPatch) -> None:
    whole = Exchange.apply

    def apply(self: Exchange, commands: Records, buffer: int = 0) -> Records:
        lasting, ids = self.state.orders["time_in_force"], self.state.nodes["id"]
        slots = np.flatnonzero((lasting == TimeInForce.DAY) & (ids[: len(lasting)] != 0))
        before = ids[slots].copy()
        if (commands["kind"] == Command.SET_PHASE).any():
            lasting[slots] = TimeInForce.GTC
        events = whole(self, commands, buffer)
        lasting[slots[ids[slots] == before]] = TimeInForce.DAY
        return events

    patch.setattr(Exchange, "apply", apply)


def around_rolls(patch: pytest.MonkeyPatch, change: Callable[[Exchange], Callable[[], None]]) -> None:
    """Judge each roll of the day alone; `change` sees the exchange before it, what it returns is called
    behind it.
    """
    whole = Exchange.apply

    def apply(self: Exchange, commands: Records, buffer: int = 0) -> Records:
        rolls = np.flatnonzero(commands["kind"] == Command.ROLL_DAY)
        if not len(rolls):
            return whole(self, commands, buffer)
        parts = []
        for part in np.split(commands, np.unique(np.concatenate([rolls, rolls + 1]))):
            rolls_day = len(part) and part["kind"][0] == Command.ROLL_DAY
            behind = change(self) if rolls_day else None
            parts.append(whole(self, part, buffer).copy())
            if behind is not None:
                behind()
        return joined(parts)

    patch.setattr(Exchange, "apply", apply)


def remember_client_order_ids_beyond_the_day(patch: pytest.MonkeyPatch) -> None:
    def keep(exchange: Exchange) -> Callable[[], None]:
        day, entries = exchange.state.day.copy(), int(exchange.state.head["day_entries"][0])

        def put_back() -> None:
            exchange.state.day[:], exchange.state.head["day_entries"] = day, entries

        return put_back

    around_rolls(patch, keep)


def forget_client_order_ids_of_orders_that_live(patch: pytest.MonkeyPatch) -> None:
    def wipe(exchange: Exchange) -> Callable[[], None]:
        def forget() -> None:
            exchange.state.day[:], exchange.state.head["day_entries"] = 0, 0

        return forget

    around_rolls(patch, wipe)


def lose_a_delta(patch: pytest.MonkeyPatch) -> None:
    publish, lost = MarketData._publish_delta, set[int]()

    def once(self: MarketData, book: DepthBook) -> None:
        if id(self) in lost:
            publish(self, book)
        elif book.delta(0) is not None:
            lost.add(id(self))
            self._published[book.instrument] = book.sequence

    patch.setattr(MarketData, "_publish_delta", once)


def believe_that_cancels_move_no_book(patch: pytest.MonkeyPatch) -> None:
    still = market_data._STANDING | {int(Event.CANCELED)}
    patch.setattr(market_data, "_STANDING", still)


def show_a_book_as_of_a_later_command(patch: pytest.MonkeyPatch) -> None:
    show = DepthBook.show

    def later(self: DepthBook, levels: Any, sequence: int, time_ns: int) -> None:
        show(self, levels, sequence + 1, time_ns)

    patch.setattr(DepthBook, "show", later)


def print_the_last_trade_of_a_batch_only(patch: pytest.MonkeyPatch) -> None:
    publish = MarketData._publish_trades

    def last(self: MarketData, instrument: int, batch: list[PublicTrade]) -> None:
        publish(self, instrument, batch[-1:])

    patch.setattr(MarketData, "_publish_trades", last)


def forget_references(patch: pytest.MonkeyPatch) -> None:
    def forget(state: State) -> None:
        state.accounts["reference"] = 0

    before_each_command(patch, forget)


def resume_an_accounts_events_too_early(patch: pytest.MonkeyPatch) -> None:
    serve = Subscribers._serve

    async def serving(self: Subscribers, reader: Any, writer: Any, frames: Any, wish: Any) -> None:
        early = np.array([wish])
        early["sequence"] -= (early["account"] >= 0) & (early["sequence"] > 0)
        await serve(self, reader, writer, frames, early[0])

    patch.setattr(Subscribers, "_serve", serving)


FAULTS: tuple[Fault, ...] = (
    (forget_the_days_trades, range(40), {"day"}),
    (let_orders_of_the_day_outlive_the_close, range(40), {"day"}),
    (remember_client_order_ids_beyond_the_day, range(7, 47), {"double"}),
    (forget_client_order_ids_of_orders_that_live, range(30, 70), {"double"}),
    (lose_a_delta, range(40), {"market data"}),
    (believe_that_cancels_move_no_book, range(40), {"liveness", "market data"}),
    (show_a_book_as_of_a_later_command, range(40), {"early", "market data"}),
    (print_the_last_trade_of_a_batch_only, range(1, 41), {"market data"}),
    (forget_references, range(1, 41), {"double"}),
    (resume_an_accounts_events_too_early, range(2, 42), {"records", "private stream"}),
)


test_fault_put_in_by_hand_is_found = all_found(FAULTS)
