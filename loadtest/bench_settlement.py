"""Fills per second into the embedded PostgreSQL, with everything that a fill means, beside a raw binary COPY.

What is timed is the shipped path: settlement.clearing.clear on EVENT arrays (an acknowledgement and a trade
per fill, among 200 buyers and 20 sellers), then settlement.store.Store.post: contracts, transitions, entries
of money and goods, kept balances, cursor, one transaction per 1,000 fills. Beside it, in turns: COPY of the
very rows that it wrote into tables of the same definition (keys, checks and indexes, no triggers), their
bytes made beforehand, one transaction per batch; and COPY of the contracts' rows alone. The ratio is the
median of the rounds, each a pair of its own: the best of each side apart let one lucky COPY decide (0.55 in
one run, 0.74 in the next, with the shipped path as fast in both).
"""

import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.location import Location
from engine.records import EVENT, Records
from engine.vocabulary import RECORD_VERSION, Event, Side
from loadtest.exchange import empty
from settlement import rows
from settlement.clearing import Batch, Position, clear, default_terms
from settlement.database import DatabaseError, EmbeddedPostgres, binaries, dsn, wait_until_ready
from settlement.migrate import migrate
from settlement.postgres_user import choose_postgres_user
from settlement.store import Connection, Store

FILLS: Final = 1_000  # of a batch
BATCHES: Final = 20  # of a round
ROUNDS: Final = 5
BUYERS, SELLERS, LOTS = 200, 20, 400
FIRST_SELLER: Final = BUYERS + 1
MONEY_FEN: Final = 10**15
LOT_KG: Final = 4_000_000_000
JULY_8_2015_NS: Final = 1_436_317_200_000_000_000
READY_S: Final = 60.0
SEED: Final = 8
TABLES: Final = (rows.CONTRACT, rows.TRANSITION, rows.MONEY_ENTRY, rows.GOODS_ENTRY)


def measure(data: Path, rounds: int = ROUNDS, batches: int = BATCHES) -> dict[str, Any]:
    """Settlement and COPY taking turns: ratio and figures; or ratio None and the reason."""
    os.environ.pop("DATABASE_URL", None)
    try:
        with embedded(Location(data.absolute())) as address:
            return asyncio.run(_measure(address, rounds, batches))
    except DatabaseError as error:
        return {"ratio": None, "reason": str(error)}


@contextmanager
def embedded(location: Location) -> Iterator[str]:
    """An empty, migrated PostgreSQL on a scratch folder; its address. Raises DatabaseError."""
    empty(location)
    location.create()
    server = EmbeddedPostgres(choose_postgres_user(location, binaries()))
    server.start()
    try:
        asyncio.run(_prepare(dsn(location)))
        yield dsn(location)
    finally:
        server.stop()
        empty(location)


async def _prepare(address: str) -> None:
    await wait_until_ready(address, READY_S)
    await migrate(address)


async def _measure(address: str, rounds: int, batches: int) -> dict[str, Any]:
    store, peer = Store(address), Connection(address)
    times: dict[str, list[float]] = {"settlement": [], "copy": [], "fills": []}
    try:
        await _twins(peer)
        books = Books(store)
        await books.open()
        await books.settle(books.fills(FILLS))  # plans and caches warm up
        batch: Batch | None = None
        for _ in range(rounds):
            events = [books.fills(FILLS) for _ in range(batches)]
            booked, seconds = [], 0.0
            for each in events:
                started = time.perf_counter()
                batch = await books.settle(each)
                seconds += time.perf_counter() - started
                booked.append(batch)
            times["settlement"].append(seconds)
            for name, prefix, tables in (("copy", "raw_", TABLES), ("fills", "bare_", TABLES[:1])):
                messages = [_messages(each, tables) for each in booked]
                times[name].append(await _copied(peer, prefix, messages))
    finally:
        await store.close()
        await peer.close()
    assert batch is not None
    return _figures(times, batch, batches)


def _figures(times: dict[str, list[float]], batch: Batch, batches: int) -> dict[str, Any]:
    fills = FILLS * batches
    rate = {name: fills / statistics.median(seconds) for name, seconds in times.items()}
    ratios = [copy / ours for ours, copy in zip(times["settlement"], times["copy"], strict=True)]
    written = sum(len(part) for part in (batch.contracts, batch.transitions, batch.money, batch.goods))
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_each_round": [round(ratio, 3) for ratio in ratios],
        "ratio_to_copy_of_the_fills_alone": round(rate["settlement"] / rate["fills"], 3),
        "settlement_fills_per_second": round(rate["settlement"]),
        "copy_of_all_rows_fills_per_second": round(rate["copy"]),
        "copy_of_the_fills_alone_per_second": round(rate["fills"]),
        "rows_per_fill": round(written / FILLS, 2),
        "hash": batch.after.chain.hex(),
        "configuration": f"{FILLS} fills a transaction, {batches} transactions a round, "
        f"median of {len(ratios)} rounds in turns",
    }


class Books:
    """Funded members, listed lots, and batches of fills among them, the same every time."""

    def __init__(self, store: Store) -> None:
        """Nothing is booked yet."""
        self._store = store
        self._terms = default_terms()
        self._chance = np.random.default_rng(SEED)
        self._position = Position(0, 0, bytes(32))
        self._sequence = 0
        self._match = 0

    async def open(self) -> None:
        """Accounts, money and listed goods."""
        members = np.arange(1, BUYERS + SELLERS + 1)
        lots = np.arange(1, LOTS + 1)
        seller = FIRST_SELLER + lots % SELLERS
        count, cash = len(members), {"amount_fen": MONEY_FEN}
        await self.settle(self._commands(count, Event.ACCOUNT_OPENED, account=members))
        await self.settle(self._commands(count, Event.DEPOSITED, account=members, **cash))
        goods = {"account": seller, "lot": lots, "quantity_kg": LOT_KG}
        await self.settle(self._commands(LOTS, Event.LOT_REGISTERED, **goods))
        await self.settle(self._commands(LOTS, Event.ACCEPTED, side=Side.SELL, leaves_kg=LOT_KG, **goods))

    def fills(self, count: int) -> Records:
        """`count` buys that trade at once: two events each."""
        events = np.zeros(2 * count, EVENT)
        events["version"] = RECORD_VERSION
        self._sequence += count
        events["sequence"] = np.repeat(np.arange(self._sequence - count + 1, self._sequence + 1), 2)
        events["time_ns"] = JULY_8_2015_NS + events["sequence"]
        events["account"] = np.repeat(self._chance.integers(1, BUYERS + 1, count), 2)
        events["order_id"] = events["sequence"] << 22
        events["instrument"] = np.repeat(self._chance.integers(0, 40, count), 2)
        events["price_fen_per_tonne"] = np.repeat(self._chance.integers(2_000, 2_400, count) * 100, 2)
        events["quantity_kg"] = np.repeat(self._chance.integers(12, 15, count) * 2_490, 2)
        accepted, trades = events[0::2], events[1::2]
        accepted["kind"], trades["kind"] = Event.ACCEPTED, Event.TRADE
        trades["index"] = 1
        lots = self._chance.integers(1, LOTS + 1, count)
        trades["lot"], trades["counter_account"] = lots, FIRST_SELLER + lots % SELLERS
        trades["counter_order_id"] = (lots << 22) + 1
        trades["match_id"] = np.arange(self._match + 1, self._match + count + 1)
        self._match += count
        return events

    async def settle(self, events: Records) -> Batch:
        """What settlement does with a batch of events: clear and post."""
        batch = clear(events, self._position, 1, self._terms)
        await self._store.post(batch)
        self._position = batch.after
        return batch

    def _commands(self, count: int, kind: Event, **fields: Any) -> Records:
        """One command with one event each."""
        events = np.zeros(count, EVENT)
        events["version"], events["kind"] = RECORD_VERSION, kind
        self._sequence += count
        events["sequence"] = np.arange(self._sequence - count + 1, self._sequence + 1)
        for name, values in fields.items():
            events[name] = values
        return events


async def _twins(peer: Connection) -> None:
    """Tables of the same definition for the raw COPY."""
    async with peer.transaction() as connection:
        for prefix, tables in (("raw_", TABLES), ("bare_", TABLES[:1])):
            for table in tables:
                twin = f"CREATE TABLE {prefix}{table.name} (LIKE {table.name} INCLUDING ALL)"
                await connection.execute(twin)


def _messages(batch: Batch, tables: Sequence[rows.Table]) -> list[tuple[rows.Table, memoryview]]:
    """The COPY messages of a batch's rows."""
    parts = (batch.contracts, batch.transitions, batch.money, batch.goods)
    return [(table, table.message(part)) for table, part in zip(tables, parts, strict=False)]


Messages = list[tuple[rows.Table, memoryview]]


async def _copied(peer: Connection, prefix: str, batches: list[Messages]) -> float:
    """Seconds for COPY of prepared messages, one transaction per batch."""
    started = time.perf_counter()
    for messages in batches:
        async with peer.transaction() as connection:
            for table, message in messages:
                await connection.copy_to_table(
                    prefix + table.name, source=message, columns=table.columns, format="binary"
                )
    return time.perf_counter() - started
