"""A floor for every test of a rule."""

from collections.abc import Iterator

import pytest

from tests.engine.rules.floor import Floor


@pytest.fixture
def floor() -> Iterator[Floor]:
    """Two instruments, five rich accounts; the core's invariants hold when the test is done."""
    floor = Floor()
    yield floor
    floor.exchange.check_invariants()
