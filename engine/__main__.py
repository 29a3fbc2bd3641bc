"""`python -m engine`: serve the exchange, or compile its kernels."""

import sys
import time

import click


@click.group()
def main() -> None:
    """The engine: order book, holds and command log."""


@main.command()
def serve() -> None:
    """Recover from the log in LECONG_DATA and serve its two sockets until a signal."""
    import uvloop

    from engine.command_log import LogError
    from engine.location import Location, LocationError
    from engine.service import run

    sys.setswitchinterval(1e-4)  # design law 3: a sync beside a holder of the lock takes 11 ms instead of 0.2
    try:
        uvloop.run(run(Location.from_environment()))
    except (LocationError, LogError) as error:
        click.echo(f"engine: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(
            f"engine: the disk failed ({error}); nothing more is acknowledged, see the system's log", err=True
        )
        sys.exit(1)


@main.command()
def compile() -> None:
    """Compile the kernels into the cache; does nothing when they are there."""
    started = time.monotonic()
    from engine.core.jit import cache_directory

    directory = cache_directory()
    if not any(directory.rglob("*.nbi")):
        click.echo("compiling the matching core, once, for this machine: about half a minute", err=True)
    from engine.core.layout import Capacity
    from engine.exchange import Exchange
    from engine.records import empty_commands

    Exchange(Capacity(orders=64, levels=64, instruments=1, accounts=2, lots=2, day=2)).apply(
        empty_commands(0)
    )
    for old in directory.parent.iterdir():
        if old != directory:
            for path in sorted(old.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            old.rmdir()
    if time.monotonic() - started > 3:
        click.echo(f"compiled in {time.monotonic() - started:.0f} s", err=True)


if __name__ == "__main__":
    main()
