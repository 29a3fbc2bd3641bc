"""The operating system's disk: whole files or none, writes to the end, failures passed on."""

import errno
import os
from pathlib import Path

import pytest

from engine import disk as room
from engine.disk import PosixDisk


def test_created_file_has_its_size_of_zeroes_and_its_name(tmp_path: Path) -> None:
    disk = PosixDisk(tmp_path / "log")

    disk.create("a", 3 * room.ZEROES_BYTES + 7)

    assert (disk.names(), disk.size("a")) == (["a"], 3 * room.ZEROES_BYTES + 7)
    assert not any((tmp_path / "log" / "a").read_bytes())


def test_what_was_written_and_synced_is_read_back(tmp_path: Path) -> None:
    disk = PosixDisk(tmp_path)
    disk.create("a", 8192)
    file = disk.open("a")

    file.write(4096, memoryview(b"steel"))
    file.sync()
    file.close()

    assert disk.open("a").read(4094, 9) == b"\0\0steel\0\0"


def test_half_made_file_is_not_named_and_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "a.tmp").write_bytes(b"rubbish of a crash")
    disk = PosixDisk(tmp_path)

    assert disk.names() == []
    disk.create("a", 4096)

    assert disk.open("a").read(0, 4096) == bytes(4096)


def test_replaced_file_has_all_of_the_new_content(tmp_path: Path) -> None:
    disk = PosixDisk(tmp_path)
    disk.replace("epoch", b"a long first content\n")

    disk.replace("epoch", b"2\n")

    assert (tmp_path / "epoch").read_bytes() == b"2\n"
    assert os.listdir(tmp_path) == ["epoch"]


def test_file_that_cannot_fit_is_refused_before_the_disk_is_filled(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as refused:
        PosixDisk(tmp_path).create("a", 1 << 60)

    assert refused.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_write_error_while_making_a_file_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        PosixDisk(tmp_path).create("a", 4096)

    assert os.listdir(tmp_path) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, bytes(data[:3]), offset))
    disk = PosixDisk(tmp_path)
    disk.create("a", 100)

    disk.open("a").write(10, b"hot rolled coil")

    assert disk.open("a").read(10, 15) == b"hot rolled coil"


def test_disk_that_takes_nothing_is_an_error_and_not_an_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = PosixDisk(tmp_path)
    disk.create("a", 100)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)

    with pytest.raises(OSError, match="takes no more bytes"):
        disk.open("a").write(0, b"x")


def test_full_device_passes_its_error_on() -> None:
    full = PosixDisk(Path("/dev")).open("full")

    with pytest.raises(OSError, match="No space left"):
        full.write(0, b"x")


def test_names_are_synced_through_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))

    PosixDisk(tmp_path).sync_names()

    assert synced == [str(tmp_path)]


def test_growing_file_takes_space_ahead_grows_and_is_cut(tmp_path: Path) -> None:
    file = PosixDisk(tmp_path).grow("events.log")
    file.reserve(0, 8192)
    file.write(8190, b"steel")

    grown, read = file.size(), file.read(8188, 99)
    file.cut(4096)

    assert (grown, read, file.size()) == (8195, b"\0\0steel", 4096)
    file.close()
