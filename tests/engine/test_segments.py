"""Segments are ready before they are needed; what a start must read does not grow with it."""

import errno
import os
from collections.abc import Callable

import pytest

from engine.blocks import segment_name
from engine.command_log import CommandLog
from engine.records import RECORD_BYTES
from engine.segments import ROOM_OF_SPARES, SPARES, Segments
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


class CountingFile(MemoryFile):
    """Counts what is read of it."""

    def read(self, offset: int, length: int) -> bytes:
        assert isinstance(self.disk, CountingDisk)
        self.disk.read_bytes += length
        return super().read(offset, length)


class CountingDisk(MemoryDisk):
    """Counts what is read of its files."""

    read_bytes = 0

    def open(self, name: str, *, reread: bool = True) -> MemoryFile:
        return CountingFile(self, bytes(self.files[name].written))


class Meanwhile(MemoryDisk):
    """Something happens while a file is made."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens = happens

    def create(self, name: str, size: int) -> None:
        self._happens()
        super().create(name, size)


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
    disk, spares = MemoryDisk(), CountingDisk()
    log_with(disk, spares).append(deposits(BLOCK))
    before = dict(spares.files)

    log = log_with(disk.crashed(), spares)
    read_by_start = spares.read_bytes
    spares.full_after = 0
    log.append(deposits(BLOCK, 1 + BLOCK))
    log._segments.join()

    assert read_by_start == 0
    assert spares.files == {name: before[name] for name in names(4, 2 + SPARES)}


def test_a_spare_that_is_gone_at_a_start_is_made_anew() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    log_with(disk, spares)
    del spares.files[segment_name(3)]

    log = log_with(disk, spares, held=True)
    log.append(deposits(BLOCK))
    log.append(deposits(BLOCK, 1 + BLOCK))
    log._segments.join()

    assert disk.names() == names(1, 3)


def test_spares_behind_one_of_another_size_are_made_again() -> None:
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


@pytest.mark.parametrize("trouble", [errno.ENOENT, errno.EXDEV, errno.EACCES, errno.ENOSPC])
def test_a_spare_that_cannot_be_moved_is_done_without(trouble: int) -> None:
    class Elsewhere(MemoryDisk):
        def move(self, name: str, to: MemoryDisk) -> None:
            raise OSError(trouble, os.strerror(trouble))

    disk, spares = MemoryDisk(), Elsewhere()
    log = log_with(disk, spares)

    for number in range(4):
        log.append(deposits(BLOCK, 1 + BLOCK * number))
        log._segments.join()

    assert log.trouble is None
    assert disk.names() == names(1, 5)


def test_a_move_whose_folder_was_not_synced_is_made_good_by_a_new_segment() -> None:
    class Unsynced(MemoryDisk):
        def move(self, name: str, to: MemoryDisk) -> None:
            super().move(name, to)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk, spares = MemoryDisk(), Unsynced()
    log = log_with(disk, spares)
    log.append(deposits(BLOCK))
    log.append(deposits(BLOCK, 1 + BLOCK))
    log._segments.join()

    assert log.trouble is None
    assert (disk.names(), spares.names()) == (names(1, 3), names(4, 4))


def test_a_spare_that_holds_a_block_is_none() -> None:
    disk, spares = MemoryDisk(), MemoryDisk()
    log = log_with(disk, spares)
    spares.files[segment_name(3)].written[0] = 1

    log.append(deposits(BLOCK))
    log.append(deposits(BLOCK, 1 + BLOCK))
    log._segments.join()

    assert disk.names() == names(1, 3)
    assert not any(disk.files[segment_name(3)].written)


def test_an_error_of_the_disk_while_a_spare_is_moved_ends_the_log() -> None:
    class Broken(MemoryDisk):
        def move(self, name: str, to: MemoryDisk) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    log = log_with(MemoryDisk(), Broken())
    log.append(deposits(BLOCK))
    log.append(deposits(BLOCK, 1 + BLOCK))
    log._segments.join()

    with pytest.raises(OSError, match="Input/output"):
        log.append(deposits(1, 1 + 2 * BLOCK))


class Makers:
    """Segments without a log, a first one made, whose works and clock are the test's."""

    def __init__(self, spares: MemoryDisk, made: int = 0) -> None:
        self.disk, self.spares, self.works, self.now_s = MemoryDisk(), spares, list[Held](), 100.0
        self.segments = Segments(self.disk, spares, made, SEGMENT, self._beside, lambda: self.now_s)
        if made == 0:
            self.segments.make_first()

    def _beside(self, work: Callable[[], None]) -> Held:
        self.works.append(Held(work))
        return self.works[-1]


def test_there_is_one_work_at_a_time_and_none_for_what_is_there() -> None:
    makers = Makers(MemoryDisk())

    makers.segments.prepare(2)
    makers.segments.make_ahead(1)
    makers.segments.join()
    makers.segments.prepare(2)

    assert len(makers.works) == 1
    assert makers.spares.names() == names(3, 2 + SPARES)


def test_an_older_wish_takes_nothing_back() -> None:
    makers = Makers(MemoryDisk())

    makers.segments.prepare(3)
    makers.segments.make_ahead(1)
    makers.segments.join()

    assert makers.disk.names() == names(1, 3)


def test_spares_wait_for_a_quiet_moment_when_a_segment_is_wanted_at_once() -> None:
    makers = Makers(Meanwhile(lambda: makers.segments.prepare(3)))

    makers.segments.make_ahead(1)
    makers.segments.join()

    assert (makers.disk.names(), makers.spares.names()) == (names(1, 3), [])


def test_the_next_segment_goes_before_a_spare() -> None:
    order = []
    makers = Makers(Meanwhile(lambda: order.append(makers.segments.made)), made=2)

    makers.segments.make_ahead(2)
    makers.segments.join()

    assert order == [3] * SPARES


def test_the_next_segment_is_made_although_a_spare_in_the_making_finds_no_space() -> None:
    makers = Makers(Meanwhile(lambda: makers.segments.prepare(3)))
    makers.spares.full_after = 0

    makers.segments.make_ahead(1)
    makers.segments.join()

    assert makers.disk.names() == names(1, 3)


def test_no_more_spares_are_made_than_there_are_to_be() -> None:
    makers = Makers(Meanwhile(lambda: makers.segments.make_ahead(1)))

    makers.segments.make_ahead(1)
    makers.segments.join()

    assert makers.spares.names() == names(3, 2 + SPARES)


def test_a_full_disk_is_tried_again_after_a_while_and_only_for_the_next_segment() -> None:
    makers = Makers(MemoryDisk())
    makers.disk.full_after = 1
    makers.segments.make_ahead(1)
    makers.segments.join()

    makers.segments.make_ahead(1)
    makers.now_s = 100.9
    makers.segments.retry(2, 1.0)
    tried = len(makers.works)
    makers.disk.full_after, makers.now_s = None, 101.0
    makers.segments.retry(2, 1.0)
    makers.segments.join()

    assert (tried, len(makers.works)) == (1, 2)
    assert (makers.disk.names(), makers.spares.names()) == (names(1, 2), [])


def test_nothing_more_is_made_after_a_fault() -> None:
    makers = Makers(MemoryDisk())
    makers.disk.full_after, makers.disk.create_error = 1, errno.EIO
    makers.segments.prepare(2)
    makers.segments.join()

    makers.segments.make_ahead(1)

    assert len(makers.works) == 1


def test_a_work_that_died_of_a_bug_does_not_keep_others_from_the_next_segment() -> None:
    def die() -> None:
        raise MemoryError

    makers = Makers(Meanwhile(die))
    makers.segments.make_ahead(1)
    with pytest.raises(MemoryError):
        makers.segments.join()

    makers.segments.prepare(3)
    makers.segments.join()

    assert makers.disk.names() == names(1, 3)


def test_blocks_follow_each_other_without_a_gap() -> None:
    log = started(MemoryDisk())
    log.append(deposits(2))

    with pytest.raises(AssertionError, match="follow each other"):
        log.append(deposits(1, 4))
