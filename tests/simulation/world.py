"""One simulation: programs on a simulated machine, clients, faults, and the end at which all must be well.

    seed ─▶ dice ─▶ when each call returns, what breaks and when
    programs: engine, settlement, two gateways      machine: disk, database, clock, links
    faults:   SIGKILL of a program, power cut, failed sync, full disk, cut link, dead database, clock jump

Law: after the last fault everything comes back by itself: every request is answered, settlement catches up,
every private stream is complete. What does not come back in END_S is a violation like any other.
"""

import asyncio
import contextlib
import io
import logging
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from engine.command_log import LogError, LogFullError
from engine.service import Engine
from tests.simulation import programs
from tests.simulation.auditor import Auditor, overdue
from tests.simulation.binary import BinaryTrader
from tests.simulation.clients import Client, Trader, seed_of
from tests.simulation.database import Database
from tests.simulation.disk import SimulatedDisk
from tests.simulation.faults import Faults, Strike
from tests.simulation.loop import StuckError, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.office import Operator
from tests.simulation.process import Killed, Process
from tests.simulation.report import Report, Violation
from tests.simulation.watcher import Watcher

REQUESTS: Final = 24  # of each trader
SWEEP_REQUESTS: Final = 2  # the same, where each of some hundred points is struck
RESTART_S: Final = (0.01, 0.4)
DATABASE_RESTART_S: Final = (0.05, 0.6)
END_S: Final = 120.0
POLL_S: Final = 0.05
SEGMENT_BYTES: Final = (1 << 15, 1 << 16, 1 << 17)
NS_PER_S: Final = 1_000_000_000
AHEAD_NS: Final = (
    2 * NS_PER_S
)  # gtd orders that end so soon are waited for: nobody trades, an alarm ends them
START_NS: Final = 1_436_313_600 * NS_PER_S  # 8 July 2015, 08:00 in Beijing


class SimulatedClock:
    """A wall clock that faults may set."""

    def __init__(self) -> None:
        self.skew_ns = 0

    def now_ns(self) -> int:
        """Unix nanoseconds."""
        return START_NS + self.skew_ns + int(asyncio.get_running_loop().time() * NS_PER_S)

    def step_to(self, time_ns: int) -> None:
        """Does not obey."""


class World:
    """Everything of one seed."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        requests: int,
        faults: int | None,
        strike: Strike | None,
        snapshot_commands: int,
        verbose: bool,
    ) -> None:
        self.seed, self.verbose = seed, verbose
        self.dice = random.Random(seed)
        self.report = Report(seeds=1)
        self.location = programs.location(folder)
        self.clock = SimulatedClock()
        self.network = Network(self.dice, self.point)
        self.disk = SimulatedDisk(self.dice, self.point)
        self.database = Database(self.dice, self.point)
        self.auditor = Auditor(self)
        self.traders = [Trader(self, f"trader-{letter}") for letter in "abc"[: self.dice.randrange(2, 4)]]
        self.binary = BinaryTrader(self, "binary", seed)
        self.watcher = Watcher(self, "watcher")
        self.engine: Engine | None = None
        self.gateways = ["gateway-1", "gateway-2"]
        self.segment_bytes = self.dice.choice(SEGMENT_BYTES)
        self.snapshot_commands = snapshot_commands
        self.running: dict[str, Process] = {}
        self.faults = Faults(self, faults, strike)
        self.steps: Counter[str] = Counter()  # points passed by the first run of each program
        self._requests = requests
        self._keeping: list[asyncio.Task[None]] = []
        self._over = False
        self._supervisor = Process("supervisor")
        self.violation: BaseException | None = None
        self._violated = asyncio.Event()

    def note(self, text: str) -> None:
        """A line of the verbose replay."""
        if self.verbose:
            now_s = asyncio.get_running_loop().time() - 1000
            print(f"{now_s:10.6f}  {text}")

    def point(self, process: Process, kind: str) -> None:
        """A point of I/O of a program: counted, and now and then its last."""
        self.report.points[kind] += 1
        self.steps[process.name] += 1
        if process.alive:
            self.faults.at(process, kind)

    def violated(self, violation: BaseException) -> None:
        """Remember the first violation; the simulation ends with it."""
        if self.violation is None:
            self.violation = violation
            self.note(f"VIOLATION {violation}")
        self._violated.set()

    async def run(self) -> None:
        """The whole simulation. Raises Violation."""
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        for name, program in self._programs().items():
            self._supervisor.start(self._supervise(name, program))
        people = Process("clients")
        working = people.start(self._work())
        breaking = self._supervisor.start(self.faults.run())
        watching = asyncio.ensure_future(self._violated.wait())
        try:
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED, timeout=END_S * 4)
            breaking.cancel()
            if self.violation is None and not working.done():
                self.violated(Violation("liveness", f"requests without an answer after {END_S * 4:g} s"))
            if self.violation is None:
                working.result()
                await self._end()
        except (Violation, AssertionError) as violation:
            self.violated(violation)
        finally:
            watching.cancel()
            self._over = True
            for process in (people, *self.running.values(), self._supervisor):
                process.kill()
            await asyncio.sleep(2)  # what the dead still do reaches nobody; let it end

    def _programs(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        found: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "engine": lambda: programs.engine(self),
            "settlement": lambda: programs.settlement(self),
        }
        for path in self.gateways:
            found[path] = lambda path=path: programs.gateway(self, path)  # type: ignore[misc]
        return found

    async def _work(self) -> None:
        operator = Operator(self, [*self.traders, self.binary], self.watcher)
        watching = asyncio.ensure_future(self._keep(self.watcher))
        work: list[Coroutine[Any, Any, None]] = [operator.run(max(3, self._requests // 2))]
        work += [trader.run(self._requests) for trader in self.traders]
        work.append(self.binary.run(self._requests // 2))
        await asyncio.gather(*work)
        self._keeping = [watching, *(asyncio.ensure_future(self._keep(trader)) for trader in self.traders)]

    async def _keep(self, client: Client) -> None:
        """Keep a client's line up to the end, so that its stream completes."""
        try:
            await client.ready.wait()
            while True:
                line = await client.connected()
                await line.gone.wait()
        except Violation as violation:
            self.violated(violation)

    async def _supervise(self, name: str, program: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep a program running, as supervise.py does."""
        while not self._over:
            process = Process(name)
            self.running[name] = process
            self.faults.arm(process)
            main = process.start(program())
            await asyncio.wait((main,))
            error = None if main.cancelled() else main.exception()
            if process.alive:
                self._judge_end(name, error)
            process.kill()
            await asyncio.sleep(self.dice.uniform(*RESTART_S))

    def _judge_end(self, name: str, error: BaseException | None) -> None:
        """A program has ended by itself: the engine may when its disk fails."""
        self.note(f"{name} ended: {error!r}")
        if isinstance(error, Violation):
            self.violated(error)
        elif name == "engine" and self.faults.excuse(error):
            self.report.counts["engine ended by a failing disk"] += 1
        else:
            text = "".join(traceback.format_exception(error)) if error else "it returned"
            law = "loss" if isinstance(error, LogError) else "program"  # a log that it refuses is lost
            self.violated(Violation(law, f"{name} ended by itself: {text}"))

    async def _end(self) -> None:
        """No more faults: wait until everything is up and has caught up, then look at all of it."""
        self.faults.calm()
        self.note("calm: waiting for everybody to catch up")
        deadline = asyncio.get_running_loop().time() + END_S
        while not self._caught_up():
            if self.violation is not None:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Violation("liveness", f"after the last fault: {self._state()}")
            await asyncio.sleep(POLL_S)
        assert self.engine is not None
        self.auditor.finish(self.engine)
        self.auditor.finish_shown(self.watcher.seen, self.binary)

    def _caught_up(self) -> bool:
        """Whether settlement, every stream and every watched book are at the engine's end, and every session
        that lives is a client's line (semantics C7).
        """
        engine, process = self.engine, self.running["engine"]
        if engine is None or not process.alive or engine.sequencer.sequence < engine.exchange.sequence:
            return False
        outbox = self.database.table("outbox").values()
        cursor = self.database.table("settlement_cursor")[True]["sequence"]
        if cursor < engine.events.sequence or any(row["state"] == 0 for row in outbox):
            return False
        everybody: list[Trader | BinaryTrader] = [*self.traders, self.binary]
        for client in everybody:
            row = engine.exchange.state.accounts[client.account]
            live = int((engine.exchange.state.sessions["account"] == client.account).sum())
            if not client.caught_up(int(row["sequence"])) or live != client.sessions:
                return False
        if not self.watcher.caught_up(engine.exchange):
            return False
        if overdue(engine.exchange, self.clock.now_ns() + AHEAD_NS):
            return False
        return engine.sequencer.sequence == engine.events.sequence

    def _state(self) -> str:
        """Who is where, for the message of a violation."""
        cursor = self.database.table("settlement_cursor")[True]["sequence"]
        waiting = [row["number"] for row in self.database.table("outbox").values() if row["state"] == 0]
        seen = {client.name: len(self.auditor.seen.get(client.account, {})) for client in self.traders}
        at = self.engine.sequencer.sequence if self.engine else None
        late = overdue(self.engine.exchange, self.clock.now_ns()) if self.engine else 0
        sessions = len(self.engine.sessions) if self.engine else None
        return (
            f"engine at {at}, books at {cursor}, outbox {waiting} unanswered, {late} orders overdue, "
            f"events heard {seen}, {sessions} sessions of live links; {self.binary.sessions} of records; the "
            f"watched books are {'not ' * (not self._watched())}the core's"
        )

    def _watched(self) -> bool:
        return self.engine is not None and self.watcher.caught_up(self.engine.exchange)

    def power_cut(self) -> None:
        """Every program and the database go, the disk keeps what it keeps."""
        for process in self.running.values():
            process.kill()
        self.disk.lose_power()
        self.database.crash()
        self.revive_database()

    def revive_database(self) -> None:
        """The database comes back a little later."""
        delay_s = self.dice.uniform(*DATABASE_RESTART_S)
        asyncio.get_running_loop().call_later(delay_s, setattr, self.database, "up", True)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught: harmless from the dead, a violation from the living."""
        error = context.get("exception")
        expected = (Killed, OSError, LogFullError, asyncio.CancelledError, StuckError)
        if error is None or isinstance(error, expected) or self._over:
            return
        text = "".join(traceback.format_exception(error))
        self.violated(Violation("program", f"{context.get('message')}: {text}"))


def simulate(
    seed: int,
    folder: Path,
    *,
    requests: int = REQUESTS,
    faults: int | None = None,
    strike: Strike | None = None,
    snapshot_commands: int = programs.SNAPSHOT_COMMANDS,
    verbose: bool = False,
) -> Report:
    """Run one seed; its failures stand in the report."""
    most = faults if strike is None else 0
    world = World(
        seed,
        folder,
        requests=requests,
        faults=most,
        strike=strike,
        snapshot_commands=snapshot_commands,
        verbose=verbose,
    )
    loop = VirtualLoop(random.Random(seed), world.network)
    silent = io.StringIO()
    try:
        asyncio.set_event_loop(loop)
        with contextlib.nullcontext() if verbose else contextlib.redirect_stdout(silent):
            loop.run_until_complete(world.run())
    except StuckError as error:
        world.violation = world.violation or Violation("liveness", str(error))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    if world.violation is not None:
        law = getattr(world.violation, "law", "assertion")
        world.report.failures.append({"seed": seed, "law": law, "message": str(world.violation)})
    for name, steps in world.steps.items():
        world.report.counts[f"points of {name}"] += steps
    return world.report


class Stage:
    """A folder with the operator's key, and production's logging silenced, for as many seeds as wanted."""

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="lecong-simulation-")
        folder = Path(self._folder.name)
        (folder / "keys").mkdir()
        (folder / "keys" / "operator.key").write_text(seed_of("operator").hex() + "\n")
        self._logging = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        return folder

    def __exit__(self, *_: object) -> None:
        structlog.configure(**self._logging)
        self._folder.cleanup()


def run_many(seeds: Sequence[int]) -> Report:
    """Every seed, one after the other. Stands here because a spawned process cannot import a __main__."""
    total = Report()
    with Stage() as folder:
        for seed in seeds:
            total.add(simulate(seed, folder))
    return total


def strike_each(seed: int, strikes: Sequence[Strike]) -> Report:
    """One seed again for every strike, and nothing else that breaks."""
    total = Report()
    with Stage() as folder:
        for strike in strikes:
            report = simulate(seed, folder, requests=SWEEP_REQUESTS, strike=strike)
            for failure in report.failures:
                failure["strike"] = asdict(strike)
            total.add(report)
    return total
