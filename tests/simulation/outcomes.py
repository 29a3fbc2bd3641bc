"""What a client was told of a request, and what the log says of it: both as the engine's numbers."""

from dataclasses import dataclass
from typing import Any, Final

from engine.vocabulary import Event, Flag, Reason, wire_name

OUTCOME: Final = ("order_id", "price_fen_per_tonne", "quantity_kg", "leaves_kg", "cum_kg", "amount_fen")
REPLACED: Final = (
    "order_id", "listing_version", "price_fen_per_tonne", "quantity_kg", "leaves_kg", "cum_kg",
)  # fmt: skip
MARKET: Final = {"set_phase": Event.PHASE_CHANGED, "roll_day": Event.DAY_ROLLED}  # by the op


@dataclass(frozen=True)
class Acknowledgement:
    """What a client was told of one request: its place in the log, the outcome in the engine's numbers."""

    account: int
    key: str  # client order id, or that of the order that was canceled
    sequence: int
    kind: Event
    outcome: tuple[Any, ...]
    duplicate: bool = False


def outcome(row: Any) -> tuple[Any, ...]:
    """What a command came to, in the engine's numbers."""
    kind = Event(int(row["kind"]))
    if kind is Event.ACCEPTED:
        return tuple(int(row[name]) for name in OUTCOME)
    if kind is Event.REPLACED:
        kept_place = bool(int(row["flags"]) & Flag.KEPT_PLACE)
        return *(int(row[name]) for name in REPLACED), kept_place
    if kind is Event.CANCELED:
        return int(row["order_id"]), int(row["quantity_kg"]), int(row["cum_kg"])
    if kind is Event.REJECTED:
        return (wire_name(Reason(int(row["reason"]))),)
    return (kind,)
