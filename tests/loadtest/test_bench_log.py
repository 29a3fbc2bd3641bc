"""The log's bench at a small size: what it measures is what ships, and it says where."""

import asyncio
import errno
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.blocks import HEADER, HEADER_BYTES
from engine.records import RECORD_BYTES, Records
from loadtest import bench_log
from loadtest.bench_log import bare, blocks_of, lines, measure
from loadtest.logged import Bench, orders

pytestmark = pytest.mark.slow


def test_the_object_has_every_ratio_and_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_log, "LATENCY_COMMANDS", 20)
    monkeypatch.setattr(bench_log, "SNAPSHOT_EACH", 4_000)
    monkeypatch.setattr(bench_log, "WARM_UP_COMMANDS", 4_000)

    sizes = {"commands": 20_000, "replayed": 5_000, "recovered": 10_000, "resting": 3_000}
    found = measure(tmp_path / "data", **sizes, rounds=1)

    assert found["ratios"].keys() == found["marks"].keys() == bench_log.MARKS.keys()
    assert all(ratio > 0 for ratio in found["ratios"].values())
    assert found["figures"]["snapshot_pause"]["resting_orders"] == 3_000
    assert found["figures"]["replay"]["commands"] > 5_000, "the set-up is replayed too"
    assert found["figures"]["recovery"]["commands"] == 10_000
    assert found["figures"]["beyond_the_segments_ahead"]["commands"] == 80_000
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    assert any("latency_p50" in line and "at most 2.0" in line for line in lines(found))
    assert not (tmp_path / "data").exists()


async def test_the_bare_disk_writes_the_very_blocks(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "log")
    async with bench.running():
        await bench.through(orders(10_000, 0))

    blocks = blocks_of(tmp_path / "log")

    assert len(bare(tmp_path / "bare", blocks)) == len(blocks)
    commands = sum(int(np.frombuffer(block[:HEADER_BYTES], HEADER)[0]["count"]) for block in blocks)
    assert commands == bench.exchange.sequence
    assert sum(map(len, blocks)) > commands * RECORD_BYTES


async def test_a_sequencer_that_dies_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "log")

    def fail(commands: Records) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def trade() -> None:
        async with asyncio.timeout(60), bench.running():
            monkeypatch.setattr(bench.log, "append", fail)
            await bench.through(orders(10_000, 0))

    with pytest.raises(OSError, match="Input/output"):
        await trade()


async def test_orders_that_find_no_room_are_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, refusals = Bench(tmp_path / "log"), iter(range(3))
    has_room = bench.log.has_room
    async with asyncio.timeout(60), bench.running():
        monkeypatch.setattr(
            bench.log, "has_room", lambda count: next(refusals, None) is None and has_room(count)
        )
        before = bench.exchange.sequence

        await bench.through(orders(10_000, 0))

    assert bench.exchange.sequence == before + 10_000


async def test_a_disk_without_space_for_the_next_segment_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "log")

    async def trade() -> None:
        async with asyncio.timeout(60), bench.running():
            monkeypatch.setattr(bench.log, "has_room", lambda count: False)
            bench.log._segments.trouble = OSError(errno.ENOSPC, "No space left on device")
            await bench.through(orders(10_000, 0))

    with pytest.raises(OSError, match="No space left"):
        await trade()


def test_the_same_seed_gives_the_same_orders_and_they_trade() -> None:
    assert orders(1000, 7).tobytes() == orders(1000, 7).tobytes()
    assert orders(1000, 7).tobytes() != orders(1000, 8).tobytes()
