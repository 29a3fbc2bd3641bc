"""What a killed engine wrote and had not synced: recovery may count it only once it is on the medium.

After SIGKILL the page cache lives on, so the next start reads blocks, and finds segments, that a power cut
would still take away. Found by the simulator (seeds 89 and 148).
"""

import errno

import pytest

from engine.command_log import CommandLog, segment_name
from tests.engine.fakes import SEGMENT, MemoryDisk, bytes_of, deposits


def read(disk: MemoryDisk) -> bytes:
    return bytes_of(CommandLog(disk, SEGMENT).recover())


def killed_before_sync() -> MemoryDisk:
    """A disk with three synced commands and a fourth that only the page cache knows."""
    disk = MemoryDisk()
    log = CommandLog(disk, SEGMENT)
    read(disk)
    log.resume(1)
    log.append(deposits(3))
    disk.fail_at_sync = disk.syncs + 1
    with pytest.raises(OSError, match="Input/output"):
        log.append(deposits(1, 4))
    log.close()
    disk.fail_at_sync = None
    return disk


def test_block_that_recovery_reads_survives_a_power_cut() -> None:
    disk = killed_before_sync()

    recovered = read(disk)

    assert recovered == bytes_of([deposits(4)])
    assert read(disk.crashed()) == recovered


def test_block_that_cannot_be_synced_is_not_recovered() -> None:
    disk = killed_before_sync()
    disk.fail_at_sync = disk.syncs + 1

    with pytest.raises(OSError, match="Input/output") as failed:
        read(disk)

    assert failed.value.errno == errno.EIO


def test_segment_that_recovery_finds_stays_in_the_folder() -> None:
    disk = killed_before_sync()
    disk.files[segment_name(2)] = disk.files.pop(segment_name(2))  # renamed by the killed one, not synced
    disk.named = [segment_name(1)]

    read(disk)

    assert disk.named == [segment_name(1), segment_name(2)]
