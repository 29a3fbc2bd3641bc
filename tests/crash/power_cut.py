"""Proof 4: the power goes. An ext4 file system lies in an image file; what the image holds is on the platter.

    writer ─▶ ext4 (page cache) ─▶ loop ─▶ image        the page cache is what a power cut forgets
    cut      freeze the writer, hear what it still said, copy the image as it is: nothing is synced first
    recover  mount the copy (ext4 replays its journal) and read the log with the production code

A copy takes milliseconds and the kernel writes on its own: it is taken until two copies are equal, so it is
the image of one moment. The image lies in memory (/dev/shm) where there is one: a sync costs little then.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from engine.command_log import LogError
from engine.records import joined
from tests.crash.engine_process import Driver, blocks_of, check_restart, engine
from tests.crash.faults import Fault
from tests.crash.history import History
from tests.crash.tally import Tally

MIB = 1 << 20
NEVER = "commit=3600"  # seconds between journal commits of its own: only what is synced reaches the platter
COPIES_MAX = 50
WRITER_MIB, ENGINE_MIB = 48, 128
SMALL_MIB, LARGE_KIB = 16, 4096  # a disk with room for two such segments
CUT_AFTER_S = 0.08
SETTLE_S = 0.05  # for what was said before the freeze to be heard


def reason_to_skip() -> str:
    """Why images cannot be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "only root can mount an image"
    if shutil.which("mkfs.ext4") is None:
        return "there is no mkfs.ext4 (apt-get install e2fsprogs)"
    with workshop() as folder:
        try:
            with mounted(image_of(folder / "image", WRITER_MIB), folder / "mount"):
                return ""
        except subprocess.CalledProcessError as error:
            return f"cannot mount an image here: {error.stderr.strip()}"


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder for images, in memory where that is possible."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="lecong-") as folder:
        yield Path(folder)


def image_of(path: Path, mib: int) -> Path:
    """A fresh ext4 file system in a file; nothing of it is left to be initialised later."""
    with path.open("wb") as file:
        file.truncate(mib * MIB)
    later = "lazy_itable_init=0,lazy_journal_init=0"
    _run("mkfs.ext4", "-q", "-F", "-E", later, "-J", "size=4", str(path))
    return path


@contextmanager
def mounted(image: Path, where: Path, options: str = NEVER) -> Iterator[Path]:
    """The image, mounted by loop; unmounted at the end, whoever still uses it."""
    where.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", f"loop,{options}", str(image), str(where))
    try:
        yield where
    finally:
        _run("umount", "--lazy", str(where))


def platter(image: Path) -> bytes:
    """The image of one moment: two copies, one after the other, are the same."""
    before = image.read_bytes()
    for _ in range(COPIES_MAX):
        after = image.read_bytes()
        if before == after:
            return after
        before = after
    raise AssertionError("the image is never at rest")


@contextmanager
def after_the_cut(image: bytes, folder: Path) -> Iterator[Path]:
    """The platter in another machine: mounted, its journal replayed."""
    copy = folder / "copy"
    copy.write_bytes(image)
    with mounted(copy, folder / "copy-mount") as where:
        yield where


class Writer:
    """The log writer as a child, and what it acknowledged."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Start it on `folder`."""
        self.acknowledged = 0
        self._rest = b""
        self.process = subprocess.Popen(
            [*_CHILD, "tests.crash.log_writer", str(folder), *options], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self._pipe = self.process.stdout.fileno()
        os.set_blocking(self._pipe, False)

    def hear(self) -> None:
        """Read what it has acknowledged until now."""
        with suppress(BlockingIOError):
            while said := os.read(self._pipe, 1 << 16):
                self._rest += said
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            self.acknowledged = int(lines[-1])

    def hear_until(self, sequence: int, seconds: float = 20.0) -> None:
        """Wait until it has acknowledged so much, or has ended. Raises AssertionError when it does not."""
        deadline = time.monotonic() + seconds
        while self.acknowledged < sequence and self.process.poll() is None:
            assert time.monotonic() < deadline, f"only {self.acknowledged} of {sequence} acknowledged"
            time.sleep(0.002)
            self.hear()
        self.hear()

    def freeze(self) -> None:
        """Stop it between two instructions and hear what it had said."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(SETTLE_S)
        self.hear()

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


_CHILD = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-m")


@contextmanager
def writer(folder: Path, *options: str) -> Iterator[Writer]:
    """A log writer, killed at the end."""
    running = Writer(folder, *options)
    try:
        yield running
    finally:
        running.end()


def compared(folder: Path, acknowledged: int) -> Tally:
    """What the production code reads from a log of numbered commands, against what was acknowledged."""
    tally = Tally(crashes=1, acknowledged=acknowledged)
    try:
        blocks = blocks_of(folder)
    except LogError as error:
        tally.lose(acknowledged, f"the log is refused: {error}")
        return tally
    tags = joined(blocks)["tag"].tolist() if blocks else []
    if len(tags) < acknowledged:
        tally.lose(acknowledged - len(tags), f"{len(tags)} of {acknowledged} acknowledged are there")
    if tags != list(range(1, len(tags) + 1)):
        tally.double(len(tags) - len(set(tags)) or 1, "the log's commands are not 1, 2, 3 …")
    return tally


def writer_cuts(fault: Fault, seed: int, cuts: int) -> Tally:
    """Cut the power `cuts` times under log writers with a fault, each going on after a cut until its disk is
    full; a fresh disk and writer then.
    """
    tally, chance = Tally(), random.Random(f"{seed} {fault}")
    while tally.crashes < cuts:
        options = (f"--fault={fault}", f"--seed={chance.getrandbits(30)}", "--segment-kib=256", "--block=100")
        with writing(WRITER_MIB, *options) as (folder, image, running):
            while tally.crashes < cuts:
                running.hear_until(running.acknowledged + 1)
                time.sleep(chance.random() * CUT_AFTER_S)
                if running.process.poll() is not None:
                    break
                running.freeze()
                with after_the_cut(platter(image), folder) as found:
                    tally.add(compared(found / "log", running.acknowledged))
                running.thaw()
    return tally


def full_disk_cut(fault: Fault, seed: int) -> Tally:
    """Cut the power once, in the last segment that the disk has room for.

    No third segment is made, so no later sync of another file commits ext4's journal in passing.
    """
    options = (f"--fault={fault}", f"--seed={seed}", f"--segment-kib={LARGE_KIB}", "--block=500")
    with writing(SMALL_MIB, *options) as (folder, image, running):
        running.hear_until(LARGE_KIB * 8 * 3 // 2)  # commands of 128 bytes in one and a half segments
        running.freeze()
        with after_the_cut(platter(image), folder) as found:
            return compared(found / "log", running.acknowledged)


@contextmanager
def writing(mib: int, *options: str) -> Iterator[tuple[Path, Path, Writer]]:
    """A folder for the copies, the image, and a writer at work in it."""
    with workshop() as folder:
        image = image_of(folder / "image", mib)
        with mounted(image, folder / "mount") as where, writer(where / "log", *options) as running:
            yield folder, image, running


async def engine_cuts(seed: int, cuts: int) -> Tally:
    """Cut the power `cuts` times under an engine that serves; the last platter starts an engine."""
    tally, chance, history = Tally(), random.Random(seed), History()
    with ExitStack() as leaving:
        folder = leaving.enter_context(workshop())
        image = image_of(folder / "image", ENGINE_MIB)
        data = leaving.enter_context(mounted(image, folder / "mount"))
        running = leaving.enter_context(engine(data))
        assert running.ready(), running.said()
        driver = Driver(running.location, history, chance)
        await driver.connect()
        for number in range(cuts):
            await driver.run(chance.randint(50, 2_000))
            running.process.send_signal(signal.SIGSTOP)
            await driver.hear_the_rest(SETTLE_S)
            with after_the_cut(platter(image), folder) as found:
                tally.crashes += 1
                tally.add(history.check_commands(blocks_of(found / "engine" / "commands")))
                if number == cuts - 1:
                    tally.add(await check_restart(found, history))
            running.process.send_signal(signal.SIGCONT)
        await driver.close()
    return tally


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
