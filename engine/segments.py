"""Where the segments of the command log come from: zero-filled files, made in the background before they are
needed.

    quiet moment ─▶ spares/00000004.log ─move─▶ commands/00000004.log ─▶ takes blocks when its turn comes

Law: what stands in `commands` may hold blocks, and a start reads all of it; a spare holds none, and no start
reads it. One segment waits in `commands` for its turn; when it is taken the next spare follows it. So a burst
that fits into them does not share the disk with zeroes (a block beside them takes two to three times as long,
measured), and a start reads no more of them than of one. Where spares cannot be had the log does without.
"""

import errno
import threading
from collections.abc import Callable
from typing import Final

from engine.blocks import BLOCK_ALIGNMENT, LogFullError, segment_name
from engine.clerk import Beside, Work
from engine.disk import NO_SPACE, Disk

SPARES: Final = 2  # besides the one that waits in `commands`
ROOM_OF_SPARES: Final = 16  # segments that must be free on the disk for each spare that is made
CLOSE_S: Final = 0.2
NO_PLACE: Final = NO_SPACE | {  # what says that spares cannot be kept where they are, and no more
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EXDEV,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
}


class Segments:
    """Makes segments one after another, in one background work at a time."""

    def __init__(
        self,
        disk: Disk,
        spares: Disk | None,
        made: int,
        segment_bytes: int,
        beside: Beside,
        now_s: Callable[[], float],
    ) -> None:
        """`made` segments are there. Looks at `spares`, changes nothing. Raises OSError."""
        self._disk, self._spares, self._segment_bytes = disk, spares, segment_bytes
        self._beside, self._now_s = beside, now_s
        self.made = made  # the last segment in `commands`
        self._spared = self._last_spare()  # the last one that is made or has a spare
        self._spares_max = SPARES if spares is not None else 0
        self._wanted = 0  # the segment that must be made as soon as can be
        self._spares_are_wanted = False
        self._lock = threading.Lock()  # of what is wanted
        self._beginning = threading.Lock()  # works are begun by two threads; a new one never waits for it
        self._works = False
        self._work: Work | None = None
        self._tried_at_s = 0.0  # monotonic time of the last attempt
        self.fault: OSError | None = None  # the next segment could not be made, and not for want of space
        self.trouble: OSError | None = None  # no space for the next segment

    def make_first(self) -> None:
        """Make the segment that a new log begins with. Raises OSError, LogFullError."""
        try:
            self._disk.create(segment_name(1), self._segment_bytes)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            raise LogFullError(
                f"no space for the command log's first segment of {self._segment_bytes >> 20} MiB ({error}); "
                "free space, set LECONG_DATA to another disk, or LECONG_LOG_SEGMENT_MIB to less"
            ) from error
        self.made = 1

    def prepare(self, number: int) -> None:
        """Have segment `number` made in the background, if it is not there; spares wait for the next quiet
        moment.
        """
        if self.made < number:
            self._begin(number, spares=False)

    def is_ahead(self, number: int) -> bool:
        """True when behind segment `number` one waits, and as many spares as there are to be."""
        return self.made > number and self._spared - number > self._spares_max

    def make_ahead(self, number: int) -> None:
        """Have the segment behind `number` and the spares made; to be called when nobody waits."""
        if not self.is_ahead(number) and self.trouble is None and self.fault is None:
            self._begin(number + 1, spares=True)

    def retry(self, number: int, retry_s: float) -> None:
        """Try again to make segment `number`, every `retry_s` at most: the operator may have freed space."""
        if self.trouble is not None and self._now_s() - self._tried_at_s >= retry_s:
            self.prepare(number)

    def join(self) -> None:
        """Return when nothing is in the making."""
        with self._beginning:
            work = self._work
        if work is not None:
            work.join()

    def close(self) -> None:
        """Wait a little for what is in the making; it may stay half-made."""
        if self._work is not None:
            self._work.join(CLOSE_S)

    def _last_spare(self) -> int:
        """The last of the spares that follow what is made, of the size that is wanted."""
        number = self.made
        if self._spares is not None:
            names = set(self._spares.names())
            while (name := segment_name(number + 1)) in names:
                if self._spares.size(name) != self._segment_bytes:
                    break
                number += 1
        return number

    def _begin(self, number: int, *, spares: bool) -> None:
        """Say what is wanted, and begin the work unless it is at it."""
        with self._beginning:
            with self._lock:
                self._wanted, self._spares_are_wanted = max(self._wanted, number), spares
                begins, self._works = not self._works, True
            if begins:
                self._work = self._beside(self._make)

    def _make(self) -> None:
        """Make what is wanted until nothing is, or until it cannot be made."""
        try:
            while (step := self._next_step()) is not None:
                self._tried_at_s = self._now_s()
                try:
                    step()
                except OSError as error:
                    if not self._goes_on(error, step):
                        self._give_up()
                        return
        except BaseException:
            self._give_up()
            raise

    def _next_step(self) -> Callable[[], None] | None:
        """What is to be made now; when it is nothing, the work has ended."""
        with self._lock:
            if self.made < self._wanted:
                return self._make_next
            if self._spares_are_wanted and self._spared - self._wanted < self._spares_max:
                return self._make_spare
            self._works = self._spares_are_wanted = False
            return None

    def _goes_on(self, error: OSError, step: Callable[[], None]) -> bool:
        """Keep what a step raised; True when the work can go on without it."""
        if step == self._make_spare and error.errno in NO_PLACE:
            self._spares_max = 0
            return True
        if error.errno in NO_SPACE:
            self.trouble = error
        else:
            self.fault = error
        return False

    def _give_up(self) -> None:
        """The work has ended with something still wanted, which `prepare` or `retry` may want again."""
        with self._lock:
            self._works = self._spares_are_wanted = False

    def _make_next(self) -> None:
        number = self.made + 1
        if not self._takes_spare(number):
            self._disk.create(segment_name(number), self._segment_bytes)
        self.made, self.trouble = number, None
        self._spared = max(self._spared, number)

    def _takes_spare(self, number: int) -> bool:
        """Whether segment `number` came from the spares. One that is gone, cannot be moved or holds anything
        is none: a copy of the folder by hard links shares its files with a log that goes on.
        """
        if self._spares is None or number > self._spared:
            return False
        name = segment_name(number)
        try:
            taken = _begins_with_zeroes(self._spares, name)
            if taken:
                self._spares.move(name, self._disk)
        except OSError as error:
            if error.errno not in NO_PLACE:
                raise
            taken = False
        if not taken:
            self._spared, self._spares_max = self.made, 0  # in this life
        return taken

    def _make_spare(self) -> None:
        assert self._spares is not None, "spares are wanted where there is a place for them"
        if self._spares.free() < ROOM_OF_SPARES * self._segment_bytes:
            self._spares_max = 0  # in this life: the room is for what was not foreseen
            return
        self._spares.create(segment_name(self._spared + 1), self._segment_bytes)
        self._spared += 1


def _begins_with_zeroes(disk: Disk, name: str) -> bool:
    """True for a segment that no block was written to: the first stands at its beginning."""
    file = disk.open(name, reread=False)
    try:
        return not any(file.read(0, BLOCK_ALIGNMENT))
    finally:
        file.close()
