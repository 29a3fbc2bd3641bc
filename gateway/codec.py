"""Between JSON and the engine's records: message -> COMMAND bytes, EVENT rows -> tuples.

Law: offsets come from engine.records and nowhere else; a Struct here is compiled from a dtype, so a moved
field moves here too. `struct` and msgspec do the work per message; NumPy only sees whole batches.

    frame --decode_request--> message --new_order, ...--> 128 bytes      rows --..._of--> tuples --> encode
"""

import struct
from collections.abc import Callable, Iterator
from time import time_ns
from typing import Any, Final

import msgspec
import numpy as np

from engine.instruments import Instrument, load_instruments
from engine.records import CASH, COMMAND, LOT, ORDER, RECORD_BYTES, TRADE, Records, as_words
from engine.vocabulary import (
    RECORD_VERSION,
    Command,
    Flag,
    OrderType,
    Phase,
    ReplaceFlag,
    Scope,
    SelfTrade,
    Side,
    TimeInForce,
    wire_name,
)
from gateway import messages
from gateway.errors import Refusal
from gateway.notation import NS_PER_MS, parse_id, parse_price, parse_quantity, parse_time

CLIENT_ORDER_ID_CHARACTERS_MAX: Final = 16
_FORMATS: Final = {"<i8": "q", "<u8": "Q", "<i4": "i", "|u1": "B", "<i2": "h"}
_TEXT_FIELD: Final = "client_order_id_0"  # together with _1 the 16 bytes of a client order id


def record_struct(dtype: "np.dtype[np.void]", *names: str) -> struct.Struct:
    """A Struct of 128 bytes with the named fields, in order of offset; client_order_id_0 stands for all 16
    bytes."""
    parts, position = ["<"], 0
    for name in names:
        field, offset = dtype.fields[name][:2]  # type: ignore[index]
        assert offset >= position, f"{name} is named out of order"
        parts.append(f"{offset - position}x" if offset > position else "")
        parts.append("16s" if name == _TEXT_FIELD else _FORMATS[field.str])
        position = offset + (16 if name == _TEXT_FIELD else field.itemsize)
    return struct.Struct("".join(parts) + (f"{RECORD_BYTES - position}x" if position < RECORD_BYTES else ""))


_HEAD: Final = ("version", "kind")
_NEW_ORDER: Final = record_struct(
    COMMAND, *_HEAD, "side", "order_type", "time_in_force", "flags", "self_trade_mode", "account",
    "instrument", "tag", "session", _TEXT_FIELD, "price_fen_per_tonne", "quantity_kg", "lot",
    "minimum_quantity_kg",
    "stop_fen_per_tonne", "due_ns", "display_quantity_kg",
).pack  # fmt: skip
_CANCEL: Final = record_struct(
    COMMAND, *_HEAD, "flags", "account", "instrument", "tag", "session", _TEXT_FIELD, "order_id"
).pack
_REPLACE: Final = record_struct(
    COMMAND, *_HEAD, "flags", "account", "instrument", "tag", "session", _TEXT_FIELD, "order_id",
    "price_fen_per_tonne", "quantity_kg", "stop_fen_per_tonne",
).pack  # fmt: skip
_MASS_CANCEL: Final = record_struct(COMMAND, *_HEAD, "side", "account", "instrument", "tag", "session").pack
_SESSION: Final = record_struct(
    COMMAND, *_HEAD, "account", "instrument", "tag", "session", "due_ns", "scope"
).pack
_PICK: Final = record_struct(
    COMMAND, *_HEAD, "account", "instrument", "tag", "session", _TEXT_FIELD, "order_id", "quantity_kg",
    "lot", "listing_version",
).pack  # fmt: skip
_OPERATOR: Final = record_struct(
    COMMAND, *_HEAD, "phase", "account", "instrument", "tag", "price_fen_per_tonne", "due_ns"
).pack

# Every field of these tuples in order, as `unpack` yields them.
ORDER_FIELDS: Final = (
    "sequence", "time_ns", "kind", "side", "order_type", "time_in_force", "flags", "reason", "index",
    "instrument", "account", "listing_version", "tag", "account_sequence", "amount_fen", "order_id",
    _TEXT_FIELD, "price_fen_per_tonne", "quantity_kg", "leaves_kg", "cum_kg", "lot",
)  # fmt: skip
TRADE_FIELDS: Final = (
    "sequence", "time_ns", "kind", "side", "flags", "instrument", "account", "counter_account",
    "account_sequence", "counter_account_sequence", "order_id", "counter_order_id", "match_id",
    "price_fen_per_tonne", "quantity_kg", "leaves_kg", "counter_leaves_kg", "lot",
)  # fmt: skip
CASH_FIELDS: Final = (
    "sequence", "time_ns", "kind", "account", "account_sequence", "amount_fen", "available_fen", "held_fen",
)  # fmt: skip
LOT_FIELDS: Final = (
    "sequence", "time_ns", "kind", "instrument", "account", "account_sequence", "free_kg", "listed_kg",
    "quantity_kg",
    "contracted_kg", "lot",
)  # fmt: skip
_UNPACK: Final[dict[str, Callable[[bytes], Iterator[tuple[Any, ...]]]]] = {
    "order": record_struct(ORDER, *ORDER_FIELDS).iter_unpack,
    "trade": record_struct(TRADE, *TRADE_FIELDS).iter_unpack,
    "cash": record_struct(CASH, *CASH_FIELDS).iter_unpack,
    "lot": record_struct(LOT, *LOT_FIELDS).iter_unpack,
}
orders_of: Final = _UNPACK["order"]
trades_of: Final = _UNPACK["trade"]
cash_of: Final = _UNPACK["cash"]
lots_of: Final = _UNPACK["lot"]

INSTRUMENTS: Final[tuple[Instrument, ...]] = load_instruments()
INSTRUMENT_NUMBERS: Final[dict[str, int]] = {each.code: each.number for each in INSTRUMENTS}
INSTRUMENT_CODES: Final[tuple[str, ...]] = tuple(each.code for each in INSTRUMENTS)
SIDES: Final[tuple[messages.Side, messages.Side]] = ("buy", "sell")
_SIDE_NUMBERS: Final = {"buy": int(Side.BUY), "sell": int(Side.SELL)}
ORDER_TYPE_NAMES: Final[dict[int, Any]] = {int(kind): wire_name(kind) for kind in OrderType}
TIME_IN_FORCE_NAMES: Final[dict[int, Any]] = {int(force): wire_name(force) for force in TimeInForce}
_ORDER_TYPE_NUMBERS: Final = {wire_name(kind): int(kind) for kind in OrderType}
_TIME_IN_FORCE_NUMBERS: Final = {wire_name(force): int(force) for force in TimeInForce}
_SELF_TRADE_NUMBERS: Final = {wire_name(mode): int(mode) for mode in SelfTrade}
_PRICED: Final = frozenset({"limit", "stop_limit"})  # the types that have a limit price
_VERSION: Final = int(RECORD_VERSION)
_KIND_NEW_ORDER, _KIND_CANCEL, _KIND_PICK = (
    int(Command.NEW_ORDER),
    int(Command.CANCEL_ORDER),
    int(Command.PICK),
)
_KIND_REPLACE, _KIND_MASS_CANCEL = int(Command.REPLACE_ORDER), int(Command.MASS_CANCEL)
_BY_CLIENT_ORDER_ID, _POST_ONLY = int(Flag.BY_CLIENT_ORDER_ID), int(Flag.POST_ONLY)
_KEEP_ON_DISCONNECT: Final = int(Flag.KEEP_ON_DISCONNECT)
_SCOPES: Final = {"off": int(Scope.NONE), "session": int(Scope.SESSION), "account": int(Scope.ACCOUNT)}
_BY_LEAVES: Final = int(ReplaceFlag.BY_LEAVES)
_ANY_INSTRUMENT, _ANY_SIDE = -1, 255  # of a mass cancel

encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(messages.AnyRequest).decode


def decode_request(frame: bytes) -> messages.AnyRequest:
    """The message of a frame. Raises Refusal with the path of the bad field."""
    try:
        message: messages.AnyRequest = _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal_of(error) from None
    return message


class _Envelope(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw()


def request_id_of(frame: bytes) -> str | None:
    """The request id of a frame that is otherwise wrong, when it has a usable one."""
    try:
        return msgspec.json.decode(msgspec.json.decode(frame, type=_Envelope).id, type=messages.RequestId)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _refusal_of(error: Exception) -> Refusal:
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Refusal("malformed_json", detail=text)
    what, _, path = text.partition(" - at `")
    path = path.rstrip("`") or "$"
    name = what.partition("`")[2].partition("`")[0]
    if what.startswith("Object contains unknown field"):
        return Refusal("unknown_field", f"{path}.{name}")
    if what.startswith("Object missing required field"):
        return Refusal("missing_field", f"{path}.{name}")
    if path == "$.op" and what.startswith("Invalid value"):
        return Refusal("unknown_op", path)
    if what.startswith("Invalid enum value") or " of length " in what or ">=" in what or "<=" in what:
        return Refusal("invalid_value", path, what)
    return Refusal("wrong_type", path, what)


def instrument_number(code: str, path: str = "$.instrument") -> int:
    """The engine's number of an instrument's code. Raises Refusal unknown_instrument."""
    number = INSTRUMENT_NUMBERS.get(code)
    if number is None:
        raise Refusal("unknown_instrument", path)
    return number


def client_order_id_bytes(text: str) -> bytes:
    """The 1-16 printable ASCII bytes of a client order id, verbatim (semantics C8)."""
    if 0 < len(text) <= CLIENT_ORDER_ID_CHARACTERS_MAX and text.isascii() and text.isprintable():
        return text.encode("ascii")
    raise Refusal("invalid_client_order_id", "$.client_order_id")


def client_order_id_text(padded: bytes) -> str:
    """The client order id of its 16 zero-padded bytes."""
    return padded.rstrip(b"\0").decode("ascii", "replace")


def new_order(message: messages.NewOrder, account: int, tag: int, session: int = 0) -> bytes:
    """The NEW_ORDER command of a message. Raises Refusal; whether its terms fit together the core judges."""
    number = INSTRUMENT_NUMBERS.get(message.instrument)
    if number is None:
        raise Refusal("unknown_instrument", "$.instrument")
    if bool(message.price) != (message.type in _PRICED):
        raise Refusal("price_not_for_type" if message.price else "missing_field", "$.price")
    display, minimum = message.display_quantity, message.min_quantity
    return _NEW_ORDER(
        _VERSION,
        _KIND_NEW_ORDER,
        _SIDE_NUMBERS[message.side],
        _ORDER_TYPE_NUMBERS[message.type],
        _TIME_IN_FORCE_NUMBERS[message.time_in_force],
        (_POST_ONLY if message.post_only else 0) | (_KEEP_ON_DISCONNECT if message.keep_on_disconnect else 0),
        _SELF_TRADE_NUMBERS[message.self_trade_mode],
        account,
        number,
        tag,
        session,
        client_order_id_bytes(message.client_order_id),
        parse_price(message.price) if message.price else 0,
        parse_quantity(message.quantity),
        parse_id(message.lot, "$.lot") if message.lot else 0,
        parse_quantity(minimum, "$.min_quantity") if minimum else 0,
        parse_price(message.stop_price, "$.stop_price") if message.stop_price else 0,
        parse_time(message.expire_at, "$.expire_at") if message.expire_at else 0,
        parse_quantity(display, "$.display_quantity") if display else 0,
    )


def cancel_order(message: messages.CancelOrder, account: int, tag: int, session: int = 0) -> bytes:
    """The CANCEL_ORDER command of a message."""
    flags, client_order_id, order_id = _order_named(message)
    return _CANCEL(_VERSION, _KIND_CANCEL, flags, account, -1, tag, session, client_order_id, order_id)


def _order_named(message: messages.CancelOrder | messages.ReplaceOrder) -> tuple[int, bytes, int]:
    """(flags, client order id, order id) of the order meant. Raises Refusal unless one id is given."""
    if bool(message.order_id) == bool(message.client_order_id):
        raise Refusal("order_not_named", "$.order_id")
    if message.order_id:
        return 0, b"", parse_id(message.order_id, "$.order_id")
    return _BY_CLIENT_ORDER_ID, client_order_id_bytes(message.client_order_id), 0


def replace_order(message: messages.ReplaceOrder, account: int, tag: int, session: int = 0) -> bytes:
    """The REPLACE_ORDER command of a message: what it does not name is 0 there, which keeps it.

    A quantity of zero means what it says, the order's end, so it travels as leaves.
    """
    flags, client_order_id, order_id = _order_named(message)
    price = _kept_or(parse_price, message.price, "$.price")
    stop_price = _kept_or(parse_price, message.stop_price, "$.stop_price")
    if message.quantity and message.leaves:
        raise Refusal("quantity_twice", "$.leaves")
    if not (price or stop_price or message.quantity or message.leaves):
        raise Refusal("nothing_to_replace")
    quantity_kg = parse_quantity(message.quantity) if message.quantity else 0
    if message.leaves:
        quantity_kg = parse_quantity(message.leaves, "$.leaves")
    if message.leaves or (message.quantity and quantity_kg == 0):
        flags |= _BY_LEAVES
    return _REPLACE(
        _VERSION, _KIND_REPLACE, flags, account, -1, tag, session, client_order_id, order_id, price,
        quantity_kg, stop_price,
    )  # fmt: skip


def _kept_or(parse: Callable[[str, str], int], text: str, path: str) -> int:
    """The number of a field, 0 where it is left out; a zero that is written is no price."""
    if not text:
        return 0
    value = parse(text, path)
    if value == 0:
        raise Refusal("invalid_value", path)
    return value


def mass_cancel(message: messages.MassCancel, account: int, tag: int, session: int = 0) -> bytes:
    """The MASS_CANCEL command, of one instrument or any, one side or both, this session or any: there the
    session is not the sender's but the one meant."""
    if message.this_session and not session:
        raise Refusal("invalid_value", "$.this_session")
    number = _ANY_INSTRUMENT if message.instrument is None else instrument_number(message.instrument)
    side = _ANY_SIDE if message.side is None else _SIDE_NUMBERS[message.side]
    meant = session if message.this_session else 0
    return _MASS_CANCEL(_VERSION, _KIND_MASS_CANCEL, side, account, number, tag, meant)


def start_session(account: int, on_disconnect: messages.OnDisconnect, tag: int) -> bytes:
    """The START_SESSION command: what its end cancels is chosen here (semantics C7)."""
    return _SESSION(_VERSION, Command.START_SESSION, account, -1, tag, 0, 0, _SCOPES[on_disconnect])


def end_session(account: int, tag: int, session: int) -> bytes:
    """The END_SESSION command."""
    return _SESSION(_VERSION, Command.END_SESSION, account, -1, tag, session, 0, 0)


def cancel_all_after(message: messages.CancelAllAfter, account: int, tag: int, session: int = 0) -> bytes:
    """The CANCEL_ALL_AFTER command: after so many milliseconds of the gateway's clock, or at a time."""
    if (message.timeout_ms is None) != bool(message.expire_at):
        raise Refusal("timer_not_named", "$.timeout_ms")
    if message.expire_at:
        due_ns = parse_time(message.expire_at, "$.expire_at")
    else:
        due_ns = time_ns() + message.timeout_ms * NS_PER_MS if message.timeout_ms else 0
    return _SESSION(_VERSION, Command.CANCEL_ALL_AFTER, account, -1, tag, session, due_ns, 0)


def pick(message: messages.Pick, account: int, tag: int, session: int = 0) -> bytes:
    """The PICK command of a message. Raises Refusal unless it names either kilograms, to take of a sell, or a
    lot, to give to a bid: of a lot the core takes all that is free, whatever quantity stands beside it."""
    client_order_id = client_order_id_bytes(message.client_order_id)
    order_id = parse_id(message.order_id, "$.order_id")
    if bool(message.quantity) == bool(message.lot):
        raise Refusal("quantity_or_lot", "$.lot" if message.lot else "$.quantity")
    quantity_kg = parse_quantity(message.quantity) if message.quantity else 0
    lot = parse_id(message.lot, "$.lot") if message.lot else 0
    return _PICK(
        _VERSION, _KIND_PICK, account, -1, tag, session, client_order_id, order_id, quantity_kg, lot,
        message.version,
    )  # fmt: skip


def set_phase(message: messages.SetPhase, account: int, tag: int, session: int = 0) -> bytes:
    """The SET_PHASE command, for one instrument or all."""
    number = -1 if message.instrument is None else instrument_number(message.instrument)
    phase = Phase[message.phase.upper()]
    return _OPERATOR(_VERSION, Command.SET_PHASE, phase, 0, number, tag, 0, 0)


def set_reference(message: messages.SetReference, account: int, tag: int, session: int = 0) -> bytes:
    """The SET_REFERENCE command."""
    number = instrument_number(message.instrument)
    return _OPERATOR(_VERSION, Command.SET_REFERENCE, 0, 0, number, tag, parse_price(message.price), 0)


def roll_day(message: messages.RollDay, account: int, tag: int, session: int = 0) -> bytes:
    """The ROLL_DAY command."""
    return _OPERATOR(_VERSION, Command.ROLL_DAY, 0, 0, -1, tag, 0, 0)


def set_clock(message: messages.SetClock, account: int, tag: int, session: int = 0) -> bytes:
    """The SET_CLOCK command."""
    return _OPERATOR(_VERSION, Command.SET_CLOCK, 0, 0, -1, tag, 0, message.time_ns)


def block_account(message: messages.BlockAccount, account: int, tag: int, session: int = 0) -> bytes:
    """The BLOCK_ACCOUNT command, of the member that the operator names."""
    return _OPERATOR(_VERSION, Command.BLOCK_ACCOUNT, 0, message.member, -1, tag, 0, 0)


def release_account(message: messages.ReleaseAccount, account: int, tag: int, session: int = 0) -> bytes:
    """The RELEASE_ACCOUNT command."""
    return _OPERATOR(_VERSION, Command.RELEASE_ACCOUNT, 0, message.member, -1, tag, 0, 0)


def commands_from(packed: list[bytes]) -> Records:
    """The COMMAND records of packed commands, without a copy per record."""
    return np.frombuffer(b"".join(packed), COMMAND)


def rows_of(events: Records) -> bytes:
    """The bytes of EVENT rows, for the iterators above."""
    return as_words(events).tobytes()
