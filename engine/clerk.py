"""What runs beside the event loop: clerks, and works that need no order.

A clerk is a thread that does one piece of work after another, and tells the event loop of each.

    loop: give(function, argument) ─▶ clerk: function(argument) ─▶ loop: job.done, tell()

Law: jobs are done in the order in which they were given, one at a time. An executor of one thread does the
same, at the price of two futures and a chain of callbacks for each job.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final, Protocol

from engine.records import Records

AHEAD_BATCHES: Final = 64  # read and not judged yet: 32 MiB, of batches of 4,096 commands


class Job:
    """One piece of work; on the loop's thread it is done when `done` says so."""

    __slots__ = ("_argument", "_function", "_tell", "done", "error")

    def __init__(self, function: Callable[[Any], object], argument: Any, tell: Callable[[], object]) -> None:
        self._function, self._argument, self._tell = function, argument, tell
        self.done = False
        self.error: BaseException | None = None  # what the function raised

    def run(self) -> None:
        """Do it, on whatever thread this is, and keep what it raises."""
        try:
            self._function(self._argument)
        except BaseException as error:
            self.error = error
        self.done = True

    def tell(self) -> None:
        """Tell who waits, on the loop's thread."""
        self._tell()

    def check(self) -> None:
        """Raise what the function raised."""
        if self.error is not None:
            raise self.error


class Clerk(Protocol):
    """What the sequencer asks of a clerk; a simulator has its own."""

    def give(self, job: Job) -> None:
        """Do this behind all that was given before; from the loop's thread."""

    def close(self) -> None:
        """Return when all that was given is done."""


class ThreadClerk:
    """A clerk that is a thread, begun with the first job."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def give(self, job: Job) -> None:
        """Do this behind all that was given before; from the loop's thread."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, args=(loop,), name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def close(self) -> None:
        """Return when all that was given is done."""
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            loop.call_soon_threadsafe(job.tell)


Ahead = Callable[[Iterator[Records]], Iterator[Records]]


def read_ahead(batches: Iterator[Records]) -> Iterator[Records]:
    """The batches in their order, read by a thread, up to AHEAD_BATCHES before they are asked for. Raises
    what reading raises, behind the batches that came before it.
    """
    with ThreadPoolExecutor(1, "reader") as reader:
        coming = deque(reader.submit(next, batches, None) for _ in range(AHEAD_BATCHES))
        while (batch := coming.popleft().result()) is not None:
            coming.append(reader.submit(next, batches, None))
            yield batch


class Work(Protocol):
    """A piece of work that runs beside the log, as a started threading.Thread."""

    def is_alive(self) -> bool:
        """Whether it is not done yet."""

    def join(self, timeout: float | None = None) -> None:
        """Return when it is done, or after `timeout` seconds."""


Beside = Callable[[Callable[[], None]], Work]


def in_a_thread(work: Callable[[], None]) -> Work:
    """Start `work` in a thread of its own that does not keep the process alive."""
    thread = threading.Thread(target=work, name="segment-maker", daemon=True)
    thread.start()
    return thread
