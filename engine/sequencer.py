"""The sequencer: the one writer that numbers and time-stamps commands (laws 1, 2, 3, 9).

    inbox ─▶ stamp ─▶ append on the disk's thread ┐
    due   ─┘       └▶ apply in the core           ┴▶ both done ─▶ event log ─▶ answers ─▶ next batch

A batch is whatever came while the last one was being synced: one command when idle, BLOCK_COMMANDS_MAX under
load; what is due by itself (engine/schedule.py) is a batch before it. A batch has one time. One block is in
flight at a time. Questions are answered between batches, one at a time, when all that was applied is durable.
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
from engine.schedule import NEVER, Schedule
from engine.vocabulary import RECORD_VERSION, SEQUENCE_MAX, Command, Event, Reason

INBOX_COMMANDS_MAX: Final = COMMANDS_MAX
QUESTIONS_MAX: Final = 1 << 10
PADDING_COMMANDS: Final = 2 * BLOCK_ALIGNMENT // RECORD_BYTES  # of a block, and of what is due before it
SEQUENCES_LEFT_WARNING: Final = 1 << 36  # weeks before the end at any real load
LOOK_S: Final = 1.0  # how long an idle sequencer trusts its alarm: the machine's clock may be set
NS_PER_S: Final = 1_000_000_000

Reply = Callable[[Records], None]


class Sequencer:
    """Owns the exchange, its log and its inbox; everything runs on one event loop but the disk's thread."""

    def __init__(
        self,
        exchange: Exchange,
        log: CommandLog,
        events: EventLog,
        clock: Clock,
        schedule: Schedule | None = None,
    ) -> None:
        self._exchange, self._log, self._events, self._clock = exchange, log, events, clock
        self._schedule = schedule or Schedule(exchange)
        self._alarm: asyncio.TimerHandle | None = None  # wakes an idle sequencer
        self._alarm_ns = NEVER  # what it was set for
        self._due = False  # the block in flight is what was due
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
        self.sequence = exchange.sequence  # of the last durable command
        self.grown = asyncio.Event()  # set, and replaced, whenever the event log has grown

    def submit(self, commands: Records) -> Records | None:
        """Take commands into the inbox; return the REFUSED rows of those that stay outside (semantics G5), or
        None.
        """
        reason = self._closed_door()
        if reason is Reason.DISK_FULL:
            cancels = commands["kind"] == Command.CANCEL_ORDER
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
                if not self._waiting and not self._questions and not self._is_due():
                    self._set_alarm()
                    await self._work.wait()
                self._work.clear()
                if self._waiting or self._is_due():
                    await self._sequence_batch()
                self._answer()
                self.between_batches()
        finally:
            self._disk.shutdown()
            if self._alarm is not None:
                self._alarm.cancel()

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
        if self._due:
            self._schedule.told(events)

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
        if not self._has_room(taken):
            self._log.retry()
            return Reason.DISK_FULL if self._log.trouble is not None else Reason.QUEUE_FULL
        return Reason.NONE

    def _take(self, commands: Records) -> None:
        end = self._waiting + len(commands)
        as_words(self._inbox)[self._waiting : end] = as_words(commands)
        self._waiting = end
        if end:
            self._work.set()

    def _has_room(self, count: int) -> bool:
        """Whether `count` commands fit into the log, with what may become due before each block of them."""
        blocks = 1 + count // BLOCK_COMMANDS_MAX
        return self._log.has_room(count + self._schedule.commands_max + blocks * PADDING_COMMANDS)

    def _now_ns(self) -> int:
        """The time that a command gets now: it never falls, also when the clock does (semantics E6)."""
        return max(self._exchange.time_ns, self._clock.now_ns())

    def _is_due(self) -> bool:
        """Whether something is due, and the log has room for it: it ends things, so a full disk admits it."""
        return NEVER < self._schedule.next_ns <= self._now_ns() and self._has_room(0)

    def _set_alarm(self) -> None:
        """Have the loop wake `run` when the next thing is due, and every LOOK_S until then."""
        next_ns = self._schedule.next_ns
        if next_ns == self._alarm_ns:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_ns = None, next_ns
        if next_ns != NEVER:
            wait_s = max(0, next_ns - self._clock.now_ns()) / NS_PER_S
            wait_s = min(wait_s, LOOK_S) if self._has_room(0) else LOOK_S
            self._alarm = asyncio.get_running_loop().call_later(wait_s, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_ns = None, NEVER
        self._log.retry()
        self._work.set()

    def _next_batch(self) -> Records:
        """What is due, or else the oldest commands of the inbox, stamped with one time (semantics E6).

        All that came before has been judged, so the core knows what is due now. Nothing that the batch brings
        can be due within it: the core refuses what is due at or before the time of its own command.
        """
        assert self._exchange.sequence == self.sequence, "what is due is known up to the last batch"
        if self._waiting and int(self._inbox["kind"][0]) == Command.SET_CLOCK:
            self._step_clock()
        time_ns = self._now_ns()
        batch = self._schedule.take(time_ns)
        self._due = len(batch) > 0
        if not self._due:
            batch = self._batch[: self._of_one_time()]
            self._give(batch)
        batch["version"] = RECORD_VERSION
        batch["sequence"] = np.arange(self.sequence + 1, self.sequence + 1 + len(batch))
        batch["time_ns"] = time_ns
        return batch

    def _step_clock(self) -> None:
        """Move a stepped clock to the instant that is asked for, or to what is due on the way."""
        asked_ns, next_ns = int(self._inbox["due_ns"][0]), self._schedule.next_ns
        self._clock.step_to(asked_ns if next_ns == NEVER else min(asked_ns, next_ns))

    def _of_one_time(self) -> int:
        """How many of the oldest commands share one time: a step of the clock begins a batch."""
        count = min(self._waiting, BLOCK_COMMANDS_MAX)
        steps = np.flatnonzero(self._inbox["kind"][1:count] == Command.SET_CLOCK)
        return 1 + int(steps[0]) if len(steps) else count

    def _give(self, batch: Records) -> None:
        """Move the oldest commands out of the inbox into `batch`, as many as it has rows."""
        count, inbox = len(batch), as_words(self._inbox)
        as_words(batch)[:] = inbox[:count]
        left = self._waiting - count
        inbox[:left] = inbox[count : self._waiting]
        self._waiting = left

    def _publish(self, events: Records) -> None:
        self._events.append(events)
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


def _refusals(commands: Records, reason: Reason, kind: Event = Event.REFUSED) -> Records:
    rows = np.zeros(len(commands), EVENT)
    rows["version"], rows["kind"], rows["reason"] = RECORD_VERSION, kind, reason
    rows["tag"], rows["account"], rows["instrument"] = (
        commands["tag"],
        commands["account"],
        commands["instrument"],
    )
    return rows
