"""Where things live: paths, their limits, and one owner per folder."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.location import (
    POSTGRES_SOCKETS_BYTES_MAX,
    SOCKET_PATH_BYTES_MAX,
    Location,
    LocationError,
    LocationInUseError,
    lock_folder,
)


def test_data_folder_defaults_to_var_below_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LECONG_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    assert Location.from_environment().data == tmp_path / "var"


def test_data_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LECONG_DATA", str(tmp_path / "elsewhere"))

    assert Location.from_environment().engine == tmp_path / "elsewhere" / "engine"


@pytest.mark.parametrize("length", [1, 40, 79, 80, 81, 200])
def test_every_socket_path_fits_however_long_the_data_path_is(length: int) -> None:
    location = Location(Path("/" + "x" * length))

    for socket in (location.engine_commands, location.engine_events, location.settlement_requests):
        assert len(os.fsencode(socket)) <= SOCKET_PATH_BYTES_MAX
    assert len(os.fsencode(location.postgres_sockets)) <= POSTGRES_SOCKETS_BYTES_MAX


def test_short_data_path_keeps_its_sockets_inside() -> None:
    assert Location(Path("/srv/lecong")).sockets == Path("/srv/lecong/run")


def test_two_long_data_paths_have_different_socket_folders() -> None:
    one, other = Location(Path("/a" + "x" * 120)), Location(Path("/b" + "x" * 120))

    assert one.sockets != other.sockets


def test_created_folders_are_private(tmp_path: Path) -> None:
    location = Location(tmp_path / "data").create()

    for folder in (location.data, location.engine, location.keys, location.sockets):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_unwritable_folder_is_named_with_the_remedy() -> None:
    location = Location(Path("/proc/lecong"))

    with pytest.raises(LocationError, match=r"cannot write in /proc/lecong .*set LECONG_DATA"):
        location.create()


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(LocationError, match="cannot write in"):
        Location(tmp_path / "data").create()


def test_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    location = Location(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    if location.sockets.parent != tmp_path:
        pytest.skip("the temporary folder's path is too long for sockets inside it")
    location.sockets.symlink_to(target)

    with pytest.raises(LocationError, match="belongs to another user"):
        location.create()


def test_second_owner_is_refused_and_told_the_first_ones_pid(tmp_path: Path) -> None:
    with lock_folder(tmp_path, "engine"), pytest.raises(LocationInUseError) as refused:
        lock_folder(tmp_path, "engine")

    assert str(refused.value) == (
        f"another engine runs on {tmp_path} (pid {os.getpid()}); stop it or set LECONG_DATA"
    )


def test_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    lock_folder(tmp_path, "engine").release()

    lock_folder(tmp_path, "engine").release()


def test_lock_of_a_killed_owner_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from engine.location import lock_folder; "
        "held = lock_folder(pathlib.Path(sys.argv[1]), 'engine'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(LocationInUseError, match=f"pid {owner.pid}"):
            lock_folder(tmp_path, "engine")
        owner.kill()

    lock_folder(tmp_path, "engine", wait_s=1.0).release()
