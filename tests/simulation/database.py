"""A database in memory behind asyncpg's connection: a transaction commits whole, or breaks, outcome unknown.

    connection ─▶ transaction (own writes) ──commit──▶ tables     a crash before it: nothing, behind it: all

Law: what a transaction wrote is seen by others only once it is committed; one transaction writes at a time
(PostgreSQL lets those that lock other rows go on); a primary key stands once. The statements are those of
settlement/queries.sql, each as a function of the same
name in statements.py.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import numpy as np

from settlement import rows
from settlement.queries import QUERIES
from tests.simulation.process import Killed, Process, current

STATEMENT_S: Final = (0.0001, 0.002)
LATE_COMMIT_S: Final = 0.1  # a COMMIT that was sent takes effect so late at most, though its client is dead
LATE_COMMIT_SHARE: Final = 0.5
NAMES: Final = {statement: name for name, statement in QUERIES.items()}
COPIED: Final = {
    "contract": rows.CONTRACT,
    "contract_transition": rows.TRANSITION,
    "money_entry": rows.MONEY_ENTRY,
    "goods_entry": rows.GOODS_ENTRY,
}

Point = Callable[[Process, str], None]
Fields = dict[str, Any]


class Row:
    """A row as asyncpg gives it: by name, in order, or as a mapping."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._fields.values())

    def keys(self) -> Any:
        """The names."""
        return self._fields.keys()


class Database:
    """The committed tables, who may write, and whether the server is up."""

    def __init__(self, dice: random.Random, point: Point) -> None:
        self.dice, self.point = dice, point
        self.up = True
        self.tables: dict[str, dict[Any, Fields]] = {}
        self.connections: dict[DatabaseConnection, None] = {}
        self._writer: Transaction | None = None
        self._queue: deque[tuple[Transaction, asyncio.Future[None]]] = deque()
        money = {number: {"account": number, "amount_fen": 0} for number in range(1, 6)}
        cursor = {"sequence": 0, "epoch": 0, "chain": bytes(32)}
        self.tables |= {"money_balance": money, "settlement_cursor": {True: cursor}}
        self.tables["outbox_counter"] = {True: {"number": 0}}

    async def connect(self, dsn: str) -> "DatabaseConnection":
        """settlement.store.Dial. Raises ConnectionRefusedError as store.connect raises DatabaseDown."""
        from settlement.store import DatabaseDown

        await asyncio.sleep(self.dice.uniform(*STATEMENT_S))
        process = current()
        if not process.alive:
            raise Killed("sql.connect")
        if not self.up:
            raise DatabaseDown("the simulated database is down")
        return DatabaseConnection(self, process)

    def crash(self) -> None:
        """The postmaster is killed: every connection breaks, what was not committed is gone."""
        self.up = False
        for connection in list(self.connections):
            connection.break_off()

    async def lock(self, transaction: "Transaction") -> None:
        """Become the one that writes."""
        if self._writer is None:
            self._writer = transaction
        elif self._writer is not transaction:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append((transaction, turn))
            await turn

    def unlock(self, transaction: "Transaction") -> None:
        """The transaction is over: the next one writes; should it still wait itself, it hears of its end."""
        for waiting, turn in self._queue:
            if waiting is transaction and not turn.done():
                turn.set_result(None)
        self._queue = deque(each for each in self._queue if each[0] is not transaction)
        if self._writer is transaction:
            self._writer = None
            while self._queue and self._writer is None:
                following, turn = self._queue.popleft()
                if not turn.done():
                    self._writer = following
                    turn.set_result(None)

    def table(self, name: str) -> dict[Any, Fields]:
        """The committed rows of a table by primary key."""
        return self.tables.setdefault(name, {})


class Transaction:
    """What one transaction has written and not committed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes: dict[str, dict[Any, Fields]] = {}

    @property
    def purpose(self) -> str:
        """What it is for: to post a batch, to write something else, or to read."""
        if not self._writes:
            return "read"
        return "post" if "settlement_cursor" in self._writes else "write"

    async def lock(self) -> None:
        """Wait for the right to write."""
        await self._database.lock(self)

    def get(self, table: str, key: Any) -> Fields | None:
        """A row by its key."""
        mine = self._writes.get(table, {})
        return mine[key] if key in mine else self._database.table(table).get(key)

    def rows(self, table: str) -> list[Fields]:
        """All rows, in the order of their keys."""
        merged = self._database.table(table) | self._writes.get(table, {})
        return [merged[key] for key in sorted(merged)]

    def insert(self, table: str, key: Any, fields: Fields) -> None:
        """A new row. Raises UniqueViolationError."""
        if self.get(table, key) is not None:
            raise asyncpg.UniqueViolationError(f"{table}: key {key} stands already")
        self._writes.setdefault(table, {})[key] = fields

    def update(self, table: str, key: Any, **fields: Any) -> None:
        """Change a row that is there."""
        row = self.get(table, key)
        assert row is not None
        self._writes.setdefault(table, {})[key] = row | fields

    def commit(self) -> None:
        """Make it seen and durable."""
        for name, written in self._writes.items():
            self._database.table(name).update(written)
        self.end()

    def end(self) -> None:
        """Forget what is not committed and let others write."""
        self._writes.clear()
        self._database.unlock(self)


class DatabaseConnection:
    """asyncpg's connection as far as settlement uses it."""

    def __init__(self, database: Database, process: Process) -> None:
        self._database, self._process = database, process
        self._open = True
        self._transaction: Transaction | None = None
        self._committing = False
        database.connections[self] = None
        process.ports[self] = None

    def is_closed(self) -> bool:
        """Whether it is of no use any more."""
        return not self._open

    async def close(self) -> None:
        """Close it."""
        self.break_off()

    def terminate(self) -> None:
        """Close it at once; a COMMIT under way may still take effect."""
        self.die()

    def die(self) -> None:
        """The client is gone. A COMMIT that was sent may be carried out, a little later."""
        transaction, database = self._transaction, self._database
        if transaction is not None and self._committing and database.dice.random() < LATE_COMMIT_SHARE:
            self._transaction = None

            def late() -> None:
                if database.up:
                    transaction.commit()
                else:
                    transaction.end()

            asyncio.get_running_loop().call_later(database.dice.uniform(0, LATE_COMMIT_S), late)
        self.break_off()

    def break_off(self) -> None:
        """The connection breaks; the transaction is rolled back."""
        self._open = False
        self._database.connections.pop(self, None)
        self._process.ports.pop(self, None)
        if self._transaction is not None:
            self._transaction.end()
            self._transaction = None

    @asynccontextmanager
    async def transaction(self, *, readonly: bool = False, isolation: str = "") -> AsyncIterator[None]:
        """A transaction, committed at the end of the block."""
        transaction = self._transaction = Transaction(self._database)
        try:
            yield
        except BaseException:
            transaction.end()
            self._transaction = None
            raise
        await self._commit(transaction)

    async def _commit(self, transaction: Transaction) -> None:
        self._committing = True
        try:
            what = transaction.purpose
            await self._at(f"sql.{what}.commit")
            transaction.commit()
            self._transaction = None
            await self._at(f"sql.{what}.committed")
        finally:
            self._committing = False

    async def _at(self, kind: str) -> None:
        """A point of I/O after a while. Raises Killed, ConnectionResetError."""
        await asyncio.sleep(self._database.dice.uniform(*STATEMENT_S))
        if self._open:
            self._database.point(self._process, kind)
        if not self._process.alive:
            raise Killed(kind)
        if not self._open:
            raise ConnectionResetError("the database is gone")

    async def _run(self, statement: str, *arguments: Any) -> Any:
        from tests.simulation.statements import STATEMENTS, WRITING

        name = NAMES[statement]
        await self._at(f"sql.{name}")
        transaction = self._transaction
        assert transaction is not None
        if name in WRITING:
            await transaction.lock()
            if not self._open:
                raise ConnectionResetError("the database is gone")
        return STATEMENTS[name](transaction, *arguments)

    async def fetch(self, statement: str, *arguments: Any) -> list[Row]:
        """Every row."""
        return [Row(fields) for fields in await self._run(statement, *arguments)]

    async def fetchrow(self, statement: str, *arguments: Any) -> Row | None:
        """The first row."""
        found = await self._run(statement, *arguments)
        return Row(found[0]) if found else None

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        """The first value of the first row."""
        found = await self._run(statement, *arguments)
        return next(iter(found[0].values())) if found else None

    async def execute(self, statement: str, *arguments: Any) -> str:
        """Run; returns the command tag."""
        tag: str = await self._run(statement, *arguments)
        return tag

    async def executemany(self, statement: str, arguments: list[Any]) -> None:
        """Run once per row."""
        for each in arguments:
            await self._run(statement, *each)

    async def copy_to_table(self, name: str, *, source: memoryview, columns: Any, format: str) -> str:
        """Binary COPY: the message of settlement.rows.Table."""
        await self._at(f"sql.copy.{name}")
        transaction, table = self._transaction, COPIED[name]
        assert transaction is not None
        await transaction.lock()
        if not self._open:
            raise ConnectionResetError("the database is gone")
        assert (list(columns), format) == (list(table.columns), "binary")
        records = np.frombuffer(source[len(rows.HEADER) : -len(rows.TRAILER)], table.layout)
        for record in records:
            fields = {column: record[column].tolist() for column in columns}
            transaction.insert(name, _key(name, fields), fields)
        return f"COPY {len(records)}"


def _key(name: str, fields: Fields) -> Any:
    if name == "contract_transition":
        return fields["contract"], fields["state"], fields["attempt"]
    return fields["contract" if name == "contract" else "entry"]
