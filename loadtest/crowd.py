"""Members for a load: admitted, funded and supplied with goods by the operator, each with a key of its own.

Law: everything has a natural key made from the load's name, so a second furnishing of the same name finds
what the first one left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Final

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.instruments import load_instruments
from gateway.client import Client
from loadtest.trader import Trader

AT_ONCE: Final = 16  # requests to settlement under way
DEPOSIT_CNY: Final = Decimal(10) ** 10
LOT_UNITS: Final = 400_000
PRODUCTS: Final = {product.code: product for product in load_instruments()}


@dataclass(frozen=True)
class Seat:
    """One member of the crowd: number, private key, and its lot of each product that it may sell."""

    member: int
    seed: bytes
    lots: dict[str, str]


def operator_seed(keys: Path) -> bytes:
    """The operator's private key, which settlement made. Raises OSError, ValueError."""
    return bytes.fromhex((keys / "operator.key").read_text(encoding="ascii").strip())


async def furnish(
    url: str,
    operator: bytes,
    http: aiohttp.ClientSession,
    name: str,
    count: int,
    sells: Callable[[int], Sequence[str]],
) -> list[Seat]:
    """`count` members; member `i` gets a lot of each product in `sells(i)`. Raises the client's errors."""
    free = asyncio.Semaphore(AT_ONCE)
    async with Trader(url, operator, http) as desk:

        async def one(number: int) -> Seat:
            async with free:
                return await _seat(desk, f"{name}-{number:04d}", sells(number))

        return list(await asyncio.gather(*(one(number) for number in range(count))))


async def _seat(desk: Trader, code: str, products: Sequence[str]) -> Seat:
    seed = sha256(f"lecong load {code}".encode()).digest()
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
    keys = [(public, ("read", "trade"))]
    member = await desk.ask(lambda client: client.add_member(code, f"load {code}", keys=keys))
    await desk.ask(lambda client: client.deposit(member, DEPOSIT_CNY, f"{code}-opening"))
    lots = {}
    for product in products:
        lots[product] = await desk.ask(_register(member, f"{code}-{product}", product))
    return Seat(member, seed, lots)


def _register(member: int, receipt: str, product: str) -> Callable[[Client], Awaitable[str]]:
    tonnes = Decimal(LOT_UNITS * PRODUCTS[product].unit_weight_kg) / 1000
    return lambda client: client.register_lot(member, receipt, product, "LC-SW-A", LOT_UNITS, tonnes)
