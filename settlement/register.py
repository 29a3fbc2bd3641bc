"""The register: members and keys, lots against receipts, money in and out (domain 1, domain 4 P0).

    request ─▶ form ─▶ [transaction: repeat? ─▶ free? ─▶ rows + outbox] ─▶ engine ─▶ posted ─▶ answer

Law: a request is answered when the engine's event for it stands in the books, and a repeat gets the first
answer. The register refuses a second registration of a receipt, or of a heat with a piece number: the
repeated pledge of 2012.

    Refusal    carries the Failure that the client gets; nothing was written
"""

import csv
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from engine.instruments import Instrument, load_instruments
from engine.records import Records, commands_of
from engine.requests import AddMember, Answer, Deposit, Failure, Key, RegisterLot, Withdraw
from engine.vocabulary import AMOUNT_MAX_FEN, QUANTITY_MAX_KG, Command, Mode, Reason, wire_name
from settlement import outbox as engine_outbox
from settlement.outbox import Answered, Outbox
from settlement.queries import QUERIES
from settlement.store import Connection

ANSWER_S: Final = 10.0
CODE: Final = re.compile(r"[a-z0-9_-]{1,32}")
PUBLIC_KEY: Final = re.compile(r"[0-9a-f]{64}")
SHA256_HEX: Final = re.compile(r"([0-9a-f]{64})?")
KEYS_MAX: Final = 16
NAME_MAX: Final = 200
REFERENCE_MAX: Final = 64  # of receipts, heats, pieces, bank references
REMARK_MAX: Final = 500
UNITS_MAX: Final = 1_000_000
WAREHOUSES_CSV: Final = Path(__file__).with_name("warehouses.csv")


class Refusal(Exception):
    """A request that is not granted."""

    def __init__(self, code: str, message: str, field: str = "", *, retry: bool = False) -> None:
        """A stable code, what to do, the field it is about, whether the same request may succeed later."""
        super().__init__(message)
        self.failure = Failure(code=code, message=message, field=field, retry=retry)


def load_warehouses() -> frozenset[str]:
    """The codes of warehouses.csv."""
    with WAREHOUSES_CSV.open(encoding="utf-8", newline="") as file:
        return frozenset(row["code"] for row in csv.DictReader(file))


class Register:
    """Grants or refuses; one request at a time writes, in the order of outbox numbers."""

    def __init__(self, connection: Connection, outbox: Outbox, answer_s: float = ANSWER_S) -> None:
        """Write through `connection`; what the engine does goes through `outbox`, within `answer_s`."""
        self._connection = connection
        self._outbox = outbox
        self._answer_s = answer_s
        self._instruments: Mapping[str, Instrument] = {row.code: row for row in load_instruments()}
        self._warehouses = load_warehouses()

    async def add_member(self, request: AddMember) -> Answer:
        """Admit a company: member, keys and OPEN_ACCOUNT in one transaction. Raises Refusal, StoreError."""
        _check_member(request)
        async with self._connection.transaction() as connection:
            await connection.fetchval(QUERIES["last_outbox_number"])
            known = await connection.fetchrow(QUERIES["find_member_by_code"], request.code)
            if known is not None:
                await _check_repeat(connection, request, known)
                member, number = known["member"], known["outbox"]
            else:
                member, number = await _insert_member(connection, request)
        await until_applied(self._outbox, number, self._answer_s)
        return Answer(id=request.id, member=member)

    async def register_lot(self, request: RegisterLot) -> Answer:
        """Register goods: lot and REGISTER_LOT in one transaction. Raises Refusal, StoreError."""
        instrument = self._check_lot(request)
        async with self._connection.transaction() as connection:
            await connection.fetchval(QUERIES["last_outbox_number"])
            await _check_member_exists(connection, request.member)
            known = await connection.fetchrow(QUERIES["find_lot_by_receipt"], request.receipt)
            if known is not None:
                lot, number = known["lot"], known["outbox"]
                if tuple(known) != (*_lot_row(request, lot, instrument), number):
                    message = f"the receipt backs lot {lot} already, with other content"
                    raise Refusal("receipt_registered", message, "receipt")
            else:
                lot, number = await _insert_lot(connection, request, instrument)
        await until_applied(self._outbox, number, self._answer_s)
        return Answer(id=request.id, lot=lot)

    async def deposit(self, request: Deposit) -> Answer:
        """Money in (P0). Raises Refusal, StoreError."""
        return await self._bank_order(request, Command.DEPOSIT, request.amount_fen)

    async def withdraw(self, request: Withdraw) -> Answer:
        """Money out, as far as the engine has it free (P0 reversed). Raises Refusal, StoreError."""
        return await self._bank_order(request, Command.WITHDRAW, -request.amount_fen)

    async def _bank_order(self, request: Deposit | Withdraw, kind: Command, amount_fen: int) -> Answer:
        check_text("reference", request.reference, REFERENCE_MAX)
        _check_range("amount_fen", request.amount_fen, AMOUNT_MAX_FEN)
        async with self._connection.transaction() as connection:
            await connection.fetchval(QUERIES["last_outbox_number"])
            await _check_member_exists(connection, request.member)
            known = await connection.fetchrow(QUERIES["find_bank_order"], request.reference)
            if known is None:
                command = commands_of(
                    {"kind": kind, "account": request.member, "amount_fen": request.amount_fen}
                )
                number = await engine_outbox.add(connection, command)
                await connection.execute(
                    QUERIES["add_bank_order"], request.reference, request.member, amount_fen, number
                )
            elif (known["member"], known["amount_fen"]) != (request.member, amount_fen):
                raise Refusal(
                    "reference_used", "the bank reference was used for another payment", "reference"
                )
            else:
                number = known["outbox"]
        answered = await until_applied(self._outbox, number, self._answer_s)
        return Answer(id=request.id, sequence=answered.sequence)

    def _check_lot(self, request: RegisterLot) -> Instrument:
        """Raise Refusal unless the lot's description is sound; return its instrument."""
        instrument = self._instruments.get(request.instrument)
        if instrument is None:
            raise Refusal("unknown_instrument", f"no instrument {request.instrument!r}", "instrument")
        if request.warehouse not in self._warehouses:
            raise Refusal("unknown_warehouse", f"no warehouse {request.warehouse!r}", "warehouse")
        check_text("receipt", request.receipt, REFERENCE_MAX)
        _check_range("units", request.units, UNITS_MAX)
        _check_range("quantity_kg", request.quantity_kg, QUANTITY_MAX_KG)
        expected_kg = request.units * instrument.unit_weight_kg
        if instrument.mode is Mode.BOOK and request.quantity_kg != expected_kg:
            raise Refusal(
                "quantity_inconsistent",
                f"{request.units} {instrument.unit} of {instrument.unit_weight_kg} kg weigh {expected_kg} kg",
                "quantity_kg",
            )
        for field in ("heat", "piece"):
            check_text(field, getattr(request, field), REFERENCE_MAX, empty=True)
        check_text("remark", request.remark, REMARK_MAX, empty=True)
        if not SHA256_HEX.fullmatch(request.certificate_sha256):
            raise Refusal("invalid_value", "send 64 lower-case hex digits", "certificate_sha256")
        _production_date(request)
        return instrument


async def until_applied(outbox: Outbox, number: int, seconds: float) -> Answered:
    """Wait until the engine's answer stands in the books. Raises Refusal if it is no or late."""
    outbox.notice()
    answered = await outbox.answer(number, seconds)
    if answered is None:
        raise Refusal(
            "engine_unavailable",
            "the request is kept and will be carried out; repeat it to learn the outcome",
            retry=True,
        )
    if not answered.applied:
        code = wire_name(Reason(answered.reason))
        raise Refusal(code, f"the engine refused: {code.replace('_', ' ')}")
    return answered


def _check_member(request: AddMember) -> None:
    """Raise Refusal unless the request is well formed."""
    if not CODE.fullmatch(request.code):
        raise Refusal("invalid_value", "a code is 1-32 characters of a-z 0-9 - _", "code")
    check_text("name", request.name, NAME_MAX)
    if len(request.keys) > KEYS_MAX:
        raise Refusal("invalid_value", f"a member has at most {KEYS_MAX} keys", "keys")
    if any(not PUBLIC_KEY.fullmatch(key.public_key) or not key.scopes for key in request.keys):
        raise Refusal("invalid_value", "a key is 64 lower-case hex digits with at least one scope", "keys")
    if len({key.public_key for key in request.keys}) != len(request.keys):
        raise Refusal("key_exists", "the same key stands twice", "keys")


def check_text(field: str, value: str, longest: int, *, empty: bool = False) -> None:
    """Raise Refusal unless the text is printable and of permitted length."""
    if not (empty or value.strip()) or len(value) > longest or not value.isprintable():
        raise Refusal("invalid_value", f"{field} is 1-{longest} printable characters", field)


def _check_range(field: str, value: int, greatest: int) -> None:
    if not 0 < value <= greatest:
        raise Refusal("invalid_value", f"{field} lies between 1 and {greatest}", field)


def _production_date(request: RegisterLot) -> date | None:
    try:
        return date.fromisoformat(request.production_date) if request.production_date else None
    except ValueError:
        raise Refusal("invalid_value", "a date is YYYY-MM-DD", "production_date") from None


async def _check_repeat(connection: Any, request: AddMember, known: Any) -> None:
    """Raise Refusal unless the request repeats the member of its code word for word."""
    rows = await connection.fetch(QUERIES["keys_of_member"], known["member"])
    stored = {(row["public_key"], frozenset(row["scopes"])) for row in rows}
    asked = {(key.public_key, frozenset(key.scopes)) for key in request.keys}
    if (known["name"], known["group_of"], stored) != (request.name, request.group, asked):
        raise Refusal("member_exists", "the code belongs to a member with other content", "code")


async def _insert_member(connection: Any, request: AddMember) -> tuple[int, int]:
    """Write a new member; returns its number and that of its OPEN_ACCOUNT."""
    if request.group:
        await _check_member_exists(connection, request.group, "group")
    taken = await connection.fetch(QUERIES["find_keys"], [key.public_key for key in request.keys])
    if taken:
        raise Refusal("key_exists", "a key belongs to one member only", "keys")
    member = await connection.fetchval(QUERIES["next_member"])
    command = commands_of({"kind": Command.OPEN_ACCOUNT, "account": member, "group": request.group})
    number = await engine_outbox.add(connection, command)
    await connection.execute(QUERIES["add_member"], member, request.code, request.name, request.group, number)
    await connection.executemany(QUERIES["add_key"], [_key_row(key, member) for key in request.keys])
    return member, number


def _key_row(key: Key, member: int) -> tuple[str, int, list[str]]:
    return key.public_key, member, sorted(set(key.scopes))


async def _check_member_exists(connection: Any, member: int, field: str = "member") -> None:
    known = 0 < member < 2**31 and await connection.fetchval(QUERIES["find_member"], member)
    if not known:
        raise Refusal("unknown_member", f"no member {member}", field)


async def _insert_lot(connection: Any, request: RegisterLot, instrument: Instrument) -> tuple[int, int]:
    """Write a new lot; returns its number and that of its REGISTER_LOT; no piece twice (domain 1)."""
    pledged = await connection.fetchval(QUERIES["find_lot_by_piece"], request.heat, request.piece)
    if pledged is not None:
        message = f"this piece of the heat is registered as lot {pledged} already"
        raise Refusal("piece_registered", message, "piece")
    lot = await connection.fetchval(QUERIES["next_lot"])
    number = await engine_outbox.add(connection, _register_command(request, lot, instrument))
    await connection.execute(QUERIES["add_lot"], *_lot_row(request, lot, instrument), number)
    return lot, number


def _register_command(request: RegisterLot, lot: int, instrument: Instrument) -> Records:
    return commands_of(
        {
            "kind": Command.REGISTER_LOT,
            "account": request.member,
            "instrument": instrument.number,
            "lot": lot,
            "quantity_kg": request.quantity_kg,
        }
    )


def _lot_row(request: RegisterLot, lot: int, instrument: Instrument) -> tuple[Any, ...]:
    """The lot's columns in the order of the query add_lot, without the outbox number."""
    return (
        lot,
        request.member,
        request.receipt,
        instrument.number,
        request.warehouse,
        request.units,
        request.quantity_kg,
        request.heat,
        request.piece,
        _production_date(request),
        request.quality,
        request.certificate_sha256,
        request.remark,
    )
