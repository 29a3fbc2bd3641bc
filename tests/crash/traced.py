"""Proof 3: strace makes the engine's own system calls fail, wait, or end it.

strace counts `when=` per system call and per thread. The log's blocks are written and synced by one thread
(the disk's), so the n-th fdatasync is the n-th block of this start, for n above the few syncs that the main
thread makes at a start (epoch, first segment, each recovered segment); a lower n ends the start itself.
`-P` keeps to the files of the log.

What strace cannot do: a true short write. `retval=` skips the call and lies about it, which is another fault,
a disk that lies; the last case shows that the harness notices it. Short writes are made in faults.py.
"""

import asyncio
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from engine.command_log import segment_name
from engine.frames import LinkDownError
from engine.location import Location
from tests.crash.engine_process import Driver, Engine, blocks_of, check_restart, engine
from tests.crash.history import History
from tests.crash.tally import Tally

KILLED = -9
FAILED = 1
COMMANDS_MAX = 50_000  # of one start; it dies long before
WINDOW = 8  # so that most bursts have a sync of their own
STARTS_PER_FOLDER = 10  # of kills one after another on the same log
DELAY_S = 0.2
LIES = 300  # commands


@dataclass(frozen=True)
class Fault:
    """An injection, the exit status that must follow, and after how many blocks of this start, if known."""

    inject: str
    status: int
    blocks: int | None = None

    @property
    def prefix(self) -> list[str]:
        """The command line in front of the engine's: it stays the parent's child (-D)."""
        return tracing(self.inject)


def tracing(*inject: str, path: Path | None = None) -> list[str]:
    """strace that injects, into calls on `path` only where one is given; its own output is thrown away."""
    options = [option for each in inject for option in ("-e", f"inject={each}")]
    options += ["-P", str(path)] if path is not None else []
    if not any("signal=" in each for each in inject):
        options.append("--seccomp-bpf")  # stops at these calls only; with it a signal is silently not sent
    calls = ",".join(sorted({each.split(":")[0] for each in inject}))
    return ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", *options]


def kill_at_sync(number: int) -> Fault:
    """kill -9 on the way into the n-th sync of a start: the block is written and not yet synced."""
    return Fault(f"fdatasync:signal=KILL:when={number}", KILLED, number)


def fail_at_sync(number: int) -> Fault:
    """The n-th sync of a start says EIO."""
    return Fault(f"fdatasync:error=EIO:when={number}", FAILED, number)


OTHERS = (
    Fault("pwrite64:error=EIO:when=20", FAILED),
    Fault("pwrite64:error=ENOSPC:when=20", FAILED),
    Fault("pwrite64:retval=0:when=20", FAILED),
    Fault("pwrite64:signal=KILL:when=20", KILLED),
)
AT_START = tuple(f"fsync:error=EIO:when={number}" for number in range(1, 5))


def reason_to_skip() -> str:
    """Why strace cannot be used here, or nothing."""
    if shutil.which("strace") is None:
        return "there is no strace (apt-get install strace)"
    tried = subprocess.run([*tracing("fdatasync:error=EIO"), "true"], capture_output=True, text=True)
    return f"strace does not work here: {tried.stderr.strip()}" if tried.returncode else ""


async def under_fault(data: Path, fault: Fault, history: History, chance: random.Random) -> Tally:
    """Drive an engine into the fault; its status, and that nothing was acknowledged after it."""
    tally = Tally(crashes=1)
    before = len(blocks_of(Location(data).create().engine / "commands"))
    with engine(data, fault.prefix) as running:
        if running.ready():
            await _drive(running, history, chance)
        status = running.wait()
    if status != fault.status:
        tally.find(f"{fault.inject}: exit status {status}, expected {fault.status}: {running.said()[-400:]}")
    if fault.blocks is not None:
        blocks = blocks_of(Location(data).engine / "commands")[: before + fault.blocks - 1]
        durable = sum(len(block) for block in blocks)
        if history.sequence > durable:
            tally.find(f"{fault.inject}: {history.sequence - durable} commands were acknowledged after it")
    return tally


async def _drive(running: Engine, history: History, chance: random.Random) -> None:
    driver = Driver(running.location, history, chance)
    try:
        await driver.connect()
    except LinkDownError:  # it died at a sync of its own first commands
        return
    await driver.run(COMMANDS_MAX, WINDOW)
    await driver.ended()
    await driver.close()


async def crashed(data: Path, fault: Fault, history: History, chance: random.Random) -> Tally:
    """The fault, then a start without it that must know everything."""
    tally = await under_fault(data, fault, history, chance)
    tally.add(await check_restart(data, history))
    return tally


async def kills_at_each_sync(folder: Path, first: int, last: int, seed: int) -> Tally:
    """kill -9 at the syncs `first` to `last`, several starts one after another on the same log."""
    tally = Tally()
    for begin in range(first, last + 1, STARTS_PER_FOLDER):
        data, history = folder / f"from-{begin}", History()
        for number in range(begin, min(begin + STARTS_PER_FOLDER, last + 1)):
            chance = random.Random(f"{seed} {number}")
            source = (
                f"python -m tests.crash --only traced --seed {seed} --first-sync {begin} --last-sync {number}"
            )
            tally.add(await under_fault(data, kill_at_sync(number), history, chance), source)
            if number == min(begin + STARTS_PER_FOLDER - 1, last):
                tally.add(await check_restart(data, history), source)
        shutil.rmtree(data)
    return tally


async def slow_disk(data: Path, chance: random.Random) -> Tally:
    """Every sync takes DELAY_S longer: no answer may be faster; then kill -9."""
    tally, history = Tally(crashes=1), History()
    with engine(data, tracing(f"fdatasync:delay_exit={DELAY_S:g}s")) as running:
        assert running.ready(), running.said()
        driver = Driver(running.location, history, chance)
        await driver.connect()
        await driver.catch_up()
        for _ in range(4):
            asked = time.monotonic()
            driver.send(history.orders(3, chance))
            await driver.catch_up()
            if time.monotonic() - asked < DELAY_S:
                tally.find(f"an answer came before its sync of {DELAY_S} s had ended")
        driver.send(history.orders(3, chance))
        await asyncio.sleep(DELAY_S / 2)
        running.process.kill()
        await driver.ended()
        await driver.close()
    tally.add(await check_restart(data, history))
    return tally


async def failing_start(data: Path, inject: str) -> Tally:
    """A sync fails while the folder is made: no service, a status, and the next start works."""
    tally, history = Tally(crashes=1), History()
    with engine(data, tracing(inject)) as running:
        if running.ready() or running.wait() != FAILED:
            tally.find(f"{inject}: the engine serves although the disk failed at the start")
    tally.add(await check_restart(data, history))
    return tally


async def lying_disk(data: Path, chance: random.Random) -> Tally:
    """From the third block on, writes say that they happened and did not: the harness must call it a loss."""
    history = History()
    log = Location(data).engine / "commands" / segment_name(1)
    with engine(data, tracing("pwrite64:retval=4096:when=3+", path=log)) as running:
        assert running.ready(), running.said()
        driver = Driver(running.location, history, chance)
        await driver.connect()
        await driver.run(LIES, WINDOW)
        running.process.kill()
        await driver.ended()
        await driver.close()
    return await check_restart(data, history)
