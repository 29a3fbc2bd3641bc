"""What an empty exchange starts with: its operator, and a producer and a buyer ready to trade.

Law: everything goes through the register, with fixed codes, receipts and bank references, and each key file
is written before its member; so a start that was killed in the middle is completed by the next one.
"""

import os
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.requests import AddMember, Deposit, Key, RegisterLot, Scope
from settlement.register import Register

SEED_BYTES: Final = 32
OPENING_DEPOSIT_FEN: Final = 100_000_000  # 1,000,000.00 CNY
MEMBERS: Final[tuple[tuple[str, str, tuple[Scope, ...]], ...]] = (
    ("operator", "Lecong operator", ("operate", "settle", "read")),
    ("producer", "Sandbox producer", ("read", "trade")),
    ("buyer", "Sandbox buyer", ("read", "trade")),
)
# (receipt, instrument, warehouse, units, kilograms, heat, piece): domain 6, E1 and E2.
LOTS: Final = (
    ("SANDBOX-0001", "RB20-12-SG", "LC-SW-A", 12, 29_880, "", ""),
    ("SANDBOX-0002", "HC5.75-LG", "LC-SW-B", 1, 27_850, "SANDBOX", "1"),
)

log = structlog.get_logger("sandbox")


def public_key(file: Path) -> str:
    """The public key (hex) of the private one in `file`, which is made (mode 0600) if missing."""
    try:
        seed = bytes.fromhex(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        seed = os.urandom(SEED_BYTES)
        temporary = file.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(seed.hex() + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        temporary.rename(file)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


async def furnish(register: Register, keys: Path, *, traders: bool) -> None:
    """Admit the operator; with `traders` a producer with two lots and a buyer with money. Raises Refusal."""
    numbers: dict[str, int] = {}
    for code, name, scopes in MEMBERS if traders else MEMBERS[:1]:
        key = Key(public_key=public_key(keys / f"{code}.key"), scopes=scopes)
        answer = await register.add_member(AddMember(id=0, code=code, name=name, keys=(key,)))
        assert answer.member is not None
        numbers[code] = answer.member
        log.info("member", code=code, member=answer.member, key=str(keys / f"{code}.key"))
    if traders:
        await _endow(register, numbers)


async def _endow(register: Register, numbers: dict[str, int]) -> None:
    """Money for both traders, lots for the producer."""
    for code in ("producer", "buyer"):
        await register.deposit(
            Deposit(id=0, member=numbers[code], amount_fen=OPENING_DEPOSIT_FEN, reference=f"sandbox-{code}")
        )
    for receipt, instrument, warehouse, units, quantity_kg, heat, piece in LOTS:
        request = RegisterLot(
            id=0,
            member=numbers["producer"],
            receipt=receipt,
            instrument=instrument,
            warehouse=warehouse,
            units=units,
            quantity_kg=quantity_kg,
            heat=heat,
            piece=piece,
        )
        await register.register_lot(request)
