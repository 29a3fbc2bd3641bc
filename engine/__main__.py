"""`python -m engine`: serve the exchange, look at what it keeps, or compile its kernels."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO, cast

import click

from engine.location import Location, LocationError

NOTEWORTHY_S: Final = 3.0  # a compilation of so long is worth a line
CODE_VERSIONS_KEPT: Final = 4


class Lossy:
    """An output that may lie on a full disk, or whose reader may leave: what it does not take is lost, and
    the exchange goes on; what ends the engine has its exit status.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Let out what can be let out."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@click.group()
def main() -> None:
    """The engine: order book, holds and command log."""


@main.command()
def serve() -> None:
    """Recover from the log in LECONG_DATA and serve its two sockets until a signal."""
    import uvloop

    from engine.service import run

    sys.stdout, sys.stderr = (cast(TextIO, Lossy(stream)) for stream in (sys.stdout, sys.stderr))
    sys.setswitchinterval(1e-4)  # design law 3: a sync beside a holder of the lock takes 11 ms instead of 0.2
    with _named_errors():
        uvloop.run(run(Location.from_environment()))
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


@main.command()
@click.option("--all", "whole", is_flag=True, help="From the first command, not from the oldest snapshot.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(whole: bool, as_json: bool) -> None:
    """Replay the log; compare every snapshot's hash and every stored event. Status 1: something differs."""
    from engine.inspection import verify

    with _named_errors():
        verdict = verify(Location.from_environment(), whole=whole)
    if as_json:
        click.echo(json.dumps(asdict(verdict)))
    else:
        click.echo(
            f"commands {verdict.first_sequence} to {verdict.last_sequence} replayed: {verdict.commands:,} "
            f"commands, {verdict.events_compared:,} events and {verdict.snapshots_compared} later snapshots "
            f"compared in {verdict.seconds:.1f} s; state {verdict.state_hash}"
        )
        for finding in verdict.findings:
            click.echo(f"DOES NOT FIT: {finding}")
    sys.exit(1 if verdict.findings else 0)


@main.command()
@click.argument("first", type=click.IntRange(1))
@click.argument("last", type=click.IntRange(1), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def inspect(first: int, last: int | None, as_json: bool) -> None:
    """Show the commands FIRST to LAST (only FIRST when LAST is left out) with their events."""
    from engine.inspection import notes
    from engine.notes import line

    with _named_errors():
        for note in notes(Location.from_environment(), first, last or first):
            if as_json:
                click.echo(json.dumps(note, ensure_ascii=False))
                continue
            click.echo(f"{note['at']}  {line(note)}")
            for event in note["events"]:
                click.echo(f"    {line(event)}")


@main.command()
@click.option("--until", type=click.IntRange(1), help="The last command to judge.  [default: the log's last]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(until: int | None, as_json: bool) -> None:
    """Judge the log up to a command and show the state's hash and what it holds."""
    from engine.inspection import replay_until

    with _named_errors():
        found = replay_until(Location.from_environment(), until)
    click.echo(
        json.dumps(found) if as_json else "\n".join(f"{name}: {value}" for name, value in found.items())
    )


@main.command()
def snapshot() -> None:
    """Have the running engine take a snapshot, or take one of a stopped engine."""
    from engine.inspection import snapshot_now

    with _named_errors():
        sequence = snapshot_now(Location.from_environment())
    click.echo(f"snapshot of command {sequence}")


@contextmanager
def _named_errors() -> Iterator[None]:
    """A named error becomes its message and status 2, a fault of the disk status 1."""
    from engine.calendar import CalendarError
    from engine.command_log import LogError
    from engine.frames import LinkError
    from engine.inspection import ToolError
    from engine.settings import SettingsError

    try:
        yield
    except (SettingsError, CalendarError, LocationError, LogError, LinkError, ToolError) as error:
        _say(f"engine: {error}")
        sys.exit(2)
    except OSError as error:
        _say(f"engine: the disk failed ({error}); nothing more is acknowledged, see the system's log")
        sys.exit(1)


def _say(text: str) -> None:
    """On standard error, if that takes it: the exit status must not depend on it."""
    with suppress(OSError):
        click.echo(text, err=True)


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
