"""The dictionaries of ccxt, made from the exchange's messages; every one keeps the original under `info`."""

from datetime import UTC
from datetime import datetime as clock
from decimal import Decimal
from typing import Any


def datetime(time_ns: int) -> str:
    """RFC 3339 with seconds."""
    return clock.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def market(row: dict[str, Any]) -> dict[str, Any]:
    """An instrument."""
    return {
        "id": row["instrument"],
        "symbol": row["instrument"],
        "base": row["instrument"],
        "quote": "CNY",
        "active": row["phase"] == "continuous",
        "precision": {"price": Decimal(row["tick"]), "amount": Decimal(row["step"])},
        "limits": {
            "amount": {"min": Decimal(row["minimum"])},
            "price": {"min": Decimal(row["lower"]), "max": Decimal(row["upper"])},
        },
        "info": row,
    }


def order(row: dict[str, Any], symbol: str | None, side: str) -> dict[str, Any]:
    """An order, from an acknowledgement or from open_orders (which has no cost: None)."""
    amount, filled, remaining = Decimal(row["quantity"]), Decimal(row["cum"]), Decimal(row["leaves"])
    status = "open" if remaining else "closed" if filled == amount else "canceled"
    average, cost = row.get("average_price"), row.get("amount")
    return {
        "id": row["order_id"],
        "clientOrderId": row["client_order_id"],
        "symbol": symbol,
        "side": side,
        "status": status,
        "price": Decimal(row["price"]),
        "average": None if average is None else Decimal(average),
        "amount": amount,
        "filled": filled,
        "remaining": remaining,
        "cost": None if cost is None else Decimal(cost),
        "info": row,
    }


_ORDER_PARAMS = {
    "stopPrice": "stop_price", "displayAmount": "display_quantity", "minAmount": "min_quantity",
    "postOnly": "post_only", "selfTradeMode": "self_trade_mode", "expireAt": "expire_at",
    "keepOnDisconnect": "keep_on_disconnect",
}  # fmt: skip


def order_fields(price: Any, params: dict[str, Any]) -> dict[str, Any]:
    """The fields of new_order that some orders have and others have not; decimals become strings."""
    given = {"price": price} | {field: params.get(name) for name, field in _ORDER_PARAMS.items()}
    return {
        field: value if isinstance(value, bool) else str(value)
        for field, value in given.items()
        if value is not None
    }


def edited(answer: dict[str, Any], symbol: str | None, side: str) -> dict[str, Any]:
    """An order after replace_order, which ends it when nothing is left: then the answer is a cancel's."""
    return canceled(answer, symbol) if "canceled" in answer else order(answer, symbol, side)


def canceled(answer: dict[str, Any], symbol: str | None) -> dict[str, Any]:
    """An order that cancel_order or replace_order has ended."""
    return {
        "id": answer["order_id"],
        "clientOrderId": answer["client_order_id"],
        "symbol": symbol,
        "status": "canceled",
        "filled": Decimal(answer["cum"]),
        "remaining": Decimal(0),
        "info": answer,
    }


def trade(row: dict[str, Any], symbol: str) -> dict[str, Any]:
    """A public trade."""
    return {
        "id": row["match_id"],
        "symbol": symbol,
        "side": row["side"],
        "price": Decimal(row["price"]),
        "amount": Decimal(row["quantity"]),
        "timestamp": row["time_ns"] // 1_000_000,
        "datetime": row["time"],
        "info": row,
    }


def fill(row: dict[str, Any]) -> dict[str, Any]:
    """A fill of the private stream."""
    return trade(row, row["instrument"]) | {
        "order": row["order_id"],
        "takerOrMaker": row["role"] if row["role"] != "auction" else None,
        "cost": Decimal(row["amount"]),
        "fee": {"cost": Decimal(row["fee"]), "currency": "CNY"},
    }
