"""The ledger's words and numbers: accounts, postings, entries, and what entries do to balances (domain 4).

Law: one entry is one transfer, `amount` leaves `debit` and arrives at `credit`; so every set of entries sums
to zero by construction, for money and for the kilograms of each lot, and a balance is what arrived minus what
left.

Money enters the books from outside through BANK, and goods through their lot's RECEIPT: a source account
whose balance is minus what it brought in (the registered kilograms). Without it a registration would create
kilograms from nothing and the entries of a lot would sum to the lot's weight instead of to zero. Only the
sources may be negative.

    account = member << 8 | kind          (money; the platform's own have member 0)
            = lot << 8 | kind             (goods)
    entry   = engine sequence << 26 | index of the event << 4 | leg
"""

from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

KIND_BITS: Final = 8
KIND_MASK: Final = (1 << KIND_BITS) - 1
LEG_BITS: Final = 4
INDEX_BITS: Final = 22  # four times what the engine's Capacity().events permits one command
SEQUENCE_SHIFT: Final = INDEX_BITS + LEG_BITS
INDEX_MAX: Final = (1 << INDEX_BITS) - 1
LEG_MAX: Final = (1 << LEG_BITS) - 1

# An entry number stays below 2**63, so the books end before engine.vocabulary.SEQUENCE_MAX, 2**41 - 1.
# Settlement stops a day of 100,000 commands a second earlier (2**33), so that who mends it has numbers left.
SEQUENCE_MAX: Final = (1 << 63 - SEQUENCE_SHIFT) - 1  # 2**37 - 1
SEQUENCE_LAST_BOOKED: Final = SEQUENCE_MAX - (1 << 33)
VAT_ON_FEE_PERCENT: Final = 6  # domain 2: service VAT, inside the fee


class Money(IntEnum):
    """Kinds of money account. Below 16: the platform's, one each. From 16: one per member."""

    BANK = 1
    FEE = 2
    FEE_VAT = 3
    PENALTY = 4
    ROUND = 5
    TRADING = 16
    DEPOSIT = 17
    ESCROW = 18


class Goods(IntEnum):
    """Kinds of goods account, one of each per lot."""

    RECEIPT = 1
    FREE = 2
    LISTED = 3
    CONTRACT = 4


MEMBER_MONEY: Final = (Money.TRADING, Money.DEPOSIT, Money.ESCROW)
LOT_GOODS: Final = tuple(Goods)
PLATFORM_MEMBER: Final = 0


class Posting(IntEnum):
    """Which rule wrote an entry: P as in domain 4; G the moves of goods that have no number there; R what
    reverses a P that domain 4 gives no reverse for.
    """

    P0 = 0  # money in or out
    P2 = 2  # fill
    P3 = 3  # payment
    P14 = 14  # called off, by a bust: escrow and deposits to their payers, goods free
    G1 = 101  # goods registered
    G2 = 102  # listed by a sell order, or by one that was replaced by a larger
    G3 = 103  # free again: the order ended, shrank, or met its own
    G4 = 104  # taken back by their owner
    R2 = 202  # the fees of a fill returned by its bust (semantics E8)


class Entries(NamedTuple):
    """Entries as columns of equal length, in rising order of `entry`; amounts in fen or in kilograms."""

    entry: Int64s
    posting: Int64s
    contract: Int64s  # 0: none
    debit: Int64s
    credit: Int64s
    amount: Int64s


class Deltas(NamedTuple):
    """What entries do to balances: each touched account once, in rising order."""

    account: Int64s
    amount: Int64s


def account(owner: Any, kind: int) -> Any:
    """The account of `kind` of a member (money) or a lot (goods); for ints and arrays alike.

    >>> account(7, Money.TRADING)
    1808
    """
    return owner << KIND_BITS | int(kind)


def entry_number(sequence: Any, index: Any, leg: Any) -> Any:
    """The number of leg `leg` of the event `index` of command `sequence`; for ints and arrays alike."""
    assert np.all(np.asarray(sequence) <= SEQUENCE_MAX), "settlement stops at SEQUENCE_LAST_BOOKED"
    assert np.all(np.asarray(index) <= INDEX_MAX), "entry numbers would collide"
    return sequence << SEQUENCE_SHIFT | index << LEG_BITS | leg


def entries_end(sequence: int) -> int:
    """The first entry number behind those of `sequence`: `entry < entries_end(s)` are the books as of s."""
    return (sequence + 1) << SEQUENCE_SHIFT


def account_name(number: int, kinds: type[Money] | type[Goods]) -> str:
    """The account in words: "TRADING:7", "LISTED:12"; the platform's without a number: "FEE"."""
    owner, kind = number >> KIND_BITS, kinds(number & KIND_MASK)
    return f"{kind.name}:{owner}" if owner else kind.name


def join(parts: list[Entries]) -> Entries:
    """Several sets of entries as one, in the order of their numbers."""
    if not parts:
        none = np.empty(0, np.int64)
        return Entries(none, none, none, none, none, none)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Entries(*(column[order] for column in columns))


def deltas(entries: Entries) -> Deltas:
    """The net change of every account that the entries touch; accounts whose change is nil are left out."""
    accounts = np.concatenate([entries.debit, entries.credit])
    touched, place = np.unique(accounts, return_inverse=True)
    count = len(entries.debit)
    net = np.zeros(len(touched), np.int64)
    np.subtract.at(net, place[:count], entries.amount)
    np.add.at(net, place[count:], entries.amount)
    moved = net != 0
    return Deltas(touched[moved], net[moved])
