"""A dozen kills in random order under load: nothing acknowledged is lost, nothing happens twice."""

from pathlib import Path

import pytest

from tests.crash.storm import VICTIMS, storm

SEED, SECONDS = 8, 6.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


async def test_a_storm_of_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    tally = await storm(tmp_path, SEED, SECONDS)

    assert tally.holds, tally.findings
    assert tally.crashes >= len(VICTIMS)
    assert tally.acknowledged > 100
