"""Every request of lecong.v1.json as a type; answers.py and pushes.py hold what comes back, PROTOCOL.md the
words.

Law: no behaviour inside wire types. Requests are told apart by `op`, unknown fields are errors.
Decimals, order ids,
match ids, contracts and lots are strings; member numbers, sequences and nanoseconds are integers.
"""

from typing import Annotated, Final, Literal

import msgspec

PAGE_ROWS_MAX: Final = 1000  # of one answer: about 300 bytes each, far below OUTBOX_PRIVATE_BYTES_MAX

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
MemberNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
TimerMs = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]  # up to a day
Name = Annotated[str, msgspec.Meta(max_length=256)]
PageLimit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_ROWS_MAX)]
RequestId = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]
Side = Literal["buy", "sell"]
OrderTypeName = Literal["limit", "market", "stop", "stop_limit", "market_to_limit"]
TimeInForceName = Literal["day", "gtc", "at_open", "ioc", "fok", "gtd", "continuous_only"]
SelfTradeName = Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement", "allow"]
ModeName = Literal["book", "listed"]
OnDisconnect = Literal["off", "session", "account"]
Channel = Literal["depth", "bbo", "trades", "indicative", "private"]
PhaseName = Literal["closed", "halted", "continuous", "pre_open", "auction", "no_cancel"]


class Request(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", kw_only=True):
    """The base of every request."""

    id: RequestId


class Logon(Request, tag="logon"):
    """Prove the key: Ed25519 over the canonical text of nonce, timestamp and connection id
    (session.canonical_text)."""

    key: str
    timestamp_ns: Count
    signature: str
    cancel_on_disconnect: OnDisconnect = "off"
    take_over: str = ""


class Ping(Request, tag="ping"):
    """Ask for the server's time; also shows that the session lives."""


class NewOrder(Request, tag="new_order"):
    """Place an order (semantics B); a sell names the lot that covers it."""

    client_order_id: str
    instrument: str
    side: Side
    quantity: str
    price: str = ""
    type: OrderTypeName = "limit"
    time_in_force: TimeInForceName = "day"
    lot: str = ""
    stop_price: str = ""
    display_quantity: str = ""
    min_quantity: str = ""
    post_only: bool = False
    self_trade_mode: SelfTradeName = "cancel_newest"
    expire_at: str = ""
    keep_on_disconnect: bool = False


class CancelOrder(Request, tag="cancel_order"):
    """Cancel what is left of an order, named by exactly one of the two ids."""

    order_id: str = ""
    client_order_id: str = ""


class ReplaceOrder(Request, tag="replace_order"):
    """Change a live order's price, stop or quantity: its new total, or what is to be left (semantics C1)."""

    order_id: str = ""
    client_order_id: str = ""
    price: str = ""
    stop_price: str = ""
    quantity: str = ""
    leaves: str = ""


class MassCancel(Request, tag="mass_cancel"):
    """Cancel the member's live orders: all, or those of an instrument, a side, this session, or of each named
    (semantics C5)."""

    instrument: str | None = None
    side: Side | None = None
    this_session: bool = False


class CancelAllAfter(Request, tag="cancel_all_after"):
    """The dead-man timer: cancel this session's orders unless it is set again in time (semantics C7)."""

    timeout_ms: TimerMs | None = None
    expire_at: str = ""


class Pick(Request, tag="pick"):
    """Take a listing at its price: so much of a sell, or a bid with all that a lot has free (semantics F2);
    `version` is the one seen in `listings`."""

    client_order_id: str
    order_id: str
    version: Count
    quantity: str = ""
    lot: str = ""


class OpenOrders(Request, tag="open_orders"):
    """The member's live orders after an order id, in order of entry."""

    after: str = "0"
    limit: PageLimit = PAGE_ROWS_MAX


class Balances(Request, tag="balances"):
    """The member's money: available and held."""


class Lots(Request, tag="lots"):
    """The member's lots after a lot, with their free, listed and contracted quantity."""

    after: str = "0"
    limit: PageLimit = PAGE_ROWS_MAX


class Listings(Request, tag="listings"):
    """The live orders of an instrument, best price first, behind the one named by `after`, with the ids and
    versions that a pick needs."""

    instrument: str
    after: str = "0"
    limit: PageLimit = PAGE_ROWS_MAX


class Instruments(Request, tag="instruments"):
    """Every instrument: what it is, its phase, band and last price."""


class Contracts(Request, tag="contracts"):
    """The member's contracts after a contract id; with scope operate those of `member`, or of all (0)."""

    member: MemberNumber | None = None
    after: str = "0"
    limit: PageLimit = 100


class Entries(Request, tag="entries"):
    """The ledger entries of one contract."""

    contract: str


class KeyOfMember(msgspec.Struct, forbid_unknown_fields=True):
    """A public key and its scopes."""

    public_key: str
    scopes: tuple[Literal["read", "trade", "warehouse", "settle", "operate"], ...]


class AddMember(Request, tag="add_member"):
    """Admit a company; repeatable by its code."""

    code: Name
    name: Name
    group: MemberNumber = 0
    keys: tuple[KeyOfMember, ...] = ()


class RegisterLot(Request, tag="register_lot"):
    """Register goods against a warehouse receipt; repeatable by the receipt."""

    member: MemberNumber
    receipt: Name
    instrument: str
    warehouse: Name
    units: Count
    quantity: str
    heat: Name = ""
    piece: Name = ""
    production_date: Name = ""
    quality: Literal["prime", "second", "defect"] = "prime"
    certificate_sha256: Name = ""
    remark: Name = ""


class Deposit(Request, tag="deposit"):
    """Money in; repeatable by the bank's reference."""

    member: MemberNumber
    amount: str
    reference: Name


class Withdraw(Request, tag="withdraw"):
    """Money out, only from what is available; repeatable by the reference."""

    member: MemberNumber
    amount: str
    reference: Name


class BustTrade(Request, tag="bust_trade"):
    """Propose to reverse a trade; another operator confirms (semantics E8). Repeatable."""

    contract: str
    reason: Name


class ConfirmBust(Request, tag="confirm_bust"):
    """Confirm what another operator proposed: the trade is reversed. Repeatable."""

    contract: str


class RejectBust(Request, tag="reject_bust"):
    """Drop a proposal, also one's own."""

    contract: str


class Busts(Request, tag="busts"):
    """The proposals after one, with what became of them, oldest first."""

    after: str = "0"
    limit: PageLimit = 100


class SetPhase(Request, tag="set_phase"):
    """Move one instrument, or all, to a phase (semantics E1)."""

    phase: PhaseName
    instrument: str | None = None


class SetReference(Request, tag="set_reference"):
    """Set a closed instrument's reference price; the band follows."""

    instrument: str
    price: str


class RollDay(Request, tag="roll_day"):
    """Begin the next trading day; every instrument must be closed."""


class SetClock(Request, tag="set_clock"):
    """Move a stepped clock forward."""

    time_ns: Count


class BlockAccount(Request, tag="block_account"):
    """The kill switch: cancel the member's orders, then refuse new ones until it is released (semantics
    C6)."""

    member: MemberNumber


class ReleaseAccount(Request, tag="release_account"):
    """The member may enter orders again."""

    member: MemberNumber


class ResumeFrom(msgspec.Struct, forbid_unknown_fields=True):
    """Where the private stream was left: the last account_sequence seen; `sequence` only shortens the
    search."""

    account_sequence: Count
    sequence: Count = 0


class Subscribe(Request, tag="subscribe"):
    """Join a channel: a public one of instruments, or the member's private stream."""

    channel: Channel
    instruments: Annotated[tuple[str, ...], msgspec.Meta(max_length=100)] = ()
    resume_from: ResumeFrom | None = None


class Unsubscribe(Request, tag="unsubscribe"):
    """Leave a channel."""

    channel: Channel
    instruments: Annotated[tuple[str, ...], msgspec.Meta(max_length=100)] = ()


OrderRequest = NewOrder | CancelOrder | ReplaceOrder | MassCancel | Pick | CancelAllAfter
OperatorRequest = SetPhase | SetReference | RollDay | SetClock | BlockAccount | ReleaseAccount
CommandRequest = OrderRequest | OperatorRequest
QueryRequest = OpenOrders | Balances | Lots | Listings | Instruments
BustRequest = BustTrade | ConfirmBust | RejectBust | Busts
SettlementRequest = AddMember | RegisterLot | Deposit | Withdraw | Contracts | Entries | BustRequest
AnyRequest = Logon | Ping | CommandRequest | QueryRequest | SettlementRequest | Subscribe | Unsubscribe
