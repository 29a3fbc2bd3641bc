"""Who takes part in the launch, and which goods lie in Lecong's warehouses.

Law: twelve producers and sixty buyers; every one of the forty products is registered at least twice, fungible
goods by whole bundles, coils one by one with a weight of their own. The companies' names are invented.
"""

import random
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from typing import Final

from engine.instruments import Instrument, load_instruments
from engine.vocabulary import Mode

CODES: Final = tuple(product.code for product in load_instruments())
BUNDLED_LOTS: Final = 2  # per fungible product
BUNDLED_KG: Final = (280_000, 400_000)  # of a lot
COILS: Final = 4  # per product sold by the coil
COIL_SPREAD: Final = (0.965, 1.005)  # weighed against the catalogue's weight
COIL_STEP_KG: Final = 10
COIL_MAX_KG: Final = 28_000
PREMIUM_STEPS_MAX: Final = 2  # of 10 CNY/t above the quote
PRODUCED_BEFORE: Final = date(2015, 7, 6)
PRODUCED_DAYS: Final = 40

_PLACES: Final = (
    "Shunde Nanhai Gaoming Sanshui Chancheng Zhongshan Dongguan Panyu Jiangmen Zhaoqing Huizhou Qingyuan"
)
_TRADES: Final = ("Construction", "Steel Trading", "Hardware", "Appliances", "Engineering")


@dataclass(frozen=True)
class Company:
    """A member to be: its code, its name, the money that it brings."""

    code: str
    name: str
    deposit_fen: int

    def key_seed(self, seed: int) -> bytes:
        """The private key's 32 bytes: a demo's, made from its seed, so no secret."""
        return sha256(f"lecong demo {seed} {self.code}".encode()).digest()


@dataclass(frozen=True)
class Lot:
    """Goods against a receipt; `premium_steps` of 10 CNY/t is what the seller asks above the quote."""

    receipt: str
    seller: int  # index into producers()
    instrument: int
    warehouse: str
    units: int
    quantity_kg: int
    heat: str
    piece: str
    production_date: date
    premium_steps: int


@cache
def producers() -> tuple[Company, ...]:
    """Twelve producers; money for their fees."""
    return tuple(
        Company(f"producer-{number:02d}", f"{place} Rolling Mill (demo)", 1_000_000)
        for number, place in enumerate(_PLACES.split(), 1)
    )


@cache
def buyers() -> tuple[Company, ...]:
    """Sixty buyers, each with 2,000,000.00 CNY."""
    names = [f"{place} {trade} (demo)" for trade in _TRADES for place in _PLACES.split()]
    return tuple(Company(f"buyer-{number:02d}", name, 200_000_000) for number, name in enumerate(names, 1))


def lots(chance: random.Random) -> tuple[Lot, ...]:
    """The goods of all producers, product by product."""
    found: list[Lot] = []
    for product in load_instruments():
        for number in range(BUNDLED_LOTS if product.mode is Mode.BOOK else COILS):
            found.append(_lot(chance, product, number, len(found) + 1))
    return tuple(found)


def _lot(chance: random.Random, product: Instrument, number: int, receipt: int) -> Lot:
    bundled = product.mode is Mode.BOOK
    units = chance.randint(*BUNDLED_KG) // product.unit_weight_kg if bundled else 1
    return Lot(
        receipt=f"LC-2015-{receipt:05d}",
        seller=(product.number + 5 * number) % len(producers()),
        instrument=product.number,
        warehouse=warehouse(product),
        units=units,
        quantity_kg=units * product.unit_weight_kg if bundled else _coil_kg(chance, product),
        heat=f"H{chance.randrange(10**6):06d}-{receipt:05d}",
        piece="" if bundled else f"C{receipt:05d}",
        production_date=PRODUCED_BEFORE - timedelta(days=chance.randrange(PRODUCED_DAYS)),
        premium_steps=chance.randint(0, PREMIUM_STEPS_MAX),
    )


def _coil_kg(chance: random.Random, product: Instrument) -> int:
    weighed = product.unit_weight_kg * chance.uniform(*COIL_SPREAD)
    return min(round(weighed / COIL_STEP_KG) * COIL_STEP_KG, COIL_MAX_KG)


def warehouse(product: Instrument) -> str:
    """Where a product lies: construction steel, coil and plate, cold-rolled, stainless each in its zone."""
    if product.code.startswith("SS"):
        return "CS-LS"
    if product.code.startswith(("CR", "CS", "GI", "PP")):
        return "LC-SW-C"
    if product.code.startswith(("HC", "SPHC", "PT", "KP")):
        return "LC-SW-B"
    return "LC-SW-A"
