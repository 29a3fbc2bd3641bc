"""A job in a forked child: it sees memory as it was at the fork, and whoever forked goes on at once.

Law: the child does its job and ends by os._exit; it touches no event loop, holds no lock on the data folder
and dies with its parent. The parent pays the fork (a copy of page tables), and then a copied page for each
one that it writes while the child lives.
"""

import asyncio
import ctypes
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Final

from engine.blocks import LogError

Job = Callable[[], object]
Ended = Callable[[str | None], None]  # what went wrong, None for nothing

NICENESS: Final = 19  # traders first
FIRST_OWN_DESCRIPTOR: Final = 3
STATUS_BUG: Final = 255  # others are the errno of an OSError
STATUS_REFUSED: Final = 254  # a named error of the job, which the child has said
PR_SET_PDEATHSIG: Final = 1
_C: Final = ctypes.CDLL(None, use_errno=True)  # loaded before the fork


class Child:
    """One job at work; `ended` is called on the event loop when it is done."""

    def __init__(self, job: Job, ended: Ended) -> None:
        """Fork. Raises OSError."""
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads run; the child needs none
            self.pid = os.fork()
        if self.pid == 0:
            _work(job, parent)
        self._descriptor = os.pidfd_open(self.pid)
        self._loop.add_reader(self._descriptor, self._finished)

    def kill(self) -> None:
        """End the child now; `ended` is not called any more."""
        if self._descriptor >= 0:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _finished(self) -> None:
        self._ended(trouble_of(self._reap()))

    def _reap(self) -> int:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def trouble_of(status: int) -> str | None:
    """What the exit status of a child says went wrong."""
    if status == 0:
        return None
    if status < 0:
        return f"it was killed by signal {-status}"
    named = {STATUS_BUG: "a fault in the program, see above", STATUS_REFUSED: "it was refused, see above"}
    return named.get(status) or os.strerror(status)


def _work(job: Job, parent: int) -> None:
    """The child's whole life: never returns."""
    status = STATUS_BUG
    try:
        _C.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.closerange(FIRST_OWN_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))  # also the lock of the data folder
        os.nice(NICENESS)
        if os.getppid() == parent:
            job()
            status = 0
    except OSError as error:
        status = error.errno or STATUS_BUG
    except LogError as error:
        status = STATUS_REFUSED
        _say(f"engine: {error}\n")
    except BaseException:
        _say(traceback.format_exc())
    finally:
        os._exit(status)


def _say(text: str) -> None:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, text.encode())
