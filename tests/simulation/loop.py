"""An event loop whose time is virtual: it never waits and never asks the operating system for anything.

Law: what runs next follows from the seed alone. Callbacks run in the order in which they were scheduled, as
asyncio promises; what the seed decides is how long sockets and disk take, and so who comes first.

    StuckError    nothing is scheduled any more, and somebody still waits
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from engine.clerk import Job
from tests.simulation.network import Network
from tests.simulation.process import PROCESS, Killed, create_task

DISK_S: Final = (0.00005, 0.003)  # what a call on the disk's thread takes
SLOW_DISK_S: Final = 0.08
SLOW_DISK_SHARE: Final = 0.03
START_S: Final = 1000.0  # loop time at the start: a deadline of 0 is in the past


class StuckError(Exception):
    """The simulation waits for something that will never come."""


class _Selector:
    """Stands where asyncio asks the system for events: instead of sleeping, the clock moves."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StuckError("nothing is scheduled and somebody still waits")
        self._loop.now_s += timeout
        return []

    def close(self) -> None:
        """Nothing to let go of."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one simulation: virtual time, a simulated network, and a seeded disk thread."""

    def __init__(self, dice: random.Random, network: Network) -> None:
        super().__init__()
        self.now_s = START_S
        self.network = network
        self._dice = dice
        self._selector = _Selector(self)
        self.set_task_factory(create_task)

    def time(self) -> float:
        """Virtual seconds."""
        return self.now_s

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    def disk_s(self) -> float:
        """What the next call on the disk's thread takes."""
        slow = self._dice.random() < SLOW_DISK_SHARE
        return SLOW_DISK_S if slow else self._dice.uniform(*DISK_S)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, function: Callable[..., Any], *arguments: Any
    ) -> "asyncio.Future[Any]":
        """Run `function` in one piece a little later: a disk's thread that takes its time."""
        done: asyncio.Future[Any] = self.create_future()
        process = PROCESS.get()

        def run() -> None:
            if done.cancelled() or (process is not None and not process.alive):
                done.cancel()
                return
            try:
                result = function(*arguments)
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)
                    done.exception()  # whoever waited may be dead
            else:
                if not done.done():
                    done.set_result(result)

        self.call_later(self.disk_s(), run)
        return done

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        """Connect to a listening program."""
        return await self.network.connect(protocol_factory, str(path))

    async def create_unix_server(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        """Listen at a path."""
        return self.network.listen(protocol_factory, str(path))

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        """No signals here: programs are killed."""


class SimulatedClerk:
    """A clerk (engine.clerk) on the virtual loop: each job runs in one piece a little later, in order."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._free_s = 0.0  # when the last job is done

    def give(self, job: Job) -> None:
        self._free_s = max(self._free_s, self._loop.time()) + self._loop.disk_s()
        process = PROCESS.get()

        def run() -> None:
            if process is None or process.alive:
                job.run()
                job.tell()

        self._loop.call_at(self._free_s, run)

    def close(self) -> None:
        """What was given is done in its time, or the program is dead."""


class Later:
    """Work beside the log (engine.clerk.Work): it runs when its time comes, or when waited for."""

    def __init__(self, loop: VirtualLoop, delay_s: float, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work
        self._process = PROCESS.get()
        self._timer = loop.call_later(delay_s, self._run)

    def is_alive(self) -> bool:
        """Whether it is not done yet."""
        return self._work is not None

    def join(self, timeout: float | None = None) -> None:
        """Do it now; with a time limit, leave it undone: the program is about to end."""
        if timeout is None:
            self._timer.cancel()
            self._run(waited_for=True)

    def _run(self, *, waited_for: bool = False) -> None:
        work, self._work = self._work, None
        if work is None or (self._process is not None and not self._process.alive):
            return
        try:
            work()
        except Killed:
            if waited_for:
                raise
