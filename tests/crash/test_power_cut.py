"""When the power goes, the platter holds every acknowledged command; three mistakes by hand would be seen."""

import pytest

from tests.crash import power_cut
from tests.crash.faults import Fault

SEED = 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    """Skip where this cannot be done."""
    if why_not := power_cut.reason_to_skip():
        pytest.skip(why_not)


async def test_an_engine_that_loses_its_power_has_acknowledged_nothing_that_is_not_there() -> None:
    tally = await power_cut.engine_cuts(SEED, 3)

    assert tally.holds, tally.findings
    assert tally.acknowledged > 0


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.SHORT_WRITES])
def test_a_log_without_a_mistake_loses_nothing(fault: Fault) -> None:
    tally = power_cut.writer_cuts(fault, SEED, 5)

    assert tally.holds, tally.findings
    assert tally.acknowledged > 0


@pytest.mark.parametrize("fault", [Fault.NO_SYNC, Fault.EARLY])
def test_a_missing_or_late_sync_is_seen(fault: Fault) -> None:
    tally = power_cut.writer_cuts(fault, SEED, 5)

    assert tally.losses > 0


def test_a_missing_sync_of_the_folder_is_seen_where_no_other_sync_hides_it() -> None:
    with_it = power_cut.full_disk_cut(Fault.NONE, SEED)
    without = power_cut.full_disk_cut(Fault.NO_FOLDER_SYNC, SEED)

    assert with_it.holds, with_it.findings
    assert without.losses > 0
