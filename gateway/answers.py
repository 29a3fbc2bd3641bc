"""Every response of lecong.v1.json as a type: `ok` says yes or no, `id` is the request's.

Law: a yes to a command is a durable acknowledgement, and an answer to a question names the sequence that it
describes.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.messages import Channel, ModeName, OnDisconnect, OrderTypeName, PhaseName, Side, TimeInForceName


class Error(msgspec.Struct, kw_only=True):
    """Why a request was refused: stable code, both languages, the field, whether a retry may help, and how
    FIX says it, where it does."""

    code: str
    message: str
    message_zh: str
    path: str
    retry: bool
    fix: str | UnsetType = UNSET


class Rejected(msgspec.Struct, kw_only=True):
    """The response to a request that had no effect; the engine's rejections also say when they were
    sequenced."""

    id: str | None
    ok: Literal[False] = False
    error: Error | msgspec.Raw  # written once and kept, where the engine refuses
    client_order_id: str | UnsetType = UNSET
    sequence: int | UnsetType = UNSET
    received_at: str | UnsetType = UNSET
    received_at_ns: int | UnsetType = UNSET
    sequenced_at: str | UnsetType = UNSET
    sequenced_at_ns: int | UnsetType = UNSET
    duplicate: bool | UnsetType = UNSET


class Response(msgspec.Struct, kw_only=True):
    """The base of every response that says yes."""

    id: str
    ok: Literal[True] = True


class Judged(Response, kw_only=True):
    """The base of every durable acknowledgement: the command's number, when it came and when it was
    stamped."""

    sequence: int
    received_at: str
    received_at_ns: int
    sequenced_at: str
    sequenced_at_ns: int


class OrderAccepted(Judged, kw_only=True):
    """The durable acknowledgement of new_order and pick: what the order had become when the command was
    done."""

    order_id: str
    client_order_id: str
    price: str
    quantity: str
    leaves: str
    cum: str
    amount: str
    average_price: str | None
    duplicate: bool


class OrderReplaced(Judged, kw_only=True):
    """The durable acknowledgement of replace_order: what the order had become when the command was done."""

    order_id: str
    client_order_id: str
    version: int
    kept_place: bool
    price: str
    quantity: str
    leaves: str
    cum: str


class MassCanceled(Judged, kw_only=True):
    """The durable acknowledgement of mass_cancel: how many orders it canceled."""

    canceled: int


class TimerSet(Judged, kw_only=True):
    """The durable acknowledgement of cancel_all_after: when the session's orders end; 0 and "": never."""

    due_at: str
    due_at_ns: int


class AccountBlocked(Judged, kw_only=True):
    """The durable acknowledgement of block_account: how many orders it canceled."""

    canceled: int


class OrderCanceled(Judged, kw_only=True):
    """The durable acknowledgement of cancel_order, and of a replace_order that left nothing."""

    order_id: str
    client_order_id: str
    canceled: str
    cum: str


class Done(Judged, kw_only=True):
    """The durable acknowledgement of an operator's command."""


class LoggedOn(Response, kw_only=True):
    """The session is the member's from now on."""

    member: int
    code: str
    name: str
    scopes: tuple[str, ...]
    session: str
    cancel_on_disconnect: OnDisconnect
    in_flight_max: int
    server_time: str
    server_time_ns: int


class Pong(Response, kw_only=True):
    """The server's time."""

    server_time: str
    server_time_ns: int


class OpenOrder(msgspec.Struct, kw_only=True):
    """One live order."""

    order_id: str
    client_order_id: str
    instrument: str
    side: Side
    type: OrderTypeName
    time_in_force: TimeInForceName
    price: str
    quantity: str
    leaves: str
    cum: str
    lot: str
    version: int


class OpenOrdersAnswer(Response, kw_only=True):
    """The live orders as of exactly `sequence`; `more` follow after the last one."""

    sequence: int
    orders: list[OpenOrder]
    more: bool


class BalanceAnswer(Response, kw_only=True):
    """The money as of exactly `sequence`."""

    sequence: int
    account_sequence: int
    currency: Literal["CNY"] = "CNY"
    available: str
    held: str


class LotState(msgspec.Struct, kw_only=True):
    """One lot: the register's words and the engine's kilograms."""

    lot: str
    instrument: str
    free: str
    listed: str
    contracted: str
    quantity: str
    receipt: str
    warehouse: str
    units: int


class LotsAnswer(Response, kw_only=True):
    """The lots as of exactly `sequence`; `more` follow after the last one."""

    sequence: int
    lots: list[LotState]
    more: bool


class Listing(msgspec.Struct, kw_only=True):
    """One live order that can be picked, with what is known of the goods."""

    order_id: str
    version: int
    side: Side
    price: str
    leaves: str
    minimum: str
    member: int
    lot: str
    warehouse: str
    units: int


class ListingsAnswer(Response, kw_only=True):
    """The listings as of exactly `sequence`; `more` follow after the last one."""

    sequence: int
    instrument: str
    listings: list[Listing]
    more: bool


class InstrumentState(msgspec.Struct, kw_only=True):
    """One instrument: terms and state."""

    instrument: str
    product: str
    product_zh: str
    grade: str
    spec: str
    mill: str
    mode: ModeName
    unit: str
    unit_weight: str
    tick: str
    step: str
    minimum: str
    phase: PhaseName
    reference: str
    lower: str
    upper: str
    last: str | None


class InstrumentsAnswer(Response, kw_only=True):
    """Every instrument as of exactly `sequence`."""

    sequence: int
    instruments: list[InstrumentState]


class MemberAdded(Response, kw_only=True):
    """The member's number, which is its account in the engine."""

    member: int


class LotRegistered(Response, kw_only=True):
    """The lot's number."""

    lot: str


class MoneyMoved(Response, kw_only=True):
    """The engine event that moved the money."""

    sequence: int


class Contract(msgspec.Struct, kw_only=True):
    """One contract; its id is the match id of the fill."""

    contract: str
    instrument: str
    buyer: int
    seller: int
    lot: str
    price: str
    quantity: str
    amount: str
    state: str
    traded_at: str
    traded_at_ns: int


class ContractsAnswer(Response, kw_only=True):
    """Contracts, oldest first; `more` follow after the last one."""

    contracts: list[Contract]
    more: bool


class Entry(msgspec.Struct, kw_only=True):
    """One ledger entry: `amount` (CNY or tonnes) leaves `debit` and arrives at `credit`."""

    entry: str
    posting: str
    unit: Literal["CNY", "t"]
    debit: str
    credit: str
    amount: str
    sequence: int


class EntriesAnswer(Response, kw_only=True):
    """The entries of a contract in the order of posting."""

    entries: list[Entry]


class Bust(msgspec.Struct, kw_only=True):
    """A proposal to reverse a trade; `proposer` and `decider` are public keys."""

    proposal: str
    contract: str
    state: str
    reason: str
    proposer: str
    decider: str


class BustNoted(Response, kw_only=True):
    """The proposal as it stands now, durable."""

    bust: Bust


class BustsAnswer(Response, kw_only=True):
    """Proposals, oldest first; `more` follow after the last one."""

    busts: list[Bust]
    more: bool


class Subscribed(Response, kw_only=True):
    """The channel was joined; for private, the stream continues after `account_sequence`."""

    channel: Channel
    instruments: tuple[str, ...] = ()
    account_sequence: int | UnsetType = UNSET


class Unsubscribed(Response, kw_only=True):
    """The channel was left."""

    channel: Channel


CommandAnswer = (
    OrderAccepted | OrderReplaced | MassCanceled | TimerSet | AccountBlocked | OrderCanceled | Done | Rejected
)
