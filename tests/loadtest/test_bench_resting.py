"""What is measured beside many resting orders is what it says: as many rest before and after, cancels hit."""

import numpy as np

from engine.core.layout import Capacity
from engine.exchange import Exchange
from engine.vocabulary import Event
from loadtest import bench_resting
from loadtest.bench_core import build_replay, fresh_exchange

RESTING, MIXED = 300, 1_000


def test_the_mix_leaves_as_many_orders_and_no_cancel_misses() -> None:
    replay = build_replay(bench_resting.mixed_messages(RESTING, MIXED))
    exchange = fresh_exchange(replay)

    events = exchange.apply(replay.commands).copy()

    assert int(exchange.state.head["live_orders"][0]) == RESTING
    counted = {kind: int(np.count_nonzero(events["kind"] == kind)) for kind in Event}
    assert counted[Event.REJECTED] == 0
    assert (counted[Event.CANCELED], counted[Event.TRADE]) == (4 * MIXED // 10, MIXED // 10)
    exchange.check_invariants()


def test_the_mix_is_the_same_however_many_rest() -> None:
    few, many = (bench_resting.mixed_messages(resting, MIXED) for resting in (RESTING, 2 * RESTING))

    assert few[RESTING:]["type"].tolist() == many[2 * RESTING :]["type"].tolist()


def test_the_figures_are_measured_and_named() -> None:
    result = bench_resting.measure(orders=2_000, messages=MIXED, rounds=1)

    assert result["resting"]["cost"]["resting_few"] == bench_resting.FEW
    assert result["million_order_cost"] == result["resting"]["cost"]["ratio"] > 0
    assert set(result["resting"]["resident_bytes_per_order"]) == set(bench_resting.KINDS)
    assert result["state_hash_ms"] > 0
    assert sum(bench_resting.table_bytes().values()) == 32 + 64 + 32 + 1 + 8 + 64
    assert len(bench_resting.lines(result)) == 4


def test_orders_of_every_kind_rest_where_they_are_counted() -> None:
    for kind, (shows_part, by_client_order_id) in bench_resting.KINDS.items():
        orders = 500
        exchange = Exchange(Capacity(orders=1_000, day=1_024))

        bench_resting._fill(exchange, orders, shows_part, by_client_order_id)

        head = exchange.state.head
        assert int(head["live_orders"][0]) == orders, kind
        assert int(head["day_entries"][0]) == (orders if by_client_order_id else 0)
        assert bool(exchange.state.specials["hidden"].any()) == shows_part
