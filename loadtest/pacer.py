"""When things are due: the demo's even steps, and the open loop's intended send times.

Law: an intended time is fixed before it comes and never waits for an answer, so that a slow exchange is seen
in the latencies instead of thinning out the load (no coordinated omission).
"""

from dataclasses import dataclass
from typing import Final

NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True)
class OpenLoop:
    """`rate` orders a second for `seconds`, evenly spaced, from `start_ns` on."""

    start_ns: int
    rate: int
    seconds: float

    @property
    def count(self) -> int:
        """How many orders there are."""
        return int(self.rate * self.seconds)

    def intended_ns(self, number: int) -> int:
        """When order `number` (from 0) is to leave."""
        return self.start_ns + number * NS_PER_S // self.rate

    def due(self, sent: int, now_ns: int) -> int:
        """How many orders should have left by `now_ns` beyond the `sent` ones."""
        if now_ns < self.start_ns:
            return 0
        passed = (now_ns - self.start_ns) * self.rate // NS_PER_S + 1
        return max(0, min(passed, self.count) - sent)


@dataclass(frozen=True)
class Stretch:
    """`steps` steps spread evenly over `seconds`; 0 seconds: never wait."""

    start_s: float
    seconds: float
    steps: int

    def wait_s(self, step: int, now_s: float) -> float:
        """How long to wait before step `step` (from 0)."""
        return max(0.0, self.start_s + self.seconds * step / max(1, self.steps) - now_s)
