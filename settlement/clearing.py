"""From the engine's events to the rows that book them: pure, vectorised, without I/O (law 5).

    EVENT array ─▶ check order ─▶ fills ─▶ contracts, transitions, P2, P3, goods LISTED -> CONTRACT
                               ├▶ cash ──▶ P0
                               ├▶ busts ─▶ transitions, P14, R2, goods CONTRACT -> FREE
                               ├▶ lots, sell orders, preventions ─▶ G1..G4 (RECEIPT, FREE, LISTED)
                               └▶ answers to the outbox, accounts and lots that are new

Law: the result is a function of the events and the venue's terms alone, so the same events give the same
bytes.

    ClearingFault   the events are not a gap-free continuation, or break a rule: settlement stops (style 3)
    └── EntryNumbersExhausted   a command, or the event of one, beyond what the ledger can number
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.instruments import load_instruments
from engine.records import CASH, LOT, ORDER, TRADE, Records, select
from engine.vocabulary import Event, Flag, Side
from settlement import rows
from settlement.contracts import State, path_at_fill
from settlement.fills import Fills, Terms
from settlement.ledger import (
    INDEX_MAX,
    SEQUENCE_LAST_BOOKED,
    Deltas,
    Entries,
    Goods,
    Int64s,
    Money,
    Posting,
    account,
    deltas,
    entry_number,
    join,
)

Mask = npt.NDArray[np.bool_]

CHAIN_START: Final = bytes(32)


class ClearingFault(Exception):
    """Events that cannot be booked as they are; going on would make wrong books."""


class EntryNumbersExhausted(ClearingFault):
    """A command beyond SEQUENCE_LAST_BOOKED, or with more than INDEX_MAX + 1 events."""


class Position(NamedTuple):
    """How far the books are complete: command sequence, engine epoch, hash chain over all events so far."""

    sequence: int
    epoch: int
    chain: bytes


@dataclass(frozen=True)
class Outcomes:
    """What the engine answered to commands of the outbox, in rising order of their numbers."""

    number: Int64s
    applied: Mask
    reason: Int64s
    sequence: Int64s


class Busted(NamedTuple):
    """Trades that were reversed: which contracts, on whose command, and where their entries begin."""

    contract: Int64s
    outbox: Int64s
    first_entry: Int64s


@dataclass(frozen=True)
class Batch:
    """Everything that one transaction books (law 8)."""

    before: Position
    after: Position
    events: int
    contracts: Records
    transitions: Records
    money: Records
    goods: Records
    money_deltas: Deltas
    goods_deltas: Deltas
    new_members: Int64s
    new_lots: Int64s
    busted: Busted
    outcomes: Outcomes


def default_terms() -> Terms:
    """The terms of the forty products."""
    return Terms.of(load_instruments())


def clear(events: Records, before: Position, epoch: int, terms: Terms) -> Batch:
    """The batch that books `events` (EVENT, whole commands) on top of `before`. Raises ClearingFault."""
    check_order(events, before)
    kind = events["kind"]
    is_trade = kind == Event.TRADE
    fills = Fills.of(select(events, is_trade).view(TRADE), terms)
    others = select(events, ~is_trade)
    busts = Fills.of(select(events, kind == Event.TRADE_BUSTED).view(TRADE), terms)
    money_parts = (fills.money(), busts.money_back(), _cash(others))
    goods_parts = (fills.goods(), busts.goods_back(), *_goods(others))
    money_entries = join([part for part in money_parts if len(part.entry)])
    goods_entries = join([part for part in goods_parts if len(part.entry)])
    return Batch(
        before=before,
        after=Position(int(events["sequence"][-1]), epoch, sha256(before.chain + events.tobytes()).digest()),
        events=len(events),
        contracts=fills.contracts(),
        transitions=rows.TRANSITION.joined(
            fills.transitions(path_at_fill()), busts.transitions((State.BUSTED,))
        ),
        money=_rows(rows.MONEY_ENTRY, "amount_fen", money_entries),
        goods=_rows(rows.GOODS_ENTRY, "quantity_kg", goods_entries),
        money_deltas=deltas(money_entries),
        goods_deltas=deltas(goods_entries),
        new_members=_accounts_opened(others),
        new_lots=_lots_registered(others),
        busted=_busted(busts),
        outcomes=_outcomes(others),
    )


def check_order(events: Records, before: Position) -> None:
    """Raise ClearingFault unless the events are whole commands in rising order behind `before`."""
    if not len(events):
        raise ClearingFault("no events: a batch has at least one")
    sequence, index = events["sequence"], events["index"].astype(np.int64)
    if sequence[0] <= before.sequence:
        raise ClearingFault(f"event of command {sequence[0]} repeats: the books stand at {before.sequence}")
    step, same = np.diff(sequence), np.diff(sequence) == 0
    expected = np.where(same, index[:-1] + 1, 0)
    if index[0] != 0 or (step < 0).any() or (index[1:] != expected).any():
        wrong = 0 if index[0] else 1 + int(np.argmax((step < 0) | (index[1:] != expected)))
        raise ClearingFault(
            f"gap in the event stream at command {sequence[wrong]}, event {index[wrong]}: an event is missing"
        )
    if index.max() > INDEX_MAX:
        raise EntryNumbersExhausted(
            f"a command has more than {INDEX_MAX + 1} events: entry numbers would collide"
        )
    if sequence[-1] > SEQUENCE_LAST_BOOKED:
        raise EntryNumbersExhausted(
            f"the ledger books commands up to {SEQUENCE_LAST_BOOKED}, the engine is at {sequence[-1]}: "
            "begin a new exchange from the closing balances; nothing is lost, the engine keeps its events"
        )


def _cash(events: Records) -> Entries:
    """P0: deposits from BANK to TRADING, withdrawals back."""
    cash = select(events, np.isin(events["kind"], (Event.DEPOSITED, Event.WITHDRAWN))).view(CASH)
    trading = account(cash["account"].astype(np.int64), Money.TRADING)
    out = cash["kind"] == Event.WITHDRAWN
    bank = account(0, Money.BANK)
    debit, credit = np.where(out, trading, bank), np.where(out, bank, trading)
    return _plain(cash, Posting.P0, debit, credit, cash["amount_fen"])


def _goods(events: Records) -> tuple[Entries, ...]:
    """G1-G4: the moves of goods that are not fills. A repeat of an order (DUPLICATE) moves nothing.

    A prevention names the seller's lot whoever came in, and one of its two orders is always the sell (D1).
    """
    kind, sells = events["kind"], events["side"] == Side.SELL
    first = events["flags"] & Flag.DUPLICATE == 0
    return (
        _move(events, kind == Event.LOT_REGISTERED, Posting.G1, Goods.RECEIPT, Goods.FREE),
        _move(events, (kind == Event.ACCEPTED) & sells & first, Posting.G2, Goods.FREE, Goods.LISTED),
        _move(events, (kind == Event.CANCELED) & sells, Posting.G3, Goods.LISTED, Goods.FREE),
        _move(events, kind == Event.PREVENTED, Posting.G3, Goods.LISTED, Goods.FREE),
        *_replaced(select(events, (kind == Event.REPLACED) & sells)),
        _move(events, kind == Event.LOT_WITHDRAWN, Posting.G4, Goods.FREE, Goods.RECEIPT),
    )


def _move(events: Records, mask: Mask, posting: Posting, source: Goods, target: Goods) -> Entries:
    """One goods entry for each event under `mask`: its quantity from `source` to `target` of its lot."""
    moved = select(events, mask).view(ORDER)  # lot and quantity_kg stand where LOT has them
    lot = moved["lot"]
    return _plain(moved, posting, account(lot, source), account(lot, target), moved["quantity_kg"])


def _replaced(sells: Records) -> tuple[Entries, ...]:
    """A replaced sell lists more of its lot or gives some back: `change_kg`, before its fills (C1)."""
    change = sells.view(ORDER)["change_kg"]
    moves = (
        (change > 0, Posting.G2, Goods.FREE, Goods.LISTED),
        (change < 0, Posting.G3, Goods.LISTED, Goods.FREE),
    )
    entries = []
    for mask, posting, source, target in moves:
        moved = select(sells, mask).view(ORDER)
        debit, credit = account(moved["lot"], source), account(moved["lot"], target)
        entries.append(_plain(moved, posting, debit, credit, np.abs(moved["change_kg"])))
    return tuple(entries)


def _plain(events: Records, posting: Posting, debit: Int64s, credit: Int64s, amount: Int64s) -> Entries:
    """One entry per event, no contract."""
    number = entry_number(events["sequence"], events["index"].astype(np.int64), 0)
    count = len(events)
    return Entries(
        number, np.full(count, int(posting)), np.zeros(count, np.int64), debit, credit, amount.copy()
    )


def _accounts_opened(events: Records) -> Int64s:
    opened: Int64s = events["account"][events["kind"] == Event.ACCOUNT_OPENED].astype(np.int64)
    return opened


def _lots_registered(events: Records) -> Int64s:
    registered: Int64s = events.view(LOT)["lot"][events["kind"] == Event.LOT_REGISTERED].copy()
    return registered


def _busted(busts: Fills) -> Busted:
    """A bust's event has the trade's layout, without room for the outbox number: its tag is that number."""
    trades = busts.trades
    return Busted(trades["match_id"].copy(), trades["tag"].astype(np.int64), busts.number)


def _outcomes(events: Records) -> Outcomes:
    """Answers to settlement's own commands: their tag is the outbox number, which no order's is."""
    cash = events.view(CASH)
    refused = (events["kind"] == Event.REJECTED) & (cash["tag"] == cash["outbox"].view(np.uint64))
    busted = events["kind"] == Event.TRADE_BUSTED
    number = np.where(busted, cash["tag"].astype(np.int64), cash["outbox"])
    applied = np.isin(events["kind"], (*range(Event.ACCOUNT_OPENED, Event.LOT_WITHDRAWN + 1),)) | busted
    mine = (applied | refused) & (number > 0)
    answers = cash[mine]
    return Outcomes(
        number=number[mine],
        applied=applied[mine],
        reason=answers["reason"].astype(np.int64),
        sequence=answers["sequence"].copy(),
    )


def _rows(table: rows.Table, amount_column: str, entries: Entries) -> Records:
    """Entries as rows of `table`."""
    columns: dict[str, Any] = entries._asdict()
    columns[amount_column] = columns.pop("amount")
    return table.rows(len(entries.entry), **columns)


assert path_at_fill()[-1] is State.PAID
