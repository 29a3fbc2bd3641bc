"""A disk that forgets: what was not synced a power cut may lose, keep, tear or reorder, sector by sector.

    file   what programs see (`seen`)  ──sync──▶  what is on the medium (`kept`), in sectors of 512 bytes
    name   what programs see           ──sync of the folder──▶  what is on the medium

Law: SIGKILL takes the program and leaves the page cache; a power cut leaves the medium, and of what was under
way whatever the seed decides. Each call is a point at which either may happen: before it, in its middle
or behind it.
"""

import errno
import os
import random
from collections.abc import Callable
from typing import Final

from tests.simulation.process import Killed, Process, current

SECTOR: Final = 512
FREE_BYTES: Final = 1 << 40  # of a disk that is not full
Point = Callable[[Process, str], None]
EIO_FATES: Final = ("lost", "kept", "mixed")


class Inode:
    """The bytes of one file: as programs see them, and as they stand on the medium."""

    def __init__(self, content: bytes | bytearray, kept: bytes | bytearray) -> None:
        self.seen, self.kept = bytearray(content), bytearray(kept)
        self.dirty: dict[int, None] = {}  # sectors written since the last sync

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write through the page cache; the file grows when it must."""
        end = offset + len(data)
        if end > len(self.seen):
            self.seen.extend(bytes(end - len(self.seen)))
        self.seen[offset:end] = data
        for sector in range(offset // SECTOR, -(-end // SECTOR)):
            self.dirty[sector] = None

    def sync(self) -> None:
        """All that is seen is kept."""
        self.kept = bytearray(self.seen)
        self.dirty.clear()

    def settle(self, dice: random.Random) -> None:
        """The medium decides what became of the dirty sectors, and the page cache is gone."""
        size = len(self.kept)
        if len(self.seen) != size:  # a grown file's size is on the medium when the file system likes
            size = dice.choice((size, len(self.seen), dice.randrange(len(self.seen) + 1)))
        after = bytearray(size)
        after[: len(self.kept)] = self.kept[:size]
        for sector in _survivors(list(self.dirty), dice):
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, size)
            if start < size:
                after[start:end] = self.seen[start:end]
        self.seen, self.kept = bytearray(after), after
        self.dirty.clear()


def _survivors(sectors: list[int], dice: random.Random) -> list[int]:
    """Which of the sectors under way had reached the medium: none, all, a head, a tail, or any."""
    fate = dice.randrange(5)
    cut = dice.randrange(len(sectors) + 1)
    if fate == 0:
        return []
    if fate == 1:
        return sectors
    if fate == 2:
        return sectors[:cut]
    if fate == 3:
        return sectors[cut:]
    return [sector for sector in sectors if dice.random() < 0.5]


class Entries:
    """The names of one folder: as programs see them, and as they stand on the medium."""

    def __init__(self) -> None:
        self.seen: dict[str, Inode] = {}
        self.kept: dict[str, Inode] = {}

    def settle(self, dice: random.Random) -> None:
        """The medium decides which renames since the last sync of the folder it knows."""
        for name in sorted(self.seen.keys() | self.kept.keys()):
            if self.seen.get(name) is not self.kept.get(name) and dice.random() < 0.5:
                if name in self.seen:
                    self.kept[name] = self.seen[name]
                else:
                    del self.kept[name]
        self.seen = dict(self.kept)
        for inode in self.seen.values():
            inode.settle(dice)


class SimulatedDisk:
    """All folders of one machine; `full` refuses space, `failing` makes the next sync fail."""

    def __init__(self, dice: random.Random, point: Point) -> None:
        self.dice, self.point = dice, point
        self.folders: dict[str, Entries] = {}
        self.full = False
        self.failing = False

    def folder(self, path: object) -> "SimulatedFolder":
        """The folder at `path` as the current process sees it."""
        return SimulatedFolder(self, current(), self.folders.setdefault(str(path), Entries()))

    def lose_power(self) -> None:
        """What was not synced is at the mercy of the medium."""
        for path in sorted(self.folders):
            self.folders[path].settle(self.dice)


class SimulatedFolder:
    """The port engine.disk.Folder."""

    def __init__(self, disk: SimulatedDisk, process: Process, entries: Entries) -> None:
        self._disk, self._process, self.entries = disk, process, entries

    def at(self, kind: str) -> None:
        """A point of I/O: the process may be killed here. Raises Killed."""
        if self._process.alive:
            self._disk.point(self._process, kind)
        if not self._process.alive:
            raise Killed(kind)

    def names(self) -> list[str]:
        """The files of the folder."""
        self.at("disk.names")
        return sorted(self.entries.seen)

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return len(self.entries.seen[name].seen)

    def open(self, name: str, *, reread: bool = True) -> "SimulatedFile":
        """Open a file; it has no memory of its own."""
        self.at("disk.open")
        return SimulatedFile(self, self._disk, self.entries.seen[name])

    def create(self, name: str, size: int) -> None:
        """A file of zeroes, whole or not at all."""
        self.at("disk.create")
        if self._disk.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        self._publish(name, Inode(bytes(size), bytes(size)), "create")

    def replace(self, name: str, data: bytes | bytearray) -> None:
        """New content, whole or not at all."""
        self.at("disk.replace")
        if self._disk.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        self._publish(name, Inode(data, data), "replace")

    def _publish(self, name: str, inode: Inode, kind: str) -> None:
        self.at(f"disk.{kind}.sync")
        self.at(f"disk.{kind}.rename")
        self.entries.seen[name] = inode
        self.at(f"disk.{kind}.renamed")
        self.entries.kept[name] = inode
        self.at(f"disk.{kind}.published")

    def move(self, name: str, to: "SimulatedFolder") -> None:
        """Rename into another folder; the journal takes both names at once."""
        self.at("disk.move")
        inode = self.entries.seen.pop(name)
        self.entries.kept.pop(name, None)
        to.entries.seen[name] = to.entries.kept[name] = inode
        self.at("disk.moved")

    def sync_names(self) -> None:
        """What `names` tells is on the medium."""
        self.at("disk.sync_names")
        self.entries.kept = dict(self.entries.seen)

    def free(self) -> int:
        """Nothing on a full disk."""
        self.at("disk.free")
        return 0 if self._disk.full else FREE_BYTES

    def grow(self, name: str) -> "SimulatedGrowingFile":
        """A file that grows."""
        self.at("disk.grow")
        inode = self.entries.seen.setdefault(name, Inode(b"", b""))
        return SimulatedGrowingFile(self, self._disk, inode)


class SimulatedFile:
    """The port engine.disk.File."""

    def __init__(self, folder: SimulatedFolder, disk: SimulatedDisk, inode: Inode) -> None:
        self._folder, self._disk, self._inode = folder, disk, inode

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write through the page cache; a kill in the middle leaves a part."""
        self._folder.at("disk.write")
        assert offset + len(data) <= len(self._inode.seen), "the log never grows a file"
        cut = self._disk.dice.randrange(len(data) + 1)
        self._inode.write(offset, memoryview(data)[:cut])
        self._folder.at("disk.write.middle")
        self._inode.write(offset, data)
        self._folder.at("disk.written")

    def sync(self) -> None:
        """fdatasync."""
        self._folder.at("disk.sync")
        if self._disk.failing:
            self._disk.failing = False
            self._inode.settle(self._disk.dice)  # pages marked clean, whatever the medium took of them
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._inode.sync()
        self._folder.at("disk.synced")

    def read(self, offset: int, length: int) -> bytes:
        """Read through the page cache."""
        return bytes(self._inode.seen[offset : offset + length])

    def close(self) -> None:
        """Nothing to let go of."""


class SimulatedGrowingFile:
    """The port engine.disk.GrowingFile."""

    def __init__(self, folder: SimulatedFolder, disk: SimulatedDisk, inode: Inode) -> None:
        self._folder, self._disk, self._inode = folder, disk, inode

    def size(self) -> int:
        """Bytes."""
        return len(self._inode.seen)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write, grow when needed."""
        self._folder.at("events.write")
        if self._disk.full and offset + len(data) > len(self._inode.seen):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._inode.write(offset, data)
        self._folder.at("events.written")

    def read(self, offset: int, length: int) -> bytes:
        """Read what was written."""
        return bytes(self._inode.seen[offset : offset + length])

    def reserve(self, offset: int, length: int) -> None:
        """Zeroes behind the end."""
        self._folder.at("events.reserve")
        if self._disk.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._inode.write(offset, bytes(length))

    def sync(self) -> None:
        """fsync."""
        self._folder.at("events.sync")
        self._inode.sync()
        self._folder.at("events.synced")

    def give_back(self, size: int) -> None:
        """This file system makes no holes."""
        self._folder.at("events.give_back")

    def kept_from(self) -> int:
        """Nothing was given back."""
        return 0

    def cut(self, size: int) -> None:
        """Take away what stands behind `size`."""
        self._folder.at("events.cut")
        del self._inode.seen[size:]
        for sector in [sector for sector in self._inode.dirty if sector * SECTOR >= size]:
            del self._inode.dirty[sector]

    def close(self) -> None:
        """Nothing to let go of."""
