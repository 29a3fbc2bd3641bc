"""Records for people: a command or an event as a short dictionary of what it says.

Law: a field that belongs to another kind is not shown; codes have their wire names.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

import numpy as np

from engine.records import (
    CASH,
    COMMAND,
    EVENT,
    INSTRUMENT,
    INSTRUMENT_TERMS,
    LOT,
    ORDER,
    TRADE,
    Records,
    client_order_id_text,
)
from engine.vocabulary import (
    Command,
    Event,
    Flag,
    OrderType,
    Phase,
    Reason,
    Side,
    TimeInForce,
    wire_name,
)

NS_PER_S: Final = 1_000_000_000
CODES: Final[dict[str, type[IntEnum]]] = {
    "side": Side,
    "order_type": OrderType,
    "time_in_force": TimeInForce,
    "phase": Phase,
    "reason": Reason,
}
NOT_SHOWN: Final = frozenset({"sequence", "time_ns", "version", "kind", "index", "flags", "codes"})
WORDS: Final = ("client_order_id_0", "client_order_id_1")
OF_ORDERS: Final = frozenset({"side", "order_type", "time_in_force"})  # shown though 0
CASH_KINDS: Final = frozenset({Event.ACCOUNT_OPENED, Event.DEPOSITED, Event.WITHDRAWN})
LOT_KINDS: Final = frozenset({Event.LOT_REGISTERED, Event.LOT_WITHDRAWN})
FIRST_OF_MARKET: Final = int(Event.INSTRUMENT_DEFINED)


_CLIENTS: Final = frozenset(kind for kind in Command if kind < Command.OPEN_ACCOUNT)
_ORDERS: Final = frozenset({Command.NEW_ORDER, Command.REPLACE_ORDER})
_ALL_COMMANDS: Final = frozenset(Command)
# Fields that share their bytes with another kind's, each with the kinds that have it.
OF_COMMANDS: Final[dict[str, frozenset[Command]]] = {
    "session": _CLIENTS,
    "outbox": _ALL_COMMANDS - _CLIENTS,
    "stop_fen_per_tonne": _ORDERS,
    "amount_fen": _ALL_COMMANDS - _ORDERS,
    "display_quantity_kg": _ORDERS,
    "minimum_quantity_kg": _ORDERS,
    "listing_version": frozenset({Command.PICK}),
    "group": frozenset({Command.OPEN_ACCOUNT}),
    "scope": frozenset({Command.START_SESSION}),
    "profile": frozenset({Command.SET_PROFILE}),
    "match_id": frozenset({Command.BUST_TRADE}),
    "counter_amount_fen": frozenset({Command.BUST_TRADE}),
    "order_id": _ALL_COMMANDS - {Command.BUST_TRADE},
}
_SESSIONS: Final = frozenset({Event.SESSION_STARTED, Event.SESSION_ENDED, Event.TIMER_SET})
_TIMES: Final = frozenset({Event.TIMER_SET, Event.TIME_REACHED})
_REPLACED: Final = frozenset({Event.REPLACED})
OF_EVENTS: Final[dict[str, frozenset[Event]]] = {
    "session": _SESSIONS,
    "order_id": frozenset(Event) - _SESSIONS,
    "due_ns": _TIMES,
    "cum_kg": frozenset(Event) - _TIMES,
    "change_kg": _REPLACED,
    "amount_fen": frozenset(Event) - _REPLACED,
}


def command_note(command: Records) -> dict[str, Any]:
    """What one COMMAND record says."""
    kind = int(command["kind"][0])
    layout = INSTRUMENT_TERMS if kind == Command.DEFINE_INSTRUMENT else COMMAND
    return _head(command, Command) | _said(command.view(layout), kind == Command.NEW_ORDER, OF_COMMANDS)


def event_note(event: Records) -> dict[str, Any]:
    """What one EVENT record says."""
    kind = int(event["kind"][0])
    layout = _layout_of(kind)
    return _head(event, Event) | _said(event.view(layout), layout in (ORDER, TRADE), OF_EVENTS)


def line(note: dict[str, Any]) -> str:
    """A note on one line, without its events."""
    said = " ".join(f"{name}={value}" for name, value in note.items() if name not in ("kind", "at", "events"))
    return f"{note['kind']} {said}"


def _layout_of(kind: int) -> np.dtype[np.void]:
    if kind == Event.TRADE:
        return TRADE
    if kind in CASH_KINDS:
        return CASH
    if kind in LOT_KINDS:
        return LOT
    if kind >= FIRST_OF_MARKET:
        return INSTRUMENT
    return ORDER if kind < min(CASH_KINDS) else EVENT


def _head(record: Records, codes: type[IntEnum]) -> dict[str, Any]:
    time_ns = int(record["time_ns"][0])
    at = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return {
        "sequence": int(record["sequence"][0]),
        "kind": _code(codes, int(record["kind"][0])),
        "at": f"{at:%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_S:09d}Z",
    }


def _said(record: Records, is_order: bool, owners: Mapping[str, frozenset[Any]]) -> dict[str, Any]:
    """The fields that are not zero; of an order also side, type and time in force."""
    said: dict[str, Any] = {}
    names = record.dtype.names or ()
    flags, kind = int(record["flags"][0]), int(record["kind"][0])
    for name in names:
        value = record[name][0]
        if name in owners and kind not in owners[name]:
            continue
        if name in NOT_SHOWN or name in WORDS or (not value and not (is_order and name in OF_ORDERS)):
            continue
        said[name] = _shown(name, value)
    if WORDS[0] in names and record[WORDS[0]][0]:
        words = int(record[WORDS[0]][0]), int(record[WORDS[1]][0])
        said["client_order_id"] = words[0] if flags & Flag.BY_REFERENCE else client_order_id_text(*words)
    if flags:
        said["flags"] = [str(flag.name).lower() for flag in Flag if flags & flag]
    return said


def _shown(name: str, value: Any) -> Any:
    if name in CODES:
        return _code(CODES[name], int(value))
    return value.decode("ascii", "replace") if isinstance(value, bytes) else int(value)


def _code(codes: type[IntEnum], value: int) -> str | int:
    return wire_name(codes(value)) if value in codes._value2member_map_ else value
