"""Every refusal that a client can meet: one table of code, texts, whether a retry may help, and FIX.

Law: a code is stable and a refusal has no effect. Three sources share the table (its words are in texts.py):

    Refusal              raised at the gateway: the form of a message, the session, what is not reachable
    vocabulary.Reason    the engine's answer to a command, known to clients by its name in lower case
    requests.Failure     settlement's answer, with a text of its own; a test finds its codes in the table
"""

from typing import Final

from engine.vocabulary import Reason, wire_name
from gateway.fix_codes import fix_code
from gateway.texts import BOOKS, ENGINE, FORM, REACH, SESSION, Text


class Refusal(Exception):
    """A request that the gateway itself refuses. `path` names the field ("$" = the whole message)."""

    def __init__(self, code: str, path: str = "$", detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.path = path
        self.detail = detail


TEXTS: Final[dict[str, Text]] = (
    FORM
    | SESSION
    | REACH
    | BOOKS
    | {wire_name(each): ENGINE[each]._replace(fix=fix_code(each)) for each in ENGINE}
)

# Which field a reason is about, in a message that has it.
_PATHS: Final = {
    Reason.DUPLICATE_CLIENT_ORDER_ID: "$.client_order_id",
    Reason.MISSING_CLIENT_ORDER_ID: "$.client_order_id",
    Reason.UNKNOWN_INSTRUMENT: "$.instrument",
    Reason.INSTRUMENT_CLOSED: "$.instrument",
    Reason.INSTRUMENT_HALTED: "$.instrument",
    Reason.INSTRUMENT_OPEN: "$.instrument",
    Reason.UNKNOWN_PHASE: "$.phase",
    Reason.CONTINUOUS_PHASE_ONLY: "$.instrument",
    Reason.AUCTION_PHASE_ONLY: "$.time_in_force",
    Reason.NO_CANCEL_PHASE: "$.instrument",
    Reason.FORBIDDEN_BY_PROFILE: "$.instrument",
    Reason.UNKNOWN_SIDE: "$.side",
    Reason.UNSUPPORTED_ORDER_TYPE: "$.type",
    Reason.UNSUPPORTED_TIME_IN_FORCE: "$.time_in_force",
    Reason.UNSUPPORTED_SELF_TRADE_MODE: "$.self_trade_mode",
    Reason.INVALID_DISPLAY_QUANTITY: "$.display_quantity",
    Reason.INVALID_MINIMUM_QUANTITY: "$.min_quantity",
    Reason.INVALID_STOP_PRICE: "$.stop_price",
    Reason.INVALID_EXPIRY: "$.expire_at",
    Reason.NO_LIQUIDITY: "$.instrument",
    Reason.POST_ONLY_WOULD_TRADE: "$.price",
    Reason.NOT_LISTED: "$.order_id",
    Reason.PRICE_OFF_TICK: "$.price",
    Reason.PRICE_EXCEEDS_BAND: "$.price",
    Reason.LEVELS_FULL: "$.price",
    Reason.QUANTITY_OFF_STEP: "$.quantity",
    Reason.QUANTITY_BELOW_MINIMUM: "$.quantity",
    Reason.EXCEEDS_LIMIT: "$.quantity",
    Reason.WHOLE_LOT_ONLY: "$.quantity",
    Reason.INSUFFICIENT_GOODS: "$.quantity",
    Reason.INSUFFICIENT_FUNDS: "$.quantity",
    Reason.UNKNOWN_ORDER: "$.order_id",
    Reason.TOO_LATE: "$.order_id",
    Reason.STALE_VERSION: "$.version",
    Reason.OWN_LISTING: "$.order_id",
    Reason.UNKNOWN_LOT: "$.lot",
    Reason.LOT_OF_OTHER_INSTRUMENT: "$.lot",
    Reason.CLOCK_NOT_STEPPED: "$.time_ns",
}
_REASON_CODES: Final = {int(reason): wire_name(reason) for reason in Reason}
_REASON_PATHS: Final = {int(reason): path for reason, path in _PATHS.items()}


def reason_code(reason: int) -> str:
    """The wire code of a reason byte; a number of a newer engine reads "reason_<n>"."""
    return _REASON_CODES.get(reason) or f"reason_{reason}"


def reason_path(reason: int, fields: tuple[str, ...]) -> str:
    """The path of the field that a reason concerns, "$" when the message has no such field."""
    path = _REASON_PATHS.get(reason, "$")
    if path == "$.order_id" and "order_id" not in fields:
        path = "$.client_order_id"
    return path if path[2:] in fields else "$"


def text_of(code: str, detail: str = "") -> Text:
    """The texts of a code; an unknown code (settlement's own) shows its detail in both languages."""
    known = TEXTS.get(code)
    if known is None:
        return Text(detail or code, detail or code)
    if detail:
        return known._replace(english=f"{known.english} ({detail})", chinese=f"{known.chinese}({detail})")
    return known
