"""The sequencer: the one writer that numbers and time-stamps commands (laws 1, 2, 3, 9).

    inbox ─▶ stamp ─▶ append on the disk's thread ┐
                   └▶ apply in the core           ┴▶ both done ─▶ event log ─▶ answers ─▶ next batch

A batch is whatever came while the last one was being synced: one command when idle, BLOCK_COMMANDS_MAX under
load. One block is in flight at a time. Questions are answered between batches, when all that was applied is
durable.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import structlog

from engine.clock import Clock
from engine.command_log import BLOCK_COMMANDS_MAX, CommandLog
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.records import COMMAND, EVENT, Records, as_words, empty_commands
from engine.vocabulary import RECORD_VERSION, SEQUENCE_MAX, Command, Event, Reason

INBOX_COMMANDS_MAX: Final = 1 << 16
QUESTIONS_MAX: Final = 1 << 10
SEQUENCES_LEFT_WARNING: Final = 1 << 36  # weeks before the end at any real load

Reply = Callable[[Records], None]


class Sequencer:
    """Owns the exchange, its log and its inbox; everything runs on one event loop but the disk's thread."""

    def __init__(self, exchange: Exchange, log: CommandLog, events: EventLog, clock: Clock) -> None:
        self._exchange, self._log, self._events, self._clock = exchange, log, events, clock
        self._inbox = empty_commands(INBOX_COMMANDS_MAX)
        self._batch = empty_commands(BLOCK_COMMANDS_MAX)
        self._waiting = 0
        self._questions: list[tuple[Records, Reply]] = []
        self._work = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, "disk")
        self._stopping = False
        self.sequence = exchange.sequence
        self.grown = asyncio.Event()  # set, and replaced, whenever the event log has grown

    def submit(self, commands: Records) -> Records | None:
        """Take commands into the inbox; return the REFUSED rows of those that stay outside (semantics G5), or
        None.
        """
        reason = self._closed_door()
        if reason is Reason.DISK_FULL:
            cancels = commands["kind"] == Command.CANCEL_ORDER
            self._take(commands[cancels])
            return _refusals(commands[~cancels], reason)
        if reason is Reason.NONE and self._waiting + len(commands) > INBOX_COMMANDS_MAX:
            reason = Reason.QUEUE_FULL
        if reason is not Reason.NONE:
            return _refusals(commands, reason)
        self._take(commands)
        return None

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
        loop = asyncio.get_running_loop()
        while not (self._stopping and not self._waiting):
            if not self._waiting and not self._questions:
                await self._work.wait()
            self._work.clear()
            if self._waiting:
                batch = self._next_batch()
                durable = loop.run_in_executor(self._disk, self._log.append, batch)
                events = self._exchange.apply(batch)
                await durable
                self.sequence = int(batch["sequence"][-1])
                self._publish(events)
            self._answer()
        self._disk.shutdown()

    def stop(self) -> None:
        """Refuse what comes from now on, finish what was taken, then let `run` return."""
        self._stopping = True
        self._work.set()

    def _closed_door(self) -> Reason:
        if self._stopping:
            return Reason.SHUTTING_DOWN
        if self.sequence > SEQUENCE_MAX - INBOX_COMMANDS_MAX:
            return Reason.SEQUENCE_EXHAUSTED
        if self._log.nearly_full():
            self._log.retry()
            return Reason.DISK_FULL
        return Reason.NONE

    def _take(self, commands: Records) -> None:
        count = min(len(commands), INBOX_COMMANDS_MAX - self._waiting)
        as_words(self._inbox)[self._waiting : self._waiting + count] = as_words(commands)[:count]
        self._waiting += count
        if count:
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
        self.grown.set()
        self.grown = asyncio.Event()
        if self.sequence > SEQUENCE_MAX - SEQUENCES_LEFT_WARNING:
            structlog.get_logger().warning(
                "sequence numbers run out", sequence=self.sequence, maximum=SEQUENCE_MAX
            )

    def _answer(self) -> None:
        questions, self._questions = self._questions, []
        for question, reply in questions:
            reply(self._exchange.answer(question))


def _refusals(commands: Records, reason: Reason, kind: Event = Event.REFUSED) -> Records:
    rows = np.zeros(len(commands), EVENT)
    rows["version"], rows["kind"], rows["reason"] = RECORD_VERSION, kind, reason
    rows["tag"], rows["account"], rows["instrument"] = (
        commands["tag"],
        commands["account"],
        commands["instrument"],
    )
    return rows


assert COMMAND.itemsize == EVENT.itemsize, "one record size on every link"
