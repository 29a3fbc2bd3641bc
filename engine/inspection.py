"""Tools that look at what an engine keeps: verify, inspect, replay, and a snapshot of a stopped engine.

Law: nothing that is looked at is changed. Beside a running engine they see what was durable when they came.

    ToolError    what is asked for is not there; the message says what to do
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from engine.command_log import CommandLog
from engine.core.layout import Capacity
from engine.disk import PosixDisk
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.link import CommandLink
from engine.location import Location, LocationInUseError, lock_folder
from engine.notes import command_note, event_note
from engine.records import RECORD_BYTES, Records, as_words
from engine.recovery import gathered, recover
from engine.snapshot import Snapshot, SnapshotError, Snapshots
from engine.state_hash import state_hash

FINDINGS_MAX: Final = 20


class ToolError(Exception):
    """What is asked for is not there."""


@dataclass
class Archive:
    """What lies in an engine's folder, opened to be read."""

    log: CommandLog
    events: EventLog | None
    snapshots: Snapshots
    findings: list[str]  # what is wrong with the snapshots
    running: bool  # an engine works on it


@contextmanager
def opened(location: Location) -> Iterator[Archive]:
    """Everything in the engine's folder; the lock is held while it is read, unless an engine has it. Raises
    ToolError, LogError, OSError.
    """
    folder = location.engine
    if not (folder / "commands").is_dir():
        raise ToolError(f"{folder} holds no command log; set LECONG_DATA to the data folder of an exchange")
    lock = None
    with suppress(LocationInUseError):  # an engine works on it
        lock = lock_folder(folder, "engine")
    try:
        path = folder / "events.log"
        events = EventLog(path) if path.exists() else None
        if events is not None:
            events.go_on(events.stored_bytes)
        snapshots = Snapshots(PosixDisk(folder / "snapshots"))
        findings = [str(error) for error in snapshots.look()]
        log = CommandLog(PosixDisk(folder / "commands"), archive=PosixDisk(folder / "archive"))
        yield Archive(log, events, snapshots, findings, lock is None)
        if events is not None:
            events.close()
    finally:
        if lock is not None:
            lock.release()


@dataclass
class Verdict:
    """What a verification found."""

    first_sequence: int = 0  # of the first command that was replayed
    last_sequence: int = 0
    commands: int = 0
    events_compared: int = 0
    snapshots_compared: int = 0
    running: bool = False
    state_hash: str = ""
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)

    def find(self, finding: str) -> None:
        """Add a finding, up to FINDINGS_MAX."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)


def verify(location: Location, *, whole: bool = False) -> Verdict:
    """Replay from the oldest sound snapshot (`whole`: from the first command), compare the hash of every
    later one and every stored event. Raises ToolError, LogError, OSError.
    """
    started = time.monotonic()
    with opened(location) as archive:
        verdict = Verdict(running=archive.running, findings=archive.findings)
        exchange, begun = begin(archive, 0 if whole else None, oldest=True, wrong=verdict.findings)
        expected = {s.sequence: s for s in archive.snapshots.known if s is not None and s is not begun}
        verdict.first_sequence = exchange.sequence + 1
        offset = begun.events_bytes if begun else 0
        blocks = archive.log.recover(begun.position if begun else None, beside_engine=archive.running)
        for commands in gathered(blocks, expected):
            events = exchange.apply(commands)
            verdict.commands += len(commands)
            _compare_events(verdict, archive.events, offset, events)
            offset += events.nbytes
            if (snapshot := expected.pop(exchange.sequence, None)) is not None:
                verdict.snapshots_compared += 1
                if state_hash(exchange.state) != snapshot.state_hash:
                    verdict.find(f"the snapshot of command {snapshot.sequence} is not what the log gives")
        _compare_ends(verdict, archive, expected, offset)
        verdict.last_sequence, verdict.state_hash = exchange.sequence, state_hash(exchange.state).hex()
    verdict.seconds = round(time.monotonic() - started, 3)
    return verdict


def _compare_events(verdict: Verdict, stored: EventLog | None, offset: int, events: Records) -> None:
    """Compare what the log gives with what stands at `offset`, where something is kept."""
    if stored is None:
        return
    first = min(max(stored.first - offset, 0), events.nbytes) // RECORD_BYTES
    last = min(max(stored.size - offset, 0), events.nbytes) // RECORD_BYTES
    if first >= last:
        return
    verdict.events_compared += last - first
    raw = stored.bytes_at(offset + first * RECORD_BYTES, (last - first) * RECORD_BYTES)
    if raw == as_words(events[first:last]).tobytes():
        return
    for row in range(first, last):
        at = (row - first) * RECORD_BYTES
        if raw[at : at + RECORD_BYTES] != events[row : row + 1].tobytes():
            sequence, index = int(events["sequence"][row]), int(events["index"][row])
            verdict.find(f"events.log differs at event {index} of command {sequence}")
            return


def _compare_ends(verdict: Verdict, archive: Archive, missed: dict[int, Snapshot], offset: int) -> None:
    end = archive.log.sequence
    for sequence in sorted(missed):
        if sequence > end:
            verdict.find(f"the snapshot of command {sequence} is beyond the log, which ends at {end}")
    if archive.events is None:
        verdict.find("events.log is missing")
    elif archive.events.former_sequence > end:
        verdict.find(f"events.log holds command {archive.events.former_sequence}, the log ends at {end}")
    elif archive.events.size < offset and not archive.running:
        verdict.find(
            f"events.log ends {(offset - archive.events.size) // RECORD_BYTES} events early; the next start "
            "of the engine writes them again"
        )


def begin(
    archive: Archive, until: int | None, *, oldest: bool, wrong: list[str]
) -> tuple[Exchange, Snapshot | None]:
    """An exchange filled from the oldest or newest sound snapshot that is not later than `until` (None: any),
    or an empty one. Raises OSError.
    """
    slots = archive.snapshots.slots()
    for slot in reversed(slots) if oldest else slots:
        snapshot = archive.snapshots.known[slot]
        if snapshot is None or (until is not None and snapshot.sequence > until):
            continue
        exchange = Exchange(snapshot.capacity)
        try:
            archive.snapshots.load(slot, exchange.state)
        except SnapshotError as error:
            wrong.append(str(error))
            continue
        return exchange, snapshot
    newest = archive.snapshots.newest()
    return Exchange(newest.capacity if newest else Capacity()), None


def replay_until(location: Location, sequence: int | None) -> dict[str, Any]:
    """The state behind command `sequence` (None: the last): its hash and what it holds. Raises ToolError,
    LogError, OSError.
    """
    started = time.monotonic()
    with opened(location) as archive:
        exchange, begun = begin(archive, sequence, oldest=False, wrong=archive.findings)
        first = exchange.sequence
        blocks = archive.log.recover(begun.position if begun else None, beside_engine=archive.running)
        for commands in gathered(blocks):
            wanted = len(commands) if sequence is None else sequence - exchange.sequence
            if wanted > 0:
                exchange.apply(commands[:wanted])
            if sequence is not None and exchange.sequence >= sequence:
                break
        if sequence is not None and exchange.sequence < sequence:
            raise ToolError(f"the log ends at command {exchange.sequence}; ask for one up to there")
    head = exchange.state.head[0]
    return {
        "sequence": exchange.sequence,
        "time_ns": exchange.time_ns,
        "state_hash": state_hash(exchange.state).hex(),
        "live_orders": int(head["live_orders"]),
        "accounts": int((exchange.state.accounts["open"] != 0).sum()),
        "lots": int((exchange.state.lots["account"] != 0).sum()),
        "instruments": int((exchange.state.instruments["defined"] != 0).sum()),
        "outbox": exchange.outbox,
        "begun_with_snapshot": begun.sequence if begun else 0,
        "commands_replayed": exchange.sequence - first,
        "seconds": round(time.monotonic() - started, 3),
    }


def notes(location: Location, first: int, last: int) -> Iterator[dict[str, Any]]:
    """The commands `first` to `last`, each with its stored events, for people. Raises as `verify` does."""
    with opened(location) as archive:
        for command in _commands(archive, first, last):
            sequence = int(command["sequence"][0])
            note = command_note(command)
            note["events"] = [event_note(event) for event in _events_of(archive.events, sequence)]
            yield note


def _commands(archive: Archive, first: int, last: int) -> Iterator[Records]:
    """Commands one by one, reading from the newest snapshot before them."""
    before = [s for s in archive.snapshots.known if s is not None and s.sequence < first]
    place = max(before, key=lambda s: s.sequence).position if before else None
    for block in archive.log.recover(place, beside_engine=archive.running):
        if int(block["sequence"][-1]) < first:
            continue
        for at in range(max(0, first - int(block["sequence"][0])), len(block)):
            if int(block["sequence"][at]) > last:
                return
            yield block[at : at + 1]


def _events_of(events: EventLog | None, sequence: int) -> Iterator[Records]:
    if events is None:
        return
    offset = events.position_after(sequence - 1)
    while offset < events.size:
        rows = events.read(offset)
        for at in range(len(rows)):
            if int(rows["sequence"][at]) != sequence:
                return
            yield rows[at : at + 1]
        offset += rows.nbytes


def snapshot_stopped(location: Location, exchange: Exchange | None = None) -> Snapshot:
    """Take a snapshot of a stopped engine's last state. Raises ToolError, LocationInUseError, LogError,
    OSError.
    """
    folder = location.engine
    with lock_folder(folder, "engine"):
        log = CommandLog(PosixDisk(folder / "commands"), archive=PosixDisk(folder / "archive"))
        exchange, events = exchange or Exchange(), EventLog(folder / "events.log")
        snapshots = Snapshots(PosixDisk(folder / "snapshots"))
        recover(log, exchange, events, snapshots)
        if log.position is None:
            raise ToolError("the command log is empty: there is nothing to take a snapshot of")
        events.sync()
        snapshot = snapshots.write(snapshots.next_slot(), exchange.state, log.position, events.size)
        events.close()
    return snapshot


def snapshot_now(location: Location) -> int:
    """Ask the running engine for a snapshot, or take one of a stopped one; its sequence. Raises ToolError,
    LinkError, LogError, OSError.
    """
    try:
        return snapshot_stopped(location).sequence
    except LocationInUseError:
        sequence = asyncio.run(_ask(location))
    if sequence == 0:
        raise ToolError('the engine took no snapshot; its log says why ("the snapshot failed")')
    return sequence


async def _ask(location: Location) -> int:
    link = await CommandLink.connect(location.engine_commands)
    try:
        return await link.snapshot()
    finally:
        link.close()
