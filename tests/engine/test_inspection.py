"""The tools: what they verify, what they find, and that they change nothing."""

from pathlib import Path

import pytest

from engine.exchange import Exchange
from engine.inspection import ToolError, notes, replay_until, snapshot_stopped, verify
from engine.location import Location
from engine.notes import line
from engine.records import RECORD_BYTES
from engine.snapshot import HEADER, SLOTS
from engine.state_hash import state_hash
from tests.engine.builders import SMALL
from tests.engine.test_recovery import BATCH, FIRST_BLOCK, NEWER, OLDER, House, spoil

LAST = FIRST_BLOCK + 40 * BATCH


@pytest.fixture
def lived(tmp_path: Path) -> House:
    """The folder of an engine that has stopped: 40 batches, a snapshot after 15 and after 30."""
    return House(Location(tmp_path).create().engine).start().live().close()


def location_of(house: House) -> Location:
    return Location(house.folder.parent)


def test_verify_replays_from_the_oldest_snapshot_and_finds_nothing(lived: House) -> None:
    before = lived.image()

    verdict = verify(location_of(lived))

    assert verdict.findings == []
    assert (verdict.first_sequence, verdict.last_sequence) == (OLDER + 1, LAST)
    assert (verdict.commands, verdict.snapshots_compared) == (25 * BATCH, 1)
    assert verdict.events_compared >= 25 * BATCH
    assert verdict.state_hash == state_hash(lived.exchange.state).hex()
    assert not verdict.running
    after = lived.image()
    assert {name: after[name] for name in before if name != "lock"} == before


def test_verify_of_all_compares_both_snapshots(lived: House) -> None:
    verdict = verify(location_of(lived), whole=True)

    assert verdict.findings == []
    assert (verdict.first_sequence, verdict.commands, verdict.snapshots_compared) == (1, LAST, 2)
    assert verdict.events_compared == lived.events.size // RECORD_BYTES


def test_verify_finds_a_changed_event(lived: House) -> None:
    spoil(lived.folder / "events.log", lived.events.size - 3 * RECORD_BYTES + 60)

    verdict = verify(location_of(lived))

    assert verdict.findings == [f"events.log differs at event 0 of command {LAST - 2}"]


def test_verify_finds_a_snapshot_that_is_not_what_the_log_gives(lived: House) -> None:
    house = House(lived.folder).recover()
    house.exchange.state.accounts["available"][3] += 1
    house.snapshots.look()
    newest = house.snapshots.newest()
    assert newest is not None
    house.log.position = newest.position
    slot = house.snapshots.known.index(newest)
    house.snapshots.write(slot, house.exchange.state, newest.position, newest.events_bytes)
    house.close()

    verdict = verify(location_of(lived))

    assert verdict.findings == [f"the snapshot of command {NEWER} is not what the log gives"]


@pytest.mark.parametrize(("at", "says"), [(30, "its header is damaged"), (HEADER.itemsize + 9, "is damaged")])
def test_verify_finds_a_damaged_snapshot_and_goes_by_the_other(lived: House, at: int, says: str) -> None:
    spoil(lived.folder / "snapshots" / SLOTS[0], at)

    verdict = verify(location_of(lived))

    assert len(verdict.findings) == 1
    assert says in verdict.findings[0]
    assert verdict.first_sequence == NEWER + 1


def test_verify_finds_that_the_event_log_ends_early(lived: House) -> None:
    path = lived.folder / "events.log"
    path.write_bytes(path.read_bytes()[: lived.events.size - 7 * RECORD_BYTES])

    verdict = verify(location_of(lived))

    assert verdict.findings == [
        "events.log ends 7 events early; the next start of the engine writes them again"
    ]


def test_verify_without_an_event_log_says_so(lived: House) -> None:
    (lived.folder / "events.log").unlink()

    assert verify(location_of(lived)).findings == ["events.log is missing"]


def test_verify_finds_a_state_beyond_the_log(lived: House) -> None:
    house = House(lived.folder).recover()
    assert house.log.position is not None
    ahead = house.log.position._replace(sequence=LAST + 50)
    house.snapshots.look()
    house.snapshots.write(1, house.exchange.state, ahead, house.events.size)
    house.close()

    verdict = verify(location_of(lived))

    assert verdict.findings == [
        f"the snapshot of command {LAST + 50} is beyond the log, which ends at {LAST}"
    ]


@pytest.mark.parametrize("until", [1, OLDER - 7, OLDER, NEWER + 13, LAST])
def test_replay_until_gives_the_state_of_that_command(lived: House, until: int) -> None:
    exchange = Exchange(SMALL)
    for block in House(lived.folder).log.recover():
        wanted = block[block["sequence"] <= until].copy()
        if len(wanted):
            exchange.apply(wanted)

    found = replay_until(location_of(lived), until)

    assert (found["sequence"], found["state_hash"]) == (until, state_hash(exchange.state).hex())
    assert found["begun_with_snapshot"] == max(s for s in (0, OLDER, NEWER) if s <= until)


def test_replay_beyond_the_log_is_refused_by_name(lived: House) -> None:
    with pytest.raises(ToolError, match=f"the log ends at command {LAST}"):
        replay_until(location_of(lived), LAST + 1)


def test_notes_show_commands_with_their_events(lived: House) -> None:
    found = list(notes(location_of(lived), 1, 5))
    late = list(notes(location_of(lived), NEWER + 2, NEWER + 3))

    assert [note["kind"] for note in found] == ["define_instrument"] * 2 + ["open_account"] * 3
    assert found[0]["tick_fen_per_tonne"] == 100
    assert [event["kind"] for event in found[2]["events"]] == ["account_opened"]
    assert [note["sequence"] for note in late] == [NEWER + 2, NEWER + 3]
    assert late[0]["kind"] == "deposit"
    assert late[0]["amount_fen"] == 2
    assert late[0]["events"][0]["amount_fen"] == 2
    assert line(late[0]).startswith(f"deposit sequence={NEWER + 2} account=")


def test_snapshot_of_a_stopped_engine_lets_the_next_start_replay_nothing(lived: House) -> None:
    snapshot = snapshot_stopped(location_of(lived), Exchange(SMALL))

    found = House(lived.folder).recover()

    assert snapshot.sequence == LAST
    assert found.begun is not None
    assert found.begun.sequence == LAST


def test_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="holds no command log; set LECONG_DATA"):
        verify(Location(tmp_path))
