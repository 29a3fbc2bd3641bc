"""The sequencer: the one writer that numbers and time-stamps commands (laws 1, 2, 3, 9).

    inbox ─▶ stamp ─▶ append on the disk's thread ┐
                   └▶ judge in the core           ┴▶ durable ─▶ event log ─▶ published

A batch is whatever came while the last ones were on their way: one command when idle, BATCH_COMMANDS under
load. Up to FLIGHTS_MAX batches are on their way at once: one is judged, the one before it is written, and
the events of the one before that go to the event log. The disk's thread writes one block at a time. Questions
are answered, and snapshots begun, at rest: when nothing is on its way and all that was judged is published.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from engine.clerk import Clerk, Job, ThreadClerk
from engine.clock import Clock
from engine.command_log import BLOCK_ALIGNMENT, CommandLog
from engine.event_log import EventLog
from engine.exchange import EVENT_BUFFERS, Exchange
from engine.frames import COMMANDS_MAX
from engine.inbox import Batch, Inbox
from engine.records import EVENT, RECORD_BYTES, Records, joined, select
from engine.vocabulary import RECORD_VERSION, SEQUENCE_MAX, Command, Event, Reason

INBOX_COMMANDS_MAX: Final = COMMANDS_MAX
QUESTIONS_MAX: Final = 1 << 10
FLIGHTS_MAX: Final = EVENT_BUFFERS
PADDING_COMMANDS: Final = BLOCK_ALIGNMENT // RECORD_BYTES  # what one block may be padded with
SEQUENCES_LEFT_WARNING: Final = 1 << 36  # weeks before the end at any real load

Reply = Callable[[Records], None]


@dataclass(slots=True)
class _Flight:
    """A batch that was judged and is not published yet."""

    batch: Batch
    events: Records
    durable: Job
    written: Job | None = None  # to the event log, when that is not done on the loop


class Sequencer:
    """Owns the exchange, its log and its inbox; all runs on one event loop but what two clerks do."""

    def __init__(
        self,
        exchange: Exchange,
        log: CommandLog,
        events: EventLog,
        clock: Clock,
        clerk: Callable[[str], Clerk] = ThreadClerk,
    ) -> None:
        self._exchange, self._log, self._events, self._clock = exchange, log, events, clock
        self._inbox = Inbox()
        self._flights: deque[_Flight] = deque()
        self._in_flight = 0  # their commands
        self._launched = 0  # flights so far
        self._questions: deque[tuple[Records, Reply]] = deque()
        self._work = asyncio.Event()
        self._disk, self._writer = clerk("disk"), clerk("events")
        self._stopping = False
        self._rested = True  # since the last launch
        self._warned = False  # that sequence numbers run out
        self.rest_is_due: Callable[[], bool] = _never  # whether `at_rest` has something to do
        self.at_rest: Callable[[], None] = _nothing  # called when all that was judged is published
        self.sequence = exchange.sequence  # of the last durable command
        self.grown = asyncio.Event()  # set, and replaced, whenever the event log has grown

    def submit(self, commands: Records) -> Records | None:
        """Take commands into the inbox; return the REFUSED rows of those that stay outside (semantics G5), or
        None.
        """
        reason, refused = self._closed_door(), list[Records]()
        if reason is Reason.DISK_FULL:
            cancels = commands["kind"] == Command.CANCEL_ORDER
            refused, commands = [_refusals(select(commands, ~cancels), reason)], select(commands, cancels)
        if reason in (Reason.NONE, Reason.DISK_FULL):
            reason = self._shortage(len(commands))
        if reason is Reason.NONE:
            self._take(commands)
        else:
            refused.append(_refusals(commands, reason))
        if not any(map(len, refused)):
            return None
        return joined(refused)

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
            while not self._finished():
                if not self._step() and not self._finished():
                    await self._work.wait()
                    self._work.clear()
        finally:
            self._disk.close()
            self._writer.close()

    def _finished(self) -> bool:
        return self._stopping and not self._inbox.waiting and not self._flights and not self._questions

    def _step(self) -> bool:
        """Do the next piece of work there is; False when there is none before something comes or ends."""
        if self._flights and self._has_landed(self._flights[0]):
            self._publish(self._flights.popleft())
            return True
        may_launch = self._rested or not (self._questions or self.rest_is_due())
        if self._inbox.waiting and may_launch and len(self._flights) < FLIGHTS_MAX:
            self._launch()
            return True
        if self._flights:
            return False
        self._answer()
        self.at_rest()
        self._rested = True
        if self._questions or self._inbox.waiting:
            return True
        self._log.make_ahead()
        return False

    def _launch(self) -> None:
        """Let one batch be written and judge it meanwhile; nothing of it leaves yet."""
        batch = self._inbox.take()
        commands = batch.commands
        self._stamp(batch)
        durable = Job(self._log.append, commands, self.wake)
        self._disk.give(durable)
        events = self._exchange.apply(commands, self._launched % EVENT_BUFFERS)
        self._flights.append(_Flight(batch, events, durable))
        self._in_flight += len(commands)
        self._launched += 1
        self._rested = False

    def _has_landed(self, flight: _Flight) -> bool:
        """Whether a batch is durable and its events are in the event log. Raises what a file said."""
        if not flight.durable.done:
            return False
        flight.durable.check()
        if flight.written is None:
            if len(self._flights) == 1 and not self._inbox.waiting:
                self._events.append(flight.events)  # nobody waits: to hand it over would take longer
                return True
            flight.written = Job(self._events.append, flight.events, self.wake)
            self._writer.give(flight.written)
        if not flight.written.done:
            return False
        flight.written.check()
        return True

    def stop(self) -> None:
        """Refuse what comes from now on, finish what was taken, then let `run` return."""
        self._stopping = True
        self._work.set()

    def wake(self) -> None:
        """Look soon for what is to be done: something has ended, or `at_rest` is to be called."""
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
        waiting = self._inbox.waiting + count
        taken = self._in_flight + waiting
        if self.sequence + taken > SEQUENCE_MAX:
            return Reason.SEQUENCE_EXHAUSTED
        if waiting > INBOX_COMMANDS_MAX:
            return Reason.QUEUE_FULL
        blocks = 1 + len(self._flights)
        if not self._log.has_room(taken + blocks * PADDING_COMMANDS):
            self._log.retry()
            return Reason.DISK_FULL if self._log.trouble is not None else Reason.QUEUE_FULL
        return Reason.NONE

    def _take(self, commands: Records) -> None:
        self._inbox.put(commands)
        if self._inbox.waiting:
            self._work.set()

    def _stamp(self, batch: Batch) -> None:
        """Give commands their numbers and their time."""
        batch.number(self._exchange.sequence + 1)
        if batch.has(Command.SET_CLOCK):
            self._stamp_one_by_one(batch.commands)
        else:
            batch.date(max(self._exchange.time_ns, self._clock.now_ns()))

    def _stamp_one_by_one(self, batch: Records) -> None:
        previous_ns = self._exchange.time_ns
        for at in range(len(batch)):
            if batch["kind"][at] == Command.SET_CLOCK:
                self._clock.step_to(int(batch["due_ns"][at]))
            previous_ns = max(previous_ns, self._clock.now_ns())
            batch["time_ns"][at] = previous_ns

    def _publish(self, flight: _Flight) -> None:
        """Tell everybody that a batch is durable and in the event log."""
        self.sequence += flight.batch.count
        self._in_flight -= flight.batch.count
        self._inbox.give_back(flight.batch)
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
    """Nobody has anything to do at rest."""


def _never() -> bool:
    """Nobody has anything to do at rest."""
    return False


def _refusals(commands: Records, reason: Reason, kind: Event = Event.REFUSED) -> Records:
    rows = np.zeros(len(commands), EVENT)
    rows["version"], rows["kind"], rows["reason"] = RECORD_VERSION, kind, reason
    rows["tag"], rows["account"], rows["instrument"] = (
        commands["tag"],
        commands["account"],
        commands["instrument"],
    )
    return rows
