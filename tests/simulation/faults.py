"""What goes wrong, and when: drawn from the seed.

Two sources: a fuse per run of a program, which burns one step at each of its points of I/O and then kills it
there (or cuts the power, or fails the sync); and a fault every now and then, wherever the programs are.
"""

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from engine.command_log import LogFullError
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

FAULTS_MAX: Final = 18
FUSE_STEPS: Final = (12, 80, 400)  # shortest, usual, longest fuse that burns at every point
AGAIN_STEPS: Final = 40  # longest fuse of a second strike: recovery and a little more
CHOSEN_STEPS: Final = 6  # longest fuse that burns at points of one kind only
CHOSEN_SHARE: Final = 0.6
# Of the runs of a program, those that have a fuse while faults are left.
FUSE_SHARE: Final = {"engine": 0.8, "settlement": 0.7, "gateway-1": 0.25, "gateway-2": 0.25}
POWER_SHARE: Final = 0.35  # of the fuses that cut the power
DATABASE_SHARE: Final = 0.4  # of the fuses that burn down at a statement and end the database instead
AGAIN_SHARE: Final = 0.35  # of the crashes that are followed by one more, soon after the restart
FLIP_SHARE: Final = 0.3  # of the crashes after which a copy of the log is damaged
FULL_S: Final = (0.05, 2.0)
PAUSES_S: Final = (0.02, 0.2, 1.0)  # mean time between faults; a seed has one
STARTS_S: Final = (0.0, 1.2)  # before the first of them; a seed has one: from the start, or when all trade
CLOCK_JUMP_NS: Final = 3_600_000_000_000
EXCUSED: Final = frozenset({errno.EIO, errno.ENOSPC})

# Where a program can be hit: the kinds of its points of I/O; what stands twice is hit twice as often.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "engine": (
        "disk.names", "disk.sync_names", "disk.open", "disk.write", "disk.write.middle", "disk.written",
        "disk.written", "disk.sync", "disk.sync", "disk.synced", "disk.create", "disk.create.sync",
        "disk.create.rename", "disk.create.renamed", "disk.create.published", "disk.replace",
        "disk.replace.sync", "disk.replace.rename", "disk.replace.renamed", "disk.replace.published",
        "disk.grow", "events.write", "events.written", "events.reserve", "events.cut", "link.write",
    ),
    "settlement": (
        "link.write", "sql.post.commit", "sql.post.committed", "sql.post.committed", "sql.write.commit",
        "sql.write.committed", "sql.take_cursor", "sql.copy.contract",
        "sql.copy.contract_transition", "sql.copy.money_entry", "sql.copy.goods_entry",
        "sql.open_money_accounts", "sql.open_goods_accounts", "sql.move_money_balances",
        "sql.move_goods_balances", "sql.answer_outbox", "sql.move_cursor", "sql.outbox_waiting",
        "sql.outbox_answer", "sql.next_outbox_number", "sql.add_outbox", "sql.add_member", "sql.add_lot",
        "sql.add_bank_order", "sql.members", "sql.lots", "sql.add_bust", "sql.decide_bust",
        "sql.bust_contracts",
    ),
    "gateway-1": ("link.write",),
    "gateway-2": ("link.write",),
}  # fmt: skip


How = Literal["kill", "power", "database"]  # SIGKILL of the program, power cut, or the database is killed
HOW: Final[Mapping[str, tuple[How, ...]]] = {  # how a sweep strikes
    "engine": ("kill", "power"),
    "settlement": ("kill", "power", "database"),
    "gateway-1": ("kill",),
    "gateway-2": ("kill",),
}


@dataclass
class Fuse:
    """Burns one step at each point, or at each point of its kind."""

    steps: int
    kind: str | None
    how: How
    sure: bool = False  # burns down whatever else has happened


@dataclass(frozen=True)
class Strike:
    """One crash at one point of the first run of a program, perhaps one more of its next run; no other."""

    program: str
    step: int
    how: How
    then: "Strike | None" = None


class Faults:
    """The faults of one seed, a limited number of them."""

    def __init__(self, world: "World", most: int | None, strike: Strike | None = None) -> None:
        self._world, dice = world, world.dice
        self._strike = strike
        self._left = dice.randrange(FAULTS_MAX + 1) if most is None else most
        self._pause_s = dice.choice(PAUSES_S)
        self._fuses: dict[Process, Fuse] = {}
        self._again: set[str] = set()  # programs that are hit once more soon after their restart
        self._calm = False

    def arm(self, process: Process) -> None:
        """A program begins: perhaps its end is near."""
        dice, strike = self._world.dice, self._strike
        if strike is not None and strike.program == process.name:
            self._strike = strike.then
            self._fuses[process] = Fuse(strike.step, None, strike.how, sure=True)
        if self._left <= 0 or self._calm or process in self._fuses:
            return
        if process.name in self._again:
            self._again.discard(process.name)
            self._fuses[process] = Fuse(
                dice.randrange(1, AGAIN_STEPS + 1), None, dice.choice(("kill", "power"))
            )
        elif dice.random() < FUSE_SHARE[process.name]:
            how: How = "power" if dice.random() < POWER_SHARE else "kill"
            if dice.random() < CHOSEN_SHARE:
                kind = dice.choice(KINDS[process.name])
                self._fuses[process] = Fuse(dice.randrange(1, CHOSEN_STEPS + 1), kind, how)
            else:
                steps = dice.randrange(1, dice.choice(FUSE_STEPS) + 1)
                self._fuses[process] = Fuse(steps, None, how)

    def at(self, process: Process, kind: str) -> None:
        """A point of I/O of a living program."""
        fuse = self._fuses.get(process)
        if fuse is None or fuse.kind not in (None, kind):
            return
        fuse.steps -= 1
        if fuse.steps > 0:
            return
        del self._fuses[process]
        if fuse.sure:
            self._crash(process, kind, fuse.how)
        elif self._left > 0 and not self._calm:
            self._left -= 1
            database = kind.startswith("sql.") and self._world.dice.random() < DATABASE_SHARE
            self._crash(process, kind, "database" if database else fuse.how)

    def _crash(self, process: Process, kind: str, how: How) -> None:
        world = self._world
        if how == "database":
            world.report.crashes[f"{kind} (database)"] += 1
            self._kill_database()
            return
        world.report.crashes[kind] += 1
        world.note(f"{'power cut' if how == 'power' else 'SIGKILL'} of {process.name} at {kind}")
        if self._left > 0 and world.dice.random() < AGAIN_SHARE:
            self._again.add(process.name)
        if how == "power":
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
        await asyncio.sleep(dice.choice(STARTS_S))
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
            self._crash(self._world.running[name], "any time", "kill")

    def _cut_power(self) -> None:
        self._crash(self._world.running["engine"], "any time", "power")

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
