"""The statements of settlement/queries.sql over the tables in memory, one function per name.

Law: each does what its SQL says and returns what asyncpg would: rows for what reads, the command tag for what
writes.
"""

from collections.abc import Callable
from typing import Any, Final

import asyncpg
import msgspec

from settlement.busts import BustState
from settlement.ledger import KIND_MASK, Goods, Money
from tests.simulation.database import Fields, Transaction

Found = list[Fields]


def take_cursor(at: Transaction) -> Found:
    return at.rows("settlement_cursor")


def move_cursor(at: Transaction, *values: Any) -> str:
    before, after, events = values[:3], values[3:6], values[6]
    cursor = at.rows("settlement_cursor")[0]
    if (cursor["sequence"], cursor["epoch"], cursor["chain"]) != before:
        return "INSERT 0 0"
    fields = dict(zip(("sequence", "epoch", "chain"), after, strict=True))
    at.update("settlement_cursor", True, **fields)
    at.insert("batch", after[0], fields | {"events": events})
    return "INSERT 0 1"


def open_money_accounts(at: Transaction, accounts: list[int]) -> str:
    for account in accounts:
        at.insert("money_balance", account, {"account": account, "amount_fen": 0})
    return f"INSERT 0 {len(accounts)}"


def open_goods_accounts(at: Transaction, accounts: list[int]) -> str:
    for account in accounts:
        at.insert("goods_balance", account, {"account": account, "quantity_kg": 0})
    return f"INSERT 0 {len(accounts)}"


def move_money_balances(at: Transaction, accounts: list[int], amounts: list[int]) -> str:
    return _move(at, "money_balance", "amount_fen", accounts, amounts, lambda number: number == Money.BANK)


def move_goods_balances(at: Transaction, accounts: list[int], amounts: list[int]) -> str:
    def source(number: int) -> bool:
        return number & KIND_MASK == Goods.RECEIPT

    return _move(at, "goods_balance", "quantity_kg", accounts, amounts, source)


def _move(
    at: Transaction,
    table: str,
    column: str,
    accounts: list[int],
    amounts: list[int],
    source: Callable[[int], bool],
) -> str:
    moved = 0
    for account, amount in zip(accounts, amounts, strict=True):
        row = at.get(table, account)
        if row is not None:
            if row[column] + amount < 0 and not source(account):
                raise asyncpg.CheckViolationError(f"{table}: account {account} falls below 0")
            at.update(table, account, **{column: row[column] + amount})
            moved += 1
    return f"UPDATE {moved}"


def answer_outbox(
    at: Transaction, numbers: list[int], states: list[int], reasons: list[int], sequences: list[int]
) -> str:
    answered = 0
    for number, state, reason, sequence in zip(numbers, states, reasons, sequences, strict=True):
        row = at.get("outbox", number)
        if row is not None and row["state"] == 0:
            at.update("outbox", number, state=state, reason=reason, sequence=sequence)
            answered += 1
    return f"UPDATE {answered}"


def refuse_members(at: Transaction, numbers: list[int]) -> str:
    return _refuse(at, "member", numbers)


def refuse_lots(at: Transaction, numbers: list[int]) -> str:
    return _refuse(at, "lot", numbers)


def refuse_busts(at: Transaction, numbers: list[int]) -> str:
    found = [row for row in at.rows("bust") if row["outbox"] in numbers]
    for row in found:
        at.update("bust", row["proposal"], state=BustState.REFUSED)
    return f"UPDATE {len(found)}"


def bust_contracts(
    at: Transaction, contracts: list[int], numbers: list[int], entries: list[int], before: int, after: int
) -> str:
    moved = 0
    for contract, number, entry in zip(contracts, numbers, entries, strict=True):
        ordered = (contract, number, BustState.ORDERED)
        for row in at.rows("bust"):
            if (row["contract"], row["outbox"], row["state"]) == ordered:
                at.update("bust", row["proposal"], state=BustState.BUSTED, first_entry=entry)
                terms = at.get("contract", contract)
                if terms is not None and terms["state"] == before:
                    at.update("contract", contract, state=after)
                    moved += 1
    return f"UPDATE {moved}"


def find_bust(at: Transaction, contract: int) -> Found:
    lives = (BustState.PROPOSED, BustState.ORDERED, BustState.BUSTED)
    found = [row for row in at.rows("bust") if row["contract"] == contract and row["state"] in lives]
    return [row | {"decider": row["decider"] or ""} for row in found]


def next_bust(at: Transaction) -> Found:
    return [{"proposal": max([row["proposal"] for row in at.rows("bust")], default=0) + 1}]


def add_bust(at: Transaction, proposal: int, contract: int, proposer: str, reason: str) -> str:
    if find_bust(at, contract):
        raise asyncpg.UniqueViolationError(f"bust: contract {contract} waits already")
    fields = {"proposal": proposal, "contract": contract, "state": BustState.PROPOSED, "proposer": proposer}
    decided = {"reason": reason, "decider": None, "outbox": None, "first_entry": 0}
    at.insert("bust", proposal, fields | decided)
    return "INSERT 0 1"


def decide_bust(at: Transaction, proposal: int, state: int, decider: str, outbox: int | None) -> str:
    row = at.get("bust", proposal)
    if row is None or row["state"] != BustState.PROPOSED:
        return "UPDATE 0"
    at.update("bust", proposal, state=state, decider=decider, outbox=outbox)
    return "UPDATE 1"


def contract_terms(at: Transaction, contract: int) -> Found:
    row = at.get("contract", contract)
    return [row] if row is not None else []


CONTRACT: Final = (
    "contract", "instrument", "buyer", "seller", "lot", "price_fen_per_tonne", "quantity_kg", "amount_fen",
    "state", "traded_ns",
)  # fmt: skip


def contracts_of_everybody(at: Transaction, after: int, limit: int) -> Found:
    found = [row for row in at.rows("contract") if row["contract"] > after]
    return [{name: row[name] for name in CONTRACT} for row in found[:limit]]


def _refuse(at: Transaction, table: str, numbers: list[int]) -> str:
    found = [row for row in at.rows(table) if row["outbox"] in numbers]
    for row in found:
        at.update(table, row[table], refused=True)
    return f"UPDATE {len(found)}"


def last_outbox_number(at: Transaction) -> Found:
    return at.rows("outbox_counter")


def next_outbox_number(at: Transaction) -> Found:
    number = at.rows("outbox_counter")[0]["number"] + 1
    at.update("outbox_counter", True, number=number)
    return [{"number": number}]


def add_outbox(at: Transaction, number: int, command: bytes) -> str:
    fields = {"number": number, "state": 0, "reason": 0, "sequence": 0, "command": command}
    at.insert("outbox", number, fields)
    return "INSERT 0 1"


def outbox_waiting(at: Transaction, after: int, limit: int) -> Found:
    waiting = [row for row in at.rows("outbox") if row["state"] == 0 and row["number"] > after]
    return waiting[:limit]


def outbox_answer(at: Transaction, number: int) -> Found:
    row = at.get("outbox", number)
    return [row] if row is not None and row["state"] != 0 else []


def next_member(at: Transaction) -> Found:
    return [{"member": max([row["member"] for row in at.rows("member")], default=0) + 1}]


def next_lot(at: Transaction) -> Found:
    return [{"lot": max([row["lot"] for row in at.rows("lot")], default=0) + 1}]


def add_member(at: Transaction, member: int, code: str, name: str, group: int, outbox: int) -> str:
    if find_member_by_code(at, code):
        raise asyncpg.UniqueViolationError(f"member: code {code} stands already")
    fields = {"member": member, "code": code, "name": name, "group_of": group}
    at.insert("member", member, fields | {"outbox": outbox, "refused": False})
    return "INSERT 0 1"


def add_key(at: Transaction, public_key: str, member: int, scopes: list[str]) -> str:
    fields = {"public_key": public_key, "member": member, "scopes": scopes}
    at.insert("member_key", public_key, fields)
    return "INSERT 0 1"


LOT: Final = (
    "lot", "member", "receipt", "instrument", "warehouse", "units", "quantity_kg", "heat", "piece",
    "production_date", "quality", "certificate_sha256", "remark", "outbox",
)  # fmt: skip


def add_lot(at: Transaction, *values: Any) -> str:
    fields = dict(zip(LOT, values, strict=True))
    if find_lot_by_receipt(at, fields["receipt"]):
        raise asyncpg.UniqueViolationError(f"lot: receipt {fields['receipt']} stands already")
    at.insert("lot", fields["lot"], fields | {"refused": False})
    return "INSERT 0 1"


def add_bank_order(at: Transaction, reference: str, member: int, amount_fen: int, outbox: int) -> str:
    fields = {"reference": reference, "member": member, "amount_fen": amount_fen, "outbox": outbox}
    at.insert("bank_order", reference, fields)
    return "INSERT 0 1"


def find_member(at: Transaction, member: int) -> Found:
    row = at.get("member", member)
    return [row] if row is not None and not row["refused"] else []


def find_member_by_code(at: Transaction, code: str) -> Found:
    return [row for row in at.rows("member") if row["code"] == code and not row["refused"]]


def find_keys(at: Transaction, keys: list[str]) -> Found:
    return [row for row in at.rows("member_key") if row["public_key"] in keys]


def keys_of_member(at: Transaction, member: int) -> Found:
    return [row for row in at.rows("member_key") if row["member"] == member]


def find_lot_by_receipt(at: Transaction, receipt: str) -> Found:
    found = [row for row in at.rows("lot") if row["receipt"] == receipt and not row["refused"]]
    return [{name: row[name] for name in LOT} for row in found]


def find_lot_by_piece(at: Transaction, heat: str, piece: str) -> Found:
    found = (row for row in at.rows("lot") if (row["heat"], row["piece"]) == (heat, piece))
    return [row for row in found if heat and piece and not row["refused"]]


def find_bank_order(at: Transaction, reference: str) -> Found:
    row = at.get("bank_order", reference)
    return [row] if row is not None else []


def members(at: Transaction, numbers: list[int] | None) -> Found:
    found = []
    for row in _admitted(at, "member", numbers):
        keys = [[key["public_key"], key["scopes"]] for key in keys_of_member(at, row["member"])]
        fields = {name: row[name] for name in ("member", "code", "name", "group_of")}
        found.append(fields | {"keys": msgspec.json.encode(keys).decode()})
    return found


def lots(at: Transaction, numbers: list[int] | None) -> Found:
    names = ("lot", "member", "receipt", "instrument", "warehouse", "units", "quantity_kg")
    return [{name: row[name] for name in names} for row in _admitted(at, "lot", numbers)]


def _admitted(at: Transaction, table: str, numbers: list[int] | None) -> Found:
    found = []
    for row in at.rows(table):
        command = at.get("outbox", row["outbox"])
        if command is not None and command["state"] == 1 and (numbers is None or row["outbox"] in numbers):
            found.append(row)
    return found


READING: Final[tuple[Callable[..., Any], ...]] = (
    outbox_waiting, outbox_answer, next_member, next_lot, find_member, find_member_by_code,
    find_keys, keys_of_member, find_lot_by_receipt, find_lot_by_piece, find_bank_order, members, lots,
    find_bust, next_bust, contract_terms, contracts_of_everybody,
)  # fmt: skip
CHANGING: Final[tuple[Callable[..., Any], ...]] = (
    take_cursor, move_cursor, open_money_accounts, open_goods_accounts, move_money_balances,
    move_goods_balances, answer_outbox, refuse_members, refuse_lots, refuse_busts, last_outbox_number,
    next_outbox_number, add_outbox, add_member, add_key, add_lot, add_bank_order, bust_contracts,
    add_bust, decide_bust,
)  # fmt: skip
STATEMENTS: Final = {function.__name__: function for function in (*READING, *CHANGING)}
WRITING: Final = frozenset(function.__name__ for function in CHANGING)
