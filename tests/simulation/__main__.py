"""`python -m tests.simulation`: replay one seed with every fault told, or run many and count."""

import json
import sys
import time
from dataclasses import asdict
from multiprocessing import get_context
from typing import Final

import click

from tests.simulation.faults import KINDS, Strike
from tests.simulation.report import Report
from tests.simulation.world import Stage, simulate

SWEEP_REQUESTS: Final = 4  # of each trader


def seeds_of(text: str) -> range:
    """`A..B` (both included) or a count from 0. Raises BadParameter."""
    first, dots, last = text.partition("..")
    if not first.isdigit() or (dots and not last.isdigit()):
        raise click.BadParameter("give COUNT, or FIRST..LAST")
    return range(int(first), int(last) + 1) if dots else range(int(first))


def run_many(seeds: range) -> Report:
    """Every seed, one after the other."""
    total = Report()
    with Stage() as folder:
        for seed in seeds:
            total.add(simulate(seed, folder))
    return total


def sweep(program: str, seed: int) -> Report:
    """One seed without faults, then again for every point of I/O of a program with a crash just there."""
    total = Report()
    with Stage() as folder:
        calm = simulate(seed, folder, requests=SWEEP_REQUESTS, faults=0)
        total.add(calm)
        for step in range(1, calm.counts[f"points of {program}"] + 1):
            for power in (False, True):
                strike = Strike(program, step, power)
                report = simulate(seed, folder, requests=SWEEP_REQUESTS, strike=strike)
                for failure in report.failures:
                    failure["strike"] = asdict(strike)
                total.add(report)
    return total


def shrink(seed: int) -> tuple[int, int]:
    """The fewest faults, and with them the fewest requests, with which the seed still fails."""
    with Stage() as folder:
        faults = next((n for n in range(15) if simulate(seed, folder, faults=n).failures), -1)
        most = None if faults < 0 else faults
        for requests in (2, 4, 8, 16):
            if simulate(seed, folder, requests=requests, faults=most).failures:
                return requests, faults
    return 24, faults


@click.command()
@click.option("--seed", type=int, help="Replay one seed and tell every fault.")
@click.option("--seeds", default="100", show_default=True, help="COUNT, or FIRST..LAST.")
@click.option("--requests", default=24, show_default=True, help="Requests of each trader (with --seed).")
@click.option("--faults", type=int, help="As many faults at most (with --seed); else drawn from the seed.")
@click.option("--sweep", "swept", type=click.Choice(tuple(KINDS)), help="Crash at every point (with --seed).")
@click.option("--jobs", default=1, show_default=True, help="Processes that share the seeds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    seed: int | None,
    seeds: str,
    requests: int,
    faults: int | None,
    swept: str | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run the exchange in one process from a seed; exit status 1 if a law was broken."""
    started = time.monotonic()
    if swept is not None:
        report = sweep(swept, seed or 0)
    elif seed is not None:
        with Stage() as folder:
            report = simulate(seed, folder, requests=requests, faults=faults, verbose=not as_json)
    else:
        report = Report()
        chosen = seeds_of(seeds)
        if jobs > 1:
            with get_context("spawn").Pool(jobs) as pool:
                for part in pool.map(run_many, [chosen[start::jobs] for start in range(jobs)]):
                    report.add(part)
        else:
            report = run_many(chosen)
    result = report.as_object() | {"seconds": round(time.monotonic() - started, 1)}
    for failure in result["failures"]:
        failure["replay"] = f"python -m tests.simulation --seed {failure['seed']}"
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        _print(result)
    sys.exit(1 if report.failures else 0)


def _print(result: dict[str, object]) -> None:
    for name, value in result.items():
        if name not in ("failures", "points_passed"):
            click.echo(f"{name:24} {value}")
    failures = result["failures"]
    assert isinstance(failures, list)
    for failure in failures:
        click.echo(f"seed {failure['seed']} broke {failure['law']}: {failure['message']}")
        click.echo(f"  replay: {failure['replay']}")


if __name__ == "__main__":
    main()
