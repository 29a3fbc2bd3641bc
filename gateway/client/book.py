"""A client's copy of one depth book, rebuilt from snapshot and deltas and proved by sequence and checksum.

Law: a book that cannot prove itself is not shown; `apply` says so and the caller asks for a fresh snapshot.
"""

import zlib
from bisect import bisect_left, insort
from decimal import Decimal
from typing import Any, Final

CHECKSUM_LEVELS: Final = 10
_SIDES: Final = ("bids", "asks")


class Book:
    """Price levels as the exchange writes them: strings of decimals, keyed by their digits."""

    def __init__(self) -> None:
        self.sequence = -1  # -1: no snapshot yet
        self.time_ns = 0
        self.shown = -1  # the sequence that was last handed out
        self._levels: dict[str, dict[int, tuple[str, str, int]]] = {"bids": {}, "asks": {}}
        self._prices: dict[str, list[int]] = {"bids": [], "asks": []}

    def apply(self, message: dict[str, Any]) -> bool:
        """Take a depth push; False when it does not follow or the checksum does not fit: the book is void
        then."""
        if message["type"] == "snapshot":
            for side in _SIDES:
                self._levels[side].clear()
                self._prices[side].clear()
        elif message["previous_sequence"] != self.sequence:
            return self._void()
        for side in _SIDES:
            for price, quantity, orders in message[side]:
                self._set(side, price, quantity, orders)
        self.sequence, self.time_ns = message["sequence"], message["time_ns"]
        return self.checksum() == message["checksum"] or self._void()

    def _set(self, side: str, price: str, quantity: str, orders: int) -> None:
        key = int(price.replace(".", ""))
        levels, prices = self._levels[side], self._prices[side]
        if orders == 0:
            if levels.pop(key, None) is not None:
                del prices[bisect_left(prices, key)]
        else:
            if key not in levels:
                insort(prices, key)
            levels[key] = (price, quantity, orders)

    def _void(self) -> bool:
        self.sequence = -1
        return False

    def checksum(self) -> int:
        """CRC32 of the digits of the top 10, asks rising then bids falling (PROTOCOL.md, Checksum)."""
        digits = []
        for side in ("asks", "bids"):
            for price, quantity, _ in self._best(side, CHECKSUM_LEVELS):
                digits.append(f"{int(price.replace('.', ''))}{int(quantity.replace('.', ''))}")
        return zlib.crc32("".join(digits).encode("ascii"))

    def levels(self, side: str, count: int | None = None) -> list[list[Decimal]]:
        """[price, tonnes] of "bids" or "asks", best first."""
        return [[Decimal(price), Decimal(quantity)] for price, quantity, _ in self._best(side, count)]

    def _best(self, side: str, count: int | None) -> list[tuple[str, str, int]]:
        prices = self._prices[side]
        levels = self._levels[side]
        return [levels[key] for key in (prices[::-1] if side == "bids" else prices)[:count]]
