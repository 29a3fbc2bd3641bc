"""What an empty exchange starts with, however often it is started."""

import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from settlement.sandbox import furnish, public_key
from tests.settlement.exchange import Exchange


async def test_a_newcomer_finds_an_operator_and_two_members_ready_to_trade(
    exchange: Exchange, tmp_path: Path
) -> None:
    await furnish(exchange.register, tmp_path, traders=True)

    members = {row.code: row for row in await exchange.reader.members()}
    assert {code: row.keys[0].scopes for code, row in members.items()} == {
        "operator": ("operate", "read", "settle"),
        "producer": ("read", "trade"),
        "buyer": ("read", "trade"),
    }
    assert [(row.instrument, row.quantity_kg) for row in await exchange.reader.lots()] == [
        ("RB20-12-SG", 29_880),
        ("HC5.75-LG", 27_850),
    ]
    assert sorted(exchange.engine.available.values()) == [0, 100_000_000, 100_000_000]


async def test_a_second_start_changes_nothing(exchange: Exchange, tmp_path: Path) -> None:
    await furnish(exchange.register, tmp_path, traders=True)
    sequence, keys = exchange.engine.tape.sequence, sorted(file.read_text() for file in tmp_path.iterdir())

    await furnish(exchange.register, tmp_path, traders=True)

    assert exchange.engine.tape.sequence == sequence
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == keys


async def test_a_start_that_was_killed_in_the_middle_is_completed(exchange: Exchange, tmp_path: Path) -> None:
    public_key(tmp_path / "operator.key")  # the file was written, the member not yet
    await furnish(exchange.register, tmp_path, traders=False)

    await furnish(exchange.register, tmp_path, traders=True)

    assert len(await exchange.reader.members()) == 3
    assert len(exchange.engine.lots) == 2


async def test_without_the_sandbox_there_is_the_operator_only(exchange: Exchange, tmp_path: Path) -> None:
    await furnish(exchange.register, tmp_path, traders=False)

    assert [row.code for row in await exchange.reader.members()] == ["operator"]
    assert [file.name for file in tmp_path.iterdir()] == ["operator.key"]


def test_a_key_file_is_private_and_holds_the_seed_of_its_public_key(tmp_path: Path) -> None:
    file = tmp_path / "operator.key"

    public = public_key(file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text()))
    assert private.public_key().public_bytes_raw().hex() == public == public_key(file)
