"""Every rule of engine/RULES.md is cited by a test; `python -m tests.house.test_rules` prints them all.

A test cites a rule by its docstring (`semantics B6`) or by its name (`test_b6_...`).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
RULES = TESTS.parent / "engine" / "RULES.md"
OF_MONEY = ("test_money.py", "test_holds.py")  # there E1 to E8 are golden numbers of the domain
NUMBER = r"[A-G]\d{1,2}"


def rules() -> dict[str, str]:
    """{number: text} of engine/RULES.md, in its order."""
    return dict(re.findall(rf"^- \*\*({NUMBER})\*\* (.*)$", RULES.read_text(encoding="utf-8"), re.MULTILINE))


def cited(test: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The rules that a test cites."""
    found = set(re.findall(rf"_({NUMBER.replace('A-G', 'a-g')})(?=_)", test.name))
    for place in re.findall(rf"semantics ((?:{NUMBER}(?:, )?)+)", ast.get_docstring(test) or ""):
        found |= set(re.findall(NUMBER, place))
    return {number.upper() for number in found}


def citations_of(path: Path) -> Iterator[tuple[str, set[str]]]:
    """(name, rules) of the tests of a file of the core's tests."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            numbers = cited(node)
            if path.name in OF_MONEY:
                numbers = {number for number in numbers if not number.startswith("E")}
            yield f"{path.relative_to(TESTS.parent)}::{node.name}", numbers


def coverage() -> dict[str, list[str]]:
    """{rule: tests that cite it}."""
    found: dict[str, list[str]] = {number: [] for number in rules()}
    for path in sorted((TESTS / "engine").rglob("test_*.py")):
        for name, numbers in citations_of(path):
            for number in numbers & found.keys():
                found[number].append(name)
    return found


def report() -> str:
    """Rule by rule: how many tests, and which."""
    found, lines = coverage(), []
    for number, text in rules().items():
        lines += [
            f"{number:>3} {len(found[number]):>3} tests  {text[:70]}",
            *(f"      {name}" for name in found[number]),
        ]
    total = sum(1 for names in found.values() if names)
    return "\n".join([*lines, f"{total} of {len(found)} rules are cited by a test"])


def test_every_rule_is_cited_by_a_test() -> None:
    silent = [number for number, names in coverage().items() if not names]

    print(report())
    assert silent == []


def test_the_rules_are_numbered_without_a_gap() -> None:
    for section in "ABCDEFG":
        numbers = [int(number[1:]) for number in rules() if number.startswith(section)]

        assert numbers == list(range(1, len(numbers) + 1)) != []


def test_the_rules_are_those_of_the_specification(lecong_shared: Path) -> None:
    text = (lecong_shared / "semantics.md").read_text(encoding="utf-8")
    asked = set(re.findall(rf"(?:^|\. )({NUMBER}) ", text, re.MULTILINE))

    assert set(rules()) == asked


if __name__ == "__main__":
    print(report())
