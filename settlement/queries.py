"""Loads the SQL of queries.sql: statements stand in the file under `-- name: ...`, nowhere in the code.

>>> QUERIES["read_cursor"].startswith("SELECT sequence")
True
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

MARK: Final = "-- name: "


def load(text: str) -> dict[str, str]:
    """{name: statement} of a file of named statements. Raises ValueError for a name that stands twice."""
    queries: dict[str, str] = {}
    for block in text.split(MARK)[1:]:
        name, _, statement = block.partition("\n")
        if name.strip() in queries:
            raise ValueError(f"query {name.strip()} stands twice")
        queries[name.strip()] = statement.strip()
    return queries


QUERIES: Final[Mapping[str, str]] = load(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))
