"""`python -m loadtest`: demo (July 2015), run (a load test), bench (the three ratios)."""

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import click
import uvloop

from engine.location import LocationError
from gateway.client import BaseError
from loadtest.demo import DemoError
from loadtest.exchange import ExchangeError
from loadtest.play import run_demo
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
