"""`python -m tests.crash`: the long run of all proofs with real processes; ends with a table of counts.

Exit status: 0 nothing lost, doubled or otherwise wrong; 1 something was, its seed and the command that
replays it are printed; 2 nothing could run here.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from tests.crash import power_cut, small_disk, traced
from tests.crash.faults import Fault
from tests.crash.history import History
from tests.crash.storm import storm
from tests.crash.tally import Tally, table_of
from tests.simulation.faults import HOW

WRONG, NOTHING_RAN = 1, 2
SIMULATION = "tests.simulation"
START_S, SEED_S, SWEEP_S = 300, 10, 3600  # how long the simulator may take: to start, a seed, a sweep
PROOFS = ("simulation", "sweep", "storm", "traced", "power", "disk", "marked")


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="lecong-crash-", ignore_cleanup_errors=True) as name:
        yield Path(name)


async def storms(seed: int, runs: int, seconds: float) -> Tally:
    """Proof 2 on `runs` seeds."""
    tally = Tally()
    for each in range(seed, seed + runs):
        source = f"python -m tests.crash --only storm --seed {each} --storms 1 --seconds {seconds:g}"
        with folder() as data:
            tally.add(await storm(data, each, seconds), source)
        click.echo(f"storm {each}: {tally.crashes} kills, {tally.acknowledged} acknowledgements", err=True)
    return tally


async def traces(seed: int, first: int, last: int) -> Tally:
    """Proof 3: kills at every sync from `first` to `last`, failures, a slow disk, failing starts."""
    if why_not := traced.reason_to_skip():
        return Tally(skipped=why_not)
    tally, source = Tally(), f"python -m tests.crash --only traced --seed {seed}"
    with folder() as data:
        tally.add(await traced.kills_at_each_sync(data, first, last, seed))
        if first > 1:
            return tally
        faults = [*traced.OTHERS, *(traced.fail_at_sync(number) for number in (1, 2, 3, 10, 50))]
        for number, fault in enumerate(faults):
            chance = random.Random(f"{seed} {fault.inject}")
            tally.add(await traced.crashed(data / f"fault-{number}", fault, History(), chance), source)
        for number, inject in enumerate(traced.AT_START):
            tally.add(await traced.failing_start(data / f"start-{number}", inject), source)
        tally.add(await traced.slow_disk(data / "slow", random.Random(seed)), source)
        _must_lose(tally, await traced.lying_disk(data / "lying", random.Random(seed)), "a disk that lies")
    return tally


async def power_cuts(seed: int, cuts: int) -> Tally:
    """Proof 4: engine and log lose nothing; the three mistakes put in by hand are seen."""
    if why_not := power_cut.reason_to_skip():
        return Tally(skipped=why_not)
    source = f"python -m tests.crash --only power --seed {seed} --cuts {cuts}"
    tally = Tally()
    tally.add(await power_cut.engine_cuts(seed, cuts), source)
    for fault in (Fault.NONE, Fault.SHORT_WRITES):
        tally.add(await asyncio.to_thread(power_cut.writer_cuts, fault, seed, cuts), source)
    tally.add(await asyncio.to_thread(power_cut.full_disk_cut, Fault.NONE, seed), source)
    for fault in (Fault.NO_SYNC, Fault.EARLY):
        _must_lose(tally, await asyncio.to_thread(power_cut.writer_cuts, fault, seed, cuts), fault.value)
    unsynced = await asyncio.to_thread(power_cut.full_disk_cut, Fault.NO_FOLDER_SYNC, seed)
    _must_lose(tally, unsynced, f"{Fault.NO_FOLDER_SYNC.value}, on a disk without room for a third segment")
    hidden = await asyncio.to_thread(power_cut.writer_cuts, Fault.NO_FOLDER_SYNC, seed, cuts)
    _tell("the same while segments are made in the background (their syncs hide it mostly)", hidden)
    return tally


async def small_disks(seed: int) -> Tally:
    """Proof 5 on a tmpfs."""
    if why_not := small_disk.reason_to_skip():
        return Tally(skipped=why_not)
    tally, source = Tally(), f"python -m tests.crash --only disk --seed {seed}"
    with folder() as data:
        tally.add(await asyncio.to_thread(small_disk.writer_fills_the_disk, data, seed), source)
        tally.add(await small_disk.engine_fills_the_disk(data / "engine", seed), source)
    return tally


async def simulations(seeds: int) -> Tally:
    """Proof 1 on many seeds."""
    return await _simulated(START_S + SEED_S * seeds, "--seeds", str(seeds))


async def sweeps(seed: int) -> Tally:
    """Proof 1 at every single point of I/O of each program."""
    tally = Tally()
    for program in HOW:
        tally.add(await _simulated(SWEEP_S, "--sweep", program, "--seed", str(seed)))
    return tally


async def _simulated(seconds: float, *wish: str) -> Tally:
    """The simulator in processes of its own; its counts, from its one JSON object."""
    jobs = str(os.cpu_count() or 1)
    try:
        async with asyncio.timeout(seconds):
            ended = await _ended([sys.executable, "-m", SIMULATION, *wish, "--jobs", jobs, "--json"])
    except TimeoutError:
        tally = Tally()
        tally.find(f"{SIMULATION} {' '.join(wish)} was stopped after {seconds:g} s: it is too slow, or hangs")
        return tally
    return simulated(*ended)


async def _ended(command: list[str]) -> tuple[int, str]:
    """Exit status and output of a program, which ends with us, children and all."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode or 0, said.decode()


def simulated(status: int, said: str) -> Tally:
    """The simulator's exit status and JSON object as counts; without an object, that is a finding."""
    tally = Tally()
    try:
        counts = json.loads(said)
    except ValueError:
        tally.find(f"{SIMULATION} ended with status {status} and without counts")
        return tally
    tally.crashes, tally.acknowledged = counts["crashes_injected"], counts["acknowledgements_checked"]
    if counts["acknowledged"] != counts["acknowledgements_checked"]:
        tally.find(f"of {counts['acknowledged']} acknowledgements {tally.acknowledged} were looked for")
    for failure in counts["failures"]:
        text = f"{failure['law']}: {failure['message']}"
        if "replay" in failure:  # what no seed had, none replays
            text += f"\n    replay: {failure['replay']}"
        if failure["law"] == "loss":
            tally.lose(1, text)
        elif failure["law"] == "double":
            tally.double(1, text)
        else:
            tally.find(text)
    if status and tally.holds:
        tally.find(f"{SIMULATION} ended with status {status}")
    return tally


async def marked() -> Tally:
    """The tests that `make test` leaves out because they take minutes."""
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-m", "crash", "tests"]
    ended = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, check=False)
    tally = Tally()
    if ended.returncode:
        tally.find(f"{' '.join(command[1:])} ended with status {ended.returncode}:\n{ended.stdout}")
    return tally


def _tell(what: str, seen: Tally) -> None:
    click.echo(
        f"{what}: {seen.losses} of {seen.acknowledged} acknowledgements lost, "
        f"{len(seen.findings)} of {seen.crashes} crashes show it",
        err=True,
    )


def _must_lose(tally: Tally, seen: Tally, mistake: str) -> None:
    """A mistake put in by hand must show; one that does not show makes the harness worthless."""
    _tell(f"put in by hand, {mistake}", seen)
    if not seen.losses:
        tally.find(f"the harness does not see this mistake: {mistake}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option("--seed", default=8, show_default=True, help="The first seed.")
@click.option("--storms", "storm_runs", default=12, show_default=True, help="Storms of kills, a seed each.")
@click.option("--seconds", default=20.0, show_default=True, help="Of load in each storm.")
@click.option("--first-sync", default=1, show_default=True)
@click.option("--last-sync", default=200, show_default=True, help="kill -9 at each sync from first to last.")
@click.option("--cuts", default=100, show_default=True, help="Power cuts of the engine, and of each fault.")
@click.option("--seeds", default=1000, show_default=True, help="Of the simulator.")
@click.option("--only", multiple=True, type=click.Choice(PROOFS), help="These proofs; else all.")
def main(
    seed: int,
    storm_runs: int,
    seconds: float,
    first_sync: int,
    last_sync: int,
    cuts: int,
    seeds: int,
    only: tuple[str, ...],
) -> None:
    """Crash everything for real, many times; print what was lost: nothing."""
    signal.signal(signal.SIGTERM, _interrupt)  # mounts and processes end with us
    proofs: dict[str, Callable[[], Awaitable[Tally]]] = {
        "simulation": lambda: simulations(seeds),
        "sweep": lambda: sweeps(seed),
        "storm": lambda: storms(seed, storm_runs, seconds),
        "traced": lambda: traces(seed, first_sync, last_sync),
        "power": lambda: power_cuts(seed, cuts),
        "disk": lambda: small_disks(seed),
        "marked": marked,
    }
    rows = []
    for name in only or proofs:
        started = time.monotonic()
        click.echo(f"{name} …", err=True)
        tally = asyncio.run(_tallied(proofs[name]))
        rows.append((name, tally, time.monotonic() - started))
        click.echo(tally.line(name), err=True)  # now: a long run may be ended before its table
        for finding in tally.findings:
            click.echo(f"{name}: {finding}")
    Console(width=None if Console().is_terminal else 110, highlight=False).print(table_of(rows))
    if all(tally.skipped for _, tally, _ in rows):
        sys.exit(NOTHING_RAN)
    sys.exit(0 if all(tally.holds for _, tally, _ in rows) else WRONG)


async def _tallied(proof: Callable[[], Awaitable[Tally]]) -> Tally:
    """The counts of a proof; one that breaks off is a finding, and the others still run."""
    try:
        return await proof()
    except Exception as error:
        tally = Tally()
        tally.find(f"broke off: {type(error).__name__}: {error}")
        return tally


if __name__ == "__main__":
    main()
