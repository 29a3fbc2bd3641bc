"""Machine code is kept, and stale machine code never runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core import jit
from engine.core.jit import cache_directory, cache_key

ENGINE = Path(jit.__file__).parents[1]
PROGRAM = "from engine.core.answer import answer; print(answer(), len(answer.stats.cache_hits))"
KERNEL = """
from engine.core.jit import kernel
from engine.core.callee import callee
@kernel
def answer():
    return callee()
"""
BEYOND = """
import numpy
from engine.core.jit import kernel, part
@part
def read(rows, at):
    return rows[at]
@kernel
def read_all(rows):
    return read(rows, len(rows))
def answer():
    return read_all(numpy.arange(3))
answer.stats = read_all.stats
"""
CALLEE = """
from engine.core.jit import routine
@routine
def callee():
    return {}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the engine's compiler room with a kernel of one line that calls another file."""
    core = tmp_path / "engine" / "core"
    core.mkdir(parents=True)
    for name in ("__init__.py", "vocabulary.py", "records.py", "money.py", "core/__init__.py", "core/jit.py"):
        shutil.copy(ENGINE / name, tmp_path / "engine" / name)
    (core / "answer.py").write_text(KERNEL)
    (core / "callee.py").write_text(CALLEE.format(1))
    return tmp_path


def answered(tree: Path, **changes: str) -> list[str]:
    """What the kernel returns in a process of its own, and whether it came from the cache."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tree,
        env=os.environ | {"LECONG_CACHE": str(tree / "cache"), "NUMBA_DISABLE_JIT": "0"} | changes,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.split()


@pytest.mark.slow
def test_edited_callee_runs_though_the_kernel_was_kept(tree: Path) -> None:
    first, second = answered(tree), answered(tree)
    (tree / "engine" / "core" / "callee.py").write_text(CALLEE.format(2))

    third = answered(tree)

    assert (first, second, third) == (["1", "0"], ["1", "1"], ["2", "0"])


@pytest.mark.slow
def test_a_read_beyond_the_end_is_an_error_where_bounds_are_checked(tree: Path) -> None:
    (tree / "engine" / "core" / "answer.py").write_text(BEYOND)

    with pytest.raises(subprocess.CalledProcessError) as raised:
        answered(tree, NUMBA_BOUNDSCHECK="1")

    assert "IndexError: index is out of bounds" in raised.value.stderr


@pytest.mark.parametrize(
    "name", ["core/callee.py", "core/answer.py", "vocabulary.py", "records.py", "money.py"]
)
def test_key_changes_with_every_source_of_the_kernels(tree: Path, name: str) -> None:
    before = cache_key(tree / "engine")

    path = tree / "engine" / name
    path.write_text(path.read_text() + "\n# edited")

    assert cache_key(tree / "engine") != before


def test_key_changes_with_a_new_and_a_renamed_source(tree: Path) -> None:
    core = tree / "engine" / "core"
    keys = [cache_key(tree / "engine")]
    (core / "new.py").write_text("")
    keys.append(cache_key(tree / "engine"))
    (core / "new.py").rename(core / "newer.py")
    keys.append(cache_key(tree / "engine"))

    assert len(set(keys)) == 3


@pytest.mark.parametrize("setting", jit.SETTINGS)
def test_key_changes_with_the_settings_that_change_the_code(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.delenv(setting, raising=False)
    before = cache_key()

    monkeypatch.setenv(setting, "1")

    assert cache_key() != before


def test_cache_lies_where_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LECONG_CACHE", str(tmp_path))

    assert cache_directory() == tmp_path / "numba" / cache_key()


def test_cache_lies_beside_the_sources_where_they_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LECONG_CACHE", raising=False)
    monkeypatch.setattr(os, "access", lambda path, mode: True)

    assert cache_directory() == ENGINE.parent / ".cache" / "numba" / cache_key()


def test_cache_lies_with_the_user_where_the_sources_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LECONG_CACHE", raising=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache_directory() == tmp_path / "lecong" / "numba" / cache_key()


@pytest.mark.parametrize("bit", range(64))
def test_lowest_bit_of_a_word_compiled_and_interpreted(bit: int) -> None:
    word = (1 << bit) | (1 << 63)

    assert jit._lowest_bit_interpreted(word) == bit
