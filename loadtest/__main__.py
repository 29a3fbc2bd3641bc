"""`python -m loadtest`: demo (July 2015), run (a load test), bench (three ratios), core, log and start (their
own figures).
"""

import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import click
import uvloop
from rich.console import Console

from engine.location import LocationError
from gateway.client import BaseError
from loadtest.bench import MARKS, benches, lines
from loadtest.bench import append as append_result
from loadtest.bench import run as run_benches
from loadtest.demo import DemoError
from loadtest.exchange import ExchangeError
from loadtest.load import Wish, exchange_of, run_load
from loadtest.play import WIDTH, run_demo
from loadtest.report import holds, print_load
from settlement.reconciliation import ReconciliationError
from settlement.store import StoreError

WRONG, CANNOT_RUN, INTERRUPTED = 1, 2, 130
NAMED: Final = (LocationError, ExchangeError, DemoError, BaseError, StoreError, ReconciliationError, OSError)


@click.group()
def main() -> None:
    """The exchange under load."""


@main.command()
@click.option("--seed", default=8, show_default=True, help="The same seed gives the same table.")
@click.option(
    "--seconds", envvar="DEMO_SECONDS", default=60.0, show_default=True, help="0: as fast as it goes."
)
@click.option("--data", type=click.Path(path_type=Path), default=Path("var/demo"), show_default=True)
@click.option("--port", envvar="LECONG_PORT", default=8016, show_default=True)
@click.option("--keep", is_flag=True, help="Do not empty the data folder first.")
def demo(seed: int, seconds: float, data: Path, port: int, keep: bool) -> None:
    """Play the launch of July 2015: eight days, 822 tonnes, through real sessions."""
    sys.exit(0 if _run(run_demo(data, port, seed, seconds, keep=keep)) else WRONG)


@main.command()
@click.option(
    "--url", default="ws://127.0.0.1:8015/ws", show_default=True, help="The gateway of a running exchange."
)
@click.option(
    "--data", type=click.Path(path_type=Path), envvar="LECONG_DATA", help="Its data folder.  [default: var]"
)
@click.option(
    "--start", is_flag=True, help="Load an exchange of its own, in --data or var/load, emptied first."
)
@click.option("--port", default=8018, show_default=True, help="With --start: its port.")
@click.option("--sessions", default=200, show_default=True, type=click.IntRange(2))
@click.option("--rate", default=2000, show_default=True, type=click.IntRange(1), help="Messages a second.")
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--seed", default=8, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(as_json: bool, data: Path | None, **options: Any) -> None:
    """Load a running exchange in open loop, then account for every acknowledgement."""
    default = Path("var/load") if options["start"] else Path("var")
    wish = Wish(data=data or default, **options)
    with exchange_of(wish) as (chosen, exchange):
        result = _run(run_load(chosen, exchange, lambda line: click.echo(line, err=True)))
    if as_json:
        click.echo(json.dumps(result))
    else:
        print_load(Console(width=None if Console().is_terminal else WIDTH, highlight=False), result)
    sys.exit(0 if holds(result) else WRONG)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--append", is_flag=True, help="Append to loadtest/RESULTS.md.")
@click.option("--only", multiple=True, type=click.Choice(list(MARKS)), help="Measure only these.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("var/bench"), show_default=True)
@click.option("--port", default=8017, show_default=True, help="For the gateway that is measured.")
def bench(as_json: bool, append: bool, only: tuple[str, ...], data: Path, port: int) -> None:
    """Measure the three ratios: core, gateway, settlement."""
    measures = benches(data, port)
    result = run_benches(
        {name: measures[name] for name in only or measures}, lambda line: click.echo(line, err=True)
    )
    click.echo(json.dumps(result, ensure_ascii=False) if as_json else "\n".join(lines(result)))
    if append:
        append_result(lines(result))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--append", is_flag=True, help="Append to loadtest/RESULTS.md.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
def core(as_json: bool, append: bool, rounds: int) -> None:
    """Measure the core beside the yardstick on three workloads, and what a million resting orders cost."""
    from loadtest import bench_core, bench_resting

    result = bench_resting.measure(rounds=rounds) | bench_core.measure_all(rounds)
    told = [f"core {name}: {ratio} x the yardstick" for name, ratio in result["ratios"].items()]
    told += [result["reason"]] if "reason" in result else []
    told += bench_resting.lines(result)
    click.echo(json.dumps(result) if as_json else "\n".join(told))
    if append:
        append_result(told)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option("--data", type=click.Path(path_type=Path), default=Path("var/bench_start"), show_default=True)
def start(as_json: bool, rounds: int, data: Path) -> None:
    """Measure the warm start of the engine beside a bare import of numba."""
    from loadtest import bench_start

    try:
        result = bench_start.measure(data, rounds)
    except (bench_start.StartError, OSError) as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(CANNOT_RUN)
    click.echo(json.dumps(result) if as_json else "\n".join(bench_start.lines(result)))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--append", is_flag=True, help="Append to loadtest/RESULTS.md.")
@click.option("--commands", default=1_000_000, show_default=True, type=click.IntRange(20_000))
@click.option("--replayed", default=3_000_000, show_default=True, type=click.IntRange(1000))
@click.option("--recovered", default=10_000_000, show_default=True, type=click.IntRange(1000))
@click.option("--resting", default=1_000_000, show_default=True, type=click.IntRange(1000, 2_000_000))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--data", type=click.Path(path_type=Path), default=Path("var/bench_log"), show_default=True)
def log(as_json: bool, append: bool, data: Path, **sizes: int) -> None:
    """Measure the command log: durable commands a second, latency, replay, recovery, snapshot."""
    from loadtest import bench_log

    try:
        result = bench_log.measure(data, **sizes)
    except OSError as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(CANNOT_RUN)
    text = bench_log.lines(result)
    click.echo(json.dumps(result, ensure_ascii=False) if as_json else "\n".join(text))
    if append:
        append_result(text)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; a named error becomes its message."""
    try:
        return uvloop.run(work)
    except NAMED as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
