"""The command log: durable when append returns, torn at the end at most, refused when damaged."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.command_log import (
    BLOCK_ALIGNMENT,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    CommandLog,
    CorruptLogError,
    LogFullError,
    block_bytes,
    segment_name,
)
from engine.disk import PosixDisk
from engine.records import RECORD_BYTES, Records
from tests.engine.fakes import SEGMENT, MemoryDisk, bytes_of, deposits

FIRST, SECOND = segment_name(1), segment_name(2)


def started(disk: MemoryDisk, epoch: int | None = None, segment_bytes: int = SEGMENT) -> CommandLog:
    """A log that has read `disk` and is ready to append."""
    log = CommandLog(disk, segment_bytes, retry_s=0.0)
    for _ in log.recover():
        pass
    log.resume(log.epoch + 1 if epoch is None else epoch)
    return log


def filled(disk: MemoryDisk, sizes: list[int], first: int = 1) -> list[Records]:
    """Blocks of `sizes` commands, appended to `disk` by one start."""
    log, blocks = started(disk), []
    for size in sizes:
        blocks.append(deposits(size, first))
        log.append(blocks[-1])
        first += size
    log.close()
    return blocks


def read(disk: MemoryDisk) -> bytes:
    return bytes_of(CommandLog(disk, SEGMENT).recover())


@contextmanager
def refused_unchanged(disk: MemoryDisk, says: str) -> Iterator[None]:
    """After what the block does to the disk, reading must raise, name the place, and change no byte."""
    yield
    before = disk.image()
    with pytest.raises(CorruptLogError, match=says):
        read(disk)
    assert disk.image() == before


def spoil(disk: MemoryDisk, name: str, offset: int, change: int = 0xFF) -> None:
    disk.files[name].written[offset] ^= change


def test_appended_block_is_on_the_medium_when_append_returns() -> None:
    disk = MemoryDisk()
    log = started(disk)

    log.append(deposits(3))

    assert disk.syncs == 1
    assert log.sequence == 3
    assert read(disk.crashed()) == deposits(3).tobytes()


def test_a_block_fills_whole_sectors_so_that_no_synced_one_is_written_again() -> None:
    disk = MemoryDisk()
    filled(disk, [1, 40])

    headers = [np.frombuffer(disk.files[FIRST].read(at, HEADER_BYTES), HEADER)[0] for at in (0, 4096)]

    assert [block_bytes(count) for count in (1, 31, 32, 4096)] == [4096, 4096, 8192, 528384]
    assert [int(header["magic"]) for header in headers] == [MAGIC, MAGIC]
    assert [int(header["block"]) for header in headers] == [0, 1]
    assert [int(header["first_sequence"]) for header in headers] == [1, 2]
    assert int(headers[1]["previous_crc"]) == int(headers[0]["header_crc"])


def test_log_goes_on_in_the_next_segment_and_reads_back_over_both() -> None:
    disk = MemoryDisk()

    blocks = filled(disk, [60] * 20)

    assert len(disk.files) >= 3
    assert read(disk) == bytes_of(blocks)


def test_blocks_of_several_starts_follow_each_other() -> None:
    disk = MemoryDisk()

    blocks = [filled(disk, [2, 3], first) for first in (1, 6, 11)]

    log = CommandLog(disk, SEGMENT)
    assert bytes_of(log.recover()) == b"".join(bytes_of(part) for part in blocks)
    assert (log.sequence, log.epoch) == (15, 3)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=12),
    last=st.integers(1, 100),
    cut=st.floats(0, 1),
    tail=st.sampled_from(["nothing", "kept", "rubbish"]),
    sector_order=st.booleans(),
)
def test_torn_last_block_is_cut_and_everything_acknowledged_stays(
    sizes: list[int], last: int, cut: float, tail: str, sector_order: bool
) -> None:
    disk = MemoryDisk()
    blocks = filled(disk, sizes)
    log = started(disk)
    disk.fail_at_sync = disk.syncs + 1
    with pytest.raises(OSError, match="Input/output"):
        log.append(deposits(last, 1 + sum(sizes)))

    def torn(synced: bytes, written: bytes) -> bytes:
        if synced == written:
            return synced
        differing = [i for i in range(0, len(synced), 64) if synced[i : i + 64] != written[i : i + 64]]
        start, length = differing[0] // 4096 * 4096, block_bytes(last)
        at = start + int(cut * (HEADER_BYTES + last * RECORD_BYTES - 1))  # before the last byte that counts
        if tail == "rubbish":
            return written[:at] + bytes([written[at] ^ 0x5A]) + written[at + 1 :]
        if tail == "kept" and sector_order:  # the later sectors came through, the first did not
            edge = start + 4096 if length > 4096 else start
            return synced[:edge] + written[edge:]
        return written[:at] + synced[at:]

    after = disk.crashed(torn)
    log = CommandLog(after, SEGMENT)
    came = bytes_of(log.recover())
    log.resume(99)
    log.append(deposits(1, log.sequence + 1))
    log.close()

    acknowledged, whole = bytes_of(blocks), bytes_of([*blocks, deposits(last, 1 + sum(sizes))])
    assert came in (acknowledged, whole)
    assert read(after.crashed())[: len(came)] == came
    assert len(read(after.crashed())) == len(came) + RECORD_BYTES


@pytest.mark.parametrize("at", [*range(HEADER_BYTES), 64, 100, 191, 64 + 34 * RECORD_BYTES + 104])
def test_torn_tail_at_every_byte_of_the_header_and_the_ends_of_the_records_is_cut(at: int) -> None:
    disk = MemoryDisk()
    blocks = filled(disk, [5, 35])
    written = disk.files[FIRST].written

    written[4096 + at :] = bytes(len(written) - 4096 - at)

    assert read(disk) == bytes_of(blocks[:1])
    started(disk)
    assert not any(written[4096:])


@pytest.mark.parametrize("offset", [4096, 4096 + 40, 4096 + 64, 4096 + 200])
def test_damage_in_the_middle_refuses_and_names_the_place(offset: int) -> None:
    disk = MemoryDisk()
    filled(disk, [5, 5, 5])

    with refused_unchanged(disk, r"00000001\.log, offset 4096: an invalid block, and a valid one behind it"):
        spoil(disk, FIRST, offset)


def test_damage_at_the_end_of_a_segment_is_named_there_though_the_next_one_shows_it() -> None:
    disk = MemoryDisk()
    filled(disk, [60] * 9)

    with refused_unchanged(disk, r"00000001\.log, offset 57344: .* \(00000002\.log, offset 0\)"):
        spoil(disk, FIRST, 57344 + 70)


def test_missing_segment_is_named() -> None:
    disk = MemoryDisk()
    filled(disk, [60] * 20)

    with refused_unchanged(disk, r"segment 00000002\.log is missing"):
        del disk.files[SECOND]


def test_foreign_file_is_named() -> None:
    disk = MemoryDisk()
    filled(disk, [1])

    with refused_unchanged(disk, r"copy\.log is not a segment"):
        disk.create("copy.log", SEGMENT)


def test_segment_in_the_place_of_another_is_named() -> None:
    disk = MemoryDisk()
    filled(disk, [60] * 20)

    with refused_unchanged(disk, r"00000001\.log, offset 0: a block of segment 2 of (this|another) log"):
        disk.files[FIRST], disk.files[SECOND] = disk.files[SECOND], disk.files[FIRST]


def test_segment_of_another_exchange_is_named() -> None:
    disk, other = MemoryDisk(), MemoryDisk()
    filled(disk, [60] * 9)
    filled(other, [60] * 9)

    with refused_unchanged(disk, r"00000002\.log, offset 0: a block of segment 2 of another log"):
        disk.files[SECOND] = other.files[SECOND]


def test_older_copy_of_the_first_segment_is_refused() -> None:
    disk = MemoryDisk()
    filled(disk, [60] * 3)
    old = bytes(disk.files[FIRST].written)
    filled(disk, [60] * 6, 181)

    with refused_unchanged(disk, r"00000001\.log, offset 24576: an invalid block"):
        disk.files[FIRST].written[:] = old


@pytest.mark.parametrize("keep", [0, 100, 4096, 10_000, 30_000])
def test_segment_that_was_cut_short_is_refused(keep: int) -> None:
    disk = MemoryDisk()
    filled(disk, [60] * 20)
    with refused_unchanged(disk, "this is damage, not a crash"):
        del disk.files[FIRST].written[keep:]


def test_last_segment_that_was_cut_short_is_a_torn_tail_and_is_told_by_the_others() -> None:
    """A log alone cannot know that its end is missing: snapshots, event log and settlement's cursor can."""
    disk = MemoryDisk()
    filled(disk, [60] * 4)
    del disk.files[FIRST].written[3 * 8192 :]

    log = CommandLog(disk, SEGMENT)

    assert sum(len(block) for block in log.recover()) == 180


def test_block_of_another_history_of_the_same_log_breaks_the_chain() -> None:
    disk = MemoryDisk()
    filled(disk, [5])
    other = disk.crashed()
    for history, amount in ((disk, 7), (other, 8)):
        log, block = started(history), deposits(5, 6)
        block["amount_fen"] = amount
        log.append(block)
        log.append(deposits(5, 11))

    with refused_unchanged(disk, r"00000001\.log, offset 8192: an invalid block"):
        disk.files[FIRST].written[4096:8192] = other.files[FIRST].written[4096:8192]


def test_newer_version_is_refused() -> None:
    disk = MemoryDisk()
    filled(disk, [1])

    with refused_unchanged(disk, r"00000001\.log, offset 0: written by a newer version \(2, this is 1\)"):
        raw = disk.files[FIRST].written
        raw[8] = 2
        raw[60:64] = google_crc32c.value(bytes(raw[:60])).to_bytes(4, "little")


def test_what_a_client_writes_into_its_orders_is_never_taken_for_a_block() -> None:
    disk = MemoryDisk()
    blocks = filled(disk, [1])
    forged = np.zeros(1, HEADER)
    forged["magic"], forged["version"], forged["count"], forged["length"] = MAGIC, 1, 1, RECORD_BYTES
    forged["segment"], forged["records_crc"] = 1, google_crc32c.value(bytes(RECORD_BYTES))
    forged["header_crc"] = google_crc32c.value(forged.tobytes()[:-4])
    raw = disk.files[FIRST].written
    raw[4096:8192] = b"\x01" * 4096  # the torn header of a block

    raw[8192 : 8192 + HEADER_BYTES] = forged.tobytes()

    assert read(disk) == bytes_of(blocks)


@pytest.mark.parametrize("cut", [0, 10, HEADER_BYTES, HEADER_BYTES + 500])
def test_crash_right_after_a_roll_recovers_and_goes_on(cut: int) -> None:
    disk = MemoryDisk()
    blocks = filled(disk, [100] * 4)  # 16 KiB each: the segment is full
    log = started(disk)
    disk.fail_at_sync = disk.syncs + 1
    with pytest.raises(OSError, match="Input/output"):
        log.append(deposits(100, 401))

    after = disk.crashed(
        lambda synced, written: written[:cut] + synced[cut:] if synced != written else synced
    )

    assert any(disk.files[SECOND].written)
    assert read(after) == bytes_of(blocks)
    started(after)
    assert not any(after.files[SECOND].written)
    more = filled(after, [1, 100], 401)
    assert read(after) == bytes_of([*blocks, *more])


def test_failed_sync_is_never_tried_again() -> None:
    disk = MemoryDisk()
    log = started(disk)
    disk.fail_at_sync = 1
    with pytest.raises(OSError, match="Input/output"):
        log.append(deposits(1))
    disk.fail_at_sync = None

    with pytest.raises(AssertionError, match="never tried again"):
        log.append(deposits(1))

    assert log.sequence == 0


def test_segments_of_another_size_are_gone_on_with() -> None:
    disk = MemoryDisk()
    blocks = filled(disk, [60] * 3)

    log = started(disk, segment_bytes=2 * SEGMENT)
    for first in range(181, 1201, 60):
        blocks.append(deposits(60, first))
        log.append(blocks[-1])

    assert read(disk) == bytes_of(blocks)


def test_full_disk_at_the_first_start_says_what_to_do() -> None:
    disk = MemoryDisk()
    disk.full_after = 0

    with pytest.raises(LogFullError, match=r"no space for the command log's first segment .* free space"):
        started(disk)


def test_full_disk_is_told_at_three_quarters_and_over_when_space_is_free() -> None:
    disk = MemoryDisk()
    disk.full_after = 1
    log = started(disk)
    log._segments.join()

    told = []
    for number in range(1, 15):
        log.append(deposits(1, number))
        told.append(log.nearly_full())
    disk.full_after = None
    log.retry()
    log._segments.join()

    assert told == [False] * 12 + [True] * 2
    assert not log.nearly_full()
    assert log.trouble is None
    assert disk.names() == [FIRST, SECOND]


def test_room_is_what_the_segments_hold() -> None:
    disk = MemoryDisk()
    disk.full_after = 1
    log = started(disk)

    fitting = [count for count in range(1, 600) if log.has_room(count)]

    assert fitting[-1] == (SEGMENT - HEADER_BYTES) // RECORD_BYTES
    log.append(deposits(fitting[-1]))
    with pytest.raises(LogFullError, match=r"the disk of the command log is full .*free space"):
        log.append(deposits(1, fitting[-1] + 1))


def test_other_errors_of_the_next_segment_end_the_log() -> None:
    disk = MemoryDisk()
    disk.full_after, disk.create_error = 1, errno.EIO
    log = started(disk)
    assert log._segments._work is not None
    log._segments.join()

    with pytest.raises(OSError, match="Input/output"):
        log.append(deposits(1))


def test_each_start_has_a_higher_epoch() -> None:
    disk = MemoryDisk()
    filled(disk, [1])

    with pytest.raises(AssertionError, match="epoch of its own"):
        started(disk, epoch=1)


def test_a_forked_child_keeps_the_block_of_its_moment() -> None:
    """The child that writes a snapshot must not see what the log encodes meanwhile."""
    log = started(MemoryDisk())
    log.append(deposits(1))
    before = bytes(log._buffer[:BLOCK_ALIGNMENT])
    here, there = os.pipe()

    child = os.fork()
    if child == 0:
        os.read(here, 1)
        os._exit(0 if bytes(log._buffer[:BLOCK_ALIGNMENT]) == before else 1)
    log.append(deposits(1, first=2))
    os.write(there, b"1")

    assert bytes(log._buffer[:BLOCK_ALIGNMENT]) != before
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(here)
    os.close(there)


def test_alignment_is_a_sector_of_every_disk() -> None:
    assert BLOCK_ALIGNMENT == 4096


def test_recovery_reads_the_medium_and_a_segment_to_be_written_keeps_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = list[int]()
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: advice.append(arguments[3]))
    first = CommandLog(PosixDisk(tmp_path), SEGMENT)
    assert list(first.recover()) == []
    first.resume(1)
    first.append(deposits(1))
    first.close()
    while_it_was_written, advice[:] = [*advice], []

    assert bytes_of(CommandLog(PosixDisk(tmp_path), SEGMENT).recover()) == deposits(1).tobytes()

    assert while_it_was_written == []
    assert os.POSIX_FADV_DONTNEED in advice
