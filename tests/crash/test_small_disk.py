"""A disk that is full: orders are refused, then cancels; nothing acknowledged is lost; it goes on."""

import errno
import os
from pathlib import Path

import pytest

from engine.command_log import CommandLog, segment_name
from engine.disk import PosixDisk
from tests.crash import small_disk
from tests.crash.log_writer import numbered

SEED = 8
WHY_NOT = small_disk.reason_to_skip()
needs_mount = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "small disks can be mounted")

pytestmark = pytest.mark.slow


@needs_mount
def test_a_log_on_one_megabyte_ends_full_and_whole(tmp_path: Path) -> None:
    tally = small_disk.writer_fills_the_disk(tmp_path, SEED)

    assert tally.holds, tally.findings
    assert tally.acknowledged > 1_000


@needs_mount
async def test_an_engine_on_a_full_disk_refuses_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    tally = await small_disk.engine_fills_the_disk(tmp_path, SEED)

    assert tally.holds, tally.findings
    assert tally.acknowledged > 1_000


def test_a_device_without_space_fails_the_append_and_acknowledges_nothing(tmp_path: Path) -> None:
    log = CommandLog(PosixDisk(tmp_path), 1 << 16)
    log.resume(1)
    log.append(numbered(1, 3))
    full = PosixDisk(Path("/dev")).open("full")
    log._file = full  # the same log on a device that is full

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        log.append(numbered(4, 1))

    assert log.sequence == 3
    again = CommandLog(PosixDisk(tmp_path), 1 << 16)
    assert sum(len(block) for block in again.recover()) == 3
    assert PosixDisk(tmp_path).names()[0] == segment_name(1)
