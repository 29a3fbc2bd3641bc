"""Every request gets one response, and bad input a named one without effect (over real sockets)."""

import json
from typing import Any

import pytest

from engine.vocabulary import Reason
from gateway.fix_codes import fix_code
from tests.gateway.conftest import BUYER, READER, SELLER, Connect, order
from tests.gateway.fake_engine import FakeEngine

REFUSED_OF_A_BUYER = [
    ("not json", "malformed_json", "$"),
    ('{"op":"new_order"', "malformed_json", "$"),
    ('{"op":"sing","id":"r"}', "unknown_op", "$.op"),
    ({"op": "new_order", **order(), "leverage": 2}, "unknown_field", "$.leverage"),
    ({"op": "new_order", **order(), "price": 2330}, "wrong_type", "$.price"),
    ({"op": "new_order", **order(instrument="GOLD")}, "unknown_instrument", "$.instrument"),
    ({"op": "new_order", **order(price="2330.001")}, "invalid_decimal", "$.price"),
    ({"op": "new_order", **order(client_order_id="much too long for it")}, "invalid_client_order_id",
     "$.client_order_id"),
    ({"op": "cancel_order", "order_id": "9e9"}, "invalid_id", "$.order_id"),
    ({"op": "deposit", "member": 2, "amount": "1.00", "reference": "x"}, "scope_missing", "$.op"),
    ({"op": "set_phase", "phase": "closed"}, "scope_missing", "$.op"),
    ({"op": "contracts", "member": 1}, "scope_missing", "$.member"),
    ({"op": "subscribe", "channel": "gossip"}, "invalid_value", "$.channel"),
    ({"op": "subscribe", "channel": "depth"}, "missing_field", "$.instruments"),
    ({"op": "subscribe", "channel": "depth", "instruments": ["GOLD"]}, "unknown_instrument",
     "$.instruments[0]"),
    ({"op": "subscribe", "channel": "private", "resume_from": {"account_sequence": 99}}, "resume_ahead",
     "$.resume_from.account_sequence"),
    ({"op": "logon", "key": "", "timestamp_ns": 0, "signature": ""}, "already_logged_on", "$"),
    ({"op": "contracts"}, "settlement_unavailable", "$"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "code", "path"), REFUSED_OF_A_BUYER)
async def test_bad_input_has_a_named_error_and_no_effect(
    connect: Connect, engine: FakeEngine, sent: Any, code: str, path: str
) -> None:
    buyer = await connect(BUYER)
    text = sent if isinstance(sent, str) else json.dumps(sent | {"id": "r"})

    await buyer.socket.send_str(text)
    answer = await buyer.response(None if code == "malformed_json" else "r")

    assert (answer["ok"], answer["error"]["code"], answer["error"]["path"]) == (False, code, path)
    assert answer["error"]["message"]
    assert answer["error"]["message_zh"]
    assert ("fix" in answer["error"]) == (code == "unknown_instrument"), "FIX has no word for bad frames"
    assert engine.commands == []
    assert (await buyer.ask("ping"))["ok"], "the session lives on"


@pytest.mark.parametrize(
    ("reason", "path"),
    [
        (Reason.PRICE_OFF_TICK, "$.price"),
        (Reason.PRICE_EXCEEDS_BAND, "$.price"),
        (Reason.QUANTITY_OFF_STEP, "$.quantity"),
        (Reason.INSUFFICIENT_FUNDS, "$.quantity"),
        (Reason.INSUFFICIENT_GOODS, "$.quantity"),
        (Reason.UNKNOWN_LOT, "$.lot"),
        (Reason.INSTRUMENT_CLOSED, "$.instrument"),
    ],
)
async def test_the_engines_rejections_name_the_field_and_how_fix_says_them(
    connect: Connect, engine: FakeEngine, reason: Reason, path: str
) -> None:
    buyer = await connect(BUYER)
    engine.rejecting = reason

    answer = await buyer.ask("new_order", **order())

    assert (answer["error"]["code"], answer["error"]["path"]) == (reason.name.lower(), path)
    assert answer["error"]["fix"] == fix_code(reason)
    assert (answer["sequence"], answer["client_order_id"], answer["duplicate"]) == (1, "o1", False)


async def test_someone_elses_order_is_unknown_and_stays(connect: Connect, engine: FakeEngine) -> None:
    seller, buyer = await connect(SELLER), await connect(BUYER)
    placed = await seller.ask("new_order", **order(1, side="sell", lot="7"))

    answer = await buyer.ask("cancel_order", order_id=placed["order_id"])

    assert (answer["error"]["code"], answer["error"]["path"]) == ("unknown_order", "$.order_id")
    assert len(engine.live) == 1


async def test_a_key_without_the_trade_scope_cannot_trade(connect: Connect, engine: FakeEngine) -> None:
    reader = await connect(READER)

    answer = await reader.ask("new_order", **order())

    assert (answer["error"]["code"], engine.commands) == ("scope_missing", [])


async def test_a_refusal_at_the_engines_door_says_that_a_retry_may_help(
    connect: Connect, engine: FakeEngine
) -> None:
    buyer = await connect(BUYER)
    engine.refusing = Reason.QUEUE_FULL

    answer = await buyer.ask("new_order", **order())

    assert (answer["error"]["code"], answer["error"]["retry"]) == ("queue_full", True)
    assert "sequence" not in answer
