"""Messages become the right bytes, rows the right fields, and wrong frames the right refusal."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import COMMAND, EVENT, ORDER, TRADE, client_order_id_words, commands_of
from engine.vocabulary import Command, Flag, OrderType, Phase, ReplaceFlag, SelfTrade, Side, TimeInForce
from gateway import codec, messages
from gateway.errors import TEXTS, Refusal

ORDER_MESSAGE = {
    "op": "new_order", "id": "1", "client_order_id": "o1", "instrument": "RB12-9-SG", "side": "sell",
    "price": "2330.00", "quantity": "10.004", "lot": "7",
}  # fmt: skip


def frame(**changed: Any) -> bytes:
    return json.dumps(ORDER_MESSAGE | changed).encode()


def test_a_new_order_becomes_the_same_bytes_as_the_records_say() -> None:
    message = codec.decode_request(frame(time_in_force="ioc"))
    assert isinstance(message, messages.NewOrder)

    packed = codec.commands_from([codec.new_order(message, 5, 99)])

    word_0, word_1 = client_order_id_words(b"o1")
    expected = commands_of(
        {"kind": Command.NEW_ORDER, "side": Side.SELL, "time_in_force": TimeInForce.IOC, "account": 5,
         "instrument": 0, "tag": 99, "client_order_id_0": word_0, "client_order_id_1": word_1,
         "price_fen_per_tonne": 233_000, "quantity_kg": 10_004, "lot": 7},
    )  # fmt: skip
    assert packed.tobytes() == expected.tobytes()


def test_cancel_and_pick_and_the_operators_commands_become_theirs() -> None:
    by_id = codec.cancel_order(messages.CancelOrder(id="1", order_id="77"), 5, 1)
    by_client = codec.cancel_order(messages.CancelOrder(id="1", client_order_id="o1"), 5, 2)
    pick = codec.pick(
        messages.Pick(id="1", client_order_id="p", order_id="77", quantity="27.85", version=3), 5, 3
    )
    given = codec.pick(messages.Pick(id="1", client_order_id="p", order_id="77", version=3, lot="9"), 5, 8)
    phase = codec.set_phase(messages.SetPhase(id="1", phase="halted"), 0, 4)
    reference = codec.set_reference(messages.SetReference(id="1", instrument="RB14-9-SG", price="2300"), 0, 5)
    clock = codec.set_clock(messages.SetClock(id="1", time_ns=8), 0, 6)

    rows = codec.commands_from(
        [
            by_id,
            by_client,
            pick,
            phase,
            reference,
            clock,
            codec.roll_day(messages.RollDay(id="1"), 0, 7),
            given,
        ]
    )

    assert rows["kind"].tolist() == [
        Command.CANCEL_ORDER, Command.CANCEL_ORDER, Command.PICK, Command.SET_PHASE, Command.SET_REFERENCE,
        Command.SET_CLOCK, Command.ROLL_DAY, Command.PICK,
    ]  # fmt: skip
    assert rows["order_id"].tolist()[:3] == [77, 0, 77]
    assert rows["flags"].tolist()[:2] == [0, Flag.BY_CLIENT_ORDER_ID]
    assert [rows[name][2] for name in ("quantity_kg", "lot", "listing_version")] == [27_850, 0, 3]
    assert [rows[name][7] for name in ("quantity_kg", "lot", "listing_version")] == [0, 9, 3]
    assert (rows["phase"][3], rows["instrument"][3]) == (Phase.HALTED, -1)
    assert (rows["price_fen_per_tonne"][4], rows["instrument"][4], rows["due_ns"][5]) == (230_000, 1, 8)
    assert rows["tag"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


@given(st.binary(min_size=128, max_size=128))
def test_rows_are_read_as_the_records_say(raw: bytes) -> None:
    import numpy as np

    for dtype, fields, unpack in (
        (ORDER, codec.ORDER_FIELDS, codec.orders_of),
        (TRADE, codec.TRADE_FIELDS, codec.trades_of),
    ):
        record = np.frombuffer(raw, EVENT).view(dtype)[0]
        (row,) = unpack(raw)
        named = {name: value for name, value in zip(fields, row, strict=True) if name != "client_order_id_0"}
        assert named == {name: record[name].item() for name in named}


def test_records_and_structs_have_the_same_size() -> None:
    assert COMMAND.itemsize == EVENT.itemsize == 128


@pytest.mark.parametrize(
    ("raw", "code", "path"),
    [
        (b"{", "malformed_json", "$"),
        (b"", "malformed_json", "$"),
        (b"\xff\xfe", "malformed_json", "$"),
        (b'{"op":"ping","id":"\xff"}', "malformed_json", "$"),
        (b"[]", "wrong_type", "$"),
        (b'"ping"', "wrong_type", "$"),
        (b'{"op":"buy_everything","id":"1"}', "unknown_op", "$.op"),
        (b'{"id":"1"}', "missing_field", "$.op"),
        (b'{"op":"ping"}', "missing_field", "$.id"),
        (b'{"op":"ping","id":7}', "wrong_type", "$.id"),
        (b'{"op":"ping","id":""}', "invalid_value", "$.id"),
        (frame(leverage=10), "unknown_field", "$.leverage"),
        (frame(price=2330), "wrong_type", "$.price"),
        (frame(price=2330.5), "wrong_type", "$.price"),
        (frame(quantity=None), "wrong_type", "$.quantity"),
        (frame(side="hold"), "invalid_value", "$.side"),
        (frame(type="twap"), "invalid_value", "$.type"),
        (b'{"op":"subscribe","id":"1","channel":"depth","resume_from":{"x":1}}', "unknown_field",
         "$.resume_from.x"),
        (b'{"op":"set_clock","id":"1","time_ns":99999999999999999999}', "invalid_value", "$.time_ns"),
    ],
)  # fmt: skip
def test_a_wrong_frame_is_refused_with_the_path_of_its_fault(raw: bytes, code: str, path: str) -> None:
    with pytest.raises(Refusal) as refused:
        codec.decode_request(raw)

    assert (refused.value.code, refused.value.path) == (code, path)
    assert code in TEXTS


@pytest.mark.parametrize(
    ("changed", "code", "path"),
    [
        ({"instrument": "GOLD"}, "unknown_instrument", "$.instrument"),
        ({"price": "1e3"}, "invalid_decimal", "$.price"),
        ({"quantity": "10.0001"}, "invalid_decimal", "$.quantity"),
        ({"quantity": "99999999"}, "exceeds_limit", "$.quantity"),
        ({"lot": "seven"}, "invalid_id", "$.lot"),
        ({"client_order_id": ""}, "invalid_client_order_id", "$.client_order_id"),
        ({"client_order_id": "x" * 17}, "invalid_client_order_id", "$.client_order_id"),
        ({"client_order_id": "订单"}, "invalid_client_order_id", "$.client_order_id"),
        ({"client_order_id": "a\u0000"}, "invalid_client_order_id", "$.client_order_id"),
        ({"type": "market"}, "price_not_for_type", "$.price"),
        ({"price": ""}, "missing_field", "$.price"),
        ({"type": "stop_limit", "stop_price": "x"}, "invalid_decimal", "$.stop_price"),
        ({"display_quantity": "-1"}, "invalid_decimal", "$.display_quantity"),
        ({"min_quantity": "1e3"}, "invalid_decimal", "$.min_quantity"),
        ({"expire_at": "tomorrow"}, "invalid_time", "$.expire_at"),
        ({"expire_at": "2015-07-08T15:00:00"}, "invalid_time", "$.expire_at"),
        ({"expire_at": "1915-07-08T15:00:00Z"}, "invalid_time", "$.expire_at"),
        ({"expire_at": "9999-07-08T15:00:00Z"}, "invalid_time", "$.expire_at"),
    ],
)
def test_a_well_formed_order_with_a_bad_value_names_the_field(
    changed: dict[str, Any], code: str, path: str
) -> None:
    message = codec.decode_request(frame(**changed))
    assert isinstance(message, messages.NewOrder)

    with pytest.raises(Refusal) as refused:
        codec.new_order(message, 5, 1)

    assert (refused.value.code, refused.value.path) == (code, path)


@pytest.mark.parametrize("ids", [{}, {"order_id": "1", "client_order_id": "o1"}])
def test_a_cancel_names_the_order_exactly_once(ids: dict[str, str]) -> None:
    with pytest.raises(Refusal, match="order_not_named"):
        codec.cancel_order(messages.CancelOrder(id="1", **ids), 5, 1)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(raw: bytes) -> None:
    code = "ping"
    try:
        codec.decode_request(raw)
    except Refusal as refusal:
        code = refusal.code

    codec.request_id_of(raw)
    assert code == "ping" or code in TEXTS


def test_the_id_of_a_bad_request_is_found_when_it_has_one() -> None:
    assert codec.request_id_of(frame(leverage=1)) == "1"
    assert codec.request_id_of(b'{"id":{}}') is None
    assert codec.request_id_of(b"{") is None


def test_every_term_of_an_order_has_its_field() -> None:
    message = codec.decode_request(
        frame(type="stop_limit", time_in_force="gtd", stop_price="2340.00", display_quantity="2.501",
              min_quantity="5.002", post_only=True, self_trade_mode="decrement",
              expire_at="2015-07-08T15:00:00.000001+08:00")
    )  # fmt: skip
    assert isinstance(message, messages.NewOrder)

    (row,) = codec.commands_from([codec.new_order(message, 5, 99)])

    codes = (OrderType.STOP_LIMIT, TimeInForce.GTD, Flag.POST_ONLY, SelfTrade.DECREMENT)
    assert tuple(row[["order_type", "time_in_force", "flags", "self_trade_mode"]]) == codes
    assert tuple(row[["stop_fen_per_tonne", "display_quantity_kg", "minimum_quantity_kg"]]) == (
        234_000, 2501, 5002,
    )  # fmt: skip
    assert row["due_ns"] == 1436338800_000001000


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"quantity": "5.002"}, (0, 0, 5002, 0)),
        ({"leaves": "5.002"}, (ReplaceFlag.BY_LEAVES, 0, 5002, 0)),
        ({"quantity": "0"}, (ReplaceFlag.BY_LEAVES, 0, 0, 0)),
        ({"price": "2331", "stop_price": "2340"}, (0, 233_100, 0, 234_000)),
    ],
)
def test_a_replacement_keeps_what_it_does_not_name(fields: dict[str, str], expected: tuple[int, ...]) -> None:
    (row,) = codec.commands_from(
        [codec.replace_order(messages.ReplaceOrder(id="1", order_id="9", **fields), 5, 1)]
    )

    names = ["flags", "price_fen_per_tonne", "quantity_kg", "stop_fen_per_tonne"]
    assert (tuple(row[names]), row["order_id"], row["kind"]) == (expected, 9, Command.REPLACE_ORDER)


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({}, "nothing_to_replace", "$"),
        ({"quantity": "1", "leaves": "1"}, "quantity_twice", "$.leaves"),
        ({"price": "0"}, "invalid_value", "$.price"),
        ({"stop_price": "0.00"}, "invalid_value", "$.stop_price"),
        ({"client_order_id": "a", "price": "1"}, "order_not_named", "$.order_id"),
    ],
)
def test_a_replacement_that_says_nothing_clear_is_refused(
    fields: dict[str, str], code: str, path: str
) -> None:
    with pytest.raises(Refusal) as refused:
        codec.replace_order(messages.ReplaceOrder(id="1", order_id="9", **fields), 5, 1)

    assert (refused.value.code, refused.value.path) == (code, path)


def test_a_mass_cancel_names_any_or_one() -> None:
    rows = codec.commands_from(
        [
            codec.mass_cancel(messages.MassCancel(id="1"), 5, 1),
            codec.mass_cancel(messages.MassCancel(id="1", instrument="RB14-9-SG", side="sell"), 5, 2),
        ]
    )

    assert rows[["kind", "side", "instrument", "account"]].tolist() == [
        (Command.MASS_CANCEL, 255, -1, 5), (Command.MASS_CANCEL, Side.SELL, 1, 5),
    ]  # fmt: skip
