"""`python -m tests.simulation`: replay one seed with every fault told, or run many and count."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from typing import Any, Final, TypeVar

import click

from tests.simulation.faults import FAULTS_MAX, HOW, Strike
from tests.simulation.report import Report
from tests.simulation.world import REQUESTS, SWEEP_REQUESTS, Stage, run_many, simulate, strike_each

Part = TypeVar("Part")
SHRUNK_REQUESTS: Final = (2, 4, 8, 16)
SHRUNK_MAX: Final = 3  # failures; to shrink one takes some dozen runs


def seeds_of(text: str) -> range:
    """`A..B` (both included) or a count from 0. Raises BadParameter."""
    first, dots, last = text.partition("..")
    if not first.isdigit() or (dots and not last.isdigit()):
        raise click.BadParameter("give COUNT, or FIRST..LAST")
    return range(int(first), int(last) + 1) if dots else range(int(first))


def sweep(program: str, seed: int, jobs: int = 1) -> Report:
    """One seed without faults, then again for every point of I/O of a program with a crash just there."""
    with Stage() as folder:
        calm = simulate(seed, folder, requests=SWEEP_REQUESTS, faults=0)
    points = range(1, calm.counts[f"points of {program}"] + 1)
    strikes = [Strike(program, step, how) for step in points for how in HOW[program]]
    total = shared_out(partial(strike_each, seed), strikes, jobs)
    total.add(calm)
    return total


def shared_out(work: Callable[[Sequence[Part]], Report], parts: Sequence[Part], jobs: int) -> Report:
    """The sum of what `jobs` processes report, each on a share of the parts."""
    if jobs == 1:
        return work(parts)
    total = Report()
    with get_context("spawn").Pool(jobs) as pool:
        for report in pool.map(work, [parts[start::jobs] for start in range(jobs)]):
            total.add(report)
    return total


def shrink(seed: int) -> tuple[int, int | None]:
    """The fewest requests of each trader, and with them the fewest faults, with which the seed still fails.

    Fewer of either is another run, not a part of the same one; so the smallest that fails may be the seed's
    own size.
    """
    with Stage() as folder:

        def fails(requests: int, faults: int | None) -> bool:
            return bool(simulate(seed, folder, requests=requests, faults=faults).failures)

        requests = next((count for count in SHRUNK_REQUESTS if fails(count, None)), REQUESTS)
        faults = next((count for count in range(FAULTS_MAX) if fails(requests, count)), None)
    return requests, faults


def replay_command(failure: dict[str, Any]) -> str:
    """What replays a failure: the seed, made as small as it goes."""
    command = f"python -m tests.simulation --seed {failure['seed']}"
    if "strike" in failure:
        return f"{command} --sweep {failure['strike']['program']}"
    requests, faults = shrink(failure["seed"])
    return f"{command} --requests {requests}" + ("" if faults is None else f" --faults {faults}")


@click.command()
@click.option("--seed", type=int, help="Replay one seed and tell every fault.")
@click.option("--seeds", default="100", show_default=True, help="COUNT, or FIRST..LAST.")
@click.option(
    "--requests", default=REQUESTS, show_default=True, help="Requests of each trader (with --seed)."
)
@click.option("--faults", type=int, help="As many faults at most (with --seed); else drawn from the seed.")
@click.option("--sweep", "swept", type=click.Choice(tuple(HOW)), help="Crash at every point of one (--seed).")
@click.option("--jobs", default=1, show_default=True, help="Processes that share the work.")
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
        report = sweep(swept, seed or 0, jobs)
    elif seed is not None:
        with Stage() as folder:
            report = simulate(seed, folder, requests=requests, faults=faults, verbose=not as_json)
    else:
        report = shared_out(run_many, seeds_of(seeds), jobs)
        for name in report.missing(report.seeds):
            report.failures.append({"law": "coverage", "message": f"not one of the seeds had {name}"})
    result = report.as_object() | {"seconds": round(time.monotonic() - started, 1)}
    broken = [failure for failure in result["failures"] if "seed" in failure]
    for failure in broken if seed is None or swept else ():
        few = broken.index(failure) < SHRUNK_MAX
        plain = f"python -m tests.simulation --seed {failure['seed']}"
        failure["replay"] = replay_command(failure) if few else plain
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
        who = f"seed {failure['seed']}" if "seed" in failure else "the run"
        click.echo(f"{who} broke {failure['law']}: {failure['message']}")
        if "replay" in failure:
            click.echo(f"  replay: {failure['replay']}")


if __name__ == "__main__":
    main()
