"""The sequencer: the one writer that numbers and time-stamps commands (laws 1, 2, 3, 9).

    inbox ─▶ stamp ─▶ append on the disk's thread ┐
                   └▶ apply in the core           ┴▶ both done ─▶ event log ─▶ answers ─▶ next batch

A batch is whatever came while the last one was being synced: one command when idle, BLOCK_COMMANDS_MAX under
load. One block is in flight at a time. Questions are answered between batches, one at a time, when all that
was applied is durable.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import structlog

from engine.clock import Clock
from engine.command_log import BLOCK_ALIGNMENT, BLOCK_COMMANDS_MAX, CommandLog
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.frames import COMMANDS_MAX
from engine.records import EVENT, RECORD_BYTES, Records, as_words, empty_commands, joined, select
from engine.vocabulary import RECORD_VERSION, SEQUENCE_MAX, Command, Event, Reason

INBOX_COMMANDS_MAX: Final = COMMANDS_MAX
QUESTIONS_MAX: Final = 1 << 10
PADDING_COMMANDS: Final = 2 * BLOCK_ALIGNMENT // RECORD_BYTES  # what the block in flight may be padded with
TAKEN_WHEN_FULL: Final = (Command.CANCEL_ORDER, Command.START_SESSION)  # who cancels must be able to log on
SEQUENCES_LEFT_WARNING: Final = 1 << 36  # weeks before the end at any real load

Reply = Callable[[Records], None]


class Sequencer:
    """Owns the exchange, its log and its inbox; everything runs on one event loop but the disk's thread."""

    def __init__(self, exchange: Exchange, log: CommandLog, events: EventLog, clock: Clock) -> None:
        self._exchange, self._log, self._events, self._clock = exchange, log, events, clock
        self._inbox = empty_commands(INBOX_COMMANDS_MAX)
        self._batch = empty_commands(BLOCK_COMMANDS_MAX)
        self._waiting = 0  # commands in the inbox
        self._in_flight = 0  # commands of the block that is being synced
        self._questions: deque[tuple[Records, Reply]] = deque()
        self._work = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, "disk")
        self._stopping = False
        self._warned = False  # that sequence numbers run out
        self.between_batches: Callable[[], None] = _nothing  # called when all that was applied is durable
        self.on_durable: Callable[[Records], None] = _ignore  # hears the events of each batch, once durable
        self.sequence = exchange.sequence  # of the last durable command
        self.grown = asyncio.Event()  # set, and replaced, whenever the event log has grown

    def submit(self, commands: Records) -> Records | None:
        """Take commands into the inbox; return the REFUSED rows of those that stay outside (semantics G5), or
        None.
        """
        reason = self._closed_door()
        if reason is Reason.DISK_FULL:
            cancels = np.isin(commands["kind"], TAKEN_WHEN_FULL)
            refused, commands = _refusals(select(commands, ~cancels), reason), select(commands, cancels)
        else:
            refused = _refusals(commands[:0], reason)
        if reason in (Reason.NONE, Reason.DISK_FULL):
            reason = self._shortage(len(commands))
        if reason is Reason.NONE:
            self._take(commands)
        else:
            refused = joined([refused, _refusals(commands, reason)])
        return refused if len(refused) else None

    def ask(self, question: Records, reply: Reply) -> None:
        """Answer a QUERY record when all that was applied is durable; beyond QUESTIONS_MAX it is answered
        with END alone.
        """
        if len(self._questions) >= QUESTIONS_MAX:
            reply(_refusals(question, Reason.QUEUE_FULL, Event.END))
            return
        self._questions.append((question, reply))
        self._work.set()

    async def run(self) -> None:
        """Work until `stop`. Raises OSError or LogError when the disk fails: the process must end (law 3)."""
        try:
            while not (self._stopping and not self._waiting and not self._questions):
                if not self._waiting and not self._questions:
                    await self._work.wait()
                self._work.clear()
                if self._waiting:
                    await self._sequence_batch()
                self._answer()
                self.between_batches()
        finally:
            self._disk.shutdown()

    async def _sequence_batch(self) -> None:
        """Append and apply one batch at the same time; its events leave when both are done."""
        batch = self._next_batch()
        self._in_flight = len(batch)
        durable = asyncio.get_running_loop().run_in_executor(self._disk, self._log.append, batch)
        events = self._exchange.apply(batch)
        await durable
        self._in_flight = 0
        self.sequence = int(batch["sequence"][-1])
        self._publish(events)

    def stop(self) -> None:
        """Refuse what comes from now on, finish what was taken, then let `run` return."""
        self._stopping = True
        self._work.set()

    def wake(self) -> None:
        """Let `between_batches` be called soon, also when nobody trades."""
        self._work.set()

    def _closed_door(self) -> Reason:
        if self._stopping:
            return Reason.SHUTTING_DOWN
        if self._log.nearly_full() or self._events.nearly_full():
            self._log.retry()
            self._events.retry()
            return Reason.DISK_FULL
        return Reason.NONE

    def _shortage(self, count: int) -> Reason:
        """Why `count` commands more cannot be taken, or NONE."""
        taken = self._in_flight + self._waiting + count
        if self.sequence + taken > SEQUENCE_MAX:
            return Reason.SEQUENCE_EXHAUSTED
        if self._waiting + count > INBOX_COMMANDS_MAX:
            return Reason.QUEUE_FULL
        if not self._log.has_room(taken + PADDING_COMMANDS):
            self._log.retry()
            return Reason.DISK_FULL if self._log.trouble is not None else Reason.QUEUE_FULL
        return Reason.NONE

    def _take(self, commands: Records) -> None:
        end = self._waiting + len(commands)
        as_words(self._inbox)[self._waiting : end] = as_words(commands)
        self._waiting = end
        if end:
            self._work.set()

    def _next_batch(self) -> Records:
        """Move the oldest commands out of the inbox and stamp them."""
        count = min(self._waiting, BLOCK_COMMANDS_MAX)
        batch, inbox = self._batch[:count], as_words(self._inbox)
        as_words(batch)[:] = inbox[:count]
        left = self._waiting - count
        inbox[:left] = inbox[count : self._waiting]
        self._waiting = left
        batch["version"] = RECORD_VERSION
        batch["sequence"] = np.arange(self.sequence + 1, self.sequence + 1 + count)
        if (batch["kind"] == Command.SET_CLOCK).any():
            self._stamp_one_by_one(batch)
        else:
            batch["time_ns"] = max(self._exchange.time_ns, self._clock.now_ns())
        return batch

    def _stamp_one_by_one(self, batch: Records) -> None:
        previous_ns = self._exchange.time_ns
        for at in range(len(batch)):
            if batch["kind"][at] == Command.SET_CLOCK:
                self._clock.step_to(int(batch["due_ns"][at]))
            previous_ns = max(previous_ns, self._clock.now_ns())
            batch["time_ns"][at] = previous_ns

    def _publish(self, events: Records) -> None:
        self._events.append(events)
        self.on_durable(events)
        self.grown.set()
        self.grown = asyncio.Event()
        if self.sequence > SEQUENCE_MAX - SEQUENCES_LEFT_WARNING and not self._warned:
            self._warned = True
            structlog.get_logger().warning(
                "sequence numbers run out", sequence=self.sequence, maximum=SEQUENCE_MAX
            )

    def _answer(self) -> None:
        """Answer the oldest question; the others let the next batch go first."""
        if self._questions:
            question, reply = self._questions.popleft()
            reply(self._exchange.answer(question))


def _nothing() -> None:
    """Nobody has anything to do between two batches."""


def _ignore(events: Records) -> None:
    """Nobody listens."""


def _refusals(commands: Records, reason: Reason, kind: Event = Event.REFUSED) -> Records:
    rows = np.zeros(len(commands), EVENT)
    rows["version"], rows["kind"], rows["reason"] = RECORD_VERSION, kind, reason
    rows["tag"], rows["account"], rows["instrument"] = (
        commands["tag"],
        commands["account"],
        commands["instrument"],
    )
    return rows
