"""Segments are ready before they are needed; what a start must read does not grow with it."""

import errno
from collections.abc import Callable

import pytest

from engine.blocks import segment_name
from engine.command_log import CommandLog
from engine.records import RECORD_BYTES
from engine.segments import ROOM_OF_SPARES, SPARES
from tests.engine.fakes import SEGMENT, MemoryDisk, MemoryFile, deposits
from tests.engine.test_command_log import read, started

BLOCK = 400  # commands: one block of a segment that holds no second one


class Held:
    """A background work that runs when the test says so, or when it is waited for."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._done = False

    def is_alive(self) -> bool:
        return not self._done

    def join(self, timeout: float | None = None) -> None:
        if not self._done and timeout is None:
            self._done = True
            self._work()


class SealedDisk(MemoryDisk):
    """Spares that nobody may open."""

    def open(self, name: str, *, reread: bool = True) -> MemoryFile:
        raise AssertionError(f"{name} was opened")


def log_with(disk: MemoryDisk, spares: MemoryDisk, *, held: bool = False) -> CommandLog:
    """A log that takes blocks, with the segments ahead of quiet moments unless works are held."""
    log = CommandLog(disk, SEGMENT, 0.0, spares=spares, beside=Held)
    list(log.recover())
    log.resume(log.epoch + 1)
    while not held and not log.is_ahead():
        log.make_ahead()
        log._segments.join()
    return log


def names(first: int, last: int) -> list[str]:
    return [segment_name(number) for number in range(first, last + 1)]


def test_one_segment_waits_among_the_others_and_the_rest_are_spares() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    log = log_with(disk, spares)

    log.make_ahead()
    log._segments.join()

    assert (disk.names(), spares.names()) == (names(1, 2), names(3, 2 + SPARES))


def test_a_log_without_a_place_for_spares_has_one_segment_ahead() -> None:
    disk = MemoryDisk()
    log = started(disk)
    log._segments.join()

    log.make_ahead()

    assert log.is_ahead()
    assert disk.names() == names(1, 2)


def test_spares_follow_each_other_on_a_disk_that_takes_no_file_more() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    log = log_with(disk, spares)
    disk.full_after = spares.full_after = 0

    for number in range(2 + SPARES):
        log.append(deposits(BLOCK, 1 + BLOCK * number))
        log._segments.join()

    assert (disk.names(), spares.names()) == (names(1, 2 + SPARES), [])
    assert len(read(disk)) == (2 + SPARES) * BLOCK * RECORD_BYTES


class Meanwhile(MemoryDisk):
    """Something happens while a file is made."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def create(self, name: str, size: int) -> None:
        self._happens()
        super().create(name, size)


def test_the_next_segment_follows_a_spare_that_was_in_the_making_when_the_log_rolled() -> None:
    disk = MemoryDisk()
    spares = Meanwhile(lambda: log.append(deposits(BLOCK, 1 + BLOCK)))
    log = log_with(disk, spares, held=True)
    log._segments.join()  # the second segment
    log.append(deposits(BLOCK))

    log.make_ahead()
    log._segments.join()

    assert (disk.names(), spares.names()) == (names(1, 3), [])


def test_the_log_goes_on_while_a_spare_is_in_the_making() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    log = log_with(disk, spares, held=True)
    log._segments.join()
    log.append(deposits(BLOCK))
    log.make_ahead()
    work = log._segments._work
    assert work is not None

    log.append(deposits(BLOCK, 1 + BLOCK))

    assert work.is_alive()


def test_a_start_reads_no_spare_and_goes_on_with_them() -> None:
    disk, spares = MemoryDisk(), SealedDisk()
    log_with(disk, spares).append(deposits(BLOCK))
    before = dict(spares.files)

    log = log_with(disk.crashed(), spares)
    spares.full_after = 0
    log.append(deposits(BLOCK, 1 + BLOCK))
    log._segments.join()

    assert spares.files == {name: before[name] for name in names(4, 2 + SPARES)}


def test_spares_of_another_size_or_behind_a_gap_are_made_again() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    log_with(disk, spares)
    spares.create(segment_name(3), 2 * SEGMENT)
    old = spares.files[segment_name(4)]

    log_with(disk, spares)

    assert {spares.size(name) for name in spares.names()} == {SEGMENT}
    assert spares.files[segment_name(4)] is not old


def test_spares_are_made_only_where_there_is_plenty_of_room() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    spares.room = ROOM_OF_SPARES * SEGMENT - 1

    log = log_with(disk, spares)

    assert log.is_ahead()
    assert (disk.names(), spares.names()) == (names(1, 2), [])


def test_a_disk_that_is_full_for_spares_is_no_trouble() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    spares.full_after = 1

    log = log_with(disk, spares)

    assert log.is_ahead()
    assert log.trouble is None
    assert spares.names() == names(3, 3)


def test_other_errors_of_a_spare_end_the_log() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    spares.full_after, spares.create_error = 0, errno.EIO
    log = log_with(disk, spares, held=True)
    log._segments.join()
    log.make_ahead()
    log._segments.join()

    with pytest.raises(OSError, match="Input/output"):
        log.append(deposits(1))


def test_blocks_follow_each_other_without_a_gap() -> None:
    log = started(MemoryDisk())
    log.append(deposits(2))

    with pytest.raises(AssertionError, match="follow each other"):
        log.append(deposits(1, 4))
