"""The inbox: commands that wait for their turn, lying in batches as the core judges them.

    put ─▶ batch batch batch (the last one open) ─▶ take ─▶ judged, durable, published ─▶ give_back

Law: a command is copied once, when it comes in. Who takes a batch has its memory until it gives it back; the
memory that was given back last is used next, while the processor's cache still has it.
"""

from collections import deque
from typing import Final

import numpy as np

from engine.blocks import BLOCK_COMMANDS_MAX
from engine.records import COMMAND, Records, aligned_zeros, as_words
from engine.vocabulary import RECORD_VERSION, Command

BATCH_COMMANDS: Final = BLOCK_COMMANDS_MAX  # at most, of one batch
NUMBERS: Final = np.arange(BATCH_COMMANDS)
SET_CLOCK: Final = int(Command.SET_CLOCK)  # an enum's member is looked up slowly


class Batch:
    """Memory for commands that become one block and one call of the core."""

    __slots__ = ("_kinds", "_rows", "_sequences", "_times", "_versions", "_words", "count")

    def __init__(self) -> None:
        rows: Records = aligned_zeros(BATCH_COMMANDS, COMMAND)
        self._rows, self._words = rows, as_words(rows)
        self._versions, self._kinds = rows["version"], rows["kind"]
        self._sequences, self._times = rows["sequence"], rows["time_ns"]
        self.count = 0

    @property
    def commands(self) -> Records:
        """The commands in it, writable."""
        return self._rows[: self.count]

    def add(self, commands: Records) -> int:
        """Copy as many as there is room for; return how many."""
        end = min(self.count + len(commands), BATCH_COMMANDS)
        added = end - self.count
        self._words[self.count : end] = as_words(commands)[:added]
        self.count = end
        return added

    def number(self, first: int) -> None:
        """Give the commands this version, and sequences from `first` on."""
        count = self.count
        self._versions[:count] = RECORD_VERSION
        np.add(NUMBERS[:count], first, out=self._sequences[:count])

    def date(self, time_ns: int) -> None:
        """Give the commands this time."""
        self._times[: self.count] = time_ns

    def steps_at(self, at: int) -> bool:
        """Whether a command is a step of the clock."""
        return int(self._kinds[at]) == SET_CLOCK

    def before_step(self) -> int:
        """How many commands there are before the first step of the clock that is not the first command."""
        if self.count == 1:  # what comes alone is to be quick
            return 1
        steps = self._kinds[1 : self.count] == SET_CLOCK
        return 1 + int(steps.argmax()) if steps.any() else self.count


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

    @property
    def step_ns(self) -> int | None:
        """The instant that the oldest command asks of a stepped clock; None: it asks for something else."""
        if not self.waiting or not self._batches[0].steps_at(0):
            return None
        return int(self._batches[0].commands["due_ns"][0])

    def take(self) -> Batch:
        """The oldest commands of one time, at most BATCH_COMMANDS: a step of the clock begins a batch. There
        must be some.
        """
        batch = self._batches.popleft()
        if (count := batch.before_step()) < batch.count:
            self._batches.appendleft(self.filled(batch.commands[count:]))
            batch.count = count
        self.waiting -= batch.count
        return batch

    def filled(self, commands: Records) -> Batch:
        """A batch of commands that did not wait here."""
        batch = self._empty()
        added = batch.add(commands)
        assert added == len(commands), "they fit into one batch"
        return batch

    def give_back(self, batch: Batch) -> None:
        """Nobody needs a batch that was taken any more."""
        batch.count = 0
        self._spare.append(batch)

    def _empty(self) -> Batch:
        return self._spare.pop() if self._spare else Batch()
