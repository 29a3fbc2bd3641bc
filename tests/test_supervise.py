"""The supervisor: restarts one program alone, stops in order, leaves nobody behind."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

SUPERVISE = Path(__file__).parents[1] / "supervise.py"
WAIT_S = 20.0

# Each stand-in says what it does; "deaf" ignores SIGTERM, "poor" cannot run here, "gone" has already exited.
STAND_IN = """
import os, signal, sys, time
name, kind = sys.argv[1], sys.argv[2]
def stop(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
if kind == "poor":
    print("port 8480 is taken; choose another", flush=True)
    sys.exit(2)
if kind == "poor-later":
    marker = name + ".started"
    if os.path.exists(marker):
        sys.exit(2)
    open(marker, "w").close()
    sys.exit(1)
if kind == "parent":
    os.fork()
sys.stdout.write("up in " + os.environ["LECONG_DATA"] + "\\n")
while True:
    time.sleep(60)
"""


class Supervisor:
    """A supervisor over stand-ins for the four programs, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        (folder / "stand_in.py").write_text(STAND_IN)

    def start(
        self, *, environment: dict[str, str] | None = None, output: int = subprocess.PIPE, **kinds: str
    ) -> None:
        names = ("database", "engine", "settlement", "gateway")
        (self.folder / "Procfile").write_text(
            "".join(f"{name}: python stand_in.py {name} {kinds.get(name, 'good')}\n" for name in names)
        )
        clean = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self.process = subprocess.Popen(
            [sys.executable, str(SUPERVISE)],
            cwd=self.folder,
            env=clean | {"LECONG_DATA": str(self.data)} | (environment or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if output == subprocess.PIPE:
            threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, output: TextIO) -> None:
        with output:
            self.lines.extend(line.rstrip("\n") for line in output)

    def pids(self) -> dict[str, int]:
        record = self.data / "run.json"
        return dict(json.loads(record.read_text())) if record.exists() else {}

    def all_up(self) -> bool:
        return sum(" | up " in line for line in self.lines) == 4 and len(self.pids()) == 4

    def said(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def status(self) -> int:
        assert self.process is not None
        return self.process.wait(WAIT_S)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    if supervisor.process is not None and supervisor.process.poll() is None:
        supervisor.process.kill()
        supervisor.process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_file_is_at_most_100_lines_long() -> None:
    assert len(SUPERVISE.read_text().splitlines()) <= 100


@pytest.mark.slow
def test_interrupt_stops_gateway_then_settlement_then_engine_then_database(supervisor: Supervisor) -> None:
    supervisor.start()
    wait_for(supervisor.all_up)
    pids = supervisor.pids()

    supervisor.send(signal.SIGINT)

    assert supervisor.status() == 0
    wait_for(lambda: len(supervisor.said("stopped with status 0")) == 4)
    assert [line.split()[0] for line in supervisor.said("stopped")] == [
        "gateway",
        "settlement",
        "engine",
        "database",
    ]
    assert sorted(supervisor.said("got")) == [
        "database    | got SIGINT",
        "engine      | got SIGTERM",
        "gateway     | got SIGTERM",
        "settlement  | got SIGTERM",
    ]
    assert not any(map(alive, pids.values()))
    assert not (supervisor.data / "run.json").exists()


@pytest.mark.slow
def test_each_pid_is_printed_and_recorded(supervisor: Supervisor) -> None:
    supervisor.start()
    wait_for(supervisor.all_up)

    printed = {
        match[1]: int(match[2])
        for line in supervisor.said("started, pid")
        if (match := re.fullmatch(r"(\w+) +\| started, pid (\d+)", line))
    }

    assert printed == supervisor.pids()


@pytest.mark.slow
def test_killed_program_is_restarted_alone(supervisor: Supervisor) -> None:
    supervisor.start()
    wait_for(supervisor.all_up)
    before = supervisor.pids()

    os.kill(before["engine"], signal.SIGKILL)
    wait_for(lambda: supervisor.pids().get("engine", before["engine"]) != before["engine"])

    after = supervisor.pids()
    assert {name for name in before if before[name] != after[name]} == {"engine"}
    assert supervisor.said("ended") == ["engine      | ended with status -9, starting again in 0.2 s"]


@pytest.mark.slow
def test_program_that_keeps_crashing_waits_longer_each_time(supervisor: Supervisor) -> None:
    supervisor.start(engine="poor-later")

    wait_for(lambda: len(supervisor.said("ended")) >= 3)

    assert [line.rsplit(" ", 2)[1] for line in supervisor.said("ended")][:3] == ["0.2", "0.4", "0.8"]


@pytest.mark.slow
def test_orphan_of_a_killed_program_is_ended(supervisor: Supervisor) -> None:
    supervisor.start(gateway="parent")
    wait_for(lambda: len(supervisor.said("gateway     | up")) == 2)
    gateway = supervisor.pids()["gateway"]
    children = [int(pid) for pid in Path(f"/proc/{gateway}/task/{gateway}/children").read_text().split()]

    os.kill(gateway, signal.SIGKILL)

    assert len(children) == 1
    wait_for(lambda: not alive(children[0]))


@pytest.mark.slow
def test_program_that_cannot_run_here_stops_everything_with_its_message(supervisor: Supervisor) -> None:
    supervisor.start(gateway="poor")

    assert supervisor.status() == 2
    wait_for(lambda: bool(supervisor.said("database    | stopped")))
    assert supervisor.said("port") == ["gateway     | port 8480 is taken; choose another"]


def test_output_that_no_disk_takes_stops_nothing(supervisor: Supervisor) -> None:
    with open("/dev/full", "wb") as full:
        supervisor.start(output=full.fileno(), engine="parent")
    wait_for(lambda: len(supervisor.pids()) == 4)
    first = supervisor.pids()

    os.kill(first["engine"], signal.SIGKILL)
    wait_for(lambda: supervisor.pids().get("engine", first["engine"]) != first["engine"])

    assert supervisor.pids() | {"engine": 0} == first | {"engine": 0}
    supervisor.send(signal.SIGTERM)
    assert supervisor.status() == 0


@pytest.mark.slow
def test_killed_supervisor_leaves_no_program_behind(supervisor: Supervisor) -> None:
    supervisor.start()
    wait_for(supervisor.all_up)
    pids = supervisor.pids()

    supervisor.send(signal.SIGKILL)

    assert supervisor.status() == -signal.SIGKILL
    wait_for(lambda: not any(map(alive, pids.values())))


@pytest.mark.slow
def test_second_supervisor_on_the_same_data_folder_is_refused(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start()
    wait_for(supervisor.all_up)
    assert supervisor.process is not None
    second = Supervisor(tmp_path)

    second.start()

    assert second.status() == 2
    wait_for(lambda: bool(second.lines))
    assert second.lines == [
        f"another supervisor runs on {supervisor.data} (pid {supervisor.process.pid}); "
        f"stop it or set LECONG_DATA"
    ]


@pytest.mark.slow
def test_unwritable_data_folder_is_refused_by_name(supervisor: Supervisor) -> None:
    supervisor.start(environment={"LECONG_DATA": "/proc/lecong"})

    assert supervisor.status() == 2
    wait_for(lambda: bool(supervisor.said("cannot write in /proc/lecong")))


@pytest.mark.slow
def test_missing_setpriv_is_refused_by_name(supervisor: Supervisor) -> None:
    supervisor.start(environment={"PATH": "/nowhere"})

    assert supervisor.status() == 2
    wait_for(lambda: bool(supervisor.lines))
    assert supervisor.lines == [
        "setpriv_missing: there is no setpriv in PATH; install the package util-linux"
    ]
    assert not supervisor.data.exists()


@pytest.mark.slow
def test_database_of_ones_own_replaces_the_embedded_one(supervisor: Supervisor) -> None:
    supervisor.start(environment={"DATABASE_URL": "postgresql://elsewhere/lecong"})

    wait_for(lambda: len(supervisor.pids()) == 3)

    assert sorted(supervisor.pids()) == ["engine", "gateway", "settlement"]
