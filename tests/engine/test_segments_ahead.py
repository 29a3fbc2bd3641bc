"""What is ready before it is needed, and what must never come next."""

import pytest

from engine.command_log import SEGMENTS_AHEAD, segment_name
from tests.engine.fakes import MemoryDisk, deposits
from tests.engine.test_command_log import started


def test_blocks_follow_each_other_without_a_gap() -> None:
    log = started(MemoryDisk())
    log.append(deposits(2))

    with pytest.raises(AssertionError, match="follow each other"):
        log.append(deposits(1, 4))


def test_segments_are_made_ahead_when_nobody_waits() -> None:
    disk = MemoryDisk()
    log = started(disk)

    while not log.is_ahead():
        log.make_ahead()
        assert log._maker is not None
        log._maker.join()
    log.make_ahead()

    assert disk.names() == [segment_name(number) for number in range(1, 2 + SEGMENTS_AHEAD)]
