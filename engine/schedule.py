"""What the sequencer appends by itself, because its time has come (semantics E6).

    next_expiry_ns of the core ─▶ EXPIRE ──────────────┐
    calendar ─▶ next moment ─▶ SET_PHASE …, ROLL_DAY ──┴▶ before the commands of that time and later ones

Law: when a command gets the time t, everything that was due at or before t stands before it in the log. So
the time of the last command tells which changes of the calendar have been made: nothing else is kept.
"""

from collections.abc import Sequence
from typing import Any, Final

import structlog

from engine.calendar import Calendar, Moment
from engine.exchange import Exchange
from engine.records import Records, commands_of, empty_commands, select
from engine.vocabulary import Command, Event, Phase, Reason, wire_name

NEVER: Final = 0
NOTHING: Final = empty_commands(0)

Row = dict[str, Any]  # of a command


class Schedule:
    """Says when something is due, and gives the commands for it."""

    def __init__(self, exchange: Exchange, calendar: Calendar | None = None, now_ns: int = 0) -> None:
        """The core says when an order, a timer or a volatility auction is due, the calendar when phases
        change. What it changed between the log's last command and `now_ns` was missed: that is an outage.
        """
        self._exchange, self._calendar = exchange, calendar
        self._expiry = exchange.state.head["next_expiry_ns"]
        self._moment: Moment | None = None  # the calendar's next
        self._overdue: list[Row] = []  # what an outage asks for, at once
        self._change_ns = NEVER  # when the next of either is due
        self._begun_ns = max(exchange.time_ns, now_ns)  # NEVER: a stepped clock that has no time yet
        changed = len(calendar.instruments) if calendar else 0
        self.commands_max = 2 + 2 * changed  # of one `take`: EXPIRE, closes, ROLL_DAY, halts
        if calendar is not None and self._begun_ns != NEVER:
            self._begin(calendar, exchange.time_ns, self._begun_ns)

    @property
    def next_ns(self) -> int:
        """The instant at which something is due, Unix nanoseconds; NEVER: nothing is."""
        expiry_ns, change_ns = int(self._expiry[0]), self._change_ns
        if NEVER in (expiry_ns, change_ns):
            return expiry_ns or change_ns
        return min(expiry_ns, change_ns)

    def take(self, time_ns: int) -> Records:
        """The commands for what is due at or before `time_ns`, not yet stamped: a batch of their own, behind
        which more may be due.
        """
        if self._calendar is not None and self._begun_ns == NEVER < time_ns:
            self._begun_ns = time_ns  # a stepped clock has its first time
            self._look_behind(time_ns)
        if NEVER < self._change_ns <= time_ns:
            return self._take_change()
        if NEVER < int(self._expiry[0]) <= time_ns:
            return commands_of(_expire(time_ns))
        return NOTHING

    def told(self, events: Records) -> None:
        """Say what the core refused of what was due."""
        refused = select(events, events["kind"] == Event.REJECTED)
        if len(refused):
            structlog.get_logger().warning(
                "the core refused changes of the calendar; make them by hand, or correct the calendar",
                instruments=refused["instrument"].tolist(),
                reasons=sorted({wire_name(Reason(int(reason))) for reason in refused["reason"]}),
            )

    def first_phases(self, instruments: Sequence[int]) -> list[Row]:
        """The commands that put new instruments, which are closed, into the phase that the calendar has."""
        if self._calendar is None or self._begun_ns == NEVER:
            return []
        phases = {each: self._calendar.phase_at(each, self._begun_ns) for each in instruments}
        return [set_phase(each, phase) for each, phase in phases.items() if phase]

    def _take_change(self) -> Records:
        """The commands of the calendar's moment, behind the expiries up to it (semantics E6)."""
        at_ns, rows = self._change_ns, list[Row]()
        if NEVER < int(self._expiry[0]) <= at_ns:
            rows.append(_expire(at_ns))
        rows += self._overdue
        if not self._overdue and self._moment is not None:
            rows += self._rows(self._moment)
        self._overdue = []
        self._look_behind(at_ns)
        return commands_of(*rows)

    def _rows(self, moment: Moment) -> list[Row]:
        rows = [set_phase(instrument, phase) for instrument, phase in moment.phases.items()]
        if moment.rolls:
            rows += self._roll(closed=frozenset(moment.phases))
        return rows

    def _roll(self, closed: frozenset[int]) -> list[Row]:
        """The day rolls when everything is closed: what somebody halted is closed before (semantics E7)."""
        assert self._calendar is not None, "a calendar rolls the day"
        phases = self._exchange.state.instruments["phase"]
        others = sorted(self._known(self._calendar.instruments - closed))
        closing = [set_phase(each, Phase.CLOSED) for each in others if phases[each] != Phase.CLOSED]
        return [*closing, {"kind": Command.ROLL_DAY, "instrument": -1}]

    def _look_behind(self, time_ns: int) -> None:
        assert self._calendar is not None, "a calendar is looked into"
        self._moment = self._calendar.after(time_ns)
        self._change_ns = self._moment.time_ns if self._moment is not None else NEVER

    def _begin(self, calendar: Calendar, past_ns: int, now_ns: int) -> None:
        """Begin at `now_ns`. What changed behind `past_ns`, the time of the log's last command, was missed
        (semantics E6): closes and the roll of the day are made good, then the instruments are halted.
        """
        self._look_behind(now_ns)
        missed = list(calendar.between(past_ns, now_ns)) if past_ns else []
        closed = self._known(
            frozenset(n for moment in missed for n, phase in moment.phases.items() if phase is Phase.CLOSED)
        )
        changed = self._known(frozenset(number for moment in missed for number in moment.phases))
        self._overdue = [set_phase(each, Phase.CLOSED) for each in sorted(closed)]
        if any(moment.rolls for moment in missed):
            self._overdue += self._roll(closed)
        self._overdue += [set_phase(each, Phase.HALTED) for each in sorted(changed)]
        if self._overdue:
            self._change_ns = now_ns
        if changed:
            structlog.get_logger().warning(
                "phase changes were missed while the engine was down; their instruments are halted until the "
                "calendar's next change or set_phase",
                instruments=len(changed),
                changes=len(missed),
            )

    def _known(self, instruments: frozenset[int]) -> frozenset[int]:
        """Those that the core has."""
        defined = self._exchange.state.instruments["defined"]
        return frozenset(each for each in instruments if defined[each])


def _expire(due_ns: int) -> Row:
    return {"kind": Command.EXPIRE, "account": -1, "instrument": -1, "due_ns": due_ns}


def set_phase(instrument: int, phase: Phase) -> Row:
    """The fields of a SET_PHASE command of the house's own."""
    return {"kind": Command.SET_PHASE, "account": -1, "instrument": instrument, "phase": phase}
