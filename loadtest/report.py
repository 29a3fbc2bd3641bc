"""A load's result for people."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

LATENCIES: Final = {
    "order_to_durable_acknowledgement": "order to durable acknowledgement",
    "order_to_fill": "order to fill",
    "generator_lag": "the generator's own lag",
}


def print_load(console: Console, result: dict[str, Any]) -> None:
    """Latencies, errors, accounting, reconciliation."""
    table = Table(title="Latency from the intended send time, milliseconds")
    columns = list(result["generator_lag"])
    table.add_column("")
    for column in columns:
        table.add_column(column.removesuffix("_ms"), justify="right")
    for key, name in LATENCIES.items():
        figures = result[key]
        table.add_row(name, *(_figure(column, figures[column]) for column in columns))
    console.print(table)
    console.print(
        f"sent {result['sent']:,}, answered {result['answered']:,}, no connection for {result['unsent']:,}"
    )
    errors = ", ".join(f"{code} {count:,}" for code, count in result["errors"].items())
    console.print(f"errors by code: {errors or 'none'}")
    account = result["accounting"]
    console.print(
        f"accounted for: {account['acknowledged']:,} acknowledged, {account['rejected']:,} rejected, "
        f"{account['unanswered']:,} unanswered ({account['unanswered_but_done']:,} of them done), "
        f"{account['fills']:,} fills, {account['contracts']:,} contracts"
    )
    for finding in account["findings"]:
        console.print(f"DOES NOT FIT: {finding}", markup=False)
    console.print(verdict(result))


def _figure(column: str, value: float) -> str:
    return f"{value:,}" if column == "count" else f"{value:,.2f}"


def verdict(result: dict[str, Any]) -> str:
    """One line: whether nothing is missing, nothing doubled, and the books agree."""
    proof = result["reconciliation"]
    words = {True: "reconciled", False: f"NOT RECONCILED: {proof.get('differing')}"}
    books = words.get(proof["reconciled"], f"not reconciled here: {proof.get('reason')}")
    whole = "nothing missing, nothing doubled" if result["accounting"]["holds"] else "NOT ACCOUNTED FOR"
    return f"{whole}; {books}"


def holds(result: dict[str, Any]) -> bool:
    """Whether the load's proof succeeded; a reconciliation that could not be made is not held against it."""
    return bool(result["accounting"]["holds"]) and result["reconciliation"]["reconciled"] is not False
