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
        "takerOrMaker": row["role"],
        "cost": Decimal(row["amount"]),
        "fee": {"cost": Decimal(row["fee"]), "currency": "CNY"},
    }
