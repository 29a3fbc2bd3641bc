"""From the engine's events to the rows that book them: pure, vectorised, without I/O (law 5).

    EVENT array ─▶ check order ─▶ fills ─▶ contracts, transitions, P2, P3, goods LISTED -> CONTRACT
                               ├▶ cash ──▶ P0
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

from engine import money as untyped_money
from engine.instruments import Instrument, load_instruments
from engine.records import CASH, INSTRUMENT_TERMS, LOT, ORDER, TRADE, Records, joined, select
from engine.vocabulary import Event, Flag, Side
from settlement import rows
from settlement.contracts import State, path_at_fill, text_hashes
from settlement.ledger import (
    INDEX_MAX,
    SEQUENCE_LAST_BOOKED,
    VAT_ON_FEE_PERCENT,
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

# Its functions read the same for ints, arrays and kernels, which no type says.
money: Any = untyped_money

Mask = npt.NDArray[np.bool_]

FIRST_ATTEMPT: Final = 1
CHAIN_START: Final = bytes(32)

# The legs of a fill, in the order of their entries (domain 4 P2, then P3).
BUYER_DEPOSIT, BUYER_FEE, BUYER_VAT, SELLER_FEE, SELLER_VAT, SELLER_DEPOSIT, ESCROW, BALANCE = range(8)


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
class Terms:
    """What a fill costs, per instrument number: basis points of deposit, fen per tonne of fee."""

    buyer_deposit_bp: Int64s
    seller_deposit_bp: Int64s
    fee_fen_per_tonne: Int64s

    @classmethod
    def of(cls, instruments: tuple[Instrument, ...]) -> "Terms":
        """The terms under which the instruments are defined in the engine."""
        terms = joined([instrument.terms() for instrument in instruments]).view(INSTRUMENT_TERMS)
        return cls(*(terms[name].astype(np.int64) for name in cls.__annotations__))


@dataclass(frozen=True)
class Outcomes:
    """What the engine answered to commands of the outbox, in rising order of their numbers."""

    number: Int64s
    applied: Mask
    reason: Int64s
    sequence: Int64s


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
    money_entries = join([part for part in (fills.money(), _cash(others)) if len(part.entry)])
    goods_entries = join([part for part in (fills.goods(), *_goods(others)) if len(part.entry)])
    return Batch(
        before=before,
        after=Position(int(events["sequence"][-1]), epoch, sha256(before.chain + events.tobytes()).digest()),
        events=len(events),
        contracts=fills.contracts(),
        transitions=fills.transitions(),
        money=_rows(rows.MONEY_ENTRY, "amount_fen", money_entries),
        goods=_rows(rows.GOODS_ENTRY, "quantity_kg", goods_entries),
        money_deltas=deltas(money_entries),
        goods_deltas=deltas(goods_entries),
        new_members=_accounts_opened(others),
        new_lots=_lots_registered(others),
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


@dataclass(frozen=True)
class Fills:
    """The fills of a batch as columns, with what each costs (domain 4 P2, domain 5)."""

    trades: Records
    number: Int64s  # entry number of the fill's first leg
    buyer: Int64s
    seller: Int64s
    lot: Int64s
    amount_fen: Int64s
    buyer_deposit_fen: Int64s
    seller_deposit_fen: Int64s
    buyer_fee_fen: Int64s
    seller_fee_fen: Int64s

    @classmethod
    def of(cls, trades: Records, terms: Terms) -> "Fills":
        """The parties and the charges of TRADE events."""
        buys = trades["side"] == Side.BUY  # the incoming order's
        incoming, resting = trades["account"].astype(np.int64), trades["counter_account"].astype(np.int64)
        quantity = trades["quantity_kg"]
        amount = money.amount_fen(trades["price_fen_per_tonne"], quantity)
        instrument = trades["instrument"]
        fee = money.fee_fen(quantity, terms.fee_fen_per_tonne[instrument])
        return cls(
            trades=trades,
            number=entry_number(trades["sequence"], trades["index"].astype(np.int64), 0),
            buyer=np.where(buys, incoming, resting),
            seller=np.where(buys, resting, incoming),
            lot=trades["lot"].copy(),
            amount_fen=amount,
            buyer_deposit_fen=money.deposit_fen(amount, terms.buyer_deposit_bp[instrument]),
            seller_deposit_fen=money.deposit_fen(amount, terms.seller_deposit_bp[instrument]),
            buyer_fee_fen=fee,
            seller_fee_fen=fee,
        )

    def contracts(self) -> Records:
        """One contract per fill, already PAID, with the hash of its text (domain 3, transitions 1-3)."""
        trades, buys = self.trades, self.trades["side"] == Side.BUY
        incoming, resting = trades["order_id"], trades["counter_order_id"]
        terms: dict[str, Any] = {
            "contract": trades["match_id"],
            "traded_ns": trades["time_ns"],
            "instrument": trades["instrument"],
            "lot": self.lot,
            "buyer": self.buyer,
            "seller": self.seller,
            "buyer_order": np.where(buys, incoming, resting),
            "seller_order": np.where(buys, resting, incoming),
            "price_fen_per_tonne": trades["price_fen_per_tonne"],
            "quantity_kg": trades["quantity_kg"],
            "amount_fen": self.amount_fen,
            "buyer_deposit_fen": self.buyer_deposit_fen,
            "seller_deposit_fen": self.seller_deposit_fen,
            "buyer_fee_fen": self.buyer_fee_fen,
            "seller_fee_fen": self.seller_fee_fen,
        }
        hashes = text_hashes(terms, len(trades))
        return rows.CONTRACT.rows(
            len(trades), fill=self.number, state=path_at_fill()[-1], terms_sha256=hashes, **terms
        )

    def transitions(self) -> Records:
        """The states that each contract has entered, one row each."""
        path = np.array(path_at_fill())
        return rows.TRANSITION.rows(
            len(self.trades) * len(path),
            contract=np.repeat(self.trades["match_id"], len(path)),
            entered_ns=np.repeat(self.trades["time_ns"], len(path)),
            state=np.tile(path, len(self.trades)),
            attempt=FIRST_ATTEMPT,
        )

    def money(self) -> Entries:
        """P2 and P3 of every fill: deposit and fees out of TRADING, the amount into the buyer's ESCROW."""
        net_buyer = money.net_of_vat_fen(self.buyer_fee_fen, VAT_ON_FEE_PERCENT)
        net_seller = money.net_of_vat_fen(self.seller_fee_fen, VAT_ON_FEE_PERCENT)
        buyer, seller = account(self.buyer, Money.TRADING), account(self.seller, Money.TRADING)
        deposit, escrow = account(self.buyer, Money.DEPOSIT), account(self.buyer, Money.ESCROW)
        fee, vat = account(0, Money.FEE), account(0, Money.FEE_VAT)
        p2, p3 = Posting.P2, Posting.P3
        return self._legs(
            (BUYER_DEPOSIT, p2, buyer, deposit, self.buyer_deposit_fen),
            (BUYER_FEE, p2, buyer, fee, net_buyer),
            (BUYER_VAT, p2, buyer, vat, self.buyer_fee_fen - net_buyer),
            (SELLER_FEE, p2, seller, fee, net_seller),
            (SELLER_VAT, p2, seller, vat, self.seller_fee_fen - net_seller),
            (SELLER_DEPOSIT, p2, seller, account(self.seller, Money.DEPOSIT), self.seller_deposit_fen),
            (ESCROW, p3, deposit, escrow, self.buyer_deposit_fen),
            (BALANCE, p3, buyer, escrow, self.amount_fen - self.buyer_deposit_fen),
        )

    def goods(self) -> Entries:
        """P2's goods: LISTED -> CONTRACT of the seller's lot."""
        listed, contract = account(self.lot, Goods.LISTED), account(self.lot, Goods.CONTRACT)
        return self._legs((0, Posting.P2, listed, contract, self.trades["quantity_kg"]))

    def _legs(self, *legs: tuple[int, Posting, Any, Any, Int64s]) -> Entries:
        """Entries, fill by fill, from (leg, posting, debit, credit, amount); amounts of 0 fall out."""
        used = [leg for leg in legs if leg[4].any()]
        shape = (len(self.trades), len(used))
        columns = np.empty((6, *shape), np.int64)
        for i, (leg, posting, debit, credit, amount) in enumerate(used):
            columns[0, :, i] = self.number + leg
            columns[1, :, i] = posting
            columns[2, :, i] = self.trades["match_id"]
            columns[3, :, i] = debit
            columns[4, :, i] = credit
            columns[5, :, i] = amount
        flat = columns.reshape(6, -1)
        return Entries(*(flat if flat[5].all() else flat[:, flat[5] != 0]))


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


def _outcomes(events: Records) -> Outcomes:
    """Answers to settlement's own commands: their tag is the outbox number, which no order's is."""
    cash = events.view(CASH)
    refused = (events["kind"] == Event.REJECTED) & (cash["tag"] == cash["outbox"].view(np.uint64))
    applied = np.isin(events["kind"], (*range(Event.ACCOUNT_OPENED, Event.LOT_WITHDRAWN + 1),))
    mine = (applied | refused) & (cash["outbox"] > 0)
    answers = cash[mine]
    return Outcomes(
        number=answers["outbox"].copy(),
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
