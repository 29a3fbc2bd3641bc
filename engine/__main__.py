"""`python -m engine`: serve the exchange, or compile its kernels."""

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Final

import click

NOTEWORTHY_S: Final = 3.0  # a compilation of so long is worth a line
CODE_VERSIONS_KEPT: Final = 4


@click.group()
def main() -> None:
    """The engine: order book, holds and command log."""


@main.command()
def serve() -> None:
    """Recover from the log in LECONG_DATA and serve its two sockets until a signal."""
    import uvloop

    from engine.command_log import LogError
    from engine.location import Location, LocationError
    from engine.service import SettingsError, run

    sys.setswitchinterval(1e-4)  # design law 3: a sync beside a holder of the lock takes 11 ms instead of 0.2
    try:
        uvloop.run(run(Location.from_environment()))
    except (SettingsError, LocationError, LogError) as error:
        click.echo(f"engine: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(
            f"engine: the disk failed ({error}); nothing more is acknowledged, see the system's log", err=True
        )
        sys.exit(1)
    sys.stdout.flush()
    os._exit(0)  # all is synced and closed; taking down the interpreter and its compiler takes half a second


@main.command("compile")
def compile_kernels() -> None:
    """Compile the kernels into the cache; does nothing when they are there."""
    started = time.monotonic()
    from engine.core.jit import cache_directory

    directory = cache_directory()
    if not any(directory.rglob("*.nbi")):
        click.echo("compiling the matching core, once, for this machine: about half a minute", err=True)
    from engine.core.layout import Capacity
    from engine.exchange import Exchange
    from engine.records import empty_commands

    tiny = Capacity(orders=64, levels=64, instruments=1, accounts=2, lots=2, day=2)
    Exchange(tiny).apply(empty_commands(0))
    _forget_old(directory)
    if time.monotonic() - started > NOTEWORTHY_S:
        click.echo(f"compiled in {time.monotonic() - started:.0f} s", err=True)


def _forget_old(directory: Path) -> None:
    """Remove the machine code of all but the CODE_VERSIONS_KEPT latest versions: others may be running."""
    if not directory.is_dir():
        return
    directory.touch()
    versions = sorted(directory.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    for old in versions[:-CODE_VERSIONS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


@main.command()
@click.option("--stp", "self_trade", default="allow", help="Default self-trade mode: allow, cancel_newest, …")
def match(self_trade: str) -> None:
    """Judge JSON commands from standard input with the shipped core; events go to standard output."""
    from engine.match import run as run_blocks
    from engine.vocabulary import SelfTrade

    try:
        mode = SelfTrade[self_trade.upper()]
    except KeyError:
        words = ", ".join(mode.name.lower() for mode in SelfTrade)
        raise click.BadParameter(f"must be one of {words}", param_hint="--stp") from None
    for block in run_blocks(partial(os.read, sys.stdin.fileno()), mode):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
