"""Proof 5: a disk that is full for real, on a tmpfs.

The log alone fits on 1 MB with segments of 64 KiB. A whole engine does not: one segment has at least 1 MiB
(LECONG_LOG_SEGMENT_MIB) and the event log takes 16 MiB ahead; it gets ENGINE_MIB.

Law: orders are refused first, cancels later, and no acknowledgement is ever lost; with space free again it
goes on.
"""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.crash.engine_process import Driver, check_restart, engine
from tests.crash.history import History
from tests.crash.power_cut import compared, writer
from tests.crash.tally import Tally

WRITER_KIB, WRITER_SEGMENT_KIB = 1024, 64
ENGINE_MIB = 24
BALLAST_BYTES = 1 << 16
BURST, BURSTS_MAX = 40, 2_000
REFUSED_BURSTS = 5  # one after another: then the door is shut


def reason_to_skip() -> str:
    """Why no small disk can be mounted here, or nothing."""
    return "" if os.geteuid() == 0 else "only root can mount a small disk"


@contextmanager
def small_disk(where: Path, kib: int) -> Iterator[Path]:
    """A tmpfs of so many KiB, unmounted at the end."""
    where.mkdir(mode=0o700, exist_ok=True)
    options = f"size={kib}k,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def fill(ballast: Path) -> None:
    """Leave no space on the disk of `ballast`."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(BALLAST_BYTES))


def writer_fills_the_disk(folder: Path, seed: int) -> Tally:
    """A log on 1 MB is written until it says that it is full; then it is read."""
    with small_disk(folder / "small", WRITER_KIB) as where:
        options = (f"--seed={seed}", f"--segment-kib={WRITER_SEGMENT_KIB}", "--block=100")
        with writer(where / "log", *options) as running:
            running.hear_until(1 << 40)
            status = running.process.wait()
        tally = compared(where / "log", running.acknowledged)
    if status != 0:
        tally.find(f"the full log ended with status {status}, expected 0: LogFullError")
    return tally


async def engine_fills_the_disk(data: Path, seed: int) -> Tally:
    """Orders until they are refused, cancels until they are, space, orders again, kill -9, restart."""
    history, chance = History(), random.Random(seed)
    data.mkdir(exist_ok=True)
    with small_disk(data / "engine", ENGINE_MIB << 10) as where:
        with engine(data) as running:
            assert running.ready(), running.said()
            driver = Driver(running.location, history, chance)
            await driver.connect()
            tally = Tally(crashes=1)
            await driver.catch_up()
            fill(where / "ballast")
            await _until_refused(driver, history, chance, tally, cancels_only=False)
            await _until_refused(driver, history, chance, tally, cancels_only=True)
            (where / "ballast").unlink()
            await _goes_on(driver, history, chance, tally)
            running.process.kill()
            await driver.ended()
            await driver.close()
        tally.add(await check_restart(data, history))
    return tally


async def _until_refused(
    driver: Driver, history: History, chance: random.Random, tally: Tally, *, cancels_only: bool
) -> None:
    """Send until nothing of this kind is taken any more; the first refusal must not be the first answer."""
    what, taken, shut = "cancels" if cancels_only else "orders", 0, 0
    for _ in range(BURSTS_MAX):
        before = history.refused
        driver.send(history.orders(BURST if not cancels_only else 1, chance, cancels_only=cancels_only))
        await driver.catch_up()
        refused = history.refused - before
        taken += (BURST if not cancels_only else 1) - refused
        shut = shut + 1 if refused else 0
        if shut == REFUSED_BURSTS:
            break
    else:
        tally.find(f"{what} are taken without end on a full disk")
    if not taken:
        tally.find(f"no {what} were taken before the disk was full")


async def _goes_on(driver: Driver, history: History, chance: random.Random, tally: Tally) -> None:
    """With space free, orders are taken again within a few retries of a second each."""
    for _ in range(20):
        before = history.refused
        driver.send(history.orders(1, chance))
        await driver.catch_up()
        if history.refused == before:
            return
        await asyncio.sleep(0.3)
    tally.find("nothing is taken although space is free again")
