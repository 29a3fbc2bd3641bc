"""What settlement's door understands: requests that are not orders, and their answers.

One leaf that gateway and settlement share, so that neither imports the other. On the Unix socket each message
is a 4-byte little-endian length and then JSON (msgspec) of one of these; answers carry the request's `id`,
pushes of the directory have none. All numbers are integers: fen, kilograms, member ids (= engine accounts),
nanoseconds.
"""

from typing import Final, Literal

import msgspec

MESSAGE_BYTES_MAX: Final = 4 << 20
LENGTH_BYTES: Final = 4

Scope = Literal["read", "trade", "warehouse", "settle", "operate"]


class Request(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", kw_only=True):
    """The base of every request; `id` correlates the answer."""

    id: int


class Key(msgspec.Struct, forbid_unknown_fields=True):
    """A public key of a member and what it may do; only public keys are stored (protocol.md, Session)."""

    public_key: str  # Ed25519, 64 hex digits
    scopes: tuple[Scope, ...]


class AddMember(Request, tag="add_member"):
    """Admit a company. Repeating a code with the same content returns the first answer; other content is
    refused.
    """

    code: str  # 1-32 characters of a-z 0-9 - _, unique
    name: str
    group: int = 0  # company group of another member (semantics D1); 0: a group of its own
    keys: tuple[Key, ...] = ()


class RegisterLot(Request, tag="register_lot"):
    """Register goods against a warehouse receipt (domain 1). Receipt and heat + piece are unique. Repeating a
    receipt with the same content returns the first answer; other content is refused.
    """

    member: int
    receipt: str
    instrument: str
    warehouse: str
    units: int
    quantity_kg: int
    heat: str = ""
    piece: str = ""  # coil number or bundle numbers
    production_date: str = ""  # YYYY-MM-DD
    quality: Literal["prime", "second", "defect"] = "prime"
    certificate_sha256: str = ""
    remark: str = ""


class Deposit(Request, tag="deposit"):
    """Money in: posting P0 when the engine has applied it. `reference` (the bank's) is unique and makes it
    repeatable.
    """

    member: int
    amount_fen: int
    reference: str


class Withdraw(Request, tag="withdraw"):
    """Money out, only from what the engine has free (P0 reversed)."""

    member: int
    amount_fen: int
    reference: str


class Contracts(Request, tag="contracts"):
    """The contracts of a member (0: of everybody) after a contract id, oldest first."""

    member: int
    after: int = 0
    limit: int = 100


class Entries(Request, tag="entries"):
    """The ledger entries, money and goods, of one contract."""

    contract: int


class ProposeBust(Request, tag="propose_bust"):
    """Propose to reverse a trade (semantics E8). `key`: the operator's public key, which is the person.
    Repeating it with the same reason returns the same answer.
    """

    contract: int
    key: str
    reason: str


class ConfirmBust(Request, tag="confirm_bust"):
    """Confirm what another operator has proposed: the trade is reversed. A repeat returns the first
    outcome.
    """

    contract: int
    key: str


class RejectBust(Request, tag="reject_bust"):
    """Drop a proposal, also one's own."""

    contract: int
    key: str


class Busts(Request, tag="busts"):
    """Proposals of every state after a number, oldest first."""

    after: int = 0
    limit: int = 100


class Directory(Request, tag="directory"):
    """Subscribe to members, keys and lots' descriptions: the whole now, then each change."""


BustRequest = ProposeBust | ConfirmBust | RejectBust | Busts
AnyRequest = AddMember | RegisterLot | Deposit | Withdraw | Contracts | Entries | BustRequest | Directory


class Failure(msgspec.Struct, kw_only=True):
    """A refused request: a stable code, the field it is about ("" when none), what to do, whether to try
    again.
    """

    code: str
    message: str
    field: str = ""
    retry: bool = False


class ContractRow(msgspec.Struct, kw_only=True):
    """One contract as clients see it."""

    contract: int  # = the fill's match id
    instrument: str
    buyer: int
    seller: int
    lot: int
    price_fen_per_tonne: int
    quantity_kg: int
    amount_fen: int
    state: str
    traded_ns: int


class EntryRow(msgspec.Struct, kw_only=True):
    """One ledger entry: `amount` leaves `debit` and arrives at `credit`; unit is "fen" or "kg"."""

    entry: int
    posting: str  # P0, P2, P3, P14 (domain 4), G1 registered, G2 listed, G3 unlisted, or R2 fees returned
    unit: Literal["fen", "kg"]
    debit: str  # "TRADING:7", "FEE", "LISTED:12"
    credit: str
    amount: int
    sequence: int


class BustRow(msgspec.Struct, kw_only=True):
    """One proposal to reverse a trade; keys are the persons."""

    proposal: int
    contract: int
    state: str  # proposed, ordered (confirmed, on its way), busted, refused (by the engine), dropped
    reason: str
    proposer: str
    decider: str  # "" while it waits


class MemberRow(msgspec.Struct, kw_only=True):
    """One member as the gateways keep it."""

    member: int  # = engine account
    code: str
    name: str
    group: int
    keys: tuple[Key, ...]


class LotRow(msgspec.Struct, kw_only=True):
    """What the register knows of a lot; its kilograms live in the engine."""

    lot: int
    member: int
    receipt: str
    instrument: str
    warehouse: str
    units: int
    quantity_kg: int


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The answer to the request `id`, or (id 0) a push of the directory: exactly one field besides `id` is
    set.
    """

    id: int
    failure: Failure | None = None
    member: int | None = None  # add_member
    lot: int | None = None  # register_lot
    sequence: int | None = None  # deposit, withdraw, confirm_bust: of the engine event that did it
    contracts: tuple[ContractRow, ...] | None = None
    entries: tuple[EntryRow, ...] | None = None
    busts: tuple[BustRow, ...] | None = None  # propose_bust, reject_bust: the one; busts: the page
    members: tuple[MemberRow, ...] | None = None  # directory
    lots: tuple[LotRow, ...] | None = None  # directory
