"""Percentiles within three digits, and nothing lost at the ends of the range."""

import pytest

from loadtest.histogram import Latencies

MS = 1_000_000


def test_percentiles_of_a_known_set_are_right_to_three_digits() -> None:
    latencies = Latencies()
    for ms in range(1, 1001):
        latencies.add(ms * MS)

    assert latencies.percentile_ms(50) == pytest.approx(500, rel=1e-3)
    assert latencies.percentile_ms(99) == pytest.approx(990, rel=1e-3)
    assert latencies.summary()["max_ms"] == pytest.approx(1000, rel=1e-3)


def test_one_slow_answer_shows_in_the_maximum_and_not_in_the_median() -> None:
    latencies = Latencies()
    for _ in range(999):
        latencies.add(MS)
    latencies.add(5_000 * MS)

    assert latencies.percentile_ms(50) == pytest.approx(1, rel=1e-3)
    assert latencies.summary()["max_ms"] == pytest.approx(5_000, rel=1e-3)


def test_durations_outside_the_range_are_counted_at_its_ends() -> None:
    latencies = Latencies()
    latencies.add(-5)
    latencies.add(10**18)

    assert latencies.count == 2
    assert latencies.percentile_ms(100) == pytest.approx(600_000, rel=1e-3)


def test_an_empty_histogram_says_zero() -> None:
    assert Latencies().summary() == {
        "count": 0, "p50_ms": 0.0, "p90_ms": 0.0, "p99_ms": 0.0, "p99.9_ms": 0.0, "max_ms": 0.0
    }  # fmt: skip
