"""The copy of members and keys survives a restart and a torn file."""

from pathlib import Path

import msgspec

from engine.requests import Key
from gateway.directory import FILE_NAME, Directory
from tests.gateway.conftest import BUYER, LOT, READER, members, public_key


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    before = Directory()
    before.merge(members(), [LOT])
    before.save(tmp_path)

    after = Directory()
    after.load(tmp_path)

    assert (after.members, after.lots) == (before.members, before.lots)
    holder = after.holder(public_key(READER).upper())
    assert holder is not None
    assert (holder.member.member, holder.scopes) == (2, frozenset({"read"}))
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_missing_or_torn_file_is_an_empty_directory(tmp_path: Path) -> None:
    one = Directory()
    one.load(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b'{"members":[')
    one.load(tmp_path)

    assert one.empty


def test_a_changed_member_loses_the_keys_that_are_gone() -> None:
    one = Directory()
    one.merge(members(), ())

    kept = Key(public_key(BUYER), ("read",))
    one.merge([msgspec.structs.replace(members()[2], keys=(kept,))], ())

    holder = one.holder(public_key(BUYER))
    assert holder is not None
    assert holder.scopes == {"read"}
    assert one.holder(public_key(READER)) is None
