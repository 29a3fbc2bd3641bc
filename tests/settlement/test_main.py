"""The command line: what it prints, and its exit status."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from settlement.__main__ import as_object, main
from settlement.reconciliation import Check, Report


@pytest.fixture
def runner(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A shell whose database is migrated and empty, and whose engine is down."""
    monkeypatch.setenv("DATABASE_URL", postgres)
    monkeypatch.setenv("LECONG_DATA", str(tmp_path))
    return CliRunner()


def test_reconcile_says_that_the_engine_is_down_and_exits_2(runner: CliRunner) -> None:
    result = runner.invoke(main, ["reconcile"])

    assert result.exit_code == 2
    assert "the engine is down" in result.output


def test_migrate_may_be_run_again(runner: CliRunner) -> None:
    result = runner.invoke(main, ["migrate"])

    assert (result.exit_code, result.output) == (0, "the schema is up to date\n")


@pytest.mark.parametrize("subject", ["1", "nobody", "member:7"])
def test_a_ledger_without_entries_says_so(runner: CliRunner, subject: str) -> None:
    result = runner.invoke(main, ["ledger", subject])

    assert result.exit_code == 1
    assert f"no entries of '{subject}'" in result.output


def test_a_database_that_is_down_is_named_and_exits_2(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@/none?host=/nonexistent")

    result = runner.invoke(main, ["ledger", "1"])

    assert result.exit_code == 2
    assert "DatabaseDown: the database does not answer" in result.output


def test_a_report_is_plain_data() -> None:
    report = Report(7, (Check("money sums to 0", 3, ()), Check("ROUND is 0", 1, ("ROUND: 0 expected, 1",))))

    assert json.loads(json.dumps(as_object(report))) == {
        "reconciled": False,
        "sequence": 7,
        "checks": [
            {"name": "money sums to 0", "compared": 3, "differences": []},
            {"name": "ROUND is 0", "compared": 1, "differences": ["ROUND: 0 expected, 1"]},
        ],
    }
