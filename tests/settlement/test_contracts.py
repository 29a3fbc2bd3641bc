"""The contract's states, and the text whose hash the books keep."""

from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from settlement.contracts import TERMS, State, path_at_fill, text_hashes, texts

E1: dict[str, Any] = {name: 0 for name, _ in TERMS} | {
    "contract": 42,
    "buyer": 2,
    "seller": 1,
    "price_fen_per_tonne": 226_000,
    "quantity_kg": 29_880,
    "amount_fen": 6_752_880,
}


def test_a_full_pay_contract_is_paid_by_way_of_confirmed() -> None:
    assert path_at_fill() == (State.MATCHED, State.CONFIRMED, State.PAID)


def test_the_text_says_every_term_in_plain_words() -> None:
    text = texts(E1, 1).tobytes().decode("ascii")

    lines = dict(line.split(" ", 1) for line in text.splitlines()[1:-1])
    assert {name: int(value) for name, value in lines.items()} == E1


def test_the_hash_is_sha_256_of_the_text() -> None:
    many = {name: np.arange(3) + value for name, value in E1.items()}

    hashes = text_hashes(many, 3)

    assert [row.tobytes() for row in hashes] == [sha256(row.tobytes()).digest() for row in texts(many, 3)]
    assert len({row.tobytes() for row in hashes}) == 3


def test_no_contracts_have_no_hashes() -> None:
    assert text_hashes(E1, 0).shape == (0, 32)


@pytest.mark.parametrize(("name", "value"), [("amount_fen", 10**18), ("buyer", 10**10), ("lot", -1)])
def test_a_number_that_does_not_fit_its_place_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        texts(E1 | {name: value}, 1)


def test_the_largest_numbers_fit() -> None:
    text = texts(E1 | {"contract": 2**63 - 1}, 1).tobytes().decode("ascii")

    assert f"contract {2**63 - 1}\n" in text
