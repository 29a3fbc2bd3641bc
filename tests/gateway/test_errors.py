"""The table of errors is complete, in both languages."""

import ast
from pathlib import Path

import settlement
from engine.vocabulary import Reason, wire_name
from gateway.errors import TEXTS, reason_code, reason_path, text_of


def test_every_reason_of_the_engine_has_both_texts() -> None:
    missing = {wire_name(reason) for reason in Reason if reason is not Reason.NONE} - set(TEXTS)

    assert missing == set()
    for code, text in TEXTS.items():
        assert text.english, code
        assert not text.chinese.isascii(), code


def test_every_code_that_settlement_refuses_with_has_both_texts() -> None:
    codes = set()
    for path in Path(settlement.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                said = {"Refusal": node.args[:1], "Failure": [each.value for each in node.keywords[:1]]}
                codes |= {each.value for each in said.get(node.func.id, []) if isinstance(each, ast.Constant)}

    assert {"unknown_member", "settlement_unavailable", "same_person"} <= codes, "they are found"
    assert codes - set(TEXTS) == {"malformed_request"}, "which no gateway sends"


def test_a_reason_of_a_newer_engine_still_reads() -> None:
    assert reason_code(250) == "reason_250"
    assert text_of("reason_250").english == "reason_250"


def test_the_path_of_a_reason_is_a_field_of_the_message() -> None:
    order = ("id", "client_order_id", "instrument", "price", "quantity")

    assert reason_path(Reason.PRICE_OFF_TICK, order) == "$.price"
    assert reason_path(Reason.UNKNOWN_LOT, order) == "$"
    assert reason_path(Reason.UNKNOWN_ORDER, order) == "$.client_order_id"
    assert reason_path(Reason.DAY_FULL, order) == "$"
