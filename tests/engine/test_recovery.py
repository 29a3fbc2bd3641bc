"""Recovery: newest sound snapshot and the tail, or the whole log, or a refusal with a name."""

import shutil
from pathlib import Path

import pytest

from engine import snapshot
from engine.blocks import CorruptLogError, LogError, segment_name
from engine.command_log import CommandLog
from engine.disk import PosixDisk
from engine.event_log import EventLog
from engine.exchange import Exchange, stamped
from engine.records import RECORD_BYTES, Records, commands_of, joined
from engine.recovery import gathered, recover
from engine.snapshot import HEADER, SLOTS, Snapshot, Snapshots
from engine.state_hash import state_hash
from engine.vocabulary import Command, Mode
from tests.engine.builders import COIL, REBAR, SMALL, terms
from tests.engine.fakes import bytes_of, deposit, deposits

SEGMENT = 1 << 16
BATCH = 30


class House:
    """An engine's folder, and what the engine does with it, without loop and sockets."""

    def __init__(self, folder: Path, exchange: Exchange | None = None) -> None:
        self.folder = folder
        self.log = CommandLog(PosixDisk(folder / "commands"), SEGMENT, archive=PosixDisk(folder / "archive"))
        self.exchange = exchange or Exchange(SMALL)
        self.events = EventLog(folder / "events.log", reserve_bytes=1 << 16)
        self.snapshots = Snapshots(PosixDisk(folder / "snapshots"))
        self.begun: Snapshot | None = None
        self._stored_at_close: bytes | None = None

    def recover(self) -> "House":
        self.begun = recover(self.log, self.exchange, self.events, self.snapshots)
        return self

    def start(self) -> "House":
        self.recover()
        self.log.resume(self.log.epoch + 1)
        return self

    def trade(self, batches: int) -> None:
        """Deposits in whole blocks; before the first, what they need."""
        if self.exchange.sequence == 0:
            openings = [commands_of({"kind": Command.OPEN_ACCOUNT, "account": a}) for a in range(1, 9)]
            self._sequence(joined([terms(REBAR, Mode.BOOK), terms(COIL, Mode.LISTED), *openings]))
        for _ in range(batches):
            first = self.exchange.sequence
            self._sequence(commands_of(*(deposit(1 + (first + i) % 9, 1 + i) for i in range(BATCH))))

    def _sequence(self, commands: Records) -> None:
        stamped(commands, self.exchange.sequence + 1, self.exchange.time_ns + 1)
        self.log.append(commands)
        self.events.append(self.exchange.apply(commands))

    def live(self) -> "House":
        """40 batches, a snapshot after 15 and after 30."""
        for batches in (15, 15):
            self.trade(batches)
            self.snapshot()
        self.trade(10)
        return self

    def snapshot(self) -> Snapshot:
        slot = self.snapshots.next_slot()
        self.events.sync()
        assert self.log.position is not None
        self.snapshots.write(slot, self.exchange.state, self.log.position, self.events.size)
        return self.snapshots.take_note(slot)

    def close(self) -> "House":
        self._stored_at_close = self.stored_events()
        self.log.close()
        self.events.close()
        return self

    def stored_events(self) -> bytes:
        """As they were when the house was closed: another may have written into its folder since."""
        if self._stored_at_close is not None:
            return self._stored_at_close
        return (self.folder / "events.log").read_bytes()[: self.events.size]

    def image(self) -> dict[str, bytes]:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}


@pytest.fixture
def lived(tmp_path: Path) -> House:
    """40 batches, a snapshot after 15 and after 30."""
    return House(tmp_path).start().live().close()


def again(house: House) -> House:
    return House(house.folder).start().close()


def check_same(first: House, second: House) -> None:
    assert second.exchange.sequence == first.exchange.sequence
    assert state_hash(second.exchange.state) == state_hash(first.exchange.state)
    assert second.stored_events() == first.stored_events()
    assert second.log.position == first.log.position


def begun_at(house: House) -> int:
    return house.begun.sequence if house.begun else 0


def spoil(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 4
    path.write_bytes(raw)


FIRST_BLOCK = 10
OLDER, NEWER = FIRST_BLOCK + 15 * BATCH, FIRST_BLOCK + 30 * BATCH


def test_start_replays_only_what_came_behind_the_newest_snapshot(
    lived: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, apply = list[int](), Exchange.apply

    def counting(exchange: Exchange, batch: Records) -> Records:
        judged.append(len(batch))
        return apply(exchange, batch)

    monkeypatch.setattr(Exchange, "apply", counting)

    found = again(lived)

    assert begun_at(found) == NEWER
    assert sum(judged) == 10 * BATCH
    check_same(lived, found)


def test_life_goes_on_after_a_start_from_a_snapshot(lived: House, tmp_path: Path) -> None:
    found = House(lived.folder).start()
    found.trade(12)
    found.snapshot()
    found.trade(3)
    found.close()

    whole = House(lived.folder).recover()

    assert begun_at(whole) == NEWER + 22 * BATCH
    check_same(found, whole)
    shutil.rmtree(lived.folder / "snapshots")
    check_same(found, House(lived.folder).recover())


@pytest.mark.parametrize("at", [20, HEADER.itemsize + 300])
def test_broken_newest_snapshot_is_named_and_the_older_one_is_used(
    lived: House, at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(lived.folder / "snapshots" / SLOTS[1], at)

    found = again(lived)

    assert begun_at(found) == OLDER
    check_same(lived, found)
    said = capsys.readouterr().out
    assert "a snapshot is not used" in said
    assert f"recovery begins with the snapshot of command {OLDER}" in said


def test_whole_snapshot_that_contradicts_itself_is_named_and_the_older_one_is_used(
    lived: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = House(lived.folder)
    wrong.snapshots.look()
    wrong.snapshots.load(1, wrong.exchange.state)
    wrong.exchange.state.accounts["held"][2] += 1
    newest = wrong.snapshots.newest()
    assert newest is not None
    with monkeypatch.context() as unchecked:
        unchecked.setattr(snapshot, "check_sound", lambda state: None)
        wrong.snapshots.write(1, wrong.exchange.state, newest.position, newest.events_bytes)
    wrong.close()

    found = again(lived)

    assert begun_at(found) == OLDER
    check_same(lived, found)
    said = capsys.readouterr().out
    assert "its content contradicts itself (account 2: the sum of its holds)" in said


def test_without_a_sound_snapshot_the_whole_log_is_replayed(
    lived: House, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SLOTS:
        spoil(lived.folder / "snapshots" / name, 999)

    found = again(lived)

    assert begun_at(found) == 0
    check_same(lived, found)
    assert "recovery replays the whole command log" in capsys.readouterr().out


def test_snapshot_of_another_capacity_is_not_used(lived: House, capsys: pytest.CaptureFixture[str]) -> None:
    larger = Exchange(SMALL._replace(accounts=128))

    found = House(lived.folder, larger).recover()

    assert begun_at(found) == 0
    assert found.exchange.sequence == lived.exchange.sequence
    assert "made with another capacity of accounts" in capsys.readouterr().out


def refuse(house: House, says: str) -> None:
    """A start must be refused by name and change nothing."""
    before = house.image()
    with pytest.raises(LogError, match=says):
        House(house.folder).recover()
    assert house.image() == before


def test_log_that_begins_behind_the_first_command_needs_a_snapshot(lived: House) -> None:
    (lived.folder / "commands" / segment_name(1)).unlink()
    check_same(lived, House(lived.folder).recover())

    shutil.rmtree(lived.folder / "snapshots")

    refuse(lived, f"segment {segment_name(1)} is missing, and no sound snapshot stands for what came before")


def test_segment_on_which_the_snapshot_rests_is_missed(lived: House) -> None:
    assert lived.begun is None
    newest = lived.snapshots.newest()
    assert newest is not None
    for number in range(1, newest.position.segment + 1):
        (lived.folder / "commands" / segment_name(number)).unlink()

    refuse(lived, f"segment {segment_name(newest.position.segment)} is missing, on which the snapshot")


def test_snapshot_that_knows_more_than_the_log_refuses(lived: House) -> None:
    newest = lived.snapshots.newest()
    assert newest is not None
    segment = lived.folder / "commands" / segment_name(newest.position.segment)
    segment.write_bytes(segment.read_bytes()[: newest.position.offset].ljust(SEGMENT, b"\0"))
    for later in sorted((lived.folder / "commands").iterdir()):
        if later.name > segment.name:
            later.write_bytes(bytes(SEGMENT))

    refuse(lived, f"the snapshot of command {NEWER} rests on a block at .* its end is lost")


def test_snapshot_of_another_exchange_refuses(lived: House, tmp_path: Path) -> None:
    other = House(tmp_path / "other").start()
    other.trade(40)
    other.close()
    shutil.rmtree(lived.folder / "commands")
    shutil.copytree(other.folder / "commands", lived.folder / "commands")

    refuse(lived, "or it is another exchange's")


def test_snapshot_of_another_history_of_the_same_log_refuses(lived: House, tmp_path: Path) -> None:
    """An older copy of the folder was restored, and went on by itself."""
    older = tmp_path / "older"
    house = House(older).start()
    house.trade(1)
    house.close()
    shutil.copytree(older, tmp_path / "newer")
    histories = []
    for folder, accounts in ((older, 1), (tmp_path / "newer", 2)):
        house = House(folder).start()
        house._sequence(commands_of(*(deposit(accounts, 5) for _ in range(BATCH))))
        house.snapshot()
        histories.append(house.close())
    first, second = histories
    assert first.log.position is not None
    assert second.log.position is not None
    assert first.log.position[:4] == second.log.position[:4]
    shutil.rmtree(first.folder / "snapshots")
    shutil.copytree(second.folder / "snapshots", first.folder / "snapshots")

    refuse(first, "that the command log does not hold")


def test_event_log_that_is_gone_is_derived_again_from_the_whole_log(lived: House) -> None:
    events = lived.stored_events()
    (lived.folder / "events.log").unlink()

    found = again(lived)

    assert begun_at(found) == 0
    assert found.stored_events() == events


def test_event_log_behind_the_snapshot_is_written_again(lived: House) -> None:
    newest = lived.snapshots.newest()
    assert newest is not None
    path = lived.folder / "events.log"
    raw = bytearray(path.read_bytes())
    raw[newest.events_bytes :] = bytes(len(raw) - newest.events_bytes)  # a power cut: it was not synced
    path.write_bytes(raw)

    found = again(lived)

    assert begun_at(found) == NEWER
    check_same(lived, found)


def test_event_log_beyond_the_command_log_refuses_also_with_snapshots(lived: House) -> None:
    path = lived.folder / "events.log"
    raw = bytearray(path.read_bytes())
    last = lived.events.size
    raw[last : last + RECORD_BYTES] = raw[last - RECORD_BYTES : last]
    raw[last] += 1
    path.write_bytes(raw)

    refuse(lived, r"events\.log holds command \d+, the command log ends at")


def test_archived_segments_are_read_as_if_they_had_stayed(lived: House) -> None:
    kept = House(lived.folder).start()
    position = kept.log.position
    assert position is not None
    moved = kept.log.archive_below(position.segment)
    kept.close()

    assert moved == position.segment - 1 > 0
    assert sorted(path.name for path in (lived.folder / "archive").iterdir()) == [
        segment_name(number) for number in range(1, position.segment)
    ]
    check_same(lived, again(lived))
    shutil.rmtree(lived.folder / "snapshots")
    check_same(lived, again(lived))


def test_archive_without_the_segments_behind_it_is_refused(lived: House) -> None:
    shutil.rmtree(lived.folder / "archive")
    (lived.folder / "commands" / segment_name(1)).rename(lived.folder / segment_name(1))
    shutil.rmtree(lived.folder / "commands")
    (lived.folder / "archive").mkdir()
    (lived.folder / segment_name(1)).rename(lived.folder / "archive" / segment_name(1))

    with pytest.raises(CorruptLogError, match=f"segment {segment_name(2)} is missing"):
        House(lived.folder)


def test_log_can_be_read_from_any_of_its_positions(lived: House) -> None:
    log = House(lived.folder).log
    whole, positions = [], []
    for block in log.recover():
        whole.append(block)
        positions.append(log.position)

    for at in (0, 1, 17, len(whole) - 1):
        assert bytes_of(House(lived.folder).log.recover(positions[at])) == bytes_of(whole[at + 1 :])


def test_time_never_goes_back_over_restarts(lived: House) -> None:
    for folder in ("snapshots", "nothing"):
        shutil.rmtree(lived.folder / folder, ignore_errors=True)
        assert again(lived).exchange.time_ns == lived.exchange.time_ns


def test_small_blocks_are_gathered_but_never_over_a_stop() -> None:
    blocks = [deposits(count, first) for count, first in ((3, 1), (4, 4), (4000, 8), (200, 4008), (1, 4208))]

    batches = [(int(batch["sequence"][0]), len(batch)) for batch in gathered(blocks, stops=[4])]
    stopped = [(int(batch["sequence"][0]), len(batch)) for batch in gathered(blocks, stops=[7])]

    assert batches == [(1, 4007), (4008, 201)]
    assert stopped == [(1, 7), (8, 4000), (4008, 201)]
    assert bytes_of(gathered(blocks)) == bytes_of(blocks)
