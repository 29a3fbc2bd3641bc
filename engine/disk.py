"""The disk: a port, so that a simulator can stand in for it (design section 3).

Law: what `sync` has returned for is on the medium; a write or sync that failed is never tried again.
"""

import os
from pathlib import Path
from typing import Protocol

ZEROES_BYTES = 1 << 20


class File(Protocol):
    """An open file of the log."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset`. Raises OSError."""

    def sync(self) -> None:
        """Return when all that was written is on the medium. Raises OSError."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`."""

    def close(self) -> None:
        """Let go of the file."""


class Disk(Protocol):
    """One folder of log files."""

    def names(self) -> list[str]:
        """The files of the folder, sorted."""

    def size(self, name: str) -> int:
        """Bytes of a file."""

    def open(self, name: str) -> File:
        """Open an existing file for reading and writing past the page cache's memory of earlier failures."""

    def create(self, name: str, size: int) -> None:
        """Make a file of `size` zero bytes, on the medium with its name; whole or not at all."""

    def replace(self, name: str, data: bytes) -> None:
        """Give a small file new content, all on the medium, whole or not at all."""


class PosixFile:
    """A file of the operating system. Neither write nor sync holds the interpreter's lock."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset`. Raises OSError."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def sync(self) -> None:
        """fdatasync: the size never changes, so the data is enough."""
        os.fdatasync(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class PosixDisk:
    """A folder of the operating system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """The files of the folder, sorted; half-made ones (.tmp) are removed first."""
        for half_made in self._folder.glob("*.tmp"):
            half_made.unlink()
        return sorted(path.name for path in self._folder.iterdir())

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return (self._folder / name).stat().st_size

    def open(self, name: str) -> PosixFile:
        """Open an existing file."""
        return PosixFile(self._folder / name)

    def create(self, name: str, size: int) -> None:
        """Zero-fill `name`.tmp, sync, rename, sync the folder: fallocate alone would make every later sync
        dearer.
        """
        beside = self._folder / f"{name}.tmp"
        zeroes = bytes(ZEROES_BYTES)
        try:
            with beside.open("wb") as file:
                for offset in range(0, size, ZEROES_BYTES):
                    file.write(zeroes[: min(ZEROES_BYTES, size - offset)])
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        self._publish(beside, name)

    def replace(self, name: str, data: bytes) -> None:
        """Write `name`.tmp, sync, rename, sync the folder."""
        beside = self._folder / f"{name}.tmp"
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._publish(beside, name)

    def _publish(self, beside: Path, name: str) -> None:
        beside.rename(self._folder / name)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
