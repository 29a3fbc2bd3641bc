"""The steel products that the exchange lists, read from instruments.csv, and their terms as commands.

Law: an instrument's number is its row in the file; rows are only ever appended.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from engine.records import COMMAND, INSTRUMENT_TERMS, Records
from engine.vocabulary import BASIS_POINTS, RECORD_VERSION, Command, Mode

INSTRUMENTS_CSV: Final = Path(__file__).with_name("instruments.csv")
FEN_PER_CNY: Final = 100
BAND_BP: Final = 500  # domain 2: +-5 %
FEE_FEN_PER_TONNE: Final = 50  # domain 2: 0.50 CNY/t each side
FULL_PAY_BP: Final = BASIS_POINTS  # domain 2: the buyer holds 100 %, the seller no money
ORDER_MAX_KG: Final = 5_000_000  # domain 2: 5,000 t
LISTED_STEP_KG: Final = 1  # semantics F2


@dataclass(frozen=True)
class Instrument:
    """One product: what it is, how it is weighed, and how it trades."""

    number: int
    code: str
    product_zh: str
    product_en: str
    grade: str
    spec: str
    mill: str
    mode: Mode
    unit: str
    unit_weight_kg: int
    step_kg: int
    minimum_kg: int
    tick_fen_per_tonne: int
    reference_fen_per_tonne: int

    def terms(self) -> Records:
        """The DEFINE_INSTRUMENT command for this product: FULL_PAY, +-5 % band, 0.50 CNY/t fee (domain 2)."""
        lower, upper = static_band(self.reference_fen_per_tonne, BAND_BP, self.tick_fen_per_tonne)
        terms = np.zeros(1, INSTRUMENT_TERMS)
        terms["version"] = RECORD_VERSION
        terms["kind"] = Command.DEFINE_INSTRUMENT
        terms["instrument"] = self.number
        terms["code"] = self.code.encode("ascii")
        terms["mode"] = self.mode
        terms["tick_fen_per_tonne"] = self.tick_fen_per_tonne
        terms["step_kg"] = self.step_kg
        terms["reference_fen_per_tonne"] = self.reference_fen_per_tonne
        terms["lower_fen_per_tonne"] = lower
        terms["upper_fen_per_tonne"] = upper
        terms["minimum_kg"] = self.minimum_kg
        terms["maximum_kg"] = ORDER_MAX_KG
        terms["buyer_deposit_bp"] = FULL_PAY_BP
        terms["band_bp"] = BAND_BP
        terms["fee_fen_per_tonne"] = FEE_FEN_PER_TONNE
        return terms.view(COMMAND)


def static_band(reference_fen_per_tonne: int, band_bp: int, tick_fen_per_tonne: int) -> tuple[int, int]:
    """Lowest and highest price within the band around a reference, rounded inwards to the tick (semantics
    E5).
    """
    lower = -(-reference_fen_per_tonne * (BASIS_POINTS - band_bp) // (BASIS_POINTS * tick_fen_per_tonne))
    upper = reference_fen_per_tonne * (BASIS_POINTS + band_bp) // (BASIS_POINTS * tick_fen_per_tonne)
    return lower * tick_fen_per_tonne, upper * tick_fen_per_tonne


@cache
def load_instruments() -> tuple[Instrument, ...]:
    """Every product of instruments.csv in the order of the file, which is the engine's numbering."""
    with INSTRUMENTS_CSV.open(encoding="utf-8", newline="") as file:
        return tuple(_instrument(number, row) for number, row in enumerate(csv.DictReader(file)))


def _instrument(number: int, row: dict[str, str]) -> Instrument:
    unit_weight_kg = int(row["unit_weight_kg"])
    mode = Mode.LISTED if row["aon_per_unit"] == "Y" else Mode.BOOK
    return Instrument(
        number=number,
        code=row["code"],
        product_zh=row["product_zh"],
        product_en=row["product_en"],
        grade=row["grade"],
        spec=row["spec"],
        mill=row["mill"],
        mode=mode,
        unit=row["unit"],
        unit_weight_kg=unit_weight_kg,
        step_kg=LISTED_STEP_KG if mode is Mode.LISTED else unit_weight_kg,
        minimum_kg=LISTED_STEP_KG if mode is Mode.LISTED else int(row["min_order_kg"]),
        tick_fen_per_tonne=int(row["tick_cny"]) * FEN_PER_CNY,
        reference_fen_per_tonne=int(row["px_2015_07"]) * FEN_PER_CNY,
    )
