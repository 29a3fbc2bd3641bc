"""How FIX 5.0 SP2 says each reason of the engine: "tag=value", for brokers whose systems speak FIX.

    103 OrdRejReason | 102 CxlRejReason | 150 ExecType of an order's end | 380 BusinessRejectReason

Law: a reason has one code; where FIX has no word for it, it is 103=99, other.
"""

from typing import Final

from engine.vocabulary import Reason

_OTHER, _CANCELED = "103=99", "150=4"
_FIX_GROUPS: Final = {
    "380=3": (Reason.UNSUPPORTED_COMMAND,),
    "103=15": (Reason.UNKNOWN_ACCOUNT,),
    "380=6": (Reason.UNKNOWN_SESSION,),
    "103=0": (Reason.ACCOUNT_BLOCKED,),
    "380=5": (Reason.MISSING_CLIENT_ORDER_ID,),
    "103=6": (Reason.DUPLICATE_CLIENT_ORDER_ID,),
    "103=8": (
        Reason.STALE_REFERENCE,
        Reason.STALE_VERSION,
    ),
    "103=3": (
        Reason.DAY_FULL,
        Reason.EXCEEDS_LIMIT,
        Reason.INSUFFICIENT_GOODS,
        Reason.INSUFFICIENT_FUNDS,
        Reason.LIVE_ORDERS_FULL,
    ),
    "103=11": (
        Reason.FORBIDDEN_BY_PROFILE,
        Reason.UNKNOWN_SIDE,
        Reason.UNSUPPORTED_ORDER_TYPE,
        Reason.UNSUPPORTED_TIME_IN_FORCE,
        Reason.UNSUPPORTED_SELF_TRADE_MODE,
        Reason.NOT_LISTED,
        Reason.INVALID_STOP_PRICE,
        Reason.INVALID_EXPIRY,
    ),
    "103=1": (Reason.UNKNOWN_INSTRUMENT,),
    "103=2": (
        Reason.INSTRUMENT_CLOSED,
        Reason.INSTRUMENT_HALTED,
        Reason.CONTINUOUS_PHASE_ONLY,
    ),
    "103=4": (Reason.AUCTION_PHASE_ONLY,),
    "102=2": (Reason.NO_CANCEL_PHASE,),
    "103=13": (
        Reason.INVALID_DISPLAY_QUANTITY,
        Reason.INVALID_MINIMUM_QUANTITY,
        Reason.QUANTITY_OFF_STEP,
        Reason.QUANTITY_BELOW_MINIMUM,
        Reason.WHOLE_LOT_ONLY,
    ),
    "103=18": (Reason.PRICE_OFF_TICK,),
    "103=16": (Reason.PRICE_EXCEEDS_BAND,),
    "102=1": (Reason.UNKNOWN_ORDER,),
    "102=0": (Reason.TOO_LATE,),
    "380=4": (
        Reason.QUEUE_FULL,
        Reason.SHUTTING_DOWN,
        Reason.DISK_FULL,
    ),
    "150=C": (
        Reason.EXPIRED,
        Reason.DAY_END,
        Reason.AUCTION_ENDED,
    ),
}
_FIX: Final = {reason: code for code, reasons in _FIX_GROUPS.items() for reason in reasons}


def fix_code(reason: Reason) -> str:
    """How FIX says a reason: "103=18". The ends of an order are cancels unless they are expiries.

    >>> fix_code(Reason.PRICE_OFF_TICK)
    '103=18'
    """
    return _FIX.get(reason) or (_CANCELED if reason >= Reason.CANCELED_BY_OWNER else _OTHER)
