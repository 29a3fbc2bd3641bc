"""Runs the Procfile: starts each program, restarts a crashed one alone, stops all in the reverse order.

Its law: no program outlives this one (setpriv), and a second one on the same data folder is refused.
Exit status: 0 stopped by a signal, 2 a program cannot run here and has said why.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired

from engine.location import Location, LocationError, lock_folder, replace_file

WAIT_FIRST_S, WAIT_LAST_S, HEALTHY_AFTER_S, STOP_WITHIN_S, POLL_S, CANNOT_RUN = 0.2, 5.0, 10.0, 10.0, 0.02, 2


class Program:
    """One line of the Procfile, the process that runs it, and when it may start again."""

    def __init__(self, line: str) -> None:
        self.name, _, *words = line.replace(":", " ", 1).split()  # the second is "python": this one
        self.command = ["setpriv", "--pdeathsig", "TERM", sys.executable, *words]
        self.process: Popen[bytes] | None = None
        self.starts, self.start_at, self.wait_s = 0, 0.0, WAIT_FIRST_S

    def say(self, text: str) -> None:
        with suppress(OSError):  # a reader that went away, or a full disk, does not stop the exchange
            os.write(1, f"{self.name:<11} | {text}\n".encode())

    def start(self) -> None:
        self.process = Popen(self.command, -1, None, DEVNULL, PIPE, STDOUT, start_new_session=True)
        self.starts, self.started_at = self.starts + 1, time.monotonic()
        self.say(f"started, pid {self.process.pid}")
        threading.Thread(target=self._repeat, args=(self.process.stdout,)).start()

    def _repeat(self, output: list[bytes]) -> None:
        for line in output:
            self.say(line.decode(errors="replace").rstrip())

    def plan_restart(self, process: Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # what the crashed program left behind
        wait_s = WAIT_FIRST_S if time.monotonic() - self.started_at >= HEALTHY_AFTER_S else self.wait_s
        self.say(f"ended with status {process.returncode}, starting again in {wait_s:g} s")
        self.process, self.start_at = None, time.monotonic() + wait_s
        self.wait_s = min(2 * wait_s, WAIT_LAST_S)

    def stop(self) -> None:
        if process := self.process:
            process.send_signal(signal.SIGINT if self.name == "database" else signal.SIGTERM)
            with suppress(TimeoutExpired):
                process.wait(STOP_WITHIN_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self.say(f"stopped with status {process.wait()}")


def supervise(programs: list[Program], record: Path, stopping: threading.Event) -> None:
    """Keep every program running until `stopping`, and `record` their pids; exit if one cannot run here."""
    while not stopping.wait(POLL_S):
        for program in programs:
            if program.process is None and time.monotonic() >= program.start_at:
                program.start()
            elif program.process is not None and program.process.poll() is not None:
                if program.process.returncode == CANNOT_RUN and program.starts == 1:
                    sys.exit(CANNOT_RUN)
                program.plan_restart(program.process)
        with suppress(OSError):  # a full disk is no reason to stop
            replace_file(record, json.dumps({p.name: p.process.pid for p in programs if p.process}))


def main() -> None:
    """Run the programs of ./Procfile, without `database` when DATABASE_URL names another one."""
    if which("setpriv") is None:
        raise LocationError("setpriv_missing: there is no setpriv in PATH; install the package util-linux")
    data, stopping = Location.from_environment().data, threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    os.environ |= {"LECONG_DATA": str(data), "PYTHONUNBUFFERED": "1"}
    absent = "database:" if os.environ.get("DATABASE_URL") else "#"
    programs = [Program(line) for line in Path("Procfile").read_text().splitlines() if absent not in line]
    with lock_folder(data, "supervisor", file="supervisor.lock"), ExitStack() as leaving:
        leaving.callback((data / "run.json").unlink, missing_ok=True)
        for program in programs:
            leaving.callback(program.stop)  # called last in, first out
        supervise(programs, data / "run.json", stopping)


if __name__ == "__main__":
    try:
        main()
    except LocationError as error:
        print(error, file=sys.stderr)
        sys.exit(CANNOT_RUN)
