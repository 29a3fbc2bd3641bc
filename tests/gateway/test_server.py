"""Real sockets: a bare WebSocket client against the gateway and a fake engine."""

from tests.gateway.conftest import BUYER, SELLER, Connect, order
from tests.gateway.fake_engine import FakeEngine


async def test_the_response_to_an_order_is_its_durable_acknowledgement(
    connect: Connect, engine: FakeEngine
) -> None:
    seller, buyer = await connect(SELLER), await connect(BUYER)
    resting = await seller.ask("new_order", **order(1, side="sell", lot="7", price="2300.00"))

    taken = await buyer.ask("new_order", **order(2, quantity="20.008"))

    assert resting["ok"]
    assert (resting["leaves"], resting["cum"], resting["average_price"]) == ("10.004", "0.000", None)
    assert taken == {
        "id": taken["id"],
        "ok": True,
        "order_id": str(2 << 22),
        "client_order_id": "o2",
        "sequence": 2,
        "price": "2330.00",
        "quantity": "20.008",
        "leaves": "10.004",
        "cum": "10.004",
        "amount": "23009.20",
        "average_price": "2300.00",
        "received_at": taken["received_at"],
        "received_at_ns": taken["received_at_ns"],
        "sequenced_at": "2015-07-08T01:00:00.000002Z",
        "sequenced_at_ns": 1436317200000002000,
        "duplicate": False,
    }
