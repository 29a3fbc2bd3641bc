"""Seeds: nothing acknowledged is lost or done twice, whatever breaks; and a seed always runs the same way."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.simulation.__main__ import main, seeds_of, sweep
from tests.simulation.faults import How, Strike
from tests.simulation.report import WANTED, Report
from tests.simulation.world import Stage, run_many, simulate

SEEDS = 20


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_done_twice() -> None:
    with Stage() as folder:
        reports = [simulate(seed, folder) for seed in range(SEEDS)]

    assert [failure for report in reports for failure in report.failures] == []
    assert sum(report.crashes.total() for report in reports) > SEEDS
    for report in reports:
        assert report.counts["checked"] == report.counts["acknowledged"] > 0
    total = Report()
    for report in reports:
        total.add(report)
    assert total.missing(SEEDS) == []


def test_seed_without_faults_answers_every_request() -> None:
    with Stage() as folder:
        report = simulate(5, folder, requests=6, faults=0)

    assert report.failures == []
    assert (report.crashes.total(), report.faults.total(), report.counts["recoveries"]) == (0, 0, 1)
    assert report.counts["acknowledged"] >= 12


def test_same_seed_runs_the_same_way() -> None:
    with Stage() as folder:
        first, second = (simulate(11, folder).as_object() for _ in range(2))

    assert first == second
    assert first["crashes_injected"] > 0


@pytest.mark.slow
def test_seed_runs_the_same_way_in_another_process() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "11..11", "--json"]
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, check=True, text=True)

    here = Report()
    with Stage() as folder:
        here.add(simulate(11, folder))

    there = json.loads(done.stdout)
    del there["seconds"]
    assert there == json.loads(json.dumps(here.as_object()))


@pytest.mark.slow
def test_processes_that_share_the_seeds_count_what_one_counts() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "2", "--jobs", "2", "--json"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True, timeout=100)

    there = json.loads(done.stdout)
    del there["seconds"]
    assert there == json.loads(json.dumps(run_many(range(2)).as_object()))


@pytest.mark.parametrize(
    ("how", "program", "counted"),
    [
        ("kill", "engine", "kill engine"),
        ("power", "engine", "power cut"),
        ("database", "settlement", "kill database"),
    ],
)
def test_strike_hits_the_point_that_it_names(how: How, program: str, counted: str) -> None:
    with Stage() as folder:
        report = simulate(3, folder, requests=2, strike=Strike(program, 30, how))

    assert report.failures == []
    assert report.crashes.total() == 1
    assert report.faults[counted] == 1


def test_member_whose_batch_was_committed_unheard_reaches_the_gateways() -> None:
    with Stage() as folder:  # the operator's own: without it nobody can log on
        reports = [
            simulate(3, folder, requests=1, strike=Strike("settlement", step, "database"))
            for step in range(70, 78)
        ]

    assert any(report.crashes["sql.post.committed (database)"] for report in reports)
    assert [failure for report in reports for failure in report.failures] == []


def test_run_in_which_a_kind_never_happened_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_stops(seeds: range) -> Report:
        happened = dict.fromkeys(WANTED, 1) | {"stop orders triggered": 0}
        return Report(seeds=len(seeds), counts=Counter(happened))

    monkeypatch.setattr("tests.simulation.__main__.run_many", without_stops)
    few, many = (CliRunner().invoke(main, ["--seeds", seeds]) for seeds in ("19", "20"))

    assert (few.exit_code, many.exit_code) == (0, 1)
    assert "the run broke coverage: not one of the seeds had stop orders triggered" in many.output


def test_seeds_are_a_count_or_a_range() -> None:
    assert list(seeds_of("3")) == [0, 1, 2]
    assert list(seeds_of("7..9")) == [7, 8, 9]


def test_sweep_strikes_every_point_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    struck: list[Strike | None] = []

    def noted(seed: int, folder: Path, *, strike: Strike | None = None, **_: int) -> object:
        struck.append(strike)
        report = simulate(seed, folder, requests=1, faults=0) if strike is None else type(total)()
        report.counts["points of engine"] = 3
        return report

    total = Report()
    for module in ("__main__", "world"):
        monkeypatch.setattr(f"tests.simulation.{module}.simulate", noted)
    sweep("engine", 0)

    assert struck == [None] + [Strike("engine", step, how) for step in (1, 2, 3) for how in ("kill", "power")]
