"""The client's requests that are not orders: what goes through settlement, and what an operator may do.

Law: each is repeatable by its natural key, or says that it is not.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from gateway.client.connection import Connection
from gateway.messages import PAGE_ROWS_MAX

Amount = Decimal | str | int


class Office(Connection):
    """Members, lots, money, contracts, and the operator's commands, over one connection."""

    async def add_member(
        self, code: str, name: str, *, group: int = 0, keys: Sequence[tuple[str, Sequence[str]]] = ()
    ) -> int:
        """Admit a company; `keys`: (public key in hex, scopes). Returns its member number."""
        rows = [{"public_key": public_key, "scopes": list(scopes)} for public_key, scopes in keys]
        answer = await self.request("add_member", code=code, name=name, group=group, keys=rows)
        return int(answer["member"])

    async def register_lot(
        self, member: int, receipt: str, symbol: str, warehouse: str, units: int, amount: Amount, **more: str
    ) -> str:
        """Register goods of a warehouse receipt. Returns the lot's id."""
        answer = await self.request(
            "register_lot",
            member=member,
            receipt=receipt,
            instrument=symbol,
            warehouse=warehouse,
            units=units,
            quantity=str(amount),
            **dict[str, Any](more),
        )
        return str(answer["lot"])

    async def deposit(self, member: int, amount: Amount, reference: str) -> int:
        """Money in. Returns the engine's sequence."""
        answer = await self.request("deposit", member=member, amount=str(amount), reference=reference)
        return int(answer["sequence"])

    async def withdraw(self, member: int, amount: Amount, reference: str) -> int:
        """Money out. Returns the engine's sequence."""
        answer = await self.request("withdraw", member=member, amount=str(amount), reference=reference)
        return int(answer["sequence"])

    async def fetch_contracts(
        self, member: int | None = None, after: str = "0", limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Contracts after an id, all or at most `limit`, oldest first, as the exchange writes them."""
        fields: dict[str, Any] = {} if member is None else {"member": member}
        return await self._pages("contracts", "contracts", "contract", after, limit, **fields)

    async def fetch_entries(self, contract: str) -> list[dict[str, Any]]:
        """The ledger entries of a contract, as the exchange writes them."""
        entries: list[dict[str, Any]] = (await self.request("entries", contract=contract))["entries"]
        return entries

    async def set_phase(self, phase: str, symbol: str | None = None) -> int:
        """Open ("continuous"), halt or close one instrument or all. Returns the engine's sequence."""
        fields: dict[str, Any] = {} if symbol is None else {"instrument": symbol}
        return int((await self.request("set_phase", phase=phase, **fields))["sequence"])

    async def set_reference(self, symbol: str, price: Amount) -> int:
        """Set the reference price of a closed instrument. Returns the engine's sequence."""
        answer = await self.request("set_reference", instrument=symbol, price=str(price))
        return int(answer["sequence"])

    async def roll_day(self) -> int:
        """Begin the next day. Not repeated by itself: on NetworkError ask what day it is. Returns the
        sequence."""
        return int((await self.request("roll_day"))["sequence"])

    async def set_clock(self, time_ns: int) -> int:
        """Move a stepped clock. Returns the engine's sequence."""
        return int((await self.request("set_clock", time_ns=time_ns))["sequence"])

    async def block_account(self, member: int) -> int:
        """The kill switch: cancel a member's orders and refuse new ones. Returns how many were canceled."""
        return int((await self.request("block_account", member=member))["canceled"])

    async def release_account(self, member: int) -> int:
        """Let a blocked member trade again. Returns the engine's sequence."""
        return int((await self.request("release_account", member=member))["sequence"])

    async def bust_trade(self, contract: str, reason: str) -> dict[str, Any]:
        """Propose to reverse a trade, as the first of two operators. Returns the proposal."""
        bust: dict[str, Any] = (await self.request("bust_trade", contract=contract, reason=reason))["bust"]
        return bust

    async def confirm_bust(self, contract: str) -> int:
        """Confirm what another operator has proposed: the trade is reversed. Returns the sequence."""
        return int((await self.request("confirm_bust", contract=contract))["sequence"])

    async def reject_bust(self, contract: str) -> dict[str, Any]:
        """Drop a proposal. Not repeated by itself: on NetworkError ask for the proposals."""
        bust: dict[str, Any] = (await self.request("reject_bust", contract=contract))["bust"]
        return bust

    async def fetch_busts(self, after: str = "0", limit: int | None = None) -> list[dict[str, Any]]:
        """Proposals to reverse a trade and what became of them, as the exchange writes them."""
        return await self._pages("busts", "busts", "proposal", after, limit)

    async def _pages(
        self, op: str, rows: str, cursor: str, after: str = "0", limit: int | None = None, **fields: Any
    ) -> list[dict[str, Any]]:
        """All `rows` of `op` after one, or `limit` of them at most, asked for page by page."""
        found: list[dict[str, Any]] = []
        while limit is None or len(found) < limit:
            size = PAGE_ROWS_MAX if limit is None else min(PAGE_ROWS_MAX, limit - len(found))
            answer = await self.request(op, after=after, limit=size, **fields)
            found += answer[rows]
            if not answer["more"]:
                break
            after = found[-1][cursor]
        return found
