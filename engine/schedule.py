"""What the sequencer appends by itself, because its time has come (semantics E6).

    next_expiry_ns of the core ─▶ EXPIRE ─┐
                                          ┴▶ before the commands that get the same time, or a later one

Law: when a command gets the time t, everything that was due at or before t stands before it in the log.
"""

from typing import Final

from engine.exchange import Exchange
from engine.records import Records, commands_of, empty_commands
from engine.vocabulary import Command

NEVER: Final = 0
NOTHING: Final = empty_commands(0)
EXPIRIES_MAX: Final = 20  # one before each block that a full inbox makes, and some


class Schedule:
    """Says when something is due, and gives the commands for it."""

    def __init__(self, exchange: Exchange) -> None:
        """The core says when an order, a timer or a volatility auction is due."""
        self._expiry = exchange.state.head["next_expiry_ns"]
        self.commands_max = EXPIRIES_MAX  # that may come besides those of the inbox

    @property
    def next_ns(self) -> int:
        """The instant at which something is due, Unix nanoseconds; NEVER: nothing is."""
        return int(self._expiry[0])

    def take(self, time_ns: int) -> Records:
        """The commands for what is due at or before `time_ns`, not yet stamped."""
        if not NEVER < self.next_ns <= time_ns:
            return NOTHING
        return commands_of({"kind": Command.EXPIRE, "account": -1, "instrument": -1, "due_ns": time_ns})
