"""An engine whose system calls fail, wait or end it says nothing that the next start does not know."""

import random
from pathlib import Path

import pytest

from tests.crash import traced
from tests.crash.history import History

SEED = 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    """Skip where this cannot be done."""
    if why_not := traced.reason_to_skip():
        pytest.skip(why_not)


async def test_engine_stops_at_a_disk_error_and_loses_nothing(tmp_path: Path) -> None:
    tally = await traced.crashed(tmp_path, traced.fail_at_sync(7), History(), random.Random(SEED))

    assert tally.holds, tally.findings
    assert tally.acknowledged > 0


async def test_kill_on_the_way_into_a_sync_loses_nothing(tmp_path: Path) -> None:
    tally = await traced.kills_at_each_sync(tmp_path, 5, 6, SEED)  # of blocks: a start has up to 3

    assert tally.holds, tally.findings
    assert (tally.crashes, tally.acknowledged > 0) == (2, True)


async def test_nothing_is_answered_before_a_slow_sync_has_ended(tmp_path: Path) -> None:
    tally = await traced.slow_disk(tmp_path, random.Random(SEED))

    assert tally.holds, tally.findings


async def test_a_disk_that_lies_about_its_writes_is_noticed(tmp_path: Path) -> None:
    tally = await traced.lying_disk(tmp_path, random.Random(SEED))

    assert tally.losses > 0, "the harness must see that acknowledged commands are gone"
