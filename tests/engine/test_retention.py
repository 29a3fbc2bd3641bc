"""Retention: nothing leaves before everybody has done with it, and what leaves can be read on."""

import asyncio
import shutil
from pathlib import Path

import pytest

from engine.blocks import segment_name
from engine.event_log import EventLog
from engine.records import RECORD_BYTES
from engine.retention import Retention
from engine.state_hash import state_hash
from tests.engine.fakes import bytes_of, events_of
from tests.engine.test_recovery import BATCH, NEWER, OLDER, House


@pytest.fixture
def house(tmp_path: Path) -> House:
    """At work: a snapshot after 15 batches and after 30, 40 in all, over three segments."""
    return House(tmp_path).start().live()


def retention(house: House, cursors: dict[int, int], *, kept: int = 0, read: int | None = None) -> Retention:
    first_read = house.events.size if read is None else read
    return Retention(house.snapshots, house.log, house.events, cursors, lambda: first_read, kept)


def test_nothing_moves_before_settlement_has_told_its_cursor(house: House) -> None:
    assert retention(house, {}).places() is None
    assert retention(house, {1: OLDER - 1}).places() is None
    assert retention(house, {1: OLDER}).places() is not None


def test_nothing_moves_while_there_is_only_one_snapshot(tmp_path: Path) -> None:
    house = House(tmp_path).start()
    house.trade(20)
    house.snapshot()

    assert retention(house, {1: 10**9}).places() is None


def test_the_place_is_the_lowest_of_snapshot_reader_and_what_is_kept_anyway(house: House) -> None:
    older = house.snapshots.older()
    assert older is not None
    row = RECORD_BYTES

    assert retention(house, {1: NEWER}).places() == (older.position.segment, older.events_bytes)
    assert retention(house, {1: NEWER}, read=40 * row).places() == (older.position.segment, 40 * row)
    kept = house.exchange.sequence - 50
    assert retention(house, {1: NEWER}, kept=kept).places() == (
        older.position.segment,
        house.events.position_after(50),
    )
    assert retention(house, {1: NEWER}, kept=10**9).places() == (older.position.segment, 0)


async def cleared(house: House, cursors: dict[int, int]) -> None:
    keeping = retention(house, cursors)
    keeping.clear()
    await asyncio.gather(*keeping._tasks)


async def test_segments_below_the_older_snapshot_move_and_a_start_finds_everything(tmp_path: Path) -> None:
    house = House(tmp_path).start()
    for _ in range(4):
        house.trade(25)
        house.snapshot()
    older = house.snapshots.older()
    assert older is not None

    await cleared(house, {1: house.exchange.sequence})
    house.trade(3)
    house.close()

    moved = [segment_name(number) for number in range(1, older.position.segment)]
    assert moved
    assert sorted(path.name for path in (tmp_path / "archive").iterdir()) == moved
    again = House(tmp_path).start()
    assert state_hash(again.exchange.state) == state_hash(house.exchange.state)
    again.trade(40)
    again.close()
    for name in ("snapshots", "events.log"):
        path = tmp_path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    whole = House(tmp_path).recover()
    assert state_hash(whole.exchange.state) == state_hash(again.exchange.state)
    assert whole.begun is None


async def test_events_that_were_given_back_free_the_disk_and_places_stay(tmp_path: Path) -> None:
    house = House(tmp_path).start()
    for _ in range(3):
        house.trade(200)
        house.snapshot()
    older, whole = house.snapshots.older(), house.stored_events()
    assert older is not None
    before = (tmp_path / "events.log").stat().st_blocks

    await cleared(house, {1: house.exchange.sequence})

    if house.events.first == 0:
        pytest.skip("this file system makes no holes")
    assert (tmp_path / "events.log").stat().st_blocks < before
    assert 0 < house.events.first <= older.events_bytes
    kept = house.events.read(house.events.first)
    assert house.events.position_after(0) == house.events.first
    assert kept.tobytes() == whole[house.events.first :][: kept.nbytes]
    house.close()
    again = House(tmp_path).recover()
    assert (again.events.first, again.events.size) == (house.events.first, house.events.size)
    assert again.events.former_sequence == house.exchange.sequence


async def test_disk_that_cannot_archive_is_told_once_and_loses_nothing(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(segment: int) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(house.log, "archive_below", broken)
    keeping = retention(house, {1: NEWER})
    for _ in range(2):
        keeping.clear()
        await asyncio.gather(*keeping._tasks)

    assert capsys.readouterr().out.count("the archive cannot be written") == 1
    house.trade(1)
    assert house.exchange.sequence == OLDER + 25 * BATCH + BATCH


def test_forgetting_goes_by_whole_pages(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.log", reserve_bytes=1 << 16)
    log.append(events_of(*((sequence, 1) for sequence in range(1, 101))))

    log.forget(40 * RECORD_BYTES)  # 5,120 bytes: one page of 32 events

    assert log.first in (0, 32 * RECORD_BYTES)
    assert log.position_after(50) == 50 * RECORD_BYTES
    assert bytes_of([log.read(50 * RECORD_BYTES)]) == events_of(*((s, 1) for s in range(51, 101))).tobytes()
