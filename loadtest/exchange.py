"""An exchange of one's own: supervise.py as a child on a data folder of its own, and which processes run it.

Law: the child dies with this process, however it ends; and nothing but the exchange's own folders is emptied.

    ExchangeError    it did not start, or stopped; the message carries the last lines of its log
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.location import Location, lock_folder

ROOT: Final = Path(__file__).parents[1]
PROGRAMS: Final = ("database", "engine", "settlement", "gateway")
FOLDERS: Final = ("engine", "postgres", "settlement", "gateway", "keys", "run")
LOG_NAME: Final = "exchange.log"
LOG_TAIL_LINES: Final = 12
START_S: Final = 120.0
STOP_S: Final = 45.0
POLL_S: Final = 0.05


class ExchangeError(Exception):
    """The exchange is not there; the message says why."""


def empty(location: Location) -> None:
    """Remove what an earlier exchange left in the folder. Raises LocationError while one runs there."""
    if not location.data.exists():
        return
    with lock_folder(location.data, "supervisor", file="supervisor.lock"):
        if location.postgres_sockets.is_symlink():  # PostgreSQL ran as `nobody`, with its data elsewhere
            shutil.rmtree(location.postgres_sockets.resolve().parent, ignore_errors=True)
        for name in FOLDERS:
            shutil.rmtree(location.data / name, ignore_errors=True)
        (location.data / LOG_NAME).unlink(missing_ok=True)


class OwnExchange:
    """The supervisor of one exchange, started and stopped here."""

    def __init__(self, location: Location, port: int, settings: Mapping[str, str]) -> None:
        """Nothing is started yet; `settings` are environment variables of the programs."""
        self.location = location
        self.port = port
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its gateway listens."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def start(self) -> None:
        """Start the supervisor, which starts the rest. Raises LocationError."""
        self.location.create()
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        environment |= {
            "LECONG_DATA": str(self.location.data),
            "LECONG_PORT": str(self.port),
            **self._settings,
        }
        with (self.location.data / LOG_NAME).open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", sys.executable, str(ROOT / "supervise.py")],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the exchange when we are done
            )

    def check(self) -> None:
        """Raise ExchangeError if the supervisor has ended."""
        if self._process is None or self._process.poll() is not None:
            raise ExchangeError(f"the exchange has stopped; it said:\n{self.log_tail()}")

    def pids(self) -> dict[str, int]:
        """The programs' process ids as the supervisor records them; fewer while one is being restarted."""
        with suppress(OSError, ValueError):
            found: dict[str, int] = json.loads((self.location.data / "run.json").read_text())
            return found
        return {}

    async def started(self, seconds: float = START_S) -> None:
        """Return when all programs run and the operator's key is there. Raises ExchangeError."""
        deadline = time.monotonic() + seconds
        operator = self.location.keys / "operator.key"
        while len(self.pids()) < len(PROGRAMS) or not operator.exists():
            self.check()
            if time.monotonic() > deadline:
                raise ExchangeError(f"the exchange did not start within {seconds:g} s:\n{self.log_tail()}")
            await asyncio.sleep(POLL_S)

    def stop(self) -> None:
        """Stop the programs in their order; returns when all have ended."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log_tail(self) -> str:
        """The last lines that the programs wrote."""
        with suppress(OSError):
            lines = (self.location.data / LOG_NAME).read_text(errors="replace").splitlines()
            return "\n".join(lines[-LOG_TAIL_LINES:])
        return ""
