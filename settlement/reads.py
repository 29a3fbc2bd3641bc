"""Everything that settlement reads for others: contracts, entries, the directory, the trial balance.

Law: reading changes nothing; what belongs together is read in one REPEATABLE READ transaction.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from engine.instruments import load_instruments
from engine.requests import ContractRow, EntryRow, Key, LotRow, MemberRow
from engine.vocabulary import wire_name
from settlement.contracts import TERMS, State, texts
from settlement.ledger import MEMBER_MONEY, SEQUENCE_SHIFT, Goods, Money, Posting, account, account_name
from settlement.queries import QUERIES
from settlement.store import Connection

ROWS_MAX: Final = 1001  # a page of the gateway, and the row that tells whether there are more


class BalanceRow(NamedTuple):
    """One line of the trial balance: a kind of account, what left it, what arrived, and the difference."""

    account: str
    debit_fen: int
    credit_fen: int

    @property
    def balance_fen(self) -> int:
        """What arrived minus what left."""
        return self.credit_fen - self.debit_fen


class TransitionRow(NamedTuple):
    """One state that a contract entered."""

    state: str
    attempt: int
    entered_ns: int


class Reader:
    """Reads through one connection of its own."""

    def __init__(self, connection: Connection) -> None:
        """Read through `connection`."""
        self._connection = connection

    async def _fetch(self, query: str, *arguments: Any) -> list[Any]:
        async with self._connection.transaction(readonly=True) as connection:
            rows: list[Any] = await connection.fetch(QUERIES[query], *arguments)
            return rows

    async def contracts(self, member: int, after: int, limit: int) -> tuple[ContractRow, ...]:
        """Up to `limit` contracts of a member (0: of everybody) with a number above `after`, oldest first."""
        limit = max(1, min(limit, ROWS_MAX))
        if member:
            rows = await self._fetch("contracts_of_member", after, limit, member)
        else:
            rows = await self._fetch("contracts_of_everybody", after, limit)
        return tuple(_contract(row) for row in rows)

    async def entries(self, contract: int) -> tuple[EntryRow, ...]:
        """The entries of one contract, money and goods; none for an unknown contract."""
        return entry_rows(await self._fetch("entries_of_contract", contract))

    async def entries_of_member(self, member: int, limit: int = ROWS_MAX) -> tuple[EntryRow, ...]:
        """The newest money entries of a member's accounts."""
        accounts = [account(member, kind) for kind in MEMBER_MONEY]
        return entry_rows(await self._fetch("entries_of_accounts", accounts, limit))

    async def contract_text(self, contract: int) -> tuple[str, str] | None:
        """The canonical text of a contract and its stored hash; None for an unknown one (domain 3)."""
        rows = await self._fetch("contract_terms", contract)
        if not rows:
            return None
        text = texts({name: rows[0][name] for name, _ in TERMS}, 1).tobytes().decode("ascii")
        return text, rows[0]["terms_sha256"].hex()

    async def transitions(self, contract: int) -> tuple[TransitionRow, ...]:
        """The states that a contract has entered, in order."""
        rows = await self._fetch("transitions_of_contract", contract)
        return tuple(
            TransitionRow(wire_name(State(row["state"])), row["attempt"], row["entered_ns"]) for row in rows
        )

    async def member_number(self, code: str) -> int | None:
        """The member with this code."""
        rows = await self._fetch("find_member_by_code", code)
        return rows[0]["member"] if rows else None

    async def members(self, outbox: list[int] | None = None) -> tuple[MemberRow, ...]:
        """Admitted members: all, or those that these outbox numbers admitted."""
        return tuple(_member(row) for row in await self._fetch("members", outbox))

    async def lots(self, outbox: list[int] | None = None) -> tuple[LotRow, ...]:
        """Registered lots: all, or those that these outbox numbers registered."""
        codes = [instrument.code for instrument in load_instruments()]
        rows = await self._fetch("lots", outbox)
        return tuple(LotRow(**(dict(row) | {"instrument": codes[row["instrument"]]})) for row in rows)

    async def trial_balance(self) -> tuple[BalanceRow, ...]:
        """Debit and credit of every kind of money account that was used; the balances sum to 0 (domain 4)."""
        rows = await self._fetch("trial_balance")
        return tuple(BalanceRow(Money(row["kind"]).name, row["debit"], row["credit"]) for row in rows)


def _contract(row: Any) -> ContractRow:
    fields = dict(row)
    fields["instrument"] = load_instruments()[fields["instrument"]].code
    fields["state"] = wire_name(State(fields["state"]))
    return ContractRow(**fields)


def entry_rows(rows: Iterable[Any]) -> tuple[EntryRow, ...]:
    """Ledger rows in words."""
    return tuple(
        EntryRow(
            entry=row["entry"],
            posting=Posting(row["posting"]).name,
            unit=row["unit"],
            debit=account_name(row["debit"], Money if row["unit"] == "fen" else Goods),
            credit=account_name(row["credit"], Money if row["unit"] == "fen" else Goods),
            amount=row["amount"],
            sequence=row["entry"] >> SEQUENCE_SHIFT,
        )
        for row in rows
    )


def _member(row: Any) -> MemberRow:
    keys = msgspec.json.decode(row["keys"], type=tuple[tuple[str, tuple[str, ...]], ...])
    return MemberRow(
        member=row["member"],
        code=row["code"],
        name=row["name"],
        group=row["group_of"],
        keys=msgspec.convert(
            [{"public_key": key, "scopes": scopes} for key, scopes in keys], tuple[Key, ...]
        ),
    )
