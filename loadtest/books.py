"""What the books say at the end, read back from PostgreSQL through settlement: sales, balances, proofs.

Law: nothing here remembers what was sent; every figure is read. Sums are exact integers, averages half-up.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from engine import money as untyped_money
from engine.instruments import load_instruments
from engine.requests import ContractRow
from loadtest.scenarios.july_2015 import BEIJING, NS_PER_S, VAT_PERCENT
from settlement.ledger import KIND_BITS, KIND_MASK, Money
from settlement.queries import QUERIES
from settlement.reads import BalanceRow, Reader
from settlement.store import Connection

money: Any = untyped_money  # its functions read the same for ints and arrays, which no type says
PAGE: Final = 1000
ALL_ENTRIES: Final = 2**63 - 1


@dataclass(frozen=True)
class Sales:
    """Contracts added up."""

    kg: int
    contracts: int
    gross_fen: int
    vat_fen: int

    @property
    def average_fen_per_tonne(self) -> int:
        """Volume-weighted price: exact sums, then half-up (domain 5)."""
        return (self.gross_fen * 2000 + self.kg) // (2 * self.kg) if self.kg else 0


@dataclass(frozen=True)
class Books:
    """Everything that is printed."""

    contracts: tuple[ContractRow, ...]
    codes: dict[int, str]  # member code by number
    balances: dict[int, dict[str, int]]  # fen by kind of account, by member
    trial: tuple[BalanceRow, ...]

    @property
    def trial_fen(self) -> int:
        """The sum of the trial balance: 0, or the books are wrong."""
        return sum(row.balance_fen for row in self.trial)


async def read_books(dsn: str) -> Books:
    """Read everything. Raises settlement.store.StoreError."""
    connection = Connection(dsn)
    reader = Reader(connection)
    try:
        contracts: list[ContractRow] = []
        while page := await reader.contracts(0, contracts[-1].contract if contracts else 0, PAGE):
            contracts += page
        codes = {member.member: member.code for member in await reader.members()}
        balances: dict[int, dict[str, int]] = {}
        async with connection.transaction(readonly=True) as snapshot:
            for row in await snapshot.fetch(QUERIES["money_accounts"], ALL_ENTRIES):
                kind = Money(row["account"] & KIND_MASK).name
                balances.setdefault(row["account"] >> KIND_BITS, {})[kind] = row["kept"]
        return Books(tuple(contracts), codes, balances, await reader.trial_balance())
    finally:
        await connection.close()


def sales(contracts: Iterable[ContractRow]) -> Sales:
    """Add contracts up; VAT is inside each contract's amount (domain 5)."""
    kg = count = gross = vat = 0
    for contract in contracts:
        kg += contract.quantity_kg
        count += 1
        gross += contract.amount_fen
        vat += contract.amount_fen - money.net_of_vat_fen(contract.amount_fen, VAT_PERCENT)
    return Sales(kg, count, gross, vat)


def day_of(contract: ContractRow) -> date:
    """The trading day of a contract, in Beijing."""
    return datetime.fromtimestamp(contract.traded_ns // NS_PER_S, BEIJING).date()


def sales_rows(contracts: Sequence[ContractRow]) -> list[tuple[str, ...]]:
    """The table's rows as text: per day one per product, then the day's sum; at last the sum of all."""
    order = [product.code for product in load_instruments()]
    rows: list[tuple[str, ...]] = []
    for day in sorted({day_of(contract) for contract in contracts}):
        of_day = [contract for contract in contracts if day_of(contract) == day]
        for code in sorted({contract.instrument for contract in of_day}, key=order.index):
            rows.append(_row("", code, sales(each for each in of_day if each.instrument == code)))
        rows.append(_row(f"{day:%a %d %b %Y}", "all", sales(of_day)))
    rows.append(_row("together", f"{_rounded_tonnes(sales(contracts).kg)} t", sales(contracts)))
    return rows


def _row(day: str, product: str, sold: Sales) -> tuple[str, ...]:
    return (
        day,
        product,
        f"{Decimal(sold.kg) / 1000:,.3f}",
        str(sold.contracts),
        cny(sold.average_fen_per_tonne),
        cny(sold.gross_fen),
        cny(sold.vat_fen),
    )


def _rounded_tonnes(kg: int) -> int:
    return (kg + 500) // 1000


def fingerprint(rows: Sequence[tuple[str, ...]]) -> str:
    """A hash of the table, to compare two runs at a glance."""
    return hashlib.sha256("\n".join("|".join(row) for row in rows).encode()).hexdigest()[:16]


def cny(fen: int) -> str:
    """Fen as people write CNY."""
    return f"{Decimal(fen) / 100:,.2f}"


def print_books(console: Console, books: Books) -> None:
    """The days, the members' balances, the trial balance."""
    rows = sales_rows(books.contracts)
    vat = f"of which VAT {VAT_PERCENT} %"
    table = Table(
        "day", "product", "tonnes", "contracts", "VWAP CNY/t", "CNY gross", vat, title="Sales by day"
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row, style="bold" if row[0] else "", end_section=bool(row[0]))
    console.print(table)
    console.print(f"table {fingerprint(rows)}", highlight=False)
    console.print(_members(books))
    console.print(_trial(books))


def _members(books: Books) -> Table:
    """One line per member that traded, and one for all others."""
    table = Table("member", "TRADING", "DEPOSIT", "ESCROW", title="Members' balances, CNY")
    for column in table.columns[1:]:
        column.justify = "right"
    active = {party for contract in books.contracts for party in (contract.buyer, contract.seller)}
    others = [member for member in books.codes if member not in active]
    for member in sorted(active, key=lambda each: books.codes[each]):
        held = books.balances.get(member, {})
        table.add_row(
            books.codes[member], *(cny(held.get(kind, 0)) for kind in ("TRADING", "DEPOSIT", "ESCROW"))
        )
    totals = [
        sum(books.balances.get(member, {}).get(kind, 0) for member in others)
        for kind in ("TRADING", "DEPOSIT", "ESCROW")
    ]
    table.add_row(f"{len(others)} others", *(cny(total) for total in totals))
    return table


def _trial(books: Books) -> Table:
    table = Table("account", "debit", "credit", "balance", title="Trial balance, CNY", show_footer=True)
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[0].footer, table.columns[3].footer = "trial balance", cny(books.trial_fen)
    for row in books.trial:
        table.add_row(row.account, cny(row.debit_fen), cny(row.credit_fen), cny(row.balance_fen))
    return table
