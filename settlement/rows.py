"""The rows of the tables that a batch fills, as PostgreSQL's binary COPY wants them (law 5).

    header, 19 bytes | row: columns i16, then per column its length i32 and bytes | trailer: -1 i16

All columns are NOT NULL and of fixed width, so a table's rows are one big-endian structured array with the
lengths already in place: filling a column is one vectorised assignment, and the array's bytes are the
message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from engine.records import Records

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

INT8: Final = ">i8"
INT4: Final = ">i4"
INT2: Final = ">i2"
SHA256: Final = "32u1"


@dataclass(frozen=True)
class Table:
    """A table's name and its columns in the order in which COPY names them."""

    name: str
    types: tuple[tuple[str, str], ...]

    @cached_property
    def columns(self) -> Sequence[str]:
        """The column names."""
        return [name for name, _ in self.types]

    @cached_property
    def layout(self) -> np.dtype[np.void]:
        """One row on the wire; the length of column `x` is the field `x length`."""
        fields: list[tuple[str, str]] = [("columns", INT2)]
        for name, kind in self.types:
            fields += [(f"{name} length", INT4), (name, kind)]
        return np.dtype(fields)

    @cached_property
    def _blank(self) -> Records:
        row = np.zeros(1, self.layout)
        row["columns"] = len(self.types)
        for name, _ in self.types:
            row[f"{name} length"] = self.layout[name].itemsize
        return row

    def rows(self, count: int, **columns: Any) -> Records:
        """`count` rows; each column, and none may be missing, is an array or one value for all."""
        assert columns.keys() == set(self.columns), columns.keys() ^ set(self.columns)
        blank = self._blank.tobytes()
        rows = np.frombuffer(bytearray(blank * count), self.layout)
        for name, values in columns.items():
            rows[name] = values
        return rows

    def joined(self, *parts: Records) -> Records:
        """Rows one after another; np.concatenate would turn their numbers' bytes round."""
        return np.frombuffer(bytearray(b"".join(part.tobytes() for part in parts)), self.layout)

    @staticmethod
    def message(rows: Records) -> memoryview:
        """The rows as one COPY message; not `bytes`, which asyncpg would take for the name of a file."""
        return memoryview(b"".join((HEADER, rows.tobytes(), TRAILER)))


MONEY_ENTRY: Final = Table(
    "money_entry",
    (
        ("entry", INT8),
        ("contract", INT8),
        ("debit", INT8),
        ("credit", INT8),
        ("amount_fen", INT8),
        ("posting", INT2),
    ),
)
GOODS_ENTRY: Final = Table(
    "goods_entry",
    (
        ("entry", INT8),
        ("contract", INT8),
        ("debit", INT8),
        ("credit", INT8),
        ("quantity_kg", INT8),
        ("posting", INT2),
    ),
)
CONTRACT: Final = Table(
    "contract",
    (
        ("contract", INT8),
        ("fill", INT8),
        ("traded_ns", INT8),
        ("lot", INT8),
        ("buyer_order", INT8),
        ("seller_order", INT8),
        ("price_fen_per_tonne", INT8),
        ("quantity_kg", INT8),
        ("amount_fen", INT8),
        ("buyer_deposit_fen", INT8),
        ("seller_deposit_fen", INT8),
        ("buyer_fee_fen", INT8),
        ("seller_fee_fen", INT8),
        ("buyer", INT4),
        ("seller", INT4),
        ("instrument", INT2),
        ("state", INT2),
        ("terms_sha256", SHA256),
    ),
)
TRANSITION: Final = Table(
    "contract_transition",
    (("contract", INT8), ("entered_ns", INT8), ("state", INT2), ("attempt", INT2)),
)
