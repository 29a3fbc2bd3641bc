"""Recovery: newest sound snapshot, then the tail of the command log (law 1).

    snapshot 1 sound? ─no─▶ snapshot 0 sound? ─no─▶ the whole log, from its first segment
         └──────────────────────┴──▶ state ─▶ commands behind it are judged again, their events written again

Law: the state after recovery is the one that was acknowledged, or the start is refused. What is damaged is
said loudly and nothing of it is changed. A snapshot or an event log that knows more than the command log
means that the log has lost its end: refused.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import structlog

from engine.clerk import Ahead, read_ahead
from engine.command_log import CommandLog, CorruptLogError, Position
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.records import COMMAND, Records, as_words
from engine.snapshot import Snapshot, SnapshotError, Snapshots, capacity_of, differing

BATCH_COMMANDS: Final = 4096  # judged in one call; small blocks are gathered


def recover(
    log: CommandLog,
    exchange: Exchange,
    events: EventLog,
    snapshots: Snapshots | None = None,
    ahead: Ahead = read_ahead,
) -> Snapshot | None:
    """Bring an empty exchange to the end of its log, and the event log with it; return the snapshot that it
    began with, if any. Blocks are read and checked ahead, while those before them are judged. The command
    log is not changed. Raises LogError, OSError.
    """
    begun = load_newest(snapshots, exchange, events) if snapshots is not None else None
    for commands in ahead(gathered(log.recover(begun.position if begun else None))):
        events.append(exchange.apply(commands))
    assert exchange.sequence == log.sequence, "the exchange has judged every command of the log"
    if events.former_sequence > log.sequence:
        raise CorruptLogError(
            f"events.log holds command {events.former_sequence}, the command log ends at {log.sequence}: its "
            "end is lost; put back what is missing, or take events.log away to give it up"
        )
    events.cut()
    return begun


def load_newest(snapshots: Snapshots, exchange: Exchange, events: EventLog) -> Snapshot | None:
    """Fill the exchange from the newest sound snapshot that the event log reaches, and let the event log go
    on from there; None when there is none. Raises NewerSnapshotError, OSError.
    """
    wrong = snapshots.look()
    for slot in snapshots.slots():
        snapshot = snapshots.known[slot]
        assert snapshot is not None, "slots() names those that are held"
        try:
            check_usable(snapshot, exchange, events)
            snapshots.load(slot, exchange.state)
        except SnapshotError as error:
            snapshots.known[slot] = None
            wrong.append(error)
            continue
        _say(wrong, f"recovery begins with the snapshot of command {snapshot.sequence}")
        events.go_on(snapshot.events_bytes)
        return snapshot
    _say(wrong, "recovery replays the whole command log")
    return None


def check_usable(snapshot: Snapshot, exchange: Exchange, events: EventLog) -> None:
    """Raise SnapshotError if a sound snapshot does not fit the exchange or the event log."""
    name = f"the snapshot of command {snapshot.sequence}"
    other = differing(capacity_of(exchange.state), snapshot.capacity)
    if other:
        raise SnapshotError(f"{name}: made with another capacity of {', '.join(other)}")
    if events.stored_bytes < snapshot.events_bytes:
        raise SnapshotError(
            f"{name}: events.log has {events.stored_bytes} bytes of the {snapshot.events_bytes} before it"
        )


def gathered(blocks: Iterable[Records], stops: Iterable[int] = ()) -> Iterator[Records]:
    """The commands of blocks as writable batches of about BATCH_COMMANDS, none reaching over a sequence in
    `stops` (each the last of a block).
    """
    ends, parts, count = set(stops), list[Records](), 0
    for block in blocks:
        if count + len(block) > BATCH_COMMANDS and parts:
            yield _copied(parts, count)
            parts, count = [], 0
        parts.append(block)
        count += len(block)
        if int(block["sequence"][-1]) in ends:
            yield _copied(parts, count)
            parts, count = [], 0
    if parts:
        yield _copied(parts, count)


def _copied(parts: list[Records], count: int) -> Records:
    batch = np.empty(count, COMMAND)
    np.concatenate([as_words(part) for part in parts], out=as_words(batch))
    return batch


def replay(log: CommandLog, exchange: Exchange, events: EventLog) -> None:
    """Recover without a snapshot: the whole log. Raises LogError, OSError."""
    recover(log, exchange, events)


def _say(wrong: list[SnapshotError], then: str) -> None:
    for error in wrong:
        structlog.get_logger().error("a snapshot is not used", reason=str(error), then=then)


__all__ = ["Position", "check_usable", "gathered", "load_newest", "recover", "replay"]
