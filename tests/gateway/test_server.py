"""Sockets: acknowledgements, logon, limits and the end, as a bare WebSocket client sees them."""

import asyncio
import json

import aiohttp
import pytest

from gateway import outbox, server, trading
from gateway.codec import encode
from gateway.server import FRAME_BYTES_MAX, Gateway
from gateway.session import signed_logon
from tests.gateway.conftest import BUYER, COIL, COIL_NUMBER, OPERATOR, SELLER, STRANGER, Connect, order, until
from tests.gateway.fake_engine import FakeEngine


async def test_the_response_to_an_order_is_its_durable_acknowledgement(connect: Connect) -> None:
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


async def test_nothing_is_answered_before_the_engine_says_durable(
    connect: Connect, engine: FakeEngine
) -> None:
    buyer = await connect(BUYER)
    engine.silent = True

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await buyer.ask("new_order", **order())
    engine.speak()

    assert (await buyer.response("r1"))["ok"]


async def test_a_repeated_client_order_id_gets_the_first_outcome(
    connect: Connect, engine: FakeEngine
) -> None:
    buyer = await connect(BUYER)
    first = await buyer.ask("new_order", **order())

    again = await buyer.ask("new_order", **order())

    assert (again["duplicate"], again["order_id"]) == (True, first["order_id"])
    assert len(engine.live) == 1


async def test_orders_are_canceled_by_either_id(connect: Connect) -> None:
    buyer = await connect(BUYER)
    placed = await buyer.ask("new_order", **order(1))
    await buyer.ask("new_order", **order(2))

    by_order = await buyer.ask("cancel_order", order_id=placed["order_id"])
    by_client = await buyer.ask("cancel_order", client_order_id="o2")

    assert [(each["client_order_id"], each["canceled"]) for each in (by_order, by_client)] == [
        ("o1", "10.004"),
        ("o2", "10.004"),
    ]


async def test_a_listing_is_seen_and_picked(connect: Connect) -> None:
    seller, buyer = await connect(SELLER), await connect(BUYER)
    await seller.ask("new_order", **order(1, side="sell", lot="7", instrument=COIL))
    (listing,) = (await buyer.ask("listings", instrument=COIL))["listings"]

    picked = await buyer.ask(
        "pick",
        client_order_id="p1",
        order_id=listing["order_id"],
        quantity="10.004",
        version=listing["version"],
    )

    assert (listing["lot"], listing["warehouse"], listing["member"]) == ("7", "LC01", 1)
    assert (listing["leaves"], listing["minimum"]) == ("10.004", "10.004")
    assert (picked["cum"], picked["leaves"], picked["amount"]) == ("10.004", "0.000", "23309.32")


async def test_questions_are_answered_as_of_a_sequence(connect: Connect) -> None:
    buyer = await connect(BUYER)
    await buyer.ask("new_order", **order())

    orders, balances = await buyer.ask("open_orders"), await buyer.ask("balances")
    lots, instruments = await buyer.ask("lots"), await buyer.ask("instruments")

    assert [each["client_order_id"] for each in orders["orders"]] == ["o1"]
    assert (balances["available"], balances["held"], balances["sequence"]) == ("123456.78", "0.05", 1)
    assert [(each["lot"], each["receipt"], each["free"]) for each in lots["lots"]] == [("7", "R-7", "1.000")]
    assert [(each["instrument"], each["phase"], each["lower"]) for each in instruments["instruments"]] == [
        ("RB12-9-SG", "continuous", "2214.00")
    ]


async def test_a_very_large_member_is_answered_by_pages(connect: Connect, engine: FakeEngine) -> None:
    buyer = await connect(BUYER)
    engine.rest(28_000, account=2)

    first = await buyer.ask("open_orders")
    last = await buyer.ask("open_orders", after=str(27_600 << 22), limit=500)

    ids = [each["order_id"] for each in first["orders"]]
    assert ids == [str(number << 22) for number in range(1, 1001)]
    assert first["more"] is True
    assert (len(last["orders"]), last["more"]) == (400, False)


async def test_the_listings_go_on_behind_the_one_named(connect: Connect, engine: FakeEngine) -> None:
    buyer = await connect(BUYER)
    engine.rest(5, account=1, instrument=COIL_NUMBER)

    pages = [
        await buyer.ask("listings", instrument=COIL, after=str(after << 22), limit=2)
        for after in (0, 2, 4, 9)
    ]

    shown = [[int(each["order_id"]) >> 22 for each in page["listings"]] for page in pages[:3]]
    assert (shown, [page["more"] for page in pages[:3]]) == ([[1, 2], [3, 4], [5]], [True, True, False])
    assert (pages[3]["error"]["code"], pages[3]["error"]["path"]) == ("after_ended", "$.after")


async def test_the_orders_of_a_book_are_not_listed_because_they_may_hide_kilograms(connect: Connect) -> None:
    error = (await (await connect(BUYER)).ask("listings", instrument="RB12-9-SG"))["error"]

    assert (error["code"], error["path"]) == ("not_listed", "$.instrument")


async def test_lots_go_on_after_the_one_named(connect: Connect) -> None:
    seller = await connect(SELLER)

    assert [len((await seller.ask("lots", after=after))["lots"]) for after in ("6", "7")] == [1, 0]


@pytest.mark.parametrize("op", ["open_orders", "lots", "contracts"])
@pytest.mark.parametrize("limit", [0, 1001])
async def test_a_page_has_a_size(connect: Connect, op: str, limit: int) -> None:
    buyer = await connect(BUYER)

    answer = await buyer.ask(op, limit=limit)

    assert (answer["error"]["code"], answer["error"]["path"]) == ("invalid_value", "$.limit")


async def test_the_operator_moves_phase_reference_day_and_clock(connect: Connect, engine: FakeEngine) -> None:
    operator = await connect(OPERATOR)

    answers = [
        await operator.ask("set_phase", phase="closed"),
        await operator.ask("set_reference", instrument="RB12-9-SG", price="2340.00"),
        await operator.ask("roll_day"),
        await operator.ask("set_clock", time_ns=1436317200000000000),
    ]

    assert [each["sequence"] for each in answers] == [1, 2, 3, 4]
    assert [row["kind"] for row in engine.commands] == [33, 34, 35, 36]


async def test_nothing_but_logon_and_ping_is_done_before_logon(connect: Connect, engine: FakeEngine) -> None:
    stranger = await connect()

    answer = await stranger.ask("new_order", **order())

    assert answer["error"]["code"] == "logon_required"
    assert (await stranger.ask("ping"))["ok"]
    assert engine.commands == []


async def test_a_wrong_signature_and_an_unknown_key_are_told_apart(connect: Connect) -> None:
    with pytest.raises(AssertionError, match="unknown_key"):
        await connect(STRANGER)
    stranger = await connect()
    hello = stranger.pushes.pop()
    message = signed_logon(BUYER, hello["nonce"] + "0", hello["server_time_ns"])
    await stranger.socket.send_str(encode(message).decode())

    assert (await stranger.response("logon"))["error"]["code"] == "wrong_signature"


async def test_a_connection_that_does_not_log_on_in_time_is_closed(connect: Connect) -> None:
    stranger = await connect()

    assert await stranger.ends() == 1008
    assert stranger.pushes[-1]["error"]["code"] == "logon_timeout"


async def test_a_connection_that_sends_much_before_logon_is_closed(connect: Connect) -> None:
    stranger = await connect()

    await stranger.socket.send_str("x" * 1025)

    assert (await stranger.response(None))["error"]["code"] == "too_much_before_logon"
    assert await stranger.ends() == 1008


async def test_an_oversized_frame_is_named_and_ends_the_connection(
    connect: Connect, engine: FakeEngine
) -> None:
    buyer = await connect(BUYER)

    await buyer.socket.send_str('{"op":"ping","id":"' + "x" * FRAME_BYTES_MAX + '"}')

    assert await buyer.ends() == 1009
    assert buyer.pushes[-1]["error"]["code"] == "frame_too_large"


async def test_a_frame_of_the_maximum_is_read(connect: Connect) -> None:
    buyer = await connect(BUYER)
    text = '{"op":"ping","id":"r"'

    await buyer.socket.send_str(text + " " * (FRAME_BYTES_MAX - len(text) - 1) + "}")

    assert (await buyer.response("r"))["ok"]


async def test_binary_frames_are_refused(connect: Connect) -> None:
    buyer = await connect(BUYER)

    await buyer.socket.send_bytes(b"\0" * 128)

    assert (await buyer.response(None))["error"]["code"] == "not_text"


async def test_requests_in_flight_are_bounded(
    connect: Connect, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trading, "IN_FLIGHT_MAX", 3)
    buyer = await connect(BUYER)
    engine.silent = True

    for number in range(4):
        await buyer.socket.send_str(json.dumps({"op": "new_order", "id": f"n{number}"} | order(number)))

    assert (await buyer.response("n3"))["error"]["code"] == "too_many_in_flight"
    await until(lambda: len(engine.commands) == 3)


async def test_pings_of_the_peer_are_answered(connect: Connect) -> None:
    buyer = await connect(BUYER)

    await buyer.socket.ping(b"alive")

    assert (await buyer.ask("ping"))["ok"]


async def test_a_peer_that_does_not_read_its_private_data_is_cut_off(
    connect: Connect, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "OUTBOX_PRIVATE_BYTES_MAX", 100_000)
    buyer = await connect(BUYER)
    (connection,) = [each for each in gateway._connections.values() if each.session.member == 2]

    for _ in range(40):
        connection.outbox.send(b'{"channel":"noise","text":"%s"}' % (b"x" * 60_000))
    await until(lambda: connection.outbox.overflowed)

    assert await buyer.ends() in (1008, 1006)
    await until(lambda: connection.session not in gateway._connections)


async def test_orders_of_one_turn_leave_in_one_frame(connect: Connect, gateway: Gateway) -> None:
    buyer = await connect(BUYER)
    link = gateway.feed._link
    assert link is not None
    sizes: list[int] = []
    send = link.send
    link.send = lambda commands: (sizes.append(len(commands)), send(commands))[1]  # type: ignore[func-returns-value,method-assign]

    for number in range(20):
        await buyer.socket.send_str(json.dumps({"op": "new_order", "id": f"n{number}"} | order(number)))
    for number in range(20):
        assert (await buyer.response(f"n{number}"))["ok"]

    assert sum(sizes) == 20
    assert len(sizes) < 20


async def test_a_stop_is_announced_and_closes_with_1012(connect: Connect, gateway: Gateway) -> None:
    buyer = await connect(BUYER)

    stopping = asyncio.create_task(gateway.stop())

    assert await buyer.ends() == 1012
    await stopping
    assert buyer.pushes[-1]["code"] == "shutting_down"


async def test_a_full_gateway_says_so(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 0)

    url = f"http://127.0.0.1:{gateway.port}/ws"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 503
        assert (await answer.json())["error"]["code"] == "too_many_connections"
