"""The simulator can fail: a fault put in by hand into production code is found within a few seeds."""

from typing import Any

import numpy as np
import pytest

import engine.command_log
import engine.service
import settlement.store
from engine.command_log import BLOCK_COMMANDS_MAX, HEADER, HEADER_BYTES, MAGIC
from engine.core.layout import State
from engine.disk import Disk, File
from engine.exchange import Exchange
from engine.inbox import Inbox
from engine.records import COMMAND, RECORD_BYTES, Records
from engine.schedule import NEVER, NOTHING, Schedule
from engine.sequencer import Sequencer
from engine.sessions import Sessions
from gateway.private_stream import PrivateStream
from settlement.clearing import Batch, Position
from settlement.store import Store
from tests.simulation.by_hand import Fault, all_found, found_by
from tests.simulation.disk import SimulatedFile
from tests.simulation.faults import Strike
from tests.simulation.programs import NO_SNAPSHOTS
from tests.simulation.statements import WRITING
from tests.simulation.world import Stage, simulate


def acknowledge_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    def has_landed(self: Any, flight: Any) -> bool:
        self._events.append(flight.events)
        return True

    patch.setattr(Sequencer, "_has_landed", has_landed)
    patch.setattr(Inbox, "give_back", lambda self, batch: None)  # the disk still reads it


def never_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedFile, "sync", lambda self: None)


def count_blocks_that_were_not_synced(patch: pytest.MonkeyPatch) -> None:
    write, sync, wrote = SimulatedFile.write, SimulatedFile.sync, set[SimulatedFile]()

    def writing(self: SimulatedFile, offset: int, data: bytes) -> None:
        wrote.add(self)
        write(self, offset, data)

    patch.setattr(SimulatedFile, "write", writing)
    patch.setattr(SimulatedFile, "sync", lambda self: sync(self) if self in wrote else None)


def believe_torn_blocks(patch: pytest.MonkeyPatch) -> None:
    def read_block(file: File, number: int, offset: int, size: int) -> tuple[np.void, Records] | None:
        raw = file.read(offset, HEADER_BYTES)
        if len(raw) < HEADER_BYTES:
            return None
        header: np.void = np.frombuffer(raw, HEADER)[0]
        if int(header["magic"]) != MAGIC or not 0 < int(header["count"]) <= BLOCK_COMMANDS_MAX:
            return None
        body = file.read(offset + HEADER_BYTES, int(header["count"]) * RECORD_BYTES)
        return header, np.frombuffer(body, COMMAND)

    patch.setattr(engine.command_log, "read_block", read_block)


def forget_the_days_client_order_ids(patch: pytest.MonkeyPatch) -> None:
    whole = Exchange.apply

    def apply(self: Exchange, commands: Records, buffer: int = 0) -> Records:
        self.state.day[:], self.state.head["day_entries"] = 0, 0
        return whole(self, commands, buffer)

    patch.setattr(Exchange, "apply", apply)


def forget_settlements_numbers(patch: pytest.MonkeyPatch) -> None:
    whole = Exchange.apply

    def apply(self: Exchange, commands: Records, buffer: int = 0) -> Records:
        highest = self.outbox
        self.state.head["outbox"] = 0
        events = whole(self, commands, buffer)
        self.state.head["outbox"] = max(highest, self.outbox)
        return events

    patch.setattr(Exchange, "apply", apply)


def leave_the_cursor(patch: pytest.MonkeyPatch) -> None:
    async def move_cursor(connection: Any, batch: Batch) -> None:
        """Not moved."""

    patch.setattr(settlement.store, "_move_cursor", move_cursor)


def remember_the_cursor_instead_of_reading_it(patch: pytest.MonkeyPatch) -> None:
    position, post = Store.position, Store.post

    async def remembered(self: Any) -> Position:
        self.known = getattr(self, "known", None) or await position(self)
        known: Position = self.known
        return known

    async def posting(self: Any, batch: Batch) -> None:
        await post(self, batch)
        self.known = batch.after

    patch.setattr(Store, "position", remembered)
    patch.setattr(Store, "post", posting)


def skip_over_gaps_of_the_private_stream(patch: pytest.MonkeyPatch) -> None:
    def replay(self: PrivateStream, account_sequence: int, frame: bytes) -> bool:
        self.last = account_sequence
        self.session.outbox.send_frame(frame)
        return True

    patch.setattr(PrivateStream, "replay", replay)


def do_not_store_the_epoch(patch: pytest.MonkeyPatch) -> None:
    def next_epoch(disk: Disk, of_log: int) -> int:
        return of_log + 1

    patch.setattr(engine.service, "next_epoch", next_epoch)


def believe_the_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Exchange, "time_ns", property(lambda self: 0))


def forget_what_is_due(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Schedule, "next_ns", NEVER)
    patch.setattr(Schedule, "take", lambda self, time_ns: NOTHING)


def expire_only_when_somebody_trades(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sequencer, "_set_alarm", lambda self: None)


def expire_late(patch: pytest.MonkeyPatch) -> None:
    late_ns, take = 20_000_000, Schedule.take
    next_ns: Any = vars(Schedule)["next_ns"].fget
    patch.setattr(Schedule, "take", lambda self, time_ns: take(self, time_ns - late_ns))
    patch.setattr(Schedule, "next_ns", property(lambda self: next_ns(self) and next_ns(self) + late_ns))


def let_sessions_outlive_their_link(patch: pytest.MonkeyPatch) -> None:
    def lost(self: Sessions, link: int) -> None:
        """It stays."""

    patch.setattr(Sessions, "lost", lost)


def let_sessions_outlive_the_engine(patch: pytest.MonkeyPatch) -> None:
    def end_all(self: Sessions, state: State) -> None:
        """They stay."""

    patch.setattr(Sessions, "end_all", end_all)


FAULTS: tuple[Fault, ...] = (
    (acknowledge_before_the_sync, range(40), {"loss", "regress", "early"}),
    (never_sync, range(4, 44), {"loss", "regress"}),
    (believe_torn_blocks, range(3, 43), {"loss", "damage"}),
    (forget_the_days_client_order_ids, range(1, 41), {"double"}),
    (forget_settlements_numbers, range(7, 47), {"double", "books", "program", "replay"}),
    (leave_the_cursor, range(40), {"books", "program", "liveness"}),
    (skip_over_gaps_of_the_private_stream, range(40), {"private stream"}),
    (do_not_store_the_epoch, range(5, 45), {"regress"}),
    (believe_the_clock, range(24, 64), {"regress"}),
    (forget_what_is_due, range(40), {"expiry", "liveness"}),
    (expire_only_when_somebody_trades, range(40), {"liveness"}),
    (expire_late, range(40), {"expiry"}),
    (let_sessions_outlive_their_link, range(80, 120), {"liveness"}),
    (let_sessions_outlive_the_engine, range(13, 53), {"liveness"}),
)


test_fault_put_in_by_hand_is_found = all_found(FAULTS)


# SIGKILL at one of the first blocks, then a power cut soon after the recovery. Snapshots have points of I/O
# of their own between the two, and the same strikes meet the fault less often: so without them.
TWO_STRIKES = [
    Strike("engine", step, "kill", then=Strike("engine", then, "power"))
    for step in range(20, 40)
    for then in (16, 19, 22)
]


@pytest.mark.slow
def test_block_that_counts_before_it_is_synced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wish: dict[str, Any] = {"requests": 1, "snapshot_commands": NO_SNAPSHOTS}
    with Stage() as folder:
        sound = [simulate(3, folder, strike=strike, **wish).failures for strike in TWO_STRIKES[9:21]]
    count_blocks_that_were_not_synced(monkeypatch)

    found = found_by(TWO_STRIKES, 3, **wish)

    assert sound == [[]] * 12
    assert found["law"] == "loss"


@pytest.mark.slow
def test_cursor_that_does_not_wait_for_a_commit_under_way_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    strikes = [Strike("settlement", step, "kill") for step in range(100, 110)]
    monkeypatch.setattr("tests.simulation.database.LATE_COMMIT_SHARE", 1)
    monkeypatch.setattr("tests.simulation.database.LATE_COMMIT_S", 2.0)
    with Stage() as folder:
        sound = [simulate(3, folder, strike=strike, requests=1) for strike in strikes]
    monkeypatch.setattr("tests.simulation.statements.WRITING", WRITING - {"take_cursor"})

    found = found_by(strikes, 3, requests=1)

    assert any(report.crashes["sql.post.commit"] for report in sound)
    assert [failure for report in sound for failure in report.failures] == []
    assert found["law"] == "program", found
    assert "CursorMoved" in found["message"]


@pytest.mark.slow
def test_cursor_that_is_remembered_and_not_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    strikes = [Strike("settlement", step, "database") for step in range(40, 100)]
    remember_the_cursor_instead_of_reading_it(monkeypatch)

    found = found_by(strikes, 3, requests=1)

    assert found["law"] == "program", found
    assert "CursorMoved" in found["message"]
