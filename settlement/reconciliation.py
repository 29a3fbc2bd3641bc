"""Proves that ledger and engine say the same at one sequence, and that the books hold (domain 4).

    engine: balances @S1, lots @S2, live orders @S3 ─▶ wait until the cursor is there ─▶ one REPEATABLE READ
    transaction: entries up to S1, S2, S3 and everything kept ─▶ checks ─▶ report

Law: it only reads, and may run while trading goes on: each answer of the engine names the sequence that it
describes, and the books of that very sequence are the entries with smaller numbers than
`entries_end(sequence)`.

    ReconciliationError    it could not be made: the engine is down, or settlement does not catch up
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from engine.frames import LinkDownError
from engine.link import CommandLink
from engine.location import Location
from engine.records import CASH, LOT, ORDER, Records
from engine.vocabulary import Command, Event, Reason, Side, wire_name
from settlement.contracts import State, path_at_fill
from settlement.ledger import KIND_BITS, KIND_MASK, Goods, Money, account, account_name, entries_end
from settlement.queries import QUERIES
from settlement.store import Connection

CATCH_UP_S: Final = 30.0
POLL_S: Final = 0.02
SHOWN_MAX: Final = 20  # differences printed per check


class ReconciliationError(Exception):
    """Nothing was compared; the message says what is missing."""


class Engine(Protocol):
    """What a reconciliation needs of engine.link.CommandLink."""

    async def query(self, kind: Command, *, account: int = -1, instrument: int = -1) -> Records:
        """The rows of an answer and its END row. Raises an OSError when the engine is gone."""


@dataclass(frozen=True)
class Check:
    """One statement about the books: how much was compared and where it does not hold."""

    name: str
    compared: int
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


@dataclass(frozen=True)
class Report:
    """The outcome: `sequence` is the lowest at which the engine was asked."""

    sequence: int
    checks: tuple[Check, ...]

    @property
    def reconciled(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)


@dataclass(frozen=True)
class EngineState:
    """The engine's own account of money and goods, each with the sequence that it describes."""

    trading_fen: Mapping[int, int]  # available + held by member
    trading_sequence: int
    goods_kg: Mapping[int, int]  # by goods account
    goods_sequence: int
    offered_kg: Mapping[int, int]  # leaves of live sell orders by LISTED account
    offered_sequence: int

    @property
    def latest(self) -> int:
        """The highest of the three sequences."""
        return max(self.trading_sequence, self.goods_sequence, self.offered_sequence)

    @property
    def earliest(self) -> int:
        """The lowest of the three sequences."""
        return min(self.trading_sequence, self.goods_sequence, self.offered_sequence)


async def reconcile_location(location: Location, dsn: str, wait_s: float = CATCH_UP_S) -> Report:
    """`reconcile` for the exchange whose sockets lie at `location`, with its books in the database `dsn`."""
    connection = Connection(dsn)
    try:
        link = await CommandLink.connect(location.engine_commands)
        try:
            return await reconcile(connection, link, wait_s)
        finally:
            link.close()
    except LinkDownError as error:
        raise ReconciliationError(f"the engine is down: {error}") from error
    finally:
        await connection.close()


async def reconcile(connection: Connection, engine: Engine, wait_s: float = CATCH_UP_S) -> Report:
    """Compare the books, read through `connection`, with the engine and with themselves.

    Raises ReconciliationError, StoreError, or an OSError of the engine's link.
    """
    state = await asyncio.wait_for(ask(engine), wait_s)
    await _catch_up(connection, state.latest, wait_s)
    async with connection.transaction(isolation="repeatable_read", readonly=True) as snapshot:
        checks = await _compare(snapshot, state)
    return Report(state.earliest, checks)


async def ask(engine: Engine) -> EngineState:
    """Three questions to the engine; trading may go on between them."""
    balances, trading_sequence = _answer(await engine.query(Command.QUERY_BALANCES), Event.BALANCE)
    lots, goods_sequence = _answer(await engine.query(Command.QUERY_LOTS), Event.LOT)
    orders, offered_sequence = _answer(await engine.query(Command.QUERY_ORDERS), Event.ORDER)
    cash = balances.view(CASH)
    money = dict(
        zip(cash["account"].tolist(), (cash["available_fen"] + cash["held_fen"]).tolist(), strict=True)
    )
    goods: dict[int, int] = {}
    for row in lots.view(LOT):
        lot = int(row["lot"])
        goods[account(lot, Goods.FREE)] = int(row["free_kg"])
        goods[account(lot, Goods.LISTED)] = int(row["listed_kg"])
        goods[account(lot, Goods.CONTRACT)] = int(row["contracted_kg"])
    offered: dict[int, int] = {}
    for row in orders.view(ORDER):
        if row["side"] == Side.SELL:
            listed = account(int(row["lot"]), Goods.LISTED)
            offered[listed] = offered.get(listed, 0) + int(row["leaves_kg"])
    return EngineState(money, trading_sequence, goods, goods_sequence, offered, offered_sequence)


def _answer(rows: Records, kind: Event) -> tuple[Records, int]:
    """The rows of `kind`, and the sequence of the END row. Raises ReconciliationError if refused."""
    end = rows[-1]
    assert end["kind"] == Event.END, "the END row is the last"
    if end["reason"] != Reason.NONE:
        raise ReconciliationError(f"the engine refused the question: {wire_name(Reason(end['reason']))}")
    return rows[rows["kind"] == kind], int(rows["sequence"][-1])


async def _catch_up(connection: Connection, sequence: int, wait_s: float) -> None:
    """Wait until the cursor has passed `sequence`; it stands there once, for every command has an event.
    Raises ReconciliationError.
    """
    deadline = time.monotonic() + wait_s
    while True:
        async with connection.transaction(readonly=True) as snapshot:
            at = (await snapshot.fetchrow(QUERIES["read_cursor"]))["sequence"]
        if at >= sequence:
            return
        if time.monotonic() >= deadline:
            raise ReconciliationError(
                f"settlement stands at command {at}, the engine at {sequence}, after {wait_s:g} s: is it up?"
            )
        await asyncio.sleep(POLL_S)


async def _compare(snapshot: Any, state: EngineState) -> tuple[Check, ...]:
    """Every check, within one transaction."""
    money = await snapshot.fetch(QUERIES["money_accounts"], entries_end(state.trading_sequence))
    ends = entries_end(state.goods_sequence), entries_end(state.offered_sequence)
    goods = await snapshot.fetch(QUERIES["goods_accounts"], *ends)
    return (
        *_against_engine(money, goods, state),
        *_kept(money, Money, "money"),
        *_kept(goods, Goods, "goods"),
        _nothing_below_zero(money, goods),
        await _weights(snapshot, goods),
        *await _held_for_contracts(snapshot, money),
        await _states(snapshot),
        await _listing(snapshot, "bought = sold for every fill", "bought_is_sold"),
        await _listing(snapshot, "no contract without its postings", "states_without_posting"),
        _same("ROUND is 0", {Money.ROUND: 0}, _of_kind(money, Money.ROUND), lambda key: "ROUND"),
    )


def _against_engine(money: list[Any], goods: list[Any], state: EngineState) -> tuple[Check, ...]:
    """The ledger's entries up to the engine's sequences, against the engine."""
    trading = {
        row["account"] >> KIND_BITS: row["part"]
        for row in money
        if row["account"] & KIND_MASK == Money.TRADING
    }
    kinds = {Goods.FREE, Goods.LISTED, Goods.CONTRACT}
    kept = {row["account"]: row["part"] for row in goods if row["account"] & KIND_MASK in kinds}
    listed = {row["account"]: row["part_2"] for row in goods if row["account"] & KIND_MASK == Goods.LISTED}
    return (
        _same(
            f"TRADING = the engine's available + held at {state.trading_sequence}",
            state.trading_fen,
            trading,
            lambda member: f"member {member}",
        ),
        _same(
            f"FREE, LISTED, CONTRACT = the engine's at {state.goods_sequence}", state.goods_kg, kept, _goods
        ),
        _same(f"LISTED = live sell orders at {state.offered_sequence}", state.offered_kg, listed, _goods),
    )


def _kept(rows: list[Any], kinds: type[Money] | type[Goods], word: str) -> tuple[Check, ...]:
    """The kept balances against the sum of all entries, and their own sum against zero."""
    total = sum(row["kept"] for row in rows)
    return (
        Check(f"{word} sums to 0", len(rows), (f"it sums to {total}",) if total else ()),
        _same(
            f"kept {word} balances = sum of their entries",
            {row["account"]: row["whole"] for row in rows},
            {row["account"]: row["kept"] for row in rows},
            lambda number: account_name(number, kinds),
        ),
    )


def _nothing_below_zero(money: list[Any], goods: list[Any]) -> Check:
    """Every balance but those of the sources, BANK and RECEIPT, is at least 0."""
    below = [
        f"{account_name(row['account'], kinds)}: {row['whole']}"
        for rows, kinds, source in ((money, Money, Money.BANK), (goods, Goods, Goods.RECEIPT))
        for row in rows
        if row["whole"] < 0 and row["account"] & KIND_MASK != source
    ]
    return Check("no account below 0", len(money) + len(goods), tuple(below[:SHOWN_MAX]))


async def _weights(snapshot: Any, goods: list[Any]) -> Check:
    """The kilograms of each lot, wherever they are, against the register."""
    registered = {row["lot"]: row["quantity_kg"] for row in await snapshot.fetch(QUERIES["registered_lots"])}
    for row in await snapshot.fetch(QUERIES["taken_back"]):
        registered[row["lot"]] = registered.get(row["lot"], 0) - row["quantity_kg"]
    booked: dict[int, int] = {}
    for row in goods:
        lot, kind = row["account"] >> KIND_BITS, row["account"] & KIND_MASK
        booked[lot] = booked.get(lot, 0) + (row["whole"] if kind != Goods.RECEIPT else 0)
    return _same("goods of each lot = registered kilograms", registered, booked, lambda lot: f"lot {lot}")


async def _held_for_contracts(snapshot: Any, money: list[Any]) -> tuple[Check, ...]:
    """DEPOSIT and ESCROW of each member against what the contracts say."""
    escrow: dict[int, int] = {}
    deposit: dict[int, int] = {}
    for row in await snapshot.fetch(QUERIES["escrow_due"]):
        escrow[row["member"]] = row["escrow_fen"]
        deposit[row["member"]] = row["deposit_fen"]
    for row in await snapshot.fetch(QUERIES["seller_deposit_due"]):
        deposit[row["member"]] = deposit.get(row["member"], 0) + row["deposit_fen"]
    return (
        _same("DEPOSIT = open contracts' deposits", deposit, _of_kind(money, Money.DEPOSIT), _member),
        _same("ESCROW = paid contracts' amounts", escrow, _of_kind(money, Money.ESCROW), _member),
    )


async def _states(snapshot: Any) -> Check:
    """Every contract has entered the states of its path, each once, and is in the last, or was busted (domain
    3, semantics E8).
    """
    path = [int(state) for state in path_at_fill()]
    rows = await snapshot.fetch(QUERIES["states_without_transition"], path, path[-1], int(State.BUSTED))
    found = tuple(f"contract {row['contract']}: in {row['state']}, entered {row['states']}" for row in rows)
    count = await snapshot.fetchval(QUERIES["count_contracts"])
    return Check("every state was entered by its transition", count, found)


async def _listing(snapshot: Any, name: str, query: str) -> Check:
    """A check whose query returns the contracts for which it does not hold."""
    rows = await snapshot.fetch(QUERIES[query])
    count = await snapshot.fetchval(QUERIES["count_contracts"])
    found = (", ".join(f"{key} {value}" for key, value in row.items()) for row in rows)
    return Check(name, count, tuple(found))


def _of_kind(money: list[Any], kind: Money) -> dict[int, int]:
    """Balances of one kind of account by member; the platform's by kind."""
    return {
        row["account"] >> KIND_BITS or int(kind): row["whole"]
        for row in money
        if row["account"] & KIND_MASK == kind
    }


def _same(name: str, expected: Mapping[int, int], found: Mapping[int, int], word: Any) -> Check:
    """A check that two sides say the same of every key; a missing key is 0."""
    keys: Iterable[int] = sorted(expected.keys() | found.keys())
    differing = [key for key in keys if expected.get(key, 0) != found.get(key, 0)]
    texts = tuple(
        f"{word(key)}: {expected.get(key, 0)} expected, {found.get(key, 0)} in the books"
        for key in differing[:SHOWN_MAX]
    )
    more = len(differing) - len(texts)
    return Check(name, len(expected.keys() | found.keys()), texts + ((f"and {more} more",) if more else ()))


def _goods(number: int) -> str:
    return account_name(number, Goods)


def _member(number: int) -> str:
    return f"member {number}"
