"""Snapshots: the state at one command, so that a start replays only what came behind it (law 4).

Law: a snapshot is sound or it is not used. Every byte of the file stands under a hash: the body under the
state hash, the header under a checksum. A hash does not say that the state was right, so a state that
contradicts itself (engine/soundness.py) is neither written nor begun with. Two are kept; a new one takes the
place of the older.

    0.snapshot, 1.snapshot    header (HEADER) | the parts of the state in use, one after another

The file is written beside, synced, renamed, and the folder synced (engine.disk, `replace`); so a snapshot
that was not finished is not there. It names the last block of the command log that it contains and the length
of the event log, both of which are on the medium before it.

    SnapshotError            this snapshot cannot be used: it is damaged, contradicts itself, or is of another
                             layout or capacity; or it cannot be taken, as the state contradicts itself
    NewerSnapshotError       a newer version made it: start that one
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import google_crc32c
import numpy as np

from engine.blocks import LogError, Position
from engine.claims import UnsoundError
from engine.core.jit import cache_key
from engine.core.layout import Capacity, State
from engine.disk import Disk
from engine.soundness import check_sizes, check_sound
from engine.state_hash import HASH_BYTES, LAYOUT_BYTES, layout_digest, used_parts
from engine.vocabulary import RECORD_VERSION

MAGIC: Final = 0x504E53474E4F434C  # "LCONGSNP", little-endian
SNAPSHOT_VERSION: Final = 1
SLOTS: Final = ("0.snapshot", "1.snapshot")
CAPACITIES: Final = len(Capacity._fields)

HEADER: Final = np.dtype(
    [
        ("magic", "<u8"),
        ("version", "<u2"),
        ("record_version", "<u2"),
        ("segment", "<u4"),
        ("code", "S16"),  # of the program that made it (engine.core.jit, cache_key)
        ("layout", "u1", LAYOUT_BYTES),
        ("capacity", "<i8", CAPACITIES),
        ("sequence", "<i8"),
        ("time_ns", "<i8"),
        ("offset", "<i8"),
        ("block", "<u8"),
        ("log", "<u8"),
        ("crc", "<u4"),
        ("epoch", "<u4"),
        ("events_bytes", "<i8"),
        ("body_bytes", "<i8"),
        ("state_hash", "u1", HASH_BYTES),
        ("reserved", "<u4"),
        ("header_crc", "<u4"),
    ]
)
PREFIX_BYTES: Final = 16  # magic and versions, by which a newer one is known


class SnapshotError(LogError):
    """A snapshot cannot be used."""


class NewerSnapshotError(LogError):
    """A snapshot was made by a newer version of the program."""


class Snapshot(NamedTuple):
    """What a snapshot says about itself."""

    position: Position
    time_ns: int
    events_bytes: int  # of the event log up to and with the snapshot's command
    state_hash: bytes
    capacity: Capacity
    code: str

    @property
    def sequence(self) -> int:
        """Of the last command that it contains."""
        return self.position.sequence


class Snapshots:
    """The folder of the two snapshots."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.known: list[Snapshot | None] = [None] * len(SLOTS)  # that may be used, by slot

    def look(self) -> list[SnapshotError]:
        """Read the headers; return what is wrong with those that cannot be used. Raises
        NewerSnapshotError, OSError.
        """
        wrong = []
        names = self._disk.names()
        for slot, name in enumerate(SLOTS):
            self.known[slot] = None
            if name in names:
                try:
                    self.known[slot] = self._header(name)
                except SnapshotError as error:
                    wrong.append(error)
        return wrong

    def slots(self) -> list[int]:
        """Slots of the snapshots that may be used, newest first."""
        held = [slot for slot, snapshot in enumerate(self.known) if snapshot is not None]
        return sorted(held, key=self._sequence, reverse=True)

    def newest(self) -> Snapshot | None:
        """The newest snapshot that may be used."""
        slots = self.slots()
        return self.known[slots[0]] if slots else None

    def older(self) -> Snapshot | None:
        """The older one of two; None while there are not two."""
        slots = self.slots()
        return self.known[slots[-1]] if len(slots) == len(SLOTS) else None

    def next_slot(self) -> int:
        """The slot that the next snapshot takes: an empty one, or the older one's."""
        return min(range(len(SLOTS)), key=self._sequence)

    def load(self, slot: int, state: State) -> None:
        """Fill an empty state. Raises SnapshotError, and then the state is as it was; OSError."""
        snapshot, name = self.known[slot], SLOTS[slot]
        assert snapshot is not None, "it has been looked at"
        body = memoryview(self._disk.open(name).read(HEADER.itemsize, self._disk.size(name)))
        if hashlib.sha256(body).digest() != snapshot.state_hash:
            self.known[slot] = None
            raise SnapshotError(f"{name} (command {snapshot.sequence}): its content is damaged")
        try:
            _fill(state, np.frombuffer(body, np.uint8), snapshot.sequence)
        except UnsoundError as error:
            self.known[slot] = None
            raise SnapshotError(
                f"{name} (command {snapshot.sequence}): its content contradicts itself ({error})"
            ) from error

    def write(self, slot: int, state: State, place: Position, events_bytes: int) -> Snapshot:
        """Write the state behind `place` into a slot, on the medium when it returns. Raises SnapshotError
        when the state contradicts itself, OSError.
        """
        try:
            check_sound(state)
        except UnsoundError as error:
            raise SnapshotError(
                f"the state behind command {place.sequence} contradicts itself ({error}); no snapshot is "
                "taken of it"
            ) from error
        parts = list(used_parts(state))
        body_bytes = sum(map(len, parts))
        data = bytearray(HEADER.itemsize + body_bytes)
        body = np.frombuffer(data, np.uint8)[HEADER.itemsize :]
        np.concatenate(parts, out=body)
        header = np.zeros(1, HEADER)
        header["body_bytes"], header["events_bytes"] = body_bytes, events_bytes
        header["time_ns"] = state.head["time_ns"][0]
        header["capacity"] = capacity_of(state)
        header["state_hash"] = np.frombuffer(hashlib.sha256(body.data).digest(), np.uint8)
        _stamp(header, place)
        data[: HEADER.itemsize] = header.tobytes()
        self._disk.replace(SLOTS[slot], data)
        return _snapshot(header[0])

    def take_note(self, slot: int) -> Snapshot:
        """Know the snapshot that another process has written. Raises SnapshotError, OSError."""
        snapshot = self._header(SLOTS[slot])
        self.known[slot] = snapshot
        return snapshot

    def _sequence(self, slot: int) -> int:
        snapshot = self.known[slot]
        return -1 if snapshot is None else snapshot.sequence

    def _header(self, name: str) -> Snapshot:
        file = self._disk.open(name)
        try:
            raw = file.read(0, HEADER.itemsize)
        finally:
            file.close()
        if len(raw) < HEADER.itemsize:
            raise SnapshotError(f"{name}: the file was cut short")
        header: np.void = np.frombuffer(raw, HEADER)[0]
        if int(header["magic"]) != MAGIC:
            raise SnapshotError(f"{name}: not a snapshot")
        version = (int(header["version"]), int(header["record_version"]))
        sound = google_crc32c.value(raw[:-4]) == int(header["header_crc"])
        if version > (SNAPSHOT_VERSION, RECORD_VERSION) and (sound or version[0] != SNAPSHOT_VERSION):
            raise NewerSnapshotError(
                f"{name}: made by a newer version ({version[0]}.{version[1]}, this is {SNAPSHOT_VERSION}."
                f"{RECORD_VERSION}); start that one, or take the file away if it is damaged; nothing was "
                "changed"
            )
        if not sound:
            raise SnapshotError(f"{name}: its header is damaged")
        if self._disk.size(name) != HEADER.itemsize + int(header["body_bytes"]):
            raise SnapshotError(f"{name}: the file was cut short")
        if version[1] != RECORD_VERSION or header["layout"].tobytes() != layout_digest():
            raise SnapshotError(f"{name}: made by a version that lays out the state differently")
        return _snapshot(header)


def capacity_of(state: State) -> Capacity:
    """The capacity that the arrays have."""
    orders = len(state.orders) - 1
    return Capacity(
        orders=orders,
        levels=len(state.nodes) - 1 - orders,
        instruments=len(state.instruments),
        accounts=len(state.accounts),
        lots=len(state.lots),
        day=len(state.day),
        sessions=len(state.sessions) - 1,
    )


def differing(ours: Capacity, theirs: Capacity) -> Sequence[str]:
    """The names of the maxima that differ."""
    return [name for name in ours._fields if getattr(ours, name) != getattr(theirs, name)]


def _fill(state: State, body: "np.typing.NDArray[np.uint8]", sequence: int) -> None:
    """Fill an empty state, part by part. Raises UnsoundError, and then the state is empty again."""
    empty, filled, at = state.head.copy(), list["np.typing.NDArray[np.uint8]"](), 0
    try:
        for part in used_parts(state):
            if len(part) > len(body) - at:
                raise UnsoundError(f"head: more rows than the {len(body)} bytes hold")
            part[:] = body[at : at + len(part)]
            at += len(part)
            filled.append(part)
            if len(filled) == 1:  # the head says how long the others are
                check_sizes(state)
        if at != len(body):
            raise UnsoundError(f"head: fewer rows than the {len(body)} bytes hold")
        check_sound(state)
        if int(state.head["sequence"][0]) != sequence:
            raise UnsoundError(f"head: it stands behind command {int(state.head['sequence'][0])}")
    except UnsoundError:
        for part in filled:
            part[:] = 0
        state.head[:] = empty
        raise


def _stamp(header: "np.typing.NDArray[np.void]", place: Position) -> None:
    header["magic"], header["version"], header["record_version"] = MAGIC, SNAPSHOT_VERSION, RECORD_VERSION
    header["code"], header["layout"] = cache_key(), np.frombuffer(layout_digest(), np.uint8)
    header["sequence"], header["segment"], header["offset"] = place.sequence, place.segment, place.offset
    header["block"], header["crc"] = place.block, place.crc
    header["epoch"], header["log"] = place.epoch, place.log
    header["header_crc"] = google_crc32c.value(header.tobytes()[:-4])


def _snapshot(header: np.void) -> Snapshot:
    place = Position(
        *(int(header[name]) for name in ("sequence", "segment", "offset", "block", "crc", "epoch", "log"))
    )
    return Snapshot(
        position=place,
        time_ns=int(header["time_ns"]),
        events_bytes=int(header["events_bytes"]),
        state_hash=header["state_hash"].tobytes(),
        capacity=Capacity(*(int(maximum) for maximum in header["capacity"])),
        code=bytes(header["code"]).decode("ascii", "replace"),
    )
