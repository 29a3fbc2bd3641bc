"""A log of an older record version is read by the next; a newer one is refused."""

import google_crc32c
import numpy as np
import pytest

from engine import record_versions
from engine.blocks import HEADER, HEADER_BYTES, CorruptLogError, padded, segment_name
from engine.command_log import CommandLog
from engine.records import RECORD_BYTES, as_words
from engine.vocabulary import RECORD_VERSION
from tests.engine.fakes import SEGMENT, MemoryDisk, bytes_of, deposits

OLD_BYTES = 64  # version 0 of this test had no body: sequence to outbox, then the amount


def old_records(count: int, first: int) -> bytes:
    """The deposits of `deposits`, as version 0 would have written them."""
    words = as_words(deposits(count, first))
    old = np.zeros((count, OLD_BYTES // 8), np.int64)
    old[:, :6], old[:, 6] = words[:, :6], words[:, 13]
    return old.tobytes()


def step_0(records: bytes) -> bytes:
    """Version 0 to version 1."""
    old = np.frombuffer(records, np.int64).reshape(-1, OLD_BYTES // 8)
    new = np.zeros((len(old), RECORD_BYTES // 8), np.int64)
    new[:, :6], new[:, 13] = old[:, :6], old[:, 6]
    return new.tobytes()


def rewritten(disk: MemoryDisk, version: int) -> None:
    """Put the first two blocks of 3 and 40 commands as `version` would have written them."""
    at, previous = 0, 0
    for block, (count, first) in enumerate(((3, 1), (40, 4))):
        records = old_records(count, first)
        header = np.zeros(1, HEADER)
        header["magic"], header["version"], header["epoch"] = 0x474F4C474E4F434C, version, 1
        header["segment"], header["block"], header["count"] = 1, block, count
        header["first_sequence"], header["length"], header["previous_crc"] = first, len(records), previous
        header["records_crc"], header["log"] = google_crc32c.value(records), 77
        previous = google_crc32c.value(header.tobytes()[:-4])
        header["header_crc"] = previous
        file = disk.files[segment_name(1)]
        file.write(at, header.tobytes() + records)
        file.sync()
        at += padded(len(records))


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> MemoryDisk:
    """A disk with a log of version 0, and a program that knows how to read it."""
    monkeypatch.setitem(record_versions.SIZES, 0, OLD_BYTES)
    monkeypatch.setitem(record_versions.STEPS, 0, step_0)
    disk = MemoryDisk()
    disk.create(segment_name(1), SEGMENT)
    rewritten(disk, 0)
    return disk


def test_blocks_of_an_older_version_are_read_as_todays_commands(old: MemoryDisk) -> None:
    before = old.image()

    assert bytes_of(CommandLog(old, SEGMENT).recover()) == deposits(43).tobytes()
    assert old.image() == before


def test_todays_blocks_follow_those_of_the_older_version(old: MemoryDisk) -> None:
    log = CommandLog(old, SEGMENT)
    assert sum(len(block) for block in log.recover()) == 43
    log.resume(log.epoch + 1)
    log.append(deposits(5, 44))
    log.close()

    found = CommandLog(old.crashed(), SEGMENT)

    assert bytes_of(found.recover()) == deposits(48).tobytes()
    assert found.position is not None
    assert found.position.offset == padded(3 * OLD_BYTES) + padded(40 * OLD_BYTES)


def test_a_newer_version_is_refused_by_name() -> None:
    disk = MemoryDisk()
    disk.create(segment_name(1), SEGMENT)
    rewritten(disk, RECORD_VERSION + 1)

    with pytest.raises(CorruptLogError, match=r"offset 0: written by a newer version \(2, this is 1\)"):
        list(CommandLog(disk, SEGMENT).recover())


def test_every_version_has_a_size_and_a_step_to_the_next() -> None:
    assert record_versions.SIZES[RECORD_VERSION] == RECORD_BYTES
    assert set(record_versions.STEPS) == set(record_versions.SIZES) - {RECORD_VERSION}
    assert HEADER.itemsize == HEADER_BYTES
