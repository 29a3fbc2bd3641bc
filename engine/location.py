"""Where things live on disk, and who may use them.

One folder, LECONG_DATA (default ./var), holds everything that the exchange keeps:

    var/engine  var/postgres  var/settlement  var/gateway  var/keys  var/run (sockets)

Its law: a folder has one owner at a time, held by flock, so that a second copy of a program cannot start.

    LocationError                a folder cannot be made or written
    └── LocationInUseError       another program holds its lock
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

DATA_DEFAULT = "var"
# A Unix socket's path is at most 107 bytes (sun_path); PostgreSQL adds "/.s.PGSQL.5432" to its folder's.
SOCKET_PATH_BYTES_MAX = 107
POSTGRES_SOCKETS_BYTES_MAX = SOCKET_PATH_BYTES_MAX - len("/.s.PGSQL.5432")
LOCK_POLL_S = 0.05


class LocationError(Exception):
    """A folder cannot be made or written; the message says which one and what to do."""


class LocationInUseError(LocationError):
    """Another program holds the folder's lock."""


@dataclass(frozen=True)
class Location:
    """The paths below one data folder; nothing is created before `create` is called."""

    data: Path

    @classmethod
    def from_environment(cls) -> Location:
        """The location that LECONG_DATA names, else ./var, as an absolute path."""
        return cls(Path(os.environ.get("LECONG_DATA") or DATA_DEFAULT).absolute())

    @property
    def engine(self) -> Path:
        """The command log, the event log and the snapshots."""
        return self.data / "engine"

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL: its cluster and its log."""
        return self.data / "postgres"

    @property
    def settlement(self) -> Path:
        """Settlement's lock and files."""
        return self.data / "settlement"

    @property
    def gateway(self) -> Path:
        """The gateway's lock and its local copy of members and keys."""
        return self.data / "gateway"

    @property
    def keys(self) -> Path:
        """Private keys made on this machine, as the first operator's."""
        return self.data / "keys"

    @property
    def sockets(self) -> Path:
        """The folder of Unix sockets: data/run, or a short one in /tmp when that path is too long."""
        inside = self.data / "run"
        if len(os.fsencode(inside / "postgres")) <= POSTGRES_SOCKETS_BYTES_MAX:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:8]
        return Path(f"/tmp/lecong-{os.getuid()}-{digest}")

    @property
    def engine_commands(self) -> Path:
        """The socket on which the engine takes commands."""
        return self.sockets / "engine-commands"

    @property
    def engine_events(self) -> Path:
        """The socket on which the engine publishes events from a named sequence on."""
        return self.sockets / "engine-events"

    @property
    def settlement_requests(self) -> Path:
        """The socket on which settlement takes requests that are not orders."""
        return self.sockets / "settlement-requests"

    @property
    def postgres_sockets(self) -> Path:
        """The folder in which the embedded PostgreSQL puts its socket."""
        return self.sockets / "postgres"

    def create(self) -> Location:
        """Make every folder, private to this user, and prove that it can be written. Raises LocationError."""
        for folder in (self.data, self.engine, self.postgres, self.settlement, self.gateway, self.keys):
            make_folder(folder)
        make_folder(self.sockets)
        _own(self.sockets)
        return self


def make_folder(folder: Path) -> Path:
    """Make `folder` (mode 0700) with its parents if missing and write a file in it. Raises LocationError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"1")
    except OSError as error:
        raise LocationError(
            f"cannot write in {folder} ({error.strerror}); "
            f"make it writable for this user, free space, or set LECONG_DATA to another folder"
        ) from error
    return folder


def replace_file(path: Path, text: str) -> None:
    """Give `path` the content `text`, unless it has it: a reader sees all of the old or all of the new."""
    if not path.exists() or path.read_text() != text:
        beside = path.with_name(f"{path.name}.tmp")
        beside.write_text(text)
        beside.replace(path)


def _own(folder: Path) -> None:
    """Refuse a socket folder that somebody else made (in /tmp anybody can), and keep others out of ours."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise LocationError(
            f"{folder} belongs to another user; remove it, or set LECONG_DATA to a shorter path"
        )
    folder.chmod(0o700)


class FolderLock:
    """An exclusive lock on a folder, held until `release` or the end of this process.

    A forked child that does not exec shares the lock; the kernel drops it when the last of them has ended.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use `lock_folder` instead."""
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the lock. The file stays: removing it would let two owners in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_folder(folder: Path, program: str, *, file: str = "lock", wait_s: float = 0.0) -> FolderLock:
    """Take the exclusive lock of `folder` for `program`, or raise LocationInUseError after `wait_s` seconds.

    A wait lets the successor of a program that was just killed take over while the kernel cleans up.
    """
    make_folder(folder)
    path = folder / file
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise LocationInUseError(
                f"another {program} runs on {folder} (pid {holder}); stop it or set LECONG_DATA"
            )
        time.sleep(LOCK_POLL_S)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return FolderLock(path, descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
