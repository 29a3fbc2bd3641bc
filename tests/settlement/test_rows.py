"""Rows as binary COPY wants them, down to the byte; PostgreSQL itself reads them in test_store."""

import struct

import numpy as np
import pytest

from settlement.rows import TRANSITION, Table


def test_a_message_is_header_rows_and_trailer() -> None:
    rows = TRANSITION.rows(2, contract=np.array([7, 8]), entered_ns=5, state=np.array([1, 2]), attempt=1)

    expected = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for contract, state in ((7, 1), (8, 2)):
        expected += struct.pack(">hiqiqihih", 4, 8, contract, 8, 5, 2, state, 2, 1)
    assert Table.message(rows).tobytes() == expected + b"\xff\xff"


def test_no_rows_are_a_message_too() -> None:
    nothing = np.zeros(0, np.int64)

    rows = TRANSITION.rows(0, contract=nothing, entered_ns=nothing, state=nothing, attempt=1)

    assert len(Table.message(rows)) == 19 + 2


def test_a_column_that_is_missing_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="attempt"):
        TRANSITION.rows(1, contract=1, entered_ns=1, state=1)
