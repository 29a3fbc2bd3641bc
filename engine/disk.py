"""The disk: a port, so that a simulator can stand in for it (design section 3).

Law: what `sync` has returned for is on the medium; a write or sync that failed is never tried again.
"""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final, Protocol, Self

ZEROES_BYTES: Final = 1 << 20
PIECE_BYTES: Final = 1 << 20
PAGE_BYTES: Final = 4096
PUNCH_HOLE_KEEP_SIZE: Final = 0x03  # linux/falloc.h
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})  # what an operator mends by freeing space

_C: Final = ctypes.CDLL(None, use_errno=True)
_C.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class File(Protocol):
    """An open file of the log."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`. Raises OSError."""

    def sync(self) -> None:
        """Return when all that was written is on the medium. Raises OSError."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`. Raises OSError."""

    def close(self) -> None:
        """Let go of the file."""


class GrowingFile(Protocol):
    """An open file that grows, and shrinks from the front. It is synced seldom: what stands in it can be
    derived again.
    """

    def size(self) -> int:
        """Bytes, those reserved ahead included. Raises OSError."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`. Raises OSError."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`. Raises OSError."""

    def reserve(self, offset: int, length: int) -> None:
        """Take space from the disk ahead. Raises OSError."""

    def cut(self, size: int) -> None:
        """Take away what stands behind `size`. Raises OSError."""

    def sync(self) -> None:
        """Return when all that was written is on the medium; also in a forked child. Raises OSError."""

    def give_back(self, size: int) -> None:
        """Give the first `size` bytes back to the disk, as far as it takes them; places stay. Raises
        OSError.
        """

    def kept_from(self) -> int:
        """The offset before which everything was given back. Raises OSError."""

    def close(self) -> None:
        """Let go of the file."""


class Disk(Protocol):
    """One folder of log files."""

    def names(self) -> list[str]:
        """The files of the folder, sorted, without half-made ones."""

    def size(self, name: str) -> int:
        """Bytes of a file. Raises OSError."""

    def open(self, name: str, *, reread: bool = True) -> File:
        """Open an existing file, to be read from the medium and not from memory; without `reread`, to be
        written, into the memory that holds it. Raises OSError.
        """

    def create(self, name: str, size: int) -> None:
        """Make a file of `size` zero bytes, on the medium, whole or not at all. Raises OSError."""

    def replace(self, name: str, data: bytes | bytearray) -> None:
        """Give a file new content, on the medium, whole or not at all. Raises OSError."""

    def move(self, name: str, to: Self) -> None:
        """Move a file into the folder of another disk of the same kind: it is in one of them at any time, and
        on the medium in `to` when this returns. Raises OSError.
        """

    def sync_names(self) -> None:
        """Return when the names that `names` tells are on the medium. Raises OSError."""

    def free(self) -> int:
        """Bytes that there is room for. Raises OSError."""


class Folder(Disk, Protocol):
    """A folder that also has a growing file."""

    def grow(self, name: str) -> GrowingFile:
        """Open a file that grows, made when it is missing. Raises OSError."""


class PosixFile:
    """A file of the operating system. Neither write nor sync holds the interpreter's lock."""

    def __init__(self, path: Path, reread: bool) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if reread:
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)  # twice as fast, measured

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`. Raises OSError."""
        write_whole(self._descriptor, offset, data)

    def sync(self) -> None:
        """fdatasync: the size never changes, so the data is enough."""
        os.fdatasync(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`. Raises OSError."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class PosixGrowingFile:
    """A growing file of the operating system."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def size(self) -> int:
        """Bytes, those reserved ahead included. Raises OSError."""
        return os.fstat(self._descriptor).st_size

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`. Raises OSError."""
        write_whole(self._descriptor, offset, data)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`. Raises OSError."""
        return os.pread(self._descriptor, length, offset)

    def reserve(self, offset: int, length: int) -> None:
        """Take space from the disk ahead. Raises OSError."""
        os.posix_fallocate(self._descriptor, offset, length)

    def cut(self, size: int) -> None:
        """Take away what stands behind `size`. Raises OSError."""
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """fsync through a descriptor of its own: a forked child has closed the others. Raises OSError."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def give_back(self, size: int) -> None:
        """Make whole pages of the front a hole. Raises OSError; not when the file system has no holes."""
        length = size // PAGE_BYTES * PAGE_BYTES
        if length and _C.fallocate(self._descriptor, PUNCH_HOLE_KEEP_SIZE, 0, length) != 0:
            error = ctypes.get_errno()
            if error not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise OSError(error, os.strerror(error), str(self._path))

    def kept_from(self) -> int:
        """The first byte that is not in a hole. Raises OSError."""
        try:
            return os.lseek(self._descriptor, 0, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # there is no such byte
                raise
            return 0

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class PosixDisk:
    """A folder of the operating system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """The files of the folder, sorted; a half-made one (.tmp) is overwritten when it is made again."""
        return sorted(path.name for path in self._folder.iterdir() if path.suffix != ".tmp")

    def size(self, name: str) -> int:
        """Bytes of a file. Raises OSError."""
        return (self._folder / name).stat().st_size

    def open(self, name: str, *, reread: bool = True) -> PosixFile:
        """Open an existing file, its pages dropped from memory if it is to be reread. Raises OSError."""
        return PosixFile(self._folder / name, reread)

    def create(self, name: str, size: int) -> None:
        """Zero-fill `name`.tmp, sync, rename, sync the folder: fallocate alone would make every later sync
        dearer. Raises OSError; ENOSPC before the first byte where the file cannot fit.
        """
        if self.free() < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder / name))
        self._write_beside(name, size)
        self._publish(name)

    def replace(self, name: str, data: bytes | bytearray) -> None:
        """Write `name`.tmp, sync, rename, sync the folder. Raises OSError."""
        self._write_beside(name, len(data), data)
        self._publish(name)

    def move(self, name: str, to: Self) -> None:
        """Rename, then sync both folders. Raises OSError."""
        (self._folder / name).rename(to._folder / name)
        to.sync_names()
        self.sync_names()

    def sync_names(self) -> None:
        """Sync the folder. Raises OSError."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free(self) -> int:
        """Bytes of the file system that this user may take. Raises OSError."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize

    def grow(self, name: str) -> PosixGrowingFile:
        """Open a file that grows, made when it is missing. Raises OSError."""
        return PosixGrowingFile(self._folder / name)

    def _write_beside(self, name: str, size: int, data: bytes | bytearray = bytes(ZEROES_BYTES)) -> None:
        """Write `data` over and over until `name`.tmp has `size` bytes, and sync it."""
        beside = self._folder / f"{name}.tmp"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for offset in range(0, size, len(data) or 1):
                write_gently(descriptor, offset, memoryview(data)[: size - offset])
            os.fsync(descriptor)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _publish(self, name: str) -> None:
        (self._folder / f"{name}.tmp").rename(self._folder / name)
        self.sync_names()


def write_gently(descriptor: int, offset: int, data: memoryview) -> None:
    """Write all of `data` in pieces, each synced before the next: a sync of another file beside it waits for
    one piece at most (measured: 166 ms beside 180 MB in one piece). Raises OSError.
    """
    for at in range(0, len(data), PIECE_BYTES):
        write_whole(descriptor, offset + at, data[at : at + PIECE_BYTES])
        os.fdatasync(descriptor)


def write_whole(descriptor: int, offset: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` at `offset`, however many calls that takes. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        if written == 0:
            raise OSError(errno.EIO, "the disk takes no more bytes and does not say why")
        view, offset = view[written:], offset + written
