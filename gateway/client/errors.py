"""ccxt's error classes, and which of them each code of PROTOCOL.md becomes.

BaseError
├── ExchangeError                 the exchange said no; asking again will not help
│   ├── AuthenticationError       ── PermissionDenied
│   ├── BadRequest                ── BadSymbol
│   ├── InsufficientFunds
│   ├── InvalidOrder              ── OrderNotFound, DuplicateOrderId
│   └── OperationRejected         ── MarketClosed
└── NetworkError                  asking again may help
    ├── ExchangeNotAvailable
    ├── RateLimitExceeded
    └── RequestTimeout            the outcome is unknown: ask for it, or repeat with the same client order id
"""

from typing import Any, Final


class BaseError(Exception):
    """Anything that went wrong at or on the way to the exchange; `code`, `path` and `answer` are the
    exchange's own."""

    def __init__(
        self, message: str, code: str = "", path: str = "$", answer: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.path = path
        self.answer = answer or {}
        self.repeated = False  # whether the request was sent again, after a reconnect, before this answer


class ExchangeError(BaseError):
    """The exchange said no."""


class AuthenticationError(ExchangeError):
    """The logon was refused."""


class PermissionDenied(AuthenticationError):
    """The key lacks the scope."""


class BadRequest(ExchangeError):
    """The request is malformed."""


class BadSymbol(BadRequest):
    """No such instrument."""


class InsufficientFunds(ExchangeError):
    """Neither money nor goods cover the order."""


class InvalidOrder(ExchangeError):
    """The order breaks a rule of the instrument."""


class OrderNotFound(InvalidOrder):
    """No such live order of this account."""


class DuplicateOrderId(InvalidOrder):
    """The client order id was used today with other content."""


class OperationRejected(ExchangeError):
    """The exchange's state does not permit it now."""


class MarketClosed(OperationRejected):
    """The instrument is closed or halted."""


class NetworkError(BaseError):
    """The exchange was not reached, or could not do it now."""


class ExchangeNotAvailable(NetworkError):
    """A part of the exchange is down, or shutting down."""


class RateLimitExceeded(NetworkError):
    """Too much at once."""


class RequestTimeout(NetworkError):
    """No answer in time; the outcome is unknown."""


_CODES: Final[dict[type[BaseError], tuple[str, ...]]] = {
    AuthenticationError: (
        "logon_required", "logon_timeout", "too_much_before_logon", "already_logged_on",
        "unknown_key", "wrong_signature", "stale_timestamp",
    ),
    PermissionDenied: (
        "scope_missing", "unknown_account", "account_blocked", "unknown_session",
        "same_person",
    ),
    BadRequest: (
        "malformed_json", "not_text", "frame_too_large", "unknown_op", "unknown_field",
        "missing_field", "wrong_type", "invalid_value", "invalid_decimal", "invalid_id",
        "invalid_client_order_id", "order_not_named", "invalid_time", "price_not_for_type", "quantity_twice",
        "quantity_or_lot", "nothing_to_replace", "timer_not_named",
        "missing_client_order_id", "resume_ahead", "resume_too_old",
        "unknown_member", "reference_used", "receipt_registered", "piece_registered", "unknown_warehouse",
        "quantity_inconsistent", "unknown_contract",
    ),
    BadSymbol: (
        "unknown_instrument",
    ),
    InsufficientFunds: (
        "insufficient_funds", "insufficient_goods",
    ),
    InvalidOrder: (
        "price_off_tick", "price_exceeds_band", "quantity_off_step", "quantity_below_minimum",
        "exceeds_limit", "whole_lot_only", "not_listed", "unknown_side",
        "unsupported_order_type", "unsupported_time_in_force", "stale_version", "own_listing",
        "unknown_lot", "lot_of_other_instrument", "unsupported_self_trade_mode", "invalid_display_quantity",
        "invalid_minimum_quantity", "invalid_stop_price", "invalid_expiry", "post_only_would_trade",
        "forbidden_by_profile",
    ),
    OrderNotFound: (
        "unknown_order", "too_late",
    ),
    DuplicateOrderId: (
        "duplicate_client_order_id",
    ),
    OperationRejected: (
        "day_full", "live_orders_full", "accounts_full", "lots_full", "levels_full",
        "instrument_open", "clock_not_stepped", "after_ended", "no_liquidity", "sessions_full",
        "taken_over", "bust_proposed", "bust_not_proposed", "already_busted", "contract_settled",
    ),
    MarketClosed: (
        "instrument_closed", "instrument_halted", "continuous_phase_only", "auction_phase_only",
        "no_cancel_phase",
    ),
    ExchangeNotAvailable: (
        "engine_unavailable", "settlement_unavailable", "directory_unavailable", "shutting_down",
        "disk_full", "internal_error", "slow_consumer",
    ),
    RateLimitExceeded: (
        "too_many_in_flight", "too_many_connections", "queue_full",
    ),
}  # fmt: skip
CLASSES: Final[dict[str, type[BaseError]]] = {code: kind for kind, codes in _CODES.items() for code in codes}


def error_of(answer: dict[str, Any]) -> BaseError:
    """The exception for a response whose `ok` is false; an unknown code is an ExchangeError."""
    error = answer["error"]
    kind = CLASSES.get(error["code"], NetworkError if error["retry"] else ExchangeError)
    return kind(
        f"{error['code']}: {error['message']} ({error['path']})", error["code"], error["path"], answer
    )
