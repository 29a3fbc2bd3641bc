"""Latencies as an HDR histogram: three digits from a microsecond to ten minutes, in bounded memory."""

from typing import Any, Final

from hdrh.histogram import HdrHistogram

LOWEST_US: Final = 1
HIGHEST_US: Final = 600_000_000
DIGITS: Final = 3
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
NS_PER_US: Final = 1_000


class Latencies:
    """Counts durations given in nanoseconds; tells percentiles in milliseconds."""

    def __init__(self) -> None:
        self._histogram: Any = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)

    def add(self, duration_ns: int) -> None:
        """Count one duration; one outside the range counts as its nearest end."""
        self._histogram.record_value(min(max(duration_ns // NS_PER_US, LOWEST_US), HIGHEST_US))

    @property
    def count(self) -> int:
        """How many were counted."""
        return int(self._histogram.get_total_count())

    def percentile_ms(self, percentile: float) -> float:
        """The duration that so many percent do not exceed, in milliseconds; 0 when nothing was counted."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1000 if self.count else 0.0

    def summary(self) -> dict[str, float]:
        """Count, percentiles and maximum (milliseconds), under names that sort by meaning."""
        figures = {f"p{percentile:g}_ms": self.percentile_ms(percentile) for percentile in PERCENTILES}
        highest = float(self._histogram.get_max_value()) / 1000 if self.count else 0.0
        return {"count": self.count, **figures, "max_ms": highest}
