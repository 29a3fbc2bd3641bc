"""The core against its naive twin: every command, every event, every hold, every place, after each command.

A flow that fails shrinks to a few lines that a trader can read. `LECONG_EXAMPLES` sets how many flows are
tried, `--hypothesis-seed` repeats a run; both are printed.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.engine.flows import flows
from tests.engine.pair import Pair
from tests.engine.reference_auction import Ask

EXAMPLES = int(os.environ.get("LECONG_EXAMPLES", "80"))


def play(flow: list[Ask]) -> None:
    pair = Pair()
    for ask in flow:
        if ask:
            pair.play(ask)


def test_core_and_twin_agree_on_every_event_hold_and_place(request: pytest.FixtureRequest) -> None:
    chosen = request.config.getoption("--hypothesis-seed")
    number = int(chosen) if chosen and str(chosen).isdigit() else random.SystemRandom().getrandbits(32)
    print(f"--hypothesis-seed={number} LECONG_EXAMPLES={EXAMPLES}")
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    wanted = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=slow)

    seed(number)(wanted(given(flows(number))(play)))()
