"""Everything that settlement writes to PostgreSQL; with settlement.reads the only place that speaks to it.

Law 8: one transaction per batch: compare-and-set the cursor, which must report exactly one row, COPY the
rows, move each touched balance once, answer the outbox. Any exception on a connection means that the
connection is dead and the outcome unknown: it is terminated, and the cursor, read anew behind whatever is
still being committed, tells how far the books are.

    StoreError
    ├── DatabaseDown    no server, or the connection broke: try again (the cursor tells what was committed)
    └── LedgerFault     the database refuses what the engine did, or holds what it should not: stop
        └── CursorMoved     the compare-and-set met another cursor: two settlements, or a batch posted twice
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import numpy as np

from engine.records import Records
from settlement import rows
from settlement.clearing import Batch, Busted, Outcomes, Position
from settlement.contracts import BUSTABLE, State
from settlement.ledger import LOT_GOODS, MEMBER_MONEY, Deltas, Int64s, account
from settlement.queries import QUERIES

CONNECT_S: Final = 5.0
COMMAND_S: Final = 30.0
ABANDONED: Final = "idle_in_transaction_session_timeout"  # of a client whose machine is gone: it holds locks
ABANDONED_AFTER: Final = "5min"
OUTBOX_APPLIED: Final = 1
OUTBOX_REFUSED: Final = 2
ONE_ROW: Final = "INSERT 0 1"

# Another attempt can succeed: the server goes down, starts, or has no room. All else that it says is a fault.
PASSING: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
)


BROKEN: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class StoreError(Exception):
    """The base of what can go wrong between settlement and its database."""


class DatabaseDown(StoreError):
    """No answer, or the connection broke: whether the last transaction was committed is unknown."""


class LedgerFault(StoreError):
    """The books contradict the engine's events; a person must look before anything goes on."""


class CursorMoved(LedgerFault):
    """The cursor was not where this batch starts."""


async def connect(dsn: str) -> Any:
    """A connection to the database. Raises DatabaseDown."""
    try:
        return await asyncpg.connect(
            dsn, timeout=CONNECT_S, command_timeout=COMMAND_S, server_settings={ABANDONED: ABANDONED_AFTER}
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseDown(f"the database does not answer ({type(error).__name__}: {error})") from error


Dial = Callable[[str], Awaitable[Any]]  # `connect`, or a simulator's


class Connection:
    """One connection that is opened when needed and thrown away at the first exception."""

    def __init__(self, dsn: str, dial: Dial = connect) -> None:
        """Remember where the database is and how it is reached; nothing is opened yet."""
        self._dsn, self._dial = dsn, dial
        self._connection: Any = None
        self._free = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Any]:
        """An open transaction, committed at the end of the block; one at a time.

        Raises DatabaseDown or LedgerFault for what the database says; then, and when the task is canceled,
        the connection is terminated. Other exceptions of the block roll back and pass.
        """
        async with self._free:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._dial(self._dsn)
            try:
                async with self._connection.transaction(**options):
                    yield self._connection
            except BROKEN as error:
                self._terminate()
                if isinstance(error, asyncpg.PostgresError) and not isinstance(error, PASSING):
                    raise LedgerFault(f"the database refuses: {error}") from error
                raise DatabaseDown(f"the connection broke ({type(error).__name__}: {error})") from error
            except asyncio.CancelledError:
                self._terminate()
                raise

    def _terminate(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection; it is opened again when needed."""
        self._terminate()


class Store:
    """The writer of the books: exactly one per database, driven by the settler."""

    def __init__(self, dsn: str, dial: Dial = connect) -> None:
        """Post to the database at `dsn`."""
        self._connection = Connection(dsn, dial)

    async def position(self) -> Position:
        """How far the books are complete, once no transaction of an earlier connection can change it any
        more: a batch moves the cursor first, and who has moved it is waited for. Raises DatabaseDown.
        """
        async with self._connection.transaction() as connection:
            row = await connection.fetchrow(QUERIES["take_cursor"])
            return Position(row["sequence"], row["epoch"], row["chain"])

    async def post(self, batch: Batch) -> None:
        """Book the batch, whole or not at all (law 8). Raises StoreError."""
        async with self._connection.transaction() as connection:
            await _move_cursor(connection, batch)  # first: a batch that is posted already is known by it
            await _copy(connection, rows.CONTRACT, batch.contracts)
            await _copy(connection, rows.TRANSITION, batch.transitions)
            await _copy(connection, rows.MONEY_ENTRY, batch.money)
            await _copy(connection, rows.GOODS_ENTRY, batch.goods)
            await _open(connection, "open_money_accounts", batch.new_members, MEMBER_MONEY)
            await _open(connection, "open_goods_accounts", batch.new_lots, LOT_GOODS)
            await _move(connection, "move_money_balances", batch.money_deltas)
            await _move(connection, "move_goods_balances", batch.goods_deltas)
            await _bust(connection, batch.busted)
            await _answer(connection, batch.outcomes)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


async def _copy(connection: Any, table: rows.Table, records: Records) -> None:
    """Binary COPY of the rows into their table."""
    if len(records):
        done = await connection.copy_to_table(
            table.name, source=table.message(records), columns=table.columns, format="binary"
        )
        assert done == f"COPY {len(records)}", done


async def _open(connection: Any, query: str, owners: Int64s, kinds: tuple[int, ...]) -> None:
    """Open the accounts of new members or lots, with nothing in them."""
    if len(owners):
        accounts = [account(owner, kind) for owner in owners.tolist() for kind in kinds]
        await connection.execute(QUERIES[query], sorted(accounts))


async def _move(connection: Any, query: str, deltas: Deltas) -> None:
    """Add each delta to its kept balance, in the order of the accounts; every account must exist."""
    count = len(deltas.account)
    if count:
        done = await connection.execute(QUERIES[query], deltas.account.tolist(), deltas.amount.tolist())
        if done != f"UPDATE {count}":
            raise LedgerFault(
                f"{query}: {count} accounts moved by the engine, {done.split()[-1]} are open here"
            )


async def _bust(connection: Any, busted: Busted) -> None:
    """The contracts that were reversed; each was waiting for it, on the very command that did it."""
    count = len(busted.contract)
    if not count:
        return
    columns = (column.tolist() for column in busted)
    done = await connection.execute(QUERIES["bust_contracts"], *columns, int(BUSTABLE), int(State.BUSTED))
    if done != f"UPDATE {count}":
        raise LedgerFault(
            f"the engine busts trades {busted.contract.tolist()}, {done.split()[-1]} of them wait for it here"
        )


async def _answer(connection: Any, outcomes: Outcomes) -> None:
    """Note what the engine answered to the outbox; every answer must meet a waiting command."""
    count = len(outcomes.number)
    if not count:
        return
    states = np.where(outcomes.applied, OUTBOX_APPLIED, OUTBOX_REFUSED)
    columns = (outcomes.number, states, outcomes.reason, outcomes.sequence)
    done = await connection.execute(QUERIES["answer_outbox"], *(column.tolist() for column in columns))
    if done != f"UPDATE {count}":
        raise LedgerFault(
            f"the engine answers commands {outcomes.number.tolist()} that this database has not sent: "
            "it is an older copy, or of another exchange"
        )
    refused = outcomes.number[~outcomes.applied].tolist()
    if refused:
        await connection.execute(QUERIES["refuse_members"], refused)
        await connection.execute(QUERIES["refuse_lots"], refused)
        await connection.execute(QUERIES["refuse_busts"], refused)


async def _move_cursor(connection: Any, batch: Batch) -> None:
    done = await connection.execute(QUERIES["move_cursor"], *batch.before, *batch.after, batch.events)
    if done != ONE_ROW:
        raise CursorMoved(
            f"the books are not at command {batch.before.sequence} where this batch starts: "
            "another settlement posts to this database, or the batch is posted already"
        )
