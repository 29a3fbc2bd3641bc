"""PROTOCOL.md says what the message types say: every type, every field, every error, every example."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway import answers, codec, messages, pushes
from gateway.errors import TEXTS
from gateway.market_data import checksum

TEXT = (Path(codec.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
REQUESTS = {kind.__struct_config__.tag: kind for kind in get_args(messages.AnyRequest)}
BASES = {answers.Response, answers.Judged, pushes.PrivateEvent}
TABLED = [
    kind
    for module in (answers, pushes)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, msgspec.Struct)
    and kind.__module__ == module.__name__
    and kind not in BASES
]
COMMON = {"id", "ok", "channel", "member", "account_sequence", "sequence", "time", "time_ns"}


def section(op: str) -> str:
    found = re.search(rf"^### {op}\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"PROTOCOL.md has no section on {op}"
    return found[1]


def row(name: str) -> str:
    found = re.search(rf"^\| {name} \|.*$", TEXT, re.MULTILINE)
    assert found, f"PROTOCOL.md has no row for {name}"
    return found[0]


@pytest.mark.parametrize("op", REQUESTS)
def test_every_request_has_its_table_and_the_table_has_its_fields(op: Any) -> None:
    documented = re.findall(r"^\| ([a-z_0-9]+) \|", section(op), re.MULTILINE)

    assert [name for name in documented if name != "field"] == [
        name for name in REQUESTS[op].__annotations__ if name != "id"
    ]


@pytest.mark.parametrize("kind", TABLED, ids=lambda kind: kind.__name__)
def test_every_response_and_push_has_a_row_that_names_its_fields(kind: Any) -> None:
    named = set(re.findall(r"`([a-z_]+)`", row(kind.__name__)))

    assert set(kind.__struct_fields__) - COMMON - named == set()


def test_every_error_is_in_the_table_word_for_word() -> None:
    listed = re.findall(r"^\| ([a-z_]+) \| (.*) \| (.*) \| (yes|no) \| (.*) \|$", TEXT, re.MULTILINE)

    assert listed == [
        (code, text.english, text.chinese, "yes" if text.retry else "no", text.fix or "-")
        for code, text in TEXTS.items()
    ]


def test_every_example_is_a_message() -> None:
    examples = [json.loads(each) for each in re.findall(r"```json\n(.*?)\n```", TEXT, re.DOTALL)]
    assert len(examples) >= 8

    for example in examples:
        raw = json.dumps(example).encode()
        if "op" in example:
            assert type(codec.decode_request(raw)) in REQUESTS.values()
        else:
            rejected = msgspec.json.decode(raw, type=answers.Rejected)
            assert isinstance(rejected.error, answers.Error)
            text = TEXTS[rejected.error.code]
            said = (rejected.error.message, rejected.error.message_zh, rejected.error.fix)
            assert said == (text.english, text.chinese, text.fix)


def test_the_checksum_of_the_example_is_right() -> None:
    bids, asks = [(226_000, 29_880), (225_900, 2_490)], [(226_100, 4_980)]

    assert f"`{checksum(bids, asks)}`" in TEXT


def test_the_limits_in_the_text_are_those_in_the_code() -> None:
    from engine.retention import EVENTS_KEPT
    from gateway import market_data, messages, server, session

    for words in (
        f"{server.FRAME_BYTES_MAX:,} bytes",
        f"{session.LOGON_BYTES_MAX:,} bytes are read",
        f"after {session.LOGON_SECONDS} s",
        f"{session.IN_FLIGHT_MAX} unanswered requests",
        f"every {server.HEARTBEAT_SECONDS:.0f} s",
        f"last {EVENTS_KEPT:,} commands",
        f"{market_data.RECENT_TRADES_MAX} at most",
        f"never more than {messages.PAGE_ROWS_MAX:,}",
        f"integer, default {messages.PAGE_ROWS_MAX} | `100` | 1-{messages.PAGE_ROWS_MAX} |",
    ):
        assert words in TEXT, words
