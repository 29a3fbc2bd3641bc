"""What a proof counts: crashes injected, acknowledgements checked, losses, doubles, and what else is wrong.

Law: a proof that could not run says why; one that ran and found nothing has counted what it checked.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.table import Table


@dataclass
class Tally:
    """The counts of one proof or of a part of it; `findings` tell what the counts mean."""

    crashes: int = 0
    acknowledged: int = 0  # acknowledgements looked for, counted anew after every crash
    losses: int = 0
    doubles: int = 0
    others: int = 0  # contradictions of another kind
    findings: list[str] = field(default_factory=list)
    skipped: str = ""  # why it did not run

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or otherwise wrong."""
        return not (self.losses or self.doubles or self.others)

    def lose(self, count: int, text: str) -> None:
        """Note `count` acknowledged commands that are not there."""
        self.losses += count
        self.findings.append(f"LOST: {text}")

    def double(self, count: int, text: str) -> None:
        """Note `count` commands that happened more than once."""
        self.doubles += count
        self.findings.append(f"DOUBLE: {text}")

    def find(self, text: str) -> None:
        """Note another contradiction."""
        self.others += 1
        self.findings.append(text)

    def line(self, proof: str) -> str:
        """The counts in one line."""
        if self.skipped:
            return f"{proof}: skipped: {self.skipped}"
        return (
            f"{proof}: {self.crashes:,} crashes, {self.acknowledged:,} acknowledgements, "
            f"{self.losses:,} losses, {self.doubles:,} doubles, {self.others:,} other findings"
        )

    def add(self, other: "Tally", source: str = "") -> None:
        """Take the counts of a part; its findings are named after `source`, the command that replays it."""
        self.crashes += other.crashes
        self.acknowledged += other.acknowledged
        self.losses += other.losses
        self.doubles += other.doubles
        self.others += other.others
        self.skipped = self.skipped or other.skipped
        self.findings += [f"{text}\n    replay: {source}" if source else text for text in other.findings]


def table_of(rows: Iterable[tuple[str, Tally, float]]) -> Table:
    """The closing table of (proof, tally, seconds)."""
    table = Table("proof", "crashes", "acknowledged", "losses", "doubles", "other", "seconds", "", box=None)
    total = Tally()
    for name, tally, seconds in rows:
        total.add(tally)
        table.add_row(name, *_counts(tally), f"{seconds:.0f}", tally.skipped and f"skipped: {tally.skipped}")
    table.add_row("all", *_counts(total), "", "")
    return table


def _counts(tally: Tally) -> list[str]:
    counts = (tally.crashes, tally.acknowledged, tally.losses, tally.doubles, tally.others)
    return [f"{count:,}" for count in counts]
