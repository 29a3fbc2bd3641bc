"""The core against its naive twin: every command, every event, every hold, every place, after each command.

A flow that fails shrinks to a few lines that a trader can read. `LECONG_EXAMPLES` sets how many flows are
tried, `--hypothesis-seed` repeats a run; both are printed.
"""

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.engine.flows import calls, flows
from tests.engine.pair import Pair
from tests.engine.reference_auction import Ask

EXAMPLES = int(os.environ.get("LECONG_EXAMPLES", "60"))


def play(flow: list[Ask]) -> None:
    pair = Pair()
    for ask in flow:
        if ask:
            pair.play(ask)


def compare(request: pytest.FixtureRequest, examples: int, strategy: Callable[[int], Any]) -> None:
    """Try so many flows of `strategy(seed)`."""
    chosen = request.config.getoption("--hypothesis-seed")
    number = int(chosen) if chosen and str(chosen).isdigit() else random.SystemRandom().getrandbits(32)
    print(f"--hypothesis-seed={number} LECONG_EXAMPLES={EXAMPLES}")
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    wanted: Any = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=slow)

    drawn: Any = given(strategy(number))
    again: Any = seed(number)
    again(wanted(drawn(play)))()


def test_core_and_twin_agree_on_every_event_hold_and_place(request: pytest.FixtureRequest) -> None:
    """semantics A to G."""
    compare(request, EXAMPLES, flows)


def test_core_and_twin_agree_on_call_auctions(request: pytest.FixtureRequest) -> None:
    """semantics E2, E3, E4."""
    compare(request, EXAMPLES // 2, lambda number: calls())
