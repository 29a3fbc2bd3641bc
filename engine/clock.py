"""The sequencer's clock: a port with two implementations (law 2, design section 3).

Law: time stamps never fall: the sequencer stamps max(previous, clock).
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What the sequencer asks for the time."""

    def now_ns(self) -> int:
        """Unix nanoseconds, UTC."""

    def step_to(self, time_ns: int) -> None:
        """An operator asks for this instant; a clock that cannot obey does nothing."""


class WallClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Unix nanoseconds, UTC."""
        return time.time_ns()

    def step_to(self, time_ns: int) -> None:
        """A wall clock does not obey: the core answers clock_not_stepped."""


class SteppedClock:
    """Simulated time: it stands still until a SET_CLOCK command moves it, and only forward."""

    def __init__(self, time_ns: int = 0) -> None:
        self._time_ns = time_ns

    def now_ns(self) -> int:
        """The instant it was last moved to."""
        return self._time_ns

    def step_to(self, time_ns: int) -> None:
        """Move forward to `time_ns`; an instant in the past changes nothing."""
        self._time_ns = max(self._time_ns, time_ns)
