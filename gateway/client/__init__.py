"""An asyncio client of the exchange in ccxt's vocabulary: `Client`, its books and its errors."""

from gateway.client.book import Book
from gateway.client.errors import (
    AuthenticationError,
    BadRequest,
    BadSymbol,
    BaseError,
    DuplicateOrderId,
    ExchangeError,
    ExchangeNotAvailable,
    InsufficientFunds,
    InvalidOrder,
    MarketClosed,
    NetworkError,
    OperationRejected,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    RequestTimeout,
)
from gateway.client.exchange import Client

__all__ = [
    "AuthenticationError",
    "BadRequest",
    "BadSymbol",
    "BaseError",
    "Book",
    "Client",
    "DuplicateOrderId",
    "ExchangeError",
    "ExchangeNotAvailable",
    "InsufficientFunds",
    "InvalidOrder",
    "MarketClosed",
    "NetworkError",
    "OperationRejected",
    "OrderNotFound",
    "PermissionDenied",
    "RateLimitExceeded",
    "RequestTimeout",
]
