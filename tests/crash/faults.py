"""Faults put in by hand, one level below the Disk port: this process's calls of the system lie.

Law: they live in the tests alone and only in a process that asked for them by name. Each is a mistake that a
change of the engine could make; a harness that cannot see it proves nothing.
"""

import os
import random
import stat
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

EARLY_S = 0.3


class Fault(StrEnum):
    """What goes wrong."""

    NONE = "none"
    NO_SYNC = "no-sync"  # (a) fdatasync is missing
    NO_FOLDER_SYNC = "no-folder-sync"  # (b) a renamed file's folder is not synced
    EARLY = "early"  # (c) the answer does not wait for the sync
    SHORT_WRITES = "short-writes"  # no mistake: the kernel may do this, and nothing may be lost


def install(fault: Fault, seed: int) -> None:
    """Put the fault into this process."""
    system: Any = os  # which no type checker lets anybody change
    if fault is Fault.NO_SYNC:
        system.fdatasync = _nothing
    elif fault is Fault.NO_FOLDER_SYNC:
        system.fsync = _files_only(os.fsync)
    elif fault is Fault.EARLY:
        system.fdatasync = _later(os.fdatasync)
    elif fault is Fault.SHORT_WRITES:
        system.pwrite = _short(os.pwrite, random.Random(seed))


def _nothing(descriptor: Any) -> None:
    """Claims that it synced."""


def _files_only(fsync: Callable[[Any], None]) -> Callable[[Any], None]:
    def files_only(descriptor: Any) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            fsync(descriptor)

    return files_only


def _later(fdatasync: Callable[[Any], None]) -> Callable[[Any], None]:
    """Syncs EARLY_S after it said so, once for all that was asked meanwhile."""
    asked: dict[int, int] = {}  # a descriptor of our own by inode: the log may close its own meanwhile

    def ask(descriptor: int) -> None:
        if (inode := os.fstat(descriptor).st_ino) not in asked:
            asked[inode] = os.dup(descriptor)

    def work() -> None:
        while True:
            time.sleep(EARLY_S)
            for inode in list(asked):
                own = asked.pop(inode)
                fdatasync(own)
                os.close(own)

    threading.Thread(target=work, daemon=True).start()
    return ask


def _short(pwrite: Callable[..., int], chance: random.Random) -> Callable[..., int]:
    def short(descriptor: int, data: Any, offset: int) -> int:
        view = memoryview(data)
        return pwrite(descriptor, view[: chance.randint(1, len(view))], offset)

    return short
