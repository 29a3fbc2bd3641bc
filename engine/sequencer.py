"""The sequencer: the one writer that numbers and time-stamps commands (laws 1, 2, 3, 9).

    inbox ─▶ stamp ─▶ append on the disk's thread ┐
    due   ─┘       └▶ judge in the core           ┴▶ durable ─▶ event log ─▶ published

A batch is whatever came while the last ones were on their way: one command when idle, BATCH_COMMANDS under
load; what is due by itself (engine/schedule.py) is a batch before it. A batch has one time. Up to FLIGHTS_MAX
batches are on their way at once: one is judged, the one before it is written, and the events of the one
before that go to the event log. The disk's thread writes one block at a time; a few commands alone are
written on the loop itself, and who comes meanwhile waits in the socket for the next batch. Questions are
answered, and snapshots begun, at rest: when nothing is on its way and all that was judged is published.
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
from engine.inbox import BATCH_COMMANDS, Batch, Inbox
from engine.records import EVENT, RECORD_BYTES, Records, joined, select
from engine.schedule import NEVER, Schedule
from engine.vocabulary import RECORD_VERSION, SEQUENCE_MAX, Command, Event, Reason

INBOX_COMMANDS_MAX: Final = COMMANDS_MAX
QUESTIONS_MAX: Final = 1 << 10
FLIGHTS_MAX: Final = EVENT_BUFFERS
PADDING_COMMANDS: Final = BLOCK_ALIGNMENT // RECORD_BYTES  # what one block may be padded with
AT_ONCE_COMMANDS: Final = BLOCK_ALIGNMENT // RECORD_BYTES  # written on the loop when nobody else waits
TAKEN_WHEN_FULL: Final = (Command.CANCEL_ORDER, Command.START_SESSION)  # who cancels must be able to log on
SEQUENCES_LEFT_WARNING: Final = 1 << 36  # weeks before the end at any real load

LOOK_S: Final = 1.0  # how long an idle sequencer trusts its alarm: the machine's clock may be set
NS_PER_S: Final = 1_000_000_000

Reply = Callable[[Records], None]


@dataclass(slots=True)
class _Flight:
    """A batch that was judged and is not published yet."""

    batch: Batch
    events: Records
    durable: Job
    due: bool  # it is what was due by itself
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
        schedule: Schedule | None = None,
    ) -> None:
        self._exchange, self._log, self._events, self._clock = exchange, log, events, clock
        self._schedule = schedule or Schedule(exchange)
        self._alarm: asyncio.TimerHandle | None = None  # wakes an idle sequencer
        self._alarm_ns = NEVER  # what it was set for
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
        self.on_durable: Callable[[Records], None] = _ignore  # hears the events of each batch, once durable
        self.sequence = exchange.sequence  # of the last durable command
        self.grown = asyncio.Event()  # set, and replaced, whenever the event log has grown

    def submit(self, commands: Records) -> Records | None:
        """Take commands into the inbox; return the REFUSED rows of those that stay outside (semantics G5), or
        None.
        """
        reason, refused = self._closed_door(), list[Records]()
        if reason is Reason.DISK_FULL:
            taken = np.isin(commands["kind"], TAKEN_WHEN_FULL)
            refused, commands = [_refusals(select(commands, ~taken), reason)], select(commands, taken)
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
                    self._set_alarm()
                    await self._work.wait()
                    self._work.clear()
        finally:
            self._disk.close()
            self._writer.close()
            if self._alarm is not None:
                self._alarm.cancel()

    def _finished(self) -> bool:
        return self._stopping and not self._inbox.waiting and not self._flights and not self._questions

    def _step(self) -> bool:
        """Do the next piece of work there is; False when there is none before something comes or ends."""
        if self._flights and self._has_landed(self._flights[0]):
            self._publish(self._flights.popleft())
            return True
        may_launch = self._rested or not (self._questions or self.rest_is_due())
        if may_launch and len(self._flights) < FLIGHTS_MAX and (self._inbox.waiting or self._is_due()):
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
        batch, due = self._next_batch()
        commands = batch.commands
        durable = Job(self._log.append, commands, self.wake)
        if len(commands) <= AT_ONCE_COMMANDS and not self._flights and not self._inbox.waiting:
            durable.run()  # nobody waits: to hand it over would take longer
        else:
            self._disk.give(durable)
        events = self._exchange.apply(commands, self._launched % EVENT_BUFFERS)
        self._flights.append(_Flight(batch, events, durable, due))
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
        if not self._has_room(taken):
            self._log.retry()
            return Reason.DISK_FULL if self._log.trouble is not None else Reason.QUEUE_FULL
        return Reason.NONE

    def _take(self, commands: Records) -> None:
        self._inbox.put(commands)
        if self._inbox.waiting:
            self._work.set()

    def _has_room(self, count: int) -> bool:
        """Whether `count` commands fit into the log, with what may become due before each block of them."""
        blocks = 2 + len(self._flights) + 2 * (count // BATCH_COMMANDS)
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
        if next_ns == self._alarm_ns or self._flights:  # one that lands wakes as well
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

    def _next_batch(self) -> tuple[Batch, bool]:
        """What is due (then True), or else the oldest commands, numbered, with one time (semantics E6).

        All that came before has been judged, so the core knows what is due now. Nothing that the batch brings
        can be due within it: the core refuses what is due at or before the time of its own command.
        """
        launched = self.sequence + self._in_flight
        assert self._exchange.sequence == launched, "what is due is known up to the last batch"
        asked_ns, next_ns = self._inbox.step_ns, self._schedule.next_ns
        if asked_ns is not None:  # a stepped clock stops at what is due on the way
            self._clock.step_to(asked_ns if next_ns == NEVER else min(asked_ns, next_ns))
        time_ns = self._now_ns()
        due = self._schedule.take(time_ns)
        batch = self._inbox.filled(due) if len(due) else self._inbox.take()
        batch.number(launched + 1)
        batch.date(time_ns)
        return batch, len(due) > 0

    def _publish(self, flight: _Flight) -> None:
        """Tell everybody that a batch is durable and in the event log."""
        self.on_durable(flight.events)
        self.sequence += flight.batch.count
        self._in_flight -= flight.batch.count
        if flight.due:
            self._schedule.told(flight.events)
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
