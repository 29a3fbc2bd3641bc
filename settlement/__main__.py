"""`python -m settlement`: serve, migrate, reconcile, ledger. Exit status 2: it cannot run.

The database is DATABASE_URL or, without it, the embedded one of LECONG_DATA (python -m settlement.database).
"""

import json
import sys
from collections.abc import Coroutine
from typing import Any, Final

import click
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from engine.location import Location, LocationError
from engine.requests import EntryRow
from settlement.clearing import ClearingFault
from settlement.database import DatabaseError, dsn
from settlement.reads import Reader
from settlement.reconciliation import ReconciliationError, Report, reconcile_location
from settlement.settler import EngineRegressed
from settlement.store import Connection, StoreError

CANNOT_RUN: Final = 2
DIFFERENCES: Final = 1
FEN_PER_CNY: Final = 100
NAMED: Final = (
    LocationError,
    DatabaseError,
    StoreError,
    ClearingFault,
    EngineRegressed,
    ReconciliationError,
)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; a named error becomes its message and exit status 2."""
    try:
        return uvloop.run(work)
    except NAMED as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(CANNOT_RUN)


@click.group()
def main() -> None:
    """Settlement: contracts, ledger, register."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], bool_as_flag=False
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@main.command()
def serve() -> None:
    """Post the engine's events and answer the gateways until a signal."""
    from settlement.service import serve as run_service  # here: alembic takes a second to import

    location = Location.from_environment()
    _run(run_service(location, dsn(location)))


@main.command()
def migrate() -> None:
    """Bring the database's schema to this version."""
    from settlement.migrate import migrate as run_migrations

    _run(run_migrations(dsn(Location.from_environment())))
    click.echo("the schema is up to date")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reconcile(as_json: bool) -> None:
    """Compare the ledger with the engine and with itself; exit status 1 if anything differs."""
    location = Location.from_environment()
    report: Report = _run(reconcile_location(location, dsn(location)))
    if as_json:
        click.echo(json.dumps(as_object(report), ensure_ascii=False))
    else:
        _print_report(report)
    sys.exit(0 if report.reconciled else DIFFERENCES)


@main.command()
@click.argument("subject")
def ledger(subject: str) -> None:
    """Print the entries of a contract (its number) or of a member (its code, or member:NUMBER)."""
    rows = _run(_entries(subject))
    if not rows:
        click.echo(f"no entries of {subject!r}", err=True)
        sys.exit(DIFFERENCES)
    table = Table("entry", "posting", "debit", "credit", "amount", "unit", "sequence")
    for row in rows:
        amount, unit = _amount(row)
        table.add_row(str(row.entry), row.posting, row.debit, row.credit, amount, unit, str(row.sequence))
    Console().print(table)


def as_object(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "reconciled": report.reconciled,
        "sequence": report.sequence,
        "checks": [
            {"name": check.name, "compared": check.compared, "differences": list(check.differences)}
            for check in report.checks
        ],
    }


def _print_report(report: Report) -> None:
    console = Console()
    table = Table("check", "compared", "")
    for check in report.checks:
        table.add_row(check.name, str(check.compared), "[green]holds" if check.holds else "[red]DIFFERS")
    console.print(table)
    for check in report.checks:
        for difference in check.differences:
            console.print(f"{check.name}: {difference}", markup=False)
    word = "reconciled" if report.reconciled else "NOT RECONCILED"
    console.print(f"{word} at sequence {report.sequence}")


async def _entries(subject: str) -> tuple[EntryRow, ...]:
    connection = Connection(dsn(Location.from_environment()))
    try:
        reader = Reader(connection)
        if subject.isdecimal():
            return await reader.entries(int(subject))
        name = subject.removeprefix("member:")
        member = int(name) if name.isdecimal() else await reader.member_number(name)
        return await reader.entries_of_member(member) if member else ()
    finally:
        await connection.close()


def _amount(row: EntryRow) -> tuple[str, str]:
    """An amount in CNY or kilograms, as people write it."""
    if row.unit == "kg":
        return f"{row.amount:,}", "kg"
    return f"{row.amount // FEN_PER_CNY:,}.{row.amount % FEN_PER_CNY:02}", "CNY"


if __name__ == "__main__":
    main()
