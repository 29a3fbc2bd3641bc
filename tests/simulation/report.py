"""What a simulation did and found, as counts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

# What has to happen in a run of so many seeds; where it never did, the run proves nothing of it.
WANTED: Final = {
    "auctions that traded": 20,
    "trades in auctions": 20,
    "trades busted": 20,
    "busts dropped": 20,
    "busts refused: same_person": 20,
    "icebergs that showed another slice": 20,
    "trades with icebergs": 20,
    "stop orders triggered": 20,
    "stop_limit orders triggered": 20,
    "market orders filled": 20,
    "market_to_limit orders filled": 100,
    "orders filled at once or not at all": 100,
    "orders not feasible": 20,
    "post-only orders refused": 100,
    "orders ended by cancel_newest": 20,
    "orders ended by cancel_oldest": 20,
    "orders ended by cancel_both": 20,
    "orders decremented": 20,
    "bids picked": 100,
    "listings picked in part": 100,
    "orders replaced": 20,
    "recoveries in an auction": 200,
    "recoveries with hidden kilograms": 200,
    "recoveries with stops": 200,
    "recoveries in a bust": 1000,
}


class Violation(Exception):
    """A law of design.md does not hold."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(f"{law}: {text}")
        self.law = law


@dataclass
class Report:
    """Counts of one seed, or of many added up."""

    seeds: int = 0
    points: Counter[str] = field(default_factory=Counter)  # of I/O passed, by kind
    crashes: Counter[str] = field(default_factory=Counter)  # injected, by kind of I/O point
    faults: Counter[str] = field(default_factory=Counter)  # injected that are not crashes
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Add another's counts."""
        self.seeds += other.seeds
        self.points += other.points
        self.crashes += other.crashes
        self.faults += other.faults
        self.counts += other.counts
        self.failures += other.failures

    def missing(self, seeds: int) -> list[str]:
        """What never happened, of what has to in so many seeds."""
        return [name for name, most in WANTED.items() if most <= seeds and not self.counts[name]]

    def failed_by(self, law: str) -> int:
        """How many seeds broke a law."""
        return sum(1 for failure in self.failures if failure["law"] == law)

    def as_object(self) -> dict[str, Any]:
        """Plain data for --json."""
        return {
            "seeds": self.seeds,
            "crashes_injected": self.crashes.total(),
            "crashes_by_point": dict(sorted(self.crashes.items())),
            "faults_injected": dict(sorted(self.faults.items())),
            "points_passed": dict(sorted(self.points.items())),
            "acknowledged": self.counts["acknowledged"],
            "acknowledgements_checked": self.counts["checked"],
            "recoveries": self.counts["recoveries"],
            "losses": self.failed_by("loss"),
            "doubles": self.failed_by("double"),
            "counts": dict(sorted(self.counts.items())),
            "failures": self.failures,
        }
