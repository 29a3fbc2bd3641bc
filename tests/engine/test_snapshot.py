"""Snapshots: sound or not used, two kept, and the state comes back byte for byte."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from engine.blocks import Position
from engine.core.layout import HEAD, NODE, Capacity, empty_state
from engine.disk import PosixDisk
from engine.exchange import Exchange
from engine.snapshot import (
    HEADER,
    SLOTS,
    SNAPSHOT_VERSION,
    NewerSnapshotError,
    SnapshotError,
    Snapshots,
    capacity_of,
)
from engine.state_hash import SCRATCH, USED, state_hash, used_parts
from tests.engine.builders import SMALL, Venue
from tests.engine.fakes import MemoryDisk


def place(sequence: int) -> Position:
    return Position(sequence, segment=1, offset=4096, block=1, crc=7, epoch=1, log=99)


def traded() -> Exchange:
    """An exchange with orders resting on both sides, filled ones, canceled ones, and lots."""
    venue = Venue()
    buyer, seller = venue.account(1), venue.account(2)
    venue.lot(3, seller, 100 * 2_490)
    for level in range(5):
        venue.buy(buyer, 220_000 - 100 * level, 2_490)
        venue.sell(seller, 221_000 + 100 * level, 4_980, 3)
    venue.buy(buyer, 221_000, 2_490)
    canceled = venue.buy(buyer, 219_000, 2_490)
    venue.cancel(buyer, int(canceled["order_id"][0]))
    return venue.exchange


def written(disk: MemoryDisk, *exchanges: Exchange) -> Snapshots:
    """Snapshots of several states, one after another."""
    snapshots = Snapshots(disk)
    snapshots.look()
    for exchange in exchanges:
        slot = snapshots.next_slot()
        snapshots.write(slot, exchange.state, place(exchange.sequence), 128 * exchange.sequence)
        snapshots.take_note(slot)
    return snapshots


def test_state_comes_back_byte_for_byte_and_trades_on() -> None:
    disk, exchange, again = MemoryDisk(), traded(), Exchange(SMALL)
    written(disk, exchange)

    snapshots = Snapshots(disk.crashed())
    assert snapshots.look() == []
    snapshots.load(snapshots.slots()[0], again.state)

    for name in exchange.state._fields:
        if name not in SCRATCH:
            assert getattr(again.state, name).tobytes() == getattr(exchange.state, name).tobytes(), name
    again.check_invariants()
    venue = Venue.__new__(Venue)
    venue.exchange, venue.time_ns, venue.outbox, venue.orders = again, again.time_ns, again.outbox, 50
    assert venue.sell(2, 220_000, 2_490, 3)["kind"].tolist() == [1, 3]


def test_snapshot_says_where_it_stands() -> None:
    disk, exchange = MemoryDisk(), traded()

    newest = written(disk, exchange).newest()

    assert newest is not None
    assert newest.position == place(exchange.sequence)
    assert newest.events_bytes == 128 * exchange.sequence
    assert newest.time_ns == exchange.time_ns
    assert newest.capacity == SMALL == capacity_of(exchange.state)
    assert newest.state_hash == state_hash(exchange.state)


def test_every_array_of_the_state_is_in_the_table_or_is_scratch() -> None:
    names = set(empty_state(SMALL)._fields)

    assert names - SCRATCH <= set(USED)


def test_what_is_not_in_use_is_zero() -> None:
    state = traded().state

    for part in list(used_parts(state)):  # head says which, and is wiped too
        part[:] = 0

    for name in state._fields:
        assert name in SCRATCH or not getattr(state, name).view(np.uint8).any(), name


def test_hash_sees_every_array() -> None:
    exchange = traded()
    before = {state_hash(exchange.state)}

    for part in list(used_parts(exchange.state)):
        if len(part):
            part[len(part) // 2] ^= 1
            before.add(state_hash(exchange.state))
            part[len(part) // 2] ^= 1

    assert len(before) == 1 + sum(1 for part in used_parts(exchange.state) if len(part))
    assert state_hash(exchange.state) in before


def test_hash_of_equal_histories_is_equal() -> None:
    assert state_hash(traded().state) == state_hash(traded().state)


def test_a_new_snapshot_takes_the_place_of_the_older() -> None:
    disk = MemoryDisk()
    venue = Venue()
    snapshots = Snapshots(disk)
    snapshots.look()
    held = []
    for account in range(1, 5):
        venue.account(account)
        slot = snapshots.next_slot()
        snapshots.write(slot, venue.exchange.state, place(venue.exchange.sequence), 0)
        snapshots.take_note(slot)
        held.append([snapshot.sequence if snapshot else 0 for snapshot in snapshots.known])

    assert held == [[5, 0], [5, 7], [9, 7], [9, 11]]
    older = snapshots.older()
    assert older is not None
    assert older.sequence == 9
    assert sorted(disk.files) == sorted(SLOTS)


def flipped(disk: MemoryDisk, at: int, bit: int = 1) -> MemoryDisk:
    other = disk.crashed()
    other.files[SLOTS[0]].written[at] ^= bit
    return other


def try_load(disk: MemoryDisk) -> None:
    """Load slot 0. Raises what is wrong with it."""
    snapshots, state = Snapshots(disk), empty_state(SMALL)
    for error in snapshots.look():
        raise error
    try:
        snapshots.load(0, state)
    except SnapshotError:
        assert state_hash(state) == state_hash(empty_state(SMALL)), "the state is as it was"
        raise


def test_a_flipped_bit_anywhere_is_found() -> None:
    disk = MemoryDisk()
    written(disk, traded())
    size = disk.size(SLOTS[0])
    generator = np.random.default_rng(4)
    places = [*range(HEADER.itemsize), *generator.integers(HEADER.itemsize, size, 60).tolist(), size - 1]

    try_load(disk.crashed())
    for at in places:
        with pytest.raises((SnapshotError, NewerSnapshotError)):
            try_load(flipped(disk, at, 1 << int(generator.integers(8))))


Contradict = Callable[[Any, Any], None]  # of (head, nodes of the slots)
CONTRADICTIONS: dict[str, Contradict] = {
    "a link out of the table": lambda head, nodes: nodes["next"].put(1, 1 << 30),
    "an account that there is not": lambda head, nodes: nodes["account"].put(1, 1 << 30),
    "more rows than the tables have": lambda head, nodes: head["slots_used"].put(0, 1 << 40),
    "more rows than the file has": lambda head, nodes: head["slots_used"].put(0, 1 << 12),
    "fewer rows than the file has": lambda head, nodes: head["slots_used"].put(0, 3),
    "another command": lambda head, nodes: head["sequence"].put(0, 1 << 20),
}


def forge(disk: MemoryDisk, contradict: Contradict) -> None:
    """Change the body of slot 0 and put the hash right."""
    raw = np.frombuffer(disk.files[SLOTS[0]].written, np.uint8)
    header, body = raw[: HEADER.itemsize].view(HEADER), raw[HEADER.itemsize :]
    slots = HEAD.itemsize + NODE.itemsize * (int(body[: HEAD.itemsize].view(HEAD)["slots_used"][0]) + 1)
    contradict(body[: HEAD.itemsize].view(HEAD), body[HEAD.itemsize : slots].view(NODE))
    header["state_hash"] = np.frombuffer(hashlib.sha256(body.data).digest(), np.uint8)
    header["header_crc"] = google_crc32c.value(header.tobytes()[:-4])


@pytest.mark.parametrize("contradict", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_whole_snapshot_that_contradicts_itself_is_not_loaded(contradict: Contradict) -> None:
    """Its hash is right, and kernels would follow its links out of the tables."""
    disk = MemoryDisk()
    written(disk, traded())
    forge(disk, lambda head, nodes: None)
    try_load(disk)
    forge(disk, contradict)

    with pytest.raises(SnapshotError, match="its content contradicts itself"):
        try_load(disk)


def test_a_state_that_contradicts_itself_is_not_written() -> None:
    disk, exchange = MemoryDisk(), traded()
    exchange.state.nodes["next"][1] = 1 << 30

    with pytest.raises(SnapshotError, match=r"behind command .* contradicts itself \(node 1: .*no snapshot"):
        written(disk, exchange)

    assert disk.files == {}


@pytest.mark.parametrize("size", [0, 10, HEADER.itemsize - 1, HEADER.itemsize, HEADER.itemsize + 1000])
def test_a_snapshot_cut_short_is_not_used(size: int) -> None:
    disk = MemoryDisk()
    written(disk, traded())
    del disk.files[SLOTS[0]].written[size:]

    with pytest.raises(SnapshotError, match="cut short"):
        try_load(disk)


def test_a_newer_versions_snapshot_is_refused_by_name() -> None:
    disk = MemoryDisk()
    written(disk, traded())
    disk.files[SLOTS[0]].written[8] = SNAPSHOT_VERSION + 1

    with pytest.raises(NewerSnapshotError, match=r"made by a newer version \(2\.1, this is 1\.1\)"):
        try_load(disk)


def test_another_layout_of_the_state_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import snapshot

    disk = MemoryDisk()
    with monkeypatch.context() as other:
        other.setattr(snapshot, "layout_digest", lambda: bytes(8))
        written(disk, traded())

    with pytest.raises(SnapshotError, match="lays out the state differently"):
        try_load(disk)


def test_a_real_disk_keeps_what_was_written(tmp_path: Path) -> None:
    exchange, again = traded(), Exchange(SMALL)
    snapshots = Snapshots(PosixDisk(tmp_path))
    snapshots.look()

    snapshots.write(0, exchange.state, place(exchange.sequence), 0)
    found = Snapshots(PosixDisk(tmp_path))
    assert found.look() == []
    found.load(0, again.state)

    assert state_hash(again.state) == state_hash(exchange.state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.snapshot"]


def test_hash_of_another_capacity_is_another() -> None:
    small, large = empty_state(SMALL), empty_state(Capacity(*(2 * maximum for maximum in SMALL)))

    assert state_hash(small) != state_hash(large)
