"""The engine's links: what their loss means, and streams that start from a snapshot or resume (over real
sockets)."""

from typing import Any

import pytest

from gateway.server import Gateway
from tests.gateway.conftest import BUYER, SELLER, Connect, Peer, order, until
from tests.gateway.fake_engine import FakeEngine


async def test_the_loss_of_the_engine_ends_sessions_but_not_the_gateway(
    connect: Connect, engine: FakeEngine, gateway: Gateway
) -> None:
    buyer = await connect(BUYER)

    await engine.stop()
    code = await buyer.ends()

    assert code == 1012
    assert (buyer.pushes[-1]["channel"], buyer.pushes[-1]["code"]) == ("shutdown", "engine_unavailable")
    with pytest.raises(AssertionError, match="engine_unavailable"):
        await connect(BUYER)
    await engine.start()
    await until(lambda: gateway.desk.available)
    assert (await (await connect(BUYER)).ask("new_order", **order()))["ok"]


async def test_the_loss_of_the_event_link_alone_keeps_the_sessions(
    connect: Connect, engine: FakeEngine
) -> None:
    buyer = await connect(BUYER)
    await buyer.ask("new_order", **order(1))

    engine.drop_events()
    answer = await buyer.ask("new_order", **order(2))

    assert answer["ok"]


async def private(peer: Peer, **fields: Any) -> dict[str, Any]:
    answer = await peer.ask("subscribe", channel="private", **fields)
    assert answer["ok"], answer
    return answer


async def test_the_private_stream_resumes_where_it_was_left(connect: Connect) -> None:
    buyer = await connect(BUYER)
    for number in range(5):
        await buyer.ask("new_order", **order(number))

    answer = await private(buyer, resume_from={"account_sequence": 2, "sequence": 2})
    missed = [await buyer.push("private") for _ in range(3)]
    await buyer.ask("cancel_order", client_order_id="o0")
    live = await buyer.push("private")

    assert answer["account_sequence"] == 2
    assert [each["account_sequence"] for each in [*missed, live]] == [3, 4, 5, 6]
    assert [each["client_order_id"] for each in missed] == ["o2", "o3", "o4"]
    assert (live["status"], live["reason"]) == ("canceled", "canceled_by_owner")


async def test_a_wrong_hint_only_makes_the_search_longer(connect: Connect) -> None:
    buyer = await connect(BUYER)
    for number in range(3):
        await buyer.ask("new_order", **order(number))

    await private(buyer, resume_from={"account_sequence": 0, "sequence": 3})

    assert [(await buyer.push("private"))["account_sequence"] for _ in range(3)] == [1, 2, 3]


async def test_what_is_still_kept_is_replayed_also_without_a_hint(
    connect: Connect, engine: FakeEngine
) -> None:
    buyer = await connect(BUYER)
    for number in range(5):
        await buyer.ask("new_order", **order(number))
    engine.forget(2)

    await private(buyer, resume_from={"account_sequence": 2})

    assert [(await buyer.push("private"))["account_sequence"] for _ in range(3)] == [3, 4, 5]


@pytest.mark.parametrize("hint", [{}, {"sequence": 1}])
@pytest.mark.parametrize(
    ("forgotten", "cut", "error"),
    [
        (2, False, ("resume_too_old", 1008)),  # a gap shows it
        (3, False, ("resume_too_old", 1008)),  # nothing is left, and that is all
        (3, True, ("engine_unavailable", 1012)),  # nothing came, but more may be there
    ],
)
async def test_who_cannot_be_given_what_was_missed_is_told_why(
    connect: Connect,
    engine: FakeEngine,
    forgotten: int,
    cut: bool,
    error: tuple[str, int],
    hint: dict[str, int],
) -> None:
    buyer = await connect(BUYER)
    for number in range(3):
        await buyer.ask("new_order", **order(number))
    engine.forget(forgotten)
    engine.cutting = cut

    await private(buyer, resume_from={"account_sequence": 1} | hint)
    code = await buyer.ends()

    assert buyer.pushes[-1]["channel"] == "error"
    assert (buyer.pushes[-1]["error"]["code"], code) == error
    assert [each for each in buyer.pushes if each["channel"] == "private"] == []


async def test_without_resume_from_the_stream_starts_now(connect: Connect) -> None:
    buyer = await connect(BUYER)
    await buyer.ask("new_order", **order(1))

    answer = await private(buyer)
    await buyer.ask("new_order", **order(2))

    assert answer["account_sequence"] == 1
    assert (await buyer.push("private"))["account_sequence"] == 2


async def test_depth_starts_with_a_snapshot_and_follows(connect: Connect) -> None:
    seller, buyer = await connect(SELLER), await connect(BUYER)
    await seller.ask("new_order", **order(1, side="sell", lot="7"))

    await buyer.ask("subscribe", channel="depth", instruments=["RB12-9-SG"])
    snapshot = await buyer.push("depth")
    await buyer.ask("new_order", **order(2))
    delta = await buyer.push("depth")
    await buyer.ask("unsubscribe", channel="depth", instruments=["RB12-9-SG"])

    assert (snapshot["type"], snapshot["asks"]) == ("snapshot", [["2330.00", "10.004", 1]])
    assert (delta["previous_sequence"], delta["asks"]) == (snapshot["sequence"], [["2330.00", "0.000", 0]])
