"""An outside judge: tracebook-conformance compares the core with its own engine, event by event.

`LECONG_TRACES` sets how many traces a campaign has (25 is what the judge's own documentation runs).
"""

import os
import sys
from pathlib import Path

import pytest
from tracebook.conformance import (
    ExternalProcessAdapterFactory,
    copy_bundled_conformance_suite,
    run_campaign,
    run_conformance_suite,
    run_qualification,
)

from tests.conformance.adapter import Adapter

PROFILES = ("fifo-limit-v1", "fifo-full-v1", "fifo-partial-fill-v1")
TRACES = int(os.environ.get("LECONG_TRACES", "3"))
EVENTS = 200
SEED = 42


def test_the_bundled_suite_conforms_but_for_pro_rata(tmp_path: Path) -> None:
    suite = copy_bundled_conformance_suite(tmp_path / "suite")
    cases = tuple(case for case in suite.cases if case.config.matching_algorithm == "fifo")
    left_out = {case.name for case in suite.cases} - {case.name for case in cases}

    report = run_conformance_suite(type(suite)(**{**vars(suite), "cases": cases}), Adapter)

    told = {case["name"]: case["report"]["conformant"] for case in report["cases"]}
    print(f"suite: {told}, left out {sorted(left_out)}")
    assert left_out == {"pro-rata-allocation"}  # the market allots by price and time (semantics A1)
    assert report["conformant"], report


@pytest.mark.parametrize("profile", PROFILES)
def test_a_campaign_finds_no_divergence(profile: str) -> None:
    result = run_campaign(Adapter, profile=profile, seed=SEED, traces=TRACES, events_per_trace=EVENTS)

    told = result.to_dict()
    done = f"{told['completed_traces']} of {TRACES} traces, {told['generated_events']} events"
    print(f"campaign {profile}: {done}, {told['campaign_id']}")
    assert result.conformant, result.failure


@pytest.mark.parametrize("profile", PROFILES)
def test_the_core_qualifies(profile: str) -> None:
    result = run_qualification(Adapter, profile, seed=SEED, traces=TRACES, events_per_trace=EVENTS)

    told = result.to_dict()
    print(f"qualify {profile}: qualified {result.qualified}, {told['checks']}")
    assert result.qualified


@pytest.mark.slow
def test_the_adapter_serves_the_judges_protocol_as_a_process() -> None:
    command = [sys.executable, "-m", "tests.conformance.adapter"]
    factory = ExternalProcessAdapterFactory(command, timeout_seconds=90.0, cwd=Path(__file__).parents[2])

    result = run_campaign(factory, profile="fifo-full-v1", seed=SEED, traces=1, events_per_trace=EVENTS)

    assert result.conformant, result.failure
