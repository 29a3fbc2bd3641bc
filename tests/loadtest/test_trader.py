"""Patience: a passing fault is asked again, any other is raised, and nobody waits for ever."""

import pytest

from gateway.client import ExchangeNotAvailable, InvalidOrder
from loadtest import trader
from loadtest.trader import patiently


class Asked:
    """Raises what it is given, one after the other, and then answers."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.times = 0

    async def __call__(self) -> str:
        self.times += 1
        if self.faults:
            raise self.faults.pop(0)
        return "answer"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trader, "PAUSE_S", 0.0)


async def test_passing_fault_is_asked_again() -> None:
    asked = Asked(ExchangeNotAvailable("settlement_unavailable"), ExchangeNotAvailable("engine_unavailable"))

    assert await patiently(asked) == "answer"
    assert asked.times == 3


async def test_fault_that_will_not_pass_is_raised_at_once() -> None:
    asked = Asked(InvalidOrder("unknown_order"))

    with pytest.raises(InvalidOrder):
        await patiently(asked)
    assert asked.times == 1


async def test_patience_ends() -> None:
    asked = Asked(*(ExchangeNotAvailable("settlement_unavailable") for _ in range(1000)))

    with pytest.raises(ExchangeNotAvailable):
        await patiently(asked, patience_s=0.0)
    assert asked.times <= 2
