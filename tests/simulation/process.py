"""Programs that can be killed: every task, socket and port belongs to the run of one program.

Law: what a killed program still computes reaches nobody. Its sockets, its disk and its database connections
are dead before anything else happens, then its tasks are canceled; so a `finally` that runs late is harmless.

    Killed    raised into a program by its dead ports; a BaseException, so that no handler catches it
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Protocol


class Killed(BaseException):
    """The program does not exist any more."""


class Port(Protocol):
    """Something outside that a program holds: it dies with the program."""

    def die(self) -> None:
        """Hang up as the kernel does for a dead process; nothing more may come from the program."""


class Process:
    """One run of one program."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.ports: dict[Port, None] = {}  # in order of making: a set's order differs from run to run
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.main: asyncio.Task[Any] | None = None

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run `work` as this process's main task."""
        context = copy_context()
        context.run(PROCESS.set, self)
        self.main = asyncio.get_running_loop().create_task(work, context=context)
        return self.main

    def kill(self) -> None:
        """End it here and now, as SIGKILL does; idempotent."""
        if not self.alive:
            return
        self.alive = False
        for port in list(self.ports):
            port.die()
        self.ports.clear()
        for task in list(self.tasks):
            task.cancel()


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def current() -> Process:
    """The process whose code runs now."""
    process = PROCESS.get()
    assert process is not None, "the code of a program runs in its process"
    return process


def create_task(
    loop: asyncio.AbstractEventLoop, work: Any, *, context: Context | None = None
) -> "asyncio.Task[Any]":
    """A task factory that notes whose task it is; a dead process's ends before it begins."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: process.tasks.pop(done, None))
        if not process.alive:
            task.cancel()
    return task
