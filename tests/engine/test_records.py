"""The two records: every byte accounted for, every view of the same 128 bytes."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import (
    CASH,
    COMMAND,
    EVENT,
    HUGE_PAGE_BYTES,
    INSTRUMENT,
    INSTRUMENT_TERMS,
    LEVEL,
    LOT,
    ORDER,
    RECORD_BYTES,
    TRADE,
    aligned_zeros,
    as_words,
    client_order_id_text,
    client_order_id_words,
    commands_of,
    joined,
    select,
)
from engine.vocabulary import RECORD_VERSION, Command

VIEWS = {
    "COMMAND": COMMAND,
    "INSTRUMENT_TERMS": INSTRUMENT_TERMS,
    "TRADE": TRADE,
    "ORDER": ORDER,
    "CASH": CASH,
    "LOT": LOT,
    "LEVEL": LEVEL,
    "INSTRUMENT": INSTRUMENT,
}


def fields_of(layout: np.dtype[np.void]) -> dict[str, tuple[np.dtype[Any], int]]:
    """Type and offset of every field."""
    return {name: (field[0], field[1]) for name, field in (layout.fields or {}).items()}


@pytest.mark.parametrize("layout", [*VIEWS.values(), EVENT], ids=[*VIEWS, "EVENT"])
def test_a_record_has_128_bytes_and_little_endian_fields(layout: np.dtype[np.void]) -> None:
    assert layout.itemsize == RECORD_BYTES
    assert all(layout[name].byteorder in "<|=" for name in layout.names or ())


# Of commands and orders of another kind, in the bytes of a field that this kind does not have; and the word
# over the eight codes.
OTHER_KINDS = {
    "codes",
    "session",
    "minimum_quantity_kg",
    "counter_amount_fen",
    "stop_fen_per_tonne",
    "display_quantity_kg",
    "scope",
    "profile",
    "match_id",
    "change_kg",
    "pick_minimum_kg",
    "due_ns",
}


@pytest.mark.parametrize("layout", VIEWS.values(), ids=VIEWS)
def test_fields_of_one_view_neither_overlap_nor_stand_unaligned(layout: np.dtype[np.void]) -> None:
    taken: set[int] = set()

    for name in layout.names or ():
        field, offset = fields_of(layout)[name]
        span = set(range(offset, offset + field.itemsize))
        assert name in OTHER_KINDS or not taken & span, name
        assert field.kind == "S" or offset % field.itemsize == 0, name
        if name not in OTHER_KINDS:
            taken |= span


@pytest.mark.parametrize("layout", [TRADE, ORDER, CASH, LOT, LEVEL, INSTRUMENT])
def test_a_view_sees_the_event_records_bytes(layout: np.dtype[np.void]) -> None:
    for name in layout.names or ():
        assert fields_of(layout)[name] == fields_of(EVENT)[name]


def test_the_first_48_bytes_of_a_command_mean_the_same_in_instrument_terms() -> None:
    shared = [name for name, (_, offset) in fields_of(COMMAND).items() if offset < 48]

    assert all(fields_of(INSTRUMENT_TERMS)[name] == fields_of(COMMAND)[name] for name in shared)


def test_commands_are_of_this_version_and_hold_what_they_were_given() -> None:
    commands = commands_of({"kind": Command.DEPOSIT, "amount_fen": 5}, {"account": -1})

    assert commands["version"].tolist() == [RECORD_VERSION, RECORD_VERSION]
    assert commands["amount_fen"].tolist() == [5, 0]
    assert commands["account"].tolist() == [0, -1]


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=16))
def test_a_client_order_id_comes_back_verbatim(text: str) -> None:
    assert client_order_id_text(*client_order_id_words(text.encode())) == text


@given(st.binary(min_size=RECORD_BYTES, max_size=RECORD_BYTES * 6), st.data())
def test_selected_and_joined_records_keep_every_byte(raw: bytes, data: st.DataObject) -> None:
    records = np.frombuffer(raw[: len(raw) // RECORD_BYTES * RECORD_BYTES], EVENT)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(records), max_size=len(records))))

    chosen, left = select(records, mask), select(records, ~mask)

    whole = [raw[i * RECORD_BYTES : (i + 1) * RECORD_BYTES] for i in range(len(records))]
    expected = [row for row, is_in in zip(whole, mask, strict=True) if is_in]
    expected += [row for row, is_in in zip(whole, mask, strict=True) if not is_in]
    assert joined([chosen, left]).tobytes() == b"".join(expected)


def test_words_are_the_same_memory() -> None:
    commands = commands_of({"sequence": 7})

    as_words(commands)[0, 0] = 8

    assert commands["sequence"].tolist() == [8]


def test_a_forked_process_keeps_the_rows_of_its_moment() -> None:
    """Snapshots depend on it: mmap's default is memory that parent and child share."""
    rows = aligned_zeros(HUGE_PAGE_BYTES // COMMAND.itemsize, COMMAND)
    (go, wake), (told, tell) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.read(go, 1)
        os.write(tell, str(rows["sequence"][5]).encode())
        os._exit(0)

    rows["sequence"][5] = 77
    os.write(wake, b"!")

    assert os.read(told, 9) == b"0"
    os.waitpid(child, 0)
