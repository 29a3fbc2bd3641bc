"""What the engine asks of the machine that it runs on: folders, a clock, work beside (design section 3).

Law: everything that differs from run to run comes through here, so that a simulator can stand in for the
machine. Sockets and timers come from the event loop, which a simulator replaces as well.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.clerk import Ahead, Beside, Clerk, ThreadClerk, in_a_thread, read_ahead
from engine.clock import Clock, WallClock
from engine.disk import Folder, PosixDisk
from engine.forked import Child
from engine.snapshot_taker import Begin


@dataclass(frozen=True)
class Machine:
    """The real one, unless said otherwise."""

    disk: Callable[[Path], Folder] = PosixDisk
    clock: Callable[[], Clock] = WallClock
    beside: Beside = in_a_thread
    begin: Begin = Child  # a job on memory as it is now, beside trading
    clerk: Callable[[str], Clerk] = ThreadClerk  # for files, beside the event loop
    ahead: Ahead = read_ahead  # the command log, while it is judged
    now_s: Callable[[], float] = time.monotonic  # of timers; it never falls


MACHINE: Final = Machine()
