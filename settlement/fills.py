"""The fills of a batch as columns: what each costs, its contract, its entries, and what a bust gives back.

Law: what a bust gives back is reckoned by the formulas that took it, so that a fill and its bust leave every
account as it was. The profile is FULL_PAY: a contract is paid at its fill, and a bust finds it paid.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine import money as untyped_money
from engine.instruments import Instrument
from engine.records import INSTRUMENT_TERMS, Records, joined
from engine.vocabulary import Side
from settlement import rows
from settlement.contracts import State, path_at_fill, text_hashes
from settlement.ledger import (
    VAT_ON_FEE_PERCENT,
    Entries,
    Goods,
    Int64s,
    Money,
    Posting,
    account,
    entry_number,
)

# Its functions read the same for ints, arrays and kernels, which no type says.
money: Any = untyped_money

FIRST_ATTEMPT: Final = 1

# The legs of a fill, in the order of their entries (domain 4 P2, then P3).
BUYER_DEPOSIT, BUYER_FEE, BUYER_VAT, SELLER_FEE, SELLER_VAT, SELLER_DEPOSIT, ESCROW, BALANCE = range(8)


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

    def transitions(self, states: tuple[State, ...]) -> Records:
        """The states that each contract enters, one row each, in this order."""
        path = np.array(states)
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

    def money_back(self) -> Entries:
        """What a bust gives back, in new entries: P14, the amount out of ESCROW and the seller's deposit,
        each to its payer, and R2, the fees with their VAT (domain 4, semantics E8).
        """
        net_buyer = money.net_of_vat_fen(self.buyer_fee_fen, VAT_ON_FEE_PERCENT)
        net_seller = money.net_of_vat_fen(self.seller_fee_fen, VAT_ON_FEE_PERCENT)
        buyer, seller = account(self.buyer, Money.TRADING), account(self.seller, Money.TRADING)
        fee, vat = account(0, Money.FEE), account(0, Money.FEE_VAT)
        p14, r2 = Posting.P14, Posting.R2
        return self._legs(
            (BUYER_FEE, r2, fee, buyer, net_buyer),
            (BUYER_VAT, r2, vat, buyer, self.buyer_fee_fen - net_buyer),
            (SELLER_FEE, r2, fee, seller, net_seller),
            (SELLER_VAT, r2, vat, seller, self.seller_fee_fen - net_seller),
            (SELLER_DEPOSIT, p14, account(self.seller, Money.DEPOSIT), seller, self.seller_deposit_fen),
            (ESCROW, p14, account(self.buyer, Money.ESCROW), buyer, self.amount_fen),
        )

    def goods_back(self) -> Entries:
        """P14's goods: CONTRACT -> FREE of the seller's lot."""
        contract, free = account(self.lot, Goods.CONTRACT), account(self.lot, Goods.FREE)
        return self._legs((0, Posting.P14, contract, free, self.trades["quantity_kg"]))

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
