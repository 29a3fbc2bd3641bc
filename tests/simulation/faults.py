"""What goes wrong, and when: drawn from the seed.

Two sources: a fuse per run of a program, which burns one step at each of its points of I/O and then kills it
there (or cuts the power, or fails the sync); and a fault every now and then, wherever the programs are.
"""

import asyncio
import errno
from typing import TYPE_CHECKING, Final

from engine.command_log import LogFullError
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

FAULTS_MAX: Final = 14
FUSE_STEPS: Final = (6, 60, 600)  # shortest, usual, longest fuse
FUSE_SHARE: Final = 0.7  # of the runs of a program that have one, while faults are left
POWER_SHARE: Final = 0.35  # of the fuses that cut the power
FLIP_SHARE: Final = 0.3  # of the crashes after which a copy of the log is damaged
FULL_S: Final = (0.05, 2.0)
PAUSES_S: Final = (0.02, 0.2, 1.0)  # mean time between faults; a seed has one
CLOCK_JUMP_NS: Final = 3_600_000_000_000
EXCUSED: Final = frozenset({errno.EIO, errno.ENOSPC})


class Faults:
    """The faults of one seed, a limited number of them."""

    def __init__(self, world: "World", most: int | None) -> None:
        self._world, dice = world, world.dice
        self._left = dice.randrange(FAULTS_MAX + 1) if most is None else most
        self._pause_s = dice.choice(PAUSES_S)
        self._fuses: dict[Process, tuple[int, bool]] = {}  # steps left, whether the power goes
        self._calm = False

    def arm(self, process: Process) -> None:
        """A program begins: perhaps its end is near."""
        dice = self._world.dice
        if self._left > 0 and not self._calm and dice.random() < FUSE_SHARE:
            longest = dice.choice(FUSE_STEPS)
            self._fuses[process] = dice.randrange(1, longest + 1), dice.random() < POWER_SHARE

    def at(self, process: Process, kind: str) -> None:
        """A point of I/O of a living program."""
        fuse = self._fuses.get(process)
        if fuse is None:
            return
        steps, power = fuse
        if steps > 1:
            self._fuses[process] = steps - 1, power
            return
        del self._fuses[process]
        if self._left > 0 and not self._calm:
            self._left -= 1
            self._crash(process, kind, power=power)

    def _crash(self, process: Process, kind: str, *, power: bool) -> None:
        world = self._world
        world.report.crashes[kind] += 1
        world.note(f"{'power cut' if power else 'SIGKILL'} of {process.name} at {kind}")
        if power:
            world.report.faults["power cut"] += 1
            world.power_cut()
        else:
            world.report.faults[f"kill {process.name.partition('-')[0]}"] += 1
            process.kill()
        if world.dice.random() < FLIP_SHARE:
            asyncio.get_running_loop().call_soon(self._flip)

    def _flip(self) -> None:
        if not self._world.running["engine"].alive:
            try:
                self._world.auditor.flip_a_bit()
            except BaseException as violation:
                self._world.violated(violation)

    async def run(self) -> None:
        """Faults at any time, until there are none left."""
        dice = self._world.dice
        kinds = (
            self._kill, self._cut_link, self._cut_link, self._fill_disk, self._fail_sync, self._kill_database,
            self._set_clock, self._cut_power,
        )  # fmt: skip
        while self._left > 0:
            await asyncio.sleep(dice.expovariate(1 / self._pause_s))
            self._left -= 1
            dice.choice(kinds)()

    def calm(self) -> None:
        """No more faults; what is full has room again."""
        self._calm = True
        self._world.disk.full = self._world.disk.failing = False

    def excuse(self, error: BaseException | None) -> bool:
        """Whether the engine may end with this: its disk failed or is full."""
        return isinstance(error, LogFullError) or (isinstance(error, OSError) and error.errno in EXCUSED)

    def _kill(self) -> None:
        name = self._world.dice.choice(sorted(self._world.running))
        if self._world.running[name].alive:
            self._crash(self._world.running[name], "any time", power=False)

    def _cut_power(self) -> None:
        self._crash(self._world.running["engine"], "any time", power=True)

    def _cut_link(self) -> None:
        path = self._world.network.cut_one()
        if path is not None:
            self._world.report.faults["cut link"] += 1
            self._world.note(f"link cut: {path}")

    def _fill_disk(self) -> None:
        world = self._world
        world.report.faults["full disk"] += 1
        world.disk.full = True
        delay_s = world.dice.uniform(*FULL_S)
        world.note(f"disk full for {delay_s:.3f} s")
        asyncio.get_running_loop().call_later(delay_s, setattr, world.disk, "full", False)

    def _fail_sync(self) -> None:
        self._world.report.faults["failed sync"] += 1
        self._world.note("the next sync fails")
        self._world.disk.failing = True

    def _kill_database(self) -> None:
        world = self._world
        world.report.faults["kill database"] += 1
        world.note("database killed")
        world.database.crash()
        world.revive_database()

    def _set_clock(self) -> None:
        world = self._world
        world.report.faults["clock jump"] += 1
        world.clock.skew_ns += world.dice.randrange(-CLOCK_JUMP_NS, CLOCK_JUMP_NS)
