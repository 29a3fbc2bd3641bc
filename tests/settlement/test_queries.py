"""The file of named statements."""

import pytest

from settlement.queries import QUERIES, load


def test_each_statement_is_found_under_its_name() -> None:
    assert load("-- heading\n-- name: one\nSELECT 1\n\n-- name: two\n-- why\nSELECT 2\n") == {
        "one": "SELECT 1",
        "two": "-- why\nSELECT 2",
    }


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        load("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")


def test_no_statement_is_empty() -> None:
    assert all(QUERIES.values())
