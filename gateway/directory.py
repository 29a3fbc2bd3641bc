"""The gateway's own copy of members, keys and lots' descriptions, kept on disk.

Law: logon and trading need no database. Settlement pushes the directory; what was last heard survives a dead
settlement, a dead database and a restart of the gateway. The file is replaced atomically, so a crash leaves
the old or the new one.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine.requests import LotRow, MemberRow

FILE_NAME: Final = "directory.json"


class Holder(NamedTuple):
    """Whose a public key is, and what it may do."""

    member: MemberRow
    scopes: frozenset[str]


class _File(msgspec.Struct):
    members: list[MemberRow]
    lots: list[LotRow]


class Directory:
    """Members by number, their keys, and lots by number."""

    def __init__(self) -> None:
        self.members: dict[int, MemberRow] = {}
        self.lots: dict[int, LotRow] = {}
        self.current = False  # whether settlement has sent the whole, and every change since
        self._holders: dict[str, Holder] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was ever heard of any member."""
        return not self.members

    def holder(self, public_key: str) -> Holder | None:
        """The holder of a public key (64 hex digits)."""
        return self._holders.get(public_key.lower())

    def merge(self, members: Iterable[MemberRow], lots: Iterable[LotRow]) -> None:
        """Take the directory's whole or a change of it: each row replaces the one of the same number."""
        for row in members:
            self._forget_keys(row.member)
            self.members[row.member] = row
            for key in row.keys:
                self._holders[key.public_key.lower()] = Holder(row, frozenset(key.scopes))
        for lot in lots:
            self.lots[lot.lot] = lot

    def _forget_keys(self, member: int) -> None:
        old = self.members.get(member)
        for key in old.keys if old else ():
            self._holders.pop(key.public_key.lower(), None)

    def load(self, folder: Path) -> None:
        """Read the copy of an earlier run, if there is a sound one."""
        try:
            stored = msgspec.json.decode((folder / FILE_NAME).read_bytes(), type=_File)
        except (FileNotFoundError, msgspec.DecodeError):
            return  # settlement sends the whole again
        self.merge(stored.members, stored.lots)

    def save(self, folder: Path) -> None:
        """Replace the copy on disk: write, sync, rename, sync the folder (reliability.md, as for
        snapshots)."""
        content = msgspec.json.encode(_File(list(self.members.values()), list(self.lots.values())))
        temporary = folder / f"{FILE_NAME}.{os.getpid()}.tmp"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / FILE_NAME)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
