"""engine/RECOVERY.md names every message with which the engine refuses to start, stops, warns or finds fault,
and no other.

A message is known by its longest piece of plain text: the page must have it, word for word, and so must the
program.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import blocks, calendar, location, settings, snapshot  # noqa: F401 - their classes are the family
from engine.inspection import ToolError

ENGINE = Path(__file__).parents[2] / "engine"
FAMILIES = (
    blocks.LogError,
    location.LocationError,
    settings.SettingsError,
    calendar.CalendarError,
    ToolError,
)
SHORTEST = 10  # characters of a piece that says something


def family() -> set[str]:
    """The names of every class of the engine's failures."""
    found, waiting = set(), list(FAMILIES)
    while waiting:
        kind = waiting.pop()
        found.add(kind.__name__)
        waiting.extend(kind.__subclasses__())
    return found


def pieces(node: ast.expr) -> list[str]:
    """The pieces of plain text of a message."""
    if isinstance(node, ast.JoinedStr):
        return [str(part.value) for part in node.values if isinstance(part, ast.Constant)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def messages() -> Iterator[tuple[str, str]]:
    """(where, longest piece) of every failure raised, and of every error told to the operator."""
    names = family()
    for path in sorted(ENGINE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func
            raised = isinstance(called, ast.Name) and called.id in names
            told = isinstance(called, ast.Attribute) and called.attr in ("error", "warning", "info", "find")
            if (raised or told) and (found := pieces(node.args[0])):
                yield f"{path.name}:{node.lineno}", max(found, key=len).strip(" ():;,.")


def page() -> str:
    return " ".join((ENGINE / "RECOVERY.md").read_text().split())


@pytest.mark.parametrize(("where", "text"), [*messages()], ids=[where for where, _ in messages()])
def test_the_runbook_has_the_message(where: str, text: str) -> None:
    assert len(text) >= SHORTEST, f"{where}: a message says something"
    assert " ".join(text.split()) in page(), f"{where}: engine/RECOVERY.md does not have {text!r}"


def quoted() -> Iterator[str]:
    """The longest piece of every message in the tables of messages and findings."""
    in_table = False
    for line in (ENGINE / "RECOVERY.md").read_text().splitlines():
        in_table = line.startswith("|") and (in_table or line.startswith(("| message |", "| finding |")))
        for message in re.findall("`([^`]+)`", line.split("|")[1]) if in_table else ():
            found = [piece.strip(" ():;,.") for piece in re.split(r"…(?:, …)*", message)]
            if len(max(found, key=len)) >= SHORTEST:
                yield max(found, key=len)


def said() -> str:
    """Every piece of plain text of the engine, `\\0` for what a message fills in."""
    texts = []
    for path in sorted(ENGINE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


SAID = said()


@pytest.mark.parametrize("text", sorted(set(quoted())))
def test_the_program_says_what_the_runbook_has(text: str) -> None:
    assert text in SAID, f"engine/RECOVERY.md has {text!r}, which no module says"


@pytest.mark.parametrize("name", sorted(family()))
def test_the_runbook_has_the_class(name: str) -> None:
    assert f"`{name}`" in page()
