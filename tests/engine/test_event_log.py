"""The event log: whole commands from any sequence on, without gap or double."""

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.event_log import READ_EVENTS, EventLog
from engine.records import RECORD_BYTES, joined
from tests.engine.fakes import bytes_of, events_of

FIXTURE_IS_FINE = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def read_after(log: EventLog, sequence: int) -> bytes:
    """Everything behind `sequence`, batch by batch, each of whole commands."""
    parts, offset = [], log.position_after(sequence)
    while offset < log.size:
        parts.append(log.read(offset))
        offset += parts[-1].nbytes
    for part, following in pairwise(parts):
        assert part["sequence"][-1] < following["sequence"][0], "a command is never cut"
    return bytes_of(parts)


@FIXTURE_IS_FINE
@given(
    batches=st.lists(st.lists(st.integers(1, 700), min_size=1, max_size=8), min_size=1, max_size=8),
    after=st.integers(0, 70),
)
def test_reading_resumes_after_any_sequence_without_gap_or_double(
    tmp_path: Path, batches: list[list[int]], after: int
) -> None:
    log, sequence, all_events = EventLog(tmp_path / "events.log", reserve_bytes=1 << 16), 0, []
    for counts in batches:
        commands = [(sequence + i, count) for i, count in enumerate(counts, 1)]
        sequence += len(counts)
        all_events.append(events_of(*commands))
        log.append(all_events[-1])

    came = read_after(log, after)
    log.close()

    whole = joined(all_events)
    assert came == whole[whole["sequence"] > after].tobytes()


def test_command_of_more_events_than_one_read_comes_whole(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.log")
    events = events_of((1, 3), (2, 3 * READ_EVENTS), (3, 1))
    log.append(events)

    first = log.read(0)
    second = log.read(first.nbytes)

    assert first["sequence"].tolist() == [1, 1, 1]
    assert second["sequence"].tolist()[:: READ_EVENTS - 1] == [2, 2, 2, 2]
    assert read_after(log, 0) == events.tobytes()


def test_no_events_change_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.log")

    log.append(events_of())

    assert (log.size, log.sequence, log.position_after(0)) == (0, 0, 0)


def test_new_start_writes_over_the_former_log_and_cuts_what_is_behind(tmp_path: Path) -> None:
    former = EventLog(tmp_path / "events.log")
    former.append(events_of((1, 2), (2, 2), (3, 2)))
    former.close()

    log = EventLog(tmp_path / "events.log")
    log.append(events_of((1, 2), (2, 2)))
    log.cut()

    assert log.former_sequence == 3
    assert read_after(log, 0) == events_of((1, 2), (2, 2)).tobytes()
    assert EventLog(tmp_path / "events.log").former_sequence == 2


def test_log_is_not_touched_before_it_is_written(tmp_path: Path) -> None:
    former = EventLog(tmp_path / "events.log")
    former.append(events_of((1, 2), (2, 2)))
    former.close()
    before = (tmp_path / "events.log").read_bytes()

    EventLog(tmp_path / "events.log").close()

    assert (tmp_path / "events.log").read_bytes() == before


def test_full_disk_is_known_before_the_log_needs_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = 100 * RECORD_BYTES
    log = EventLog(tmp_path / "events.log", reserve_bytes=reserve)
    log.append(events_of((1, 1)))

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        told = []
        for sequence in range(2, 102):
            log.append(events_of((sequence, 1)))
            told.append(log.nearly_full())
    log.retry()

    assert told == [False] * 75 + [True] * 25
    assert not log.nearly_full()
    assert log.size == 101 * RECORD_BYTES


def test_other_errors_of_the_disk_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "events.log")

    def broken(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "posix_fallocate", broken)

    with pytest.raises(OSError, match="Input/output"):
        log.append(events_of((1, 1)))
