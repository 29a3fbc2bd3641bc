"""The embedded PostgreSQL: starts, refuses a second launcher, survives kills, and stops cleanly."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.location import Location
from settlement.database import (
    DatabaseUnavailableError,
    EmbeddedPostgres,
    UnsafeDatabaseError,
    binaries,
    check_server,
    dsn,
    processes_in,
    wait_until_ready,
)
from settlement.postgres_user import as_nobody, choose_postgres_user

READY_S = 30.0


class Launcher:
    """`python -m settlement.database` on a data folder of its own."""

    def __init__(self, data: Path) -> None:
        self.location = Location(data)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"LECONG_DATA": str(self.location.data)}
        environment.pop("DATABASE_URL", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "settlement.database"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.process

    def start_and_wait(self) -> int:
        """Start and return the postmaster's pid once the launcher says that it is ready."""
        output = self.start().stdout
        assert output is not None
        for line in output:
            if line.startswith("ready, PostgreSQL 18"):
                return int(line.rsplit(" ", 1)[1])
        raise AssertionError("the launcher ended before the server was ready")

    @property
    def cluster(self) -> Path:
        return (choose_postgres_user(self.location, binaries()).home / "cluster").resolve()

    def end(self) -> int:
        """Stop the launcher as the supervisor does; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=READY_S)
        return self.process.returncode


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    launcher = Launcher(tmp_path / "data")
    yield launcher
    launcher.end()


def wait_until_gone(cluster: Path) -> None:
    deadline = time.monotonic() + READY_S
    while processes_in(cluster):
        assert time.monotonic() < deadline, "the server outlived its launcher"
        time.sleep(0.02)


async def write(launcher: Launcher, text: str) -> None:
    connection = await asyncpg.connect(dsn(launcher.location))
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (line text)")
    await connection.execute("INSERT INTO kept VALUES ($1)", text)
    await connection.close()


async def read(launcher: Launcher) -> list[str]:
    connection = await asyncpg.connect(dsn(launcher.location))
    rows = await connection.fetch("SELECT line FROM kept ORDER BY line")
    await connection.close()
    return [row["line"] for row in rows]


@pytest.mark.slow
async def test_server_is_safe_unicode_and_without_tcp(launcher: Launcher) -> None:
    launcher.start_and_wait()

    connection = await asyncpg.connect(dsn(launcher.location))
    await check_server(connection)
    settings = [
        await connection.fetchval(f"SHOW {name}")
        for name in ("server_encoding", "listen_addresses", "fsync", "synchronous_commit", "timezone")
    ]
    await connection.close()

    assert settings == ["UTF8", "", "on", "on", "UTC"]


@pytest.mark.slow
async def test_stop_is_clean_and_the_next_start_needs_no_recovery(launcher: Launcher) -> None:
    launcher.start_and_wait()
    await write(launcher, "one")

    assert launcher.end() == 0
    assert processes_in(launcher.cluster) == []
    launcher.start_and_wait()

    assert await read(launcher) == ["one"]
    log = (launcher.cluster.parent / "server.log").read_text()
    assert "was shut down at" in log
    assert "recovery" not in log


@pytest.mark.slow
def test_second_launcher_on_the_same_folder_is_refused_by_name(launcher: Launcher, tmp_path: Path) -> None:
    launcher.start_and_wait()
    assert launcher.process is not None
    second = Launcher(tmp_path / "data")

    output, _ = second.start().communicate(timeout=READY_S)

    assert second.process is not None
    assert second.process.returncode == 2
    assert output == (
        f"another database runs on {launcher.location.postgres} (pid {launcher.process.pid}); "
        f"stop it or set LECONG_DATA\n"
    )


@pytest.mark.slow
async def test_killed_postmaster_ends_the_launcher_and_comes_back_with_its_rows(launcher: Launcher) -> None:
    postmaster = launcher.start_and_wait()
    await write(launcher, "committed")
    busy = await asyncpg.connect(dsn(launcher.location))
    sleeping = busy.execute("SELECT pg_sleep(60)")
    with pytest.raises(TimeoutError):
        await _within(sleeping, 0.2)

    os.kill(postmaster, signal.SIGKILL)
    process = launcher.process
    assert process is not None
    output, _ = process.communicate(timeout=READY_S)

    assert process.returncode == 1
    assert "PostgreSQL ended with status -9" in output
    busy.terminate()
    assert launcher.start_and_wait() != postmaster
    assert await read(launcher) == ["committed"]


async def _within(awaitable: Any, seconds: float) -> None:
    await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(awaitable)), seconds)


@pytest.mark.slow
async def test_orphaned_backend_of_a_killed_postmaster_is_ended_before_the_restart(
    launcher: Launcher,
) -> None:
    postmaster = launcher.start_and_wait()
    await write(launcher, "committed")
    stopped = [pid for pid in processes_in(launcher.cluster) if pid != postmaster]
    for pid in stopped:  # a stopped process cannot notice that its postmaster is gone
        os.kill(pid, signal.SIGSTOP)

    os.kill(postmaster, signal.SIGKILL)
    assert launcher.process is not None
    launcher.process.communicate(timeout=READY_S)
    assert set(processes_in(launcher.cluster)) == set(stopped)
    launcher.start_and_wait()

    assert await read(launcher) == ["committed"]
    assert not set(processes_in(launcher.cluster)) & set(stopped)


@pytest.mark.slow
async def test_killed_launcher_takes_the_server_with_it_and_comes_back(launcher: Launcher) -> None:
    launcher.start_and_wait()
    await write(launcher, "committed")
    assert launcher.process is not None

    launcher.process.kill()
    launcher.process.communicate(timeout=READY_S)
    wait_until_gone(launcher.cluster)
    launcher.start_and_wait()

    assert await read(launcher) == ["committed"]


@pytest.mark.slow
async def test_cluster_that_was_half_made_is_made_anew(launcher: Launcher) -> None:
    launcher.location.create()
    half_made = launcher.cluster.with_name("cluster.tmp")
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")

    launcher.start_and_wait()

    await wait_until_ready(dsn(launcher.location), READY_S)
    assert not half_made.exists()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs the user `nobody`")
async def test_root_without_user_namespaces_runs_the_server_as_nobody(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    location = Location(tmp_path_factory.mktemp("private") / "data").create()
    shared_home = Path(f"/var/lib/lecong-test-{os.getpid()}")
    server = EmbeddedPostgres(as_nobody(location, binaries(), shared_home))
    try:
        pid = server.start().pid
        await wait_until_ready(dsn(location), READY_S)

        assert Path(f"/proc/{pid}").stat().st_uid == 65534
    finally:
        server.stop()
        subprocess.run(["rm", "-rf", str(shared_home)], check=True)


async def test_absent_server_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)

    with pytest.raises(DatabaseUnavailableError, match=r"no connection to .*python -m settlement.database"):
        await wait_until_ready(dsn(Location(tmp_path)), 0.1)


async def test_password_stays_out_of_the_message() -> None:
    address = "postgresql://member:secret@127.0.0.1:9/lecong"

    with pytest.raises(DatabaseUnavailableError) as refused:
        await wait_until_ready(address, 0.0)

    assert "secret" not in str(refused.value)


def test_environment_names_another_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/lecong")

    assert dsn(Location(tmp_path)) == "postgresql://elsewhere/lecong"


class Server:
    """Answers SHOW from a table."""

    def __init__(self, **settings: str) -> None:
        self.settings = {"server_version_num": "180004", "fsync": "on", "full_page_writes": "on"} | settings

    async def fetchval(self, query: str) -> str:
        return self.settings[query.removeprefix("SHOW ")]


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("fsync", "off", "fsync is off"),
        ("full_page_writes", "off", "full_page_writes is off"),
        ("server_version_num", "140012", "PostgreSQL 14 is too old; use 15 or newer"),
    ],
)
async def test_unsafe_server_is_refused(setting: str, value: str, message: str) -> None:
    with pytest.raises(UnsafeDatabaseError, match=message):
        await check_server(Server(**{setting: value}))
