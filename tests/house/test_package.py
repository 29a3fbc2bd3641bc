"""What is installed is whole: pyproject.toml packs every file that is no Python, and no kind that is absent.

Nothing is built: setuptools compares each file's name with the patterns of package-data, folder by folder.
One below a package is a package too (`packages.find` takes namespaces). That is done here again.
"""

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from engine.instruments import INSTRUMENTS_CSV
from settlement.migrate import MIGRATIONS
from settlement.register import WAREHOUSES_CSV

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PYPROJECT["tool"]["setuptools"]
PATTERNS: list[str] = SETUPTOOLS["package-data"]["*"]
LEFT_BY_PYTHON = "__pycache__"


def packages() -> list[str]:
    """The top folders that are installed."""
    patterns = SETUPTOOLS["packages"]["find"]["include"]
    return sorted(
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and any(fnmatchcase(path.name, p) for p in patterns)
    )


def data_files() -> Iterator[Path]:
    """Every file of the packages that is no Python."""
    for package in packages():
        for path in sorted((ROOT / package).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(ROOT).parts)
            if path.is_file() and path.suffix != ".py" and LEFT_BY_PYTHON not in path.parts and not hidden:
                yield path


def is_packed(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def test_every_file_beside_the_code_is_packed() -> None:
    missing = [str(path.relative_to(ROOT)) for path in data_files() if not is_packed(path.name, PATTERNS)]

    assert missing == [], "add a pattern to package-data in pyproject.toml"


def test_every_pattern_packs_a_file() -> None:
    names = [path.name for path in data_files()]

    assert [pattern for pattern in PATTERNS if not any(is_packed(name, [pattern]) for name in names)] == []


def test_the_folders_that_are_packed_are_the_four_packages() -> None:
    assert packages() == ["engine", "gateway", "loadtest", "settlement"]


@pytest.mark.parametrize(
    "path", [INSTRUMENTS_CSV, WAREHOUSES_CSV, *sorted(MIGRATIONS.rglob("*.sql"))], ids=str
)
def test_what_the_programs_read_when_they_start_is_among_those_files(path: Path) -> None:
    assert path in set(data_files())
