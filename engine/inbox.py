"""The inbox: commands that wait for their turn, lying in batches as the core judges them.

    put ─▶ batch batch batch (the last one open) ─▶ take ─▶ judged, durable, published ─▶ give_back

Law: a command is copied once, when it comes in. Who takes a batch has its memory until it gives it back; the
memory that was given back last is used next, while the processor's cache still has it.
"""

from collections import deque
from typing import Final

from engine.blocks import BLOCK_COMMANDS_MAX
from engine.records import COMMAND, Records, aligned_zeros, as_words

BATCH_COMMANDS: Final = BLOCK_COMMANDS_MAX


class Batch:
    """Memory for commands that become one block and one call of the core."""

    __slots__ = ("_rows", "count")

    def __init__(self) -> None:
        self._rows: Records = aligned_zeros(BATCH_COMMANDS, COMMAND)
        self.count = 0

    @property
    def commands(self) -> Records:
        """The commands in it, writable."""
        return self._rows[: self.count]

    def add(self, commands: Records) -> int:
        """Copy as many as there is room for; return how many."""
        end = min(self.count + len(commands), BATCH_COMMANDS)
        added = end - self.count
        as_words(self._rows)[self.count : end] = as_words(commands[:added])
        self.count = end
        return added


class Inbox:
    """Commands in order of arrival. Its owner bounds them (law 10)."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._spare: list[Batch] = []
        self.waiting = 0  # commands

    def put(self, commands: Records) -> None:
        """Copy commands behind those that wait."""
        self.waiting += len(commands)
        if not self._batches and len(commands):
            self._batches.append(self._empty())
        while len(commands):
            commands = commands[self._batches[-1].add(commands) :]
            if len(commands):
                self._batches.append(self._empty())

    def take(self) -> Batch:
        """The oldest commands, at most BATCH_COMMANDS; there must be some."""
        batch = self._batches.popleft()
        self.waiting -= batch.count
        return batch

    def give_back(self, batch: Batch) -> None:
        """Nobody needs a batch that was taken any more."""
        batch.count = 0
        self._spare.append(batch)

    def _empty(self) -> Batch:
        return self._spare.pop() if self._spare else Batch()
