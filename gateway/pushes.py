"""Every push of lecong.v1.json as a type: what a connection gets without asking, told apart by `channel`.

Law: depth and the private stream carry sequences with which a client proves that it missed nothing.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.answers import Error
from gateway.messages import OrderTypeName, Side, TimeInForceName


class Hello(msgspec.Struct, kw_only=True, tag_field="channel", tag="hello"):
    """The first frame of every connection: what logon signs."""

    connection_id: str
    nonce: str
    server_time: str
    server_time_ns: int
    logon_within_ms: int
    protocol: Literal["lecong.v1.json"] = "lecong.v1.json"


class Shutdown(msgspec.Struct, kw_only=True, tag_field="channel", tag="shutdown"):
    """The server ends the session: why, and when it will close with 1012."""

    code: str
    message: str
    message_zh: str
    close_at: str
    close_at_ns: int


class Failed(msgspec.Struct, kw_only=True, tag_field="channel", tag="error"):
    """The session ends for a reason that is no request's: `error` says why, then the socket is closed."""

    error: Error


class Level(msgspec.Struct, array_like=True):
    """One price level: price, quantity, orders. Quantity "0.000" in a delta removes the level."""

    price: str
    quantity: str
    orders: int


class Depth(msgspec.Struct, kw_only=True, tag_field="channel", tag="depth"):
    """The book of an instrument, or its change; `checksum` is the CRC32 of the top 10 after it."""

    type: Literal["snapshot", "delta"]
    instrument: str
    sequence: int
    previous_sequence: int | UnsetType = UNSET
    time: str
    time_ns: int
    bids: list[Level]
    asks: list[Level]
    checksum: int


class Bbo(msgspec.Struct, kw_only=True, tag_field="channel", tag="bbo"):
    """The best bid and the best ask, each time that one of them has changed; null: that side is empty."""

    instrument: str
    sequence: int
    time: str
    time_ns: int
    bid: Level | None
    ask: Level | None


class Indicative(msgspec.Struct, kw_only=True, tag_field="channel", tag="indicative"):
    """What the call auction would do now, or (uncrossed) what it did (semantics E4)."""

    type: Literal["indicative", "uncrossed"]
    instrument: str
    price: str | None
    quantity: str
    surplus: str
    surplus_side: Side | None
    reference: str
    sequence: int
    time: str
    time_ns: int


class PublicTrade(msgspec.Struct, kw_only=True):
    """One trade; `side` is the incoming order's (in an auction none came in: it says buy)."""

    match_id: str
    price: str
    quantity: str
    side: Side
    auction: bool
    sequence: int
    time: str
    time_ns: int


class Trades(msgspec.Struct, kw_only=True, tag_field="channel", tag="trades"):
    """Trades of an instrument; a snapshot repeats the latest that this gateway has seen, oldest first; what
    is busted was told before and is reversed (semantics E8)."""

    type: Literal["snapshot", "update", "busted"]
    instrument: str
    trades: list[PublicTrade]


class PrivateEvent(msgspec.Struct, kw_only=True, tag_field="event"):
    """The base of the private stream: account_sequence rises by one from event to event, whatever its
    kind."""

    channel: Literal["private"] = "private"
    member: int
    account_sequence: int
    sequence: int
    time: str
    time_ns: int


class OrderEvent(PrivateEvent, tag="order", kw_only=True):
    """Something happened to an order (`change`); when what was left was canceled, `reason` says why, and
    `fix` how FIX says it."""

    change: Literal["accepted", "replaced", "triggered", "refreshed", "canceled"]
    status: Literal["new", "partially_filled", "filled", "canceled"]
    order_id: str
    client_order_id: str
    version: int
    instrument: str
    side: Side
    type: OrderTypeName
    time_in_force: TimeInForceName
    price: str
    quantity: str
    leaves: str
    cum: str
    lot: str
    reason: str
    fix: str | UnsetType = UNSET


class FillEvent(PrivateEvent, tag="fill", kw_only=True):
    """A fill of one of the member's orders."""

    match_id: str
    order_id: str
    instrument: str
    side: Side
    role: Literal["maker", "taker", "auction"]
    price: str
    quantity: str
    leaves: str
    amount: str
    fee: str
    lot: str
    counterparty: int


class BustEvent(PrivateEvent, tag="busted", kw_only=True):
    """A trade of the member was reversed: money, fees and goods went back, orders stand (semantics E8)."""

    match_id: str
    instrument: str
    side: Side
    price: str
    quantity: str
    amount: str
    fee: str
    lot: str
    counterparty: int


class PreventedEvent(PrivateEvent, tag="prevented", kw_only=True):
    """Two orders of one company group met and both lost `quantity` instead of trading (semantics D1)."""

    order_id: str
    counter_order_id: str
    instrument: str
    side: Side
    price: str
    quantity: str
    leaves: str
    lot: str


class CashEvent(PrivateEvent, tag="cash", kw_only=True):
    """Money came, went, or the account was opened."""

    kind: str
    amount: str
    available: str
    held: str


class LotEvent(PrivateEvent, tag="lot", kw_only=True):
    """A lot was registered or withdrawn."""

    kind: str
    lot: str
    instrument: str
    quantity: str
    free: str
    listed: str
    contracted: str
