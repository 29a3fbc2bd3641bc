"""The words of `python -m engine match`: a line's values read and checked, an event said as a line.

Law: what is wrong with a line is a LineError that says what to change; nothing else escapes.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from engine.vocabulary import (
    Event,
    Flag,
    OrderType,
    Phase,
    Reason,
    ReplaceFlag,
    SelfTrade,
    Side,
    TimeInForce,
)

Line = dict[str, Any]
Word = TypeVar("Word")

INTEGER_MAX: Final = 2**62
SIDES: Final = {side.name.lower(): side for side in Side}
TYPES: Final = {kind.name.lower(): kind for kind in OrderType}
FORCES: Final = {name: TimeInForce[name] for name in ("GTC", "DAY", "IOC", "FOK", "GTD")}
MODES: Final = {mode.name.lower(): mode for mode in SelfTrade}
PHASES: Final = {phase.name.lower(): phase for phase in Phase}
REASONS: Final = {int(reason): reason.name.lower() for reason in Reason}
SIDE_NAMES: Final = {int(side): side.name.lower() for side in Side}


class LineError(Exception):
    """A line that cannot be understood."""


def text(line: Line, key: str, default: str | None = None) -> str:
    """A string that is not empty; the default where the line does not name it."""
    value = line.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value:
        raise LineError(f"{key} must be a string")
    return value


def integer(line: Line, key: str, default: int | None = None) -> int:
    """An integer; the default where the line does not name it."""
    value = line.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= INTEGER_MAX:
        raise LineError(f"{key} must be an integer")
    return value


def choice(line: Line, key: str, words: Mapping[str, Word], default: Word | None = None) -> Word:
    """One of several words; the default where the line does not name it."""
    value = line.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or value not in words:
        raise LineError(f"{key} must be one of {', '.join(words)}")
    return words[value]


def order_fields(line: Line, mode: SelfTrade) -> dict[str, int]:
    """The fields of a NEW_ORDER command; `mode` is the default of self-trade prevention."""
    force = choice(line, "tif", FORCES, TimeInForce.GTC)
    flags = Flag.BY_REFERENCE | (Flag.POST_ONLY if line.get("post_only") else Flag(0))
    return {
        "side": choice(line, "side", SIDES),
        "order_type": choice(line, "type", TYPES),
        "time_in_force": force,
        "self_trade_mode": choice(line, "stp", MODES, mode),
        "flags": flags,
        "price_fen_per_tonne": integer(line, "price", 0),
        "quantity_kg": integer(line, "qty"),
        "stop_fen_per_tonne": integer(line, "stop", 0),
        "display_quantity_kg": integer(line, "display", 0),
        "minimum_quantity_kg": integer(line, "min_qty", 0),
        "due_ns": integer(line, "expire_at", 0) if force is TimeInForce.GTD else 0,
    }


def replace_fields(line: Line) -> dict[str, int]:
    """The fields of a REPLACE_ORDER command: what the line does not name stays (semantics C1)."""
    fields = {
        "price_fen_per_tonne": integer(line, "price", 0),
        "stop_fen_per_tonne": integer(line, "stop", 0),
    }
    if line.get("leaves") is not None:
        return fields | {"quantity_kg": max(integer(line, "leaves"), 0), "flags": int(ReplaceFlag.BY_LEAVES)}
    if line.get("qty") is None:
        return fields
    quantity = integer(line, "qty")
    if quantity <= 0:  # a total of nothing: 0 would mean "as it is"
        return fields | {"quantity_kg": 0, "flags": int(ReplaceFlag.BY_LEAVES)}
    return fields | {"quantity_kg": quantity}


class Said:
    """The columns of a batch's events that lines are made of, as Python integers."""

    NAMES: Final = (
        "sequence",
        "kind",
        "side",
        "flags",
        "reason",
        "order_id",
        "counter_order_id",
        "price_fen_per_tonne",
        "quantity_kg",
        "leaves_kg",
        "counter_leaves_kg",
    )

    def __init__(self, events: Any) -> None:
        self.rows = list(zip(*(events[name].tolist() for name in self.NAMES), strict=True))


def order_line(kind: int, name: str, quantity: int, price: int, leaves: int, flags: int, reason: int) -> Line:
    """A fact about one order."""
    if kind == Event.CANCELED:
        if reason == Reason.EXPIRED:
            return {"ev": "expired", "id": name, "qty": quantity}
        return {"ev": "canceled", "id": name, "qty": quantity, "reason": REASONS[reason]}
    if kind == Event.REPLACED:
        kept = bool(flags & Flag.KEPT_PLACE)
        return {"ev": "replaced", "id": name, "price": price, "leaves": leaves, "kept_place": kept}
    return {"ev": "triggered" if kind == Event.TRIGGERED else "accepted", "id": name}


def pair_line(
    kind: int, resting: str, incoming: str, side: int, price: int, quantity: int, flags: int
) -> Line:
    """A trade, or kilograms that prevention took from both."""
    if kind == Event.PREVENTED:
        return {"ev": "prevented", "maker": resting, "taker": incoming, "qty": quantity}
    if flags & Flag.IN_AUCTION:
        return {"ev": "trade", "buy": incoming, "sell": resting, "price": price, "qty": quantity}
    line = {"ev": "trade", "maker": resting, "taker": incoming, "price": price, "qty": quantity}
    return line | {"side": SIDE_NAMES[side]}


def auction_line(price: int, volume: int, surplus: int, side: int) -> Line:
    """What the uncross did; price null when nothing traded."""
    of = SIDE_NAMES[side] if surplus else None
    return {"ev": "uncrossed", "price": price or None, "qty": volume, "surplus": surplus, "surplus_side": of}
