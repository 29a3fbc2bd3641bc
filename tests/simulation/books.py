"""The books and the private streams against the events: both are functions of them and of nothing else.

Law: at any moment the tables hold exactly what the events up to the cursor say, no row more, none less.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from engine.exchange import Exchange
from engine.records import CASH, COMMAND, Records, as_words
from engine.vocabulary import Event
from gateway import codec
from gateway.private_stream import changes
from settlement.clearing import CHAIN_START, Batch, Position, clear, default_terms
from settlement.contracts import State
from settlement.ledger import KIND_BITS, KIND_MASK, Goods, Money
from tests.simulation.database import COPIED, Database
from tests.simulation.report import Violation


def check(database: Database, events: Records | None, sequence: int) -> None:
    """The tables are those of the events up to the cursor, and the cursor is not ahead. Raises Violation."""
    cursor = database.table("settlement_cursor")[True]
    if cursor["sequence"] > sequence:
        raise Violation("regress", f"the books are at {cursor['sequence']}, the log ends at {sequence}")
    batches = _batches(database, events)
    position = batches[-1].after if batches else Position(0, 0, CHAIN_START)
    if tuple(cursor.values()) != tuple(position):
        raise Violation("books", f"the cursor is {cursor}, the batches say {position}")
    for name in COPIED:
        _check_table(database, name, batches)
    _check_balances(database, "money_balance", "amount_fen", "money_deltas", batches)
    _check_balances(database, "goods_balance", "quantity_kg", "goods_deltas", batches)


def _batches(database: Database, events: Records | None) -> list[Batch]:
    """What clearing makes of the events, cut where the rows of the table `batch` say."""
    position, terms, found = Position(0, 0, CHAIN_START), default_terms(), []
    for row in sorted(database.table("batch").values(), key=lambda row: int(row["sequence"])):
        if events is None:
            raise Violation("books", "a batch was posted of events that are not in the log")
        start = np.searchsorted(events["sequence"], position.sequence, side="right")
        end = np.searchsorted(events["sequence"], row["sequence"], side="right")
        batch = clear(events[start:end], position, row["epoch"], terms)
        if (batch.after.chain, batch.events) != (row["chain"], row["events"]):
            raise Violation("books", f"the batch up to {row['sequence']} is not of the events of the log")
        position = batch.after
        found.append(batch)
    return found


def _check_table(database: Database, name: str, batches: list[Batch]) -> None:
    attribute = {
        "contract": "contracts",
        "contract_transition": "transitions",
        "money_entry": "money",
        "goods_entry": "goods",
    }[name]
    columns = COPIED[name].columns
    expected = [
        tuple(record[column].tolist() for column in columns)
        for batch in batches
        for record in getattr(batch, attribute)
    ]
    if name == "contract":
        expected = _reversed(expected, columns, batches)
    kept = [tuple(fields[column] for column in columns) for fields in database.table(name).values()]
    if sorted(expected) != sorted(kept):
        raise Violation("books", f"{name}: {len(kept)} rows, {len(expected)} by the events, or others")


def _reversed(rows: list[Any], columns: Sequence[str], batches: list[Batch]) -> list[Any]:
    """The rows of contracts as their busts leave them."""
    busted = {contract for batch in batches for contract in batch.busted.contract.tolist()}
    at, state = columns.index("contract"), columns.index("state")
    return [(*row[:state], State.BUSTED, *row[state + 1 :]) if row[at] in busted else row for row in rows]


def _check_balances(database: Database, table: str, column: str, deltas: str, batches: list[Batch]) -> None:
    expected: dict[int, int] = {}
    for batch in batches:
        moved = getattr(batch, deltas)
        for account, amount in zip(moved.account.tolist(), moved.amount.tolist(), strict=True):
            expected[account] = expected.get(account, 0) + amount
    for account, row in database.table(table).items():
        if row[column] != expected.pop(account, 0):
            raise Violation("books", f"{table}: account {account} holds {row[column]}")
    if any(expected.values()):
        raise Violation("books", f"{table}: accounts {sorted(expected)} are missing")


def check_complete(database: Database, events: Records, exchange: Exchange) -> None:
    """Settlement has caught up: its ledger says of every account what the engine says. Raises Violation."""
    cursor = database.table("settlement_cursor")[True]["sequence"]
    if cursor != int(events["sequence"][-1]):
        raise Violation("books", f"the cursor is at {cursor}, the last event at {events['sequence'][-1]}")
    balances = database.table("money_balance")
    for number, row in balances.items():
        if number & KIND_MASK == Money.TRADING:
            account = exchange.state.accounts[number >> KIND_BITS]
            engine_fen = int(account["available"] + account["held"])
            if row["amount_fen"] != engine_fen:
                raise Violation("conservation", f"TRADING {row['amount_fen']} fen, engine {engine_fen}")
    if sum(row["amount_fen"] for row in balances.values()) != 0:
        raise Violation("conservation", "the money accounts do not sum to 0")
    for number, row in database.table("goods_balance").items():
        field = {Goods.FREE: "free", Goods.LISTED: "listed", Goods.CONTRACT: "contracted"}.get(
            Goods(number & KIND_MASK)
        )
        if field and row["quantity_kg"] != exchange.state.lots[number >> KIND_BITS][field]:
            raise Violation("conservation", f"lot {number >> KIND_BITS}: {field} differs from the engine's")
    _check_outbox(database, events)


def _check_outbox(database: Database, events: Records) -> None:
    """Every committed command of settlement was answered by its one event. Raises Violation."""
    cash = events.view(CASH)
    numbers = np.where(events["kind"] == Event.TRADE_BUSTED, events["tag"].astype(np.int64), cash["outbox"])
    for row in database.table("outbox").values():
        if row["state"] == 0:
            raise Violation("books", f"outbox command {row['number']} was never answered")
        answer = cash[(cash["sequence"] == row["sequence"]) & (numbers == row["number"])]
        if len(answer) != 1 or (answer["kind"][0] == Event.REJECTED) != (row["state"] == 2):
            raise Violation("books", f"outbox command {row['number']} has another outcome in the log")
        command = np.frombuffer(row["command"], COMMAND)
        if int(command["account"][0]) != int(answer["account"][0]):
            raise Violation("books", f"outbox command {row['number']} was answered for another account")


def check_streams(seen: dict[int, dict[int, Any]], events: Records) -> None:
    """Every client has all events of its account, word for word. Raises Violation."""
    expected: dict[int, list[Any]] = {}
    for account, account_sequence, event in changes(as_words(events).tobytes()):
        mine = expected.setdefault(account, [])
        if account_sequence > len(mine):  # the first outcome of a repeated command counts once
            mine.append(codec.encode(event))
    for account, heard in seen.items():
        words = [msgspec.json.decode(raw) for raw in expected.get(account, [])]
        if [heard[number] for number in sorted(heard)] != words:
            text = f"account {account} heard {len(heard)} events, the log has {len(words)}, or others"
            raise Violation("private stream", text)
