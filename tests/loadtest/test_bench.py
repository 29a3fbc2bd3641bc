"""The bench's object and page: what could not be measured is null with its reason."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtest import bench, bench_core
from loadtest.bench_gateway import INSTRUMENTS, Round, _figures, order_frames
from loadtest.bench_settlement import FILLS, Books
from loadtest.crowd import PRODUCTS
from settlement.clearing import Batch
from settlement.store import Store


def result() -> dict[str, Any]:
    measures: dict[str, bench.Measure] = {
        "core_flash1_normal": lambda: {"ratio": None, "reason": "g++ is not installed"},
        "gateway_json": lambda: {"ratio": 0.9, "gateway_orders_per_second": 1},
    }
    return bench.run(measures, lambda line: None)


def test_the_object_has_every_ratio_and_says_where_it_was_measured() -> None:
    found = result()

    assert found["ratios"] == {"core_flash1_normal": None, "gateway_json": 0.9}
    assert found["marks"] == {"core_flash1_normal": 1.5, "gateway_json": 0.8, "settlement_fills": 0.6}
    assert {"figures", "machine", "commit", "at"} <= found.keys()
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_the_page_names_reason_and_mark(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"

    bench.append(bench.lines(result()), page)

    assert "core_flash1_normal: null (g++ is not installed)" in page.read_text()
    assert "gateway_json: 0.9 (mark 0.8)" in page.read_text()


def test_the_core_without_the_shared_folder_is_null_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LECONG_SHARED", str(tmp_path))

    found = bench_core.measure()

    assert found["ratio"] is None
    assert "LECONG_SHARED" in found["reason"]


def test_the_gateways_ratio_is_of_cpu_per_message_and_the_median_of_pairs() -> None:
    pairs = [(Round(100, 1.0, cpu, 380), Round(100, 0.5, 0.10, 380)) for cpu in (0.10, 0.125, 0.20)]

    found = _figures(pairs)

    assert found["ratio"] == 0.8
    assert (found["gateway_orders_per_second"], found["echo_messages_per_second"]) == (100.0, 200.0)


def test_the_benchs_orders_are_valid_and_never_repeat_an_id() -> None:
    frames = [msgspec.json.decode(frame) for frame in order_frames(1000, "1-")]

    assert len({frame["client_order_id"] for frame in frames}) == 1000
    for frame in frames:
        product = PRODUCTS[frame["instrument"]]
        assert frame["instrument"] in INSTRUMENTS
        assert product.reference_fen_per_tonne * 95 // 100 < int(frame["price"].replace(".", ""))
        assert int(frame["quantity"].replace(".", "")) == product.unit_weight_kg


class Kept(Store):
    """A store that only keeps what it would write."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def post(self, batch: Batch) -> None:
        self.batches.append(batch)


async def test_the_benchs_fills_are_bookable_and_the_same_every_time() -> None:
    chains = set()
    for _ in range(2):
        store = Kept()
        books = Books(store)
        await books.open()
        batch = await books.settle(books.fills(FILLS))
        chains.add(batch.after.chain)
        assert len(batch.contracts) == FILLS
        assert len(batch.transitions) == 3 * FILLS
        assert batch.money_deltas.amount.sum() == batch.goods_deltas.amount.sum() == 0

    assert len(chains) == 1
