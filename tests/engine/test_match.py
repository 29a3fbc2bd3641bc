"""`python -m engine match`: other engines' scenarios, and the words of match-cli.md one by one."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from engine.match import run
from engine.vocabulary import SelfTrade

Line = dict[str, Any]
NARROW = 100_000  # a band of a million ticks takes a second to set up


def judged(
    lines: Sequence[Line | str], mode: SelfTrade = SelfTrade.ALLOW, highest_price: int = NARROW
) -> list[Line]:
    """The lines that the tool answers."""
    data = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    blocks = run(BytesIO(data.encode()).read, mode, highest_price)
    return [json.loads(line) for block in blocks for line in block.splitlines()]


def new(name: str, side: str, qty: int, price: int = 0, **keys: Any) -> Line:
    return {"op": "new", "id": name, "side": side, "type": "limit", "qty": qty, "price": price, **keys}


def answers(lines: Sequence[Line | str], *, last: int = 1, mode: SelfTrade = SelfTrade.ALLOW) -> list[Line]:
    """What the last lines answer, without their numbers."""
    said = judged(lines, mode)
    return [{k: v for k, v in line.items() if k != "n"} for line in said if line["n"] > len(lines) - last]


def scenarios(shared: Path) -> Iterator[Line]:
    for line in (shared / "cases" / "sample.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def trades_of(said: list[Line]) -> list[list[Any]]:
    names = ("n", "maker", "taker", "price", "qty")
    return [[line[name] for name in names] for line in said if line["ev"] == "trade"]


def test_the_scenarios_of_other_engines_end_as_theirs_do(lecong_shared: Path) -> None:
    if not (lecong_shared / "cases" / "sample.jsonl").is_file():
        pytest.skip(f"no cases/sample.jsonl below {lecong_shared}")
    failed = []
    for case in scenarios(lecong_shared):
        highest = max(line.get(key, 0) for line in case["commands"] for key in ("price", "stop"))
        said = judged([*case["commands"], {"op": "orders"}], highest_price=highest + 1)
        if "auction" in case:
            wanted, uncrossed = case["auction"], [line for line in said if line["ev"] == "uncrossed"]
            got = [{key: line[key] for key in wanted} for line in uncrossed if line["n"] == wanted["n"]]
            right = got == [wanted]
        else:
            book = {side: said[-1][side] for side in ("bids", "asks")}
            right = trades_of(said) == case["trades"] and book == case["orders"]
        if not right:
            failed.append(case["name"])

    assert failed == []


def test_an_order_is_accepted_and_traded_with_the_line_that_caused_it() -> None:
    assert judged([new("a", "sell", 5, 100), new("c", "buy", 5, 101)]) == [
        {"n": 1, "ev": "accepted", "id": "a"},
        {"n": 2, "ev": "accepted", "id": "c"},
        {"n": 2, "ev": "trade", "maker": "a", "taker": "c", "price": 100, "qty": 5, "side": "buy"},
    ]


def test_what_an_ioc_leaves_is_canceled() -> None:
    assert answers([new("c", "buy", 7, 100, tif="IOC")])[1:] == [
        {"ev": "canceled", "id": "c", "qty": 7, "reason": "ioc_remainder"}
    ]


def test_an_id_may_come_again_after_its_order_ended_and_not_before() -> None:
    duplicate = {"ev": "rejected", "id": "a", "reason": "duplicate_client_order_id"}
    cancel = {"op": "cancel", "id": "a"}

    assert answers([new("a", "buy", 5, 100), new("a", "buy", 5, 100)]) == [duplicate]
    assert answers([new("a", "buy", 5, 100), cancel, new("a", "buy", 5, 100)]) == [
        {"ev": "accepted", "id": "a"}
    ]
    filled = [new("a", "buy", 5, 100), new("b", "sell", 5, 100), new("a", "buy", 5, 100)]
    assert answers(filled) == [{"ev": "accepted", "id": "a"}]


def test_a_change_is_refused_for_its_owner_only_if_both_name_one() -> None:
    unknown = [{"ev": "rejected", "id": "a", "reason": "unknown_order"}]
    canceled = [{"ev": "canceled", "id": "a", "qty": 5, "reason": "canceled_by_owner"}]
    owned, free = new("a", "buy", 5, 100, owner="x"), new("a", "buy", 5, 100)

    assert answers([owned, {"op": "cancel", "id": "a", "owner": "y"}]) == unknown
    assert answers([owned, {"op": "cancel", "id": "a"}]) == canceled
    assert answers([free, {"op": "cancel", "id": "a", "owner": "y"}]) == canceled
    assert answers([free, {"op": "cancel", "id": "b"}]) == [unknown[0] | {"id": "b"}]


def test_replace_takes_a_total_or_leaves_and_ends_at_nothing() -> None:
    start: list[Line | str] = [new("a", "buy", 9, 100), new("b", "sell", 4, 100)]

    def after(**change: int) -> Line:
        return answers([*start, {"op": "replace", "id": "a", **change}])[0]

    assert after(qty=7) == {"ev": "replaced", "id": "a", "price": 100, "leaves": 3, "kept_place": True}
    assert after(leaves=7, price=101) == {
        "ev": "replaced",
        "id": "a",
        "price": 101,
        "leaves": 7,
        "kept_place": False,
    }
    gone = {"ev": "canceled", "id": "a", "qty": 5, "reason": "replaced_to_nothing"}
    assert [after(qty=4), after(qty=0), after(leaves=0), after(leaves=-1), after(qty=-1)] == [gone] * 5


def test_mass_cancel_takes_everybody_or_one_owner_in_order_of_entry() -> None:
    orders: list[Line | str] = [new("1", "buy", 1, 90, owner="x"), new("2", "sell", 1, 110, owner="y")]
    orders += [new("3", "buy", 1, 95, owner="x"), new("4", "buy", 1, 91)]

    def gone(**what: str) -> list[str]:
        return [line["id"] for line in answers([*orders, {"op": "mass_cancel", **what}])]

    assert gone() == ["1", "2", "3", "4"]
    assert gone(owner="x") == ["1", "3"]
    assert gone(side="sell") == ["2"]
    assert gone(owner="x", side="sell") == gone(owner="nobody") == []


def test_owners_are_company_groups_and_stp_sets_the_default() -> None:
    orders: list[Line | str] = [new("1", "sell", 5, 100, owner="x"), new("2", "buy", 5, 100, owner="x")]

    assert answers(orders)[1]["ev"] == "trade"
    assert answers(orders, mode=SelfTrade.CANCEL_OLDEST)[1]["id"] == "1"
    nobodys: list[Line | str] = [new("1", "sell", 5, 100), new("2", "buy", 5, 100)]
    assert answers(nobodys, mode=SelfTrade.CANCEL_OLDEST)[1]["ev"] == "trade"
    decrement: list[Line | str] = [orders[0], new("2", "buy", 3, 100, owner="x", stp="decrement")]
    assert answers(decrement)[1] == {"ev": "prevented", "maker": "1", "taker": "2", "qty": 3}


def test_an_auction_uncrosses_at_one_price() -> None:
    lines: list[Line | str] = [
        {"op": "phase", "phase": "auction"},
        new("b", "buy", 7, 102),
        new("s", "sell", 9, 100),
    ]
    trade = {"ev": "trade", "buy": "b", "sell": "s", "price": 100, "qty": 7}

    by_phase = answers([*lines, {"op": "phase", "phase": "continuous"}])
    by_uncross = answers([*lines, {"op": "uncross", "reference_price": 101}])

    uncrossed = {"ev": "uncrossed", "price": 100, "qty": 7, "surplus": 2, "surplus_side": "sell"}
    assert by_phase == by_uncross == [uncrossed, trade]
    nothing = {"ev": "uncrossed", "price": None, "qty": 0, "surplus": 0, "surplus_side": None}
    assert answers([*lines[:2], {"op": "uncross"}]) == [nothing]


def test_the_reference_price_of_an_uncross_breaks_a_tie_and_is_no_trade() -> None:
    lines: list[Line | str] = [
        {"op": "phase", "phase": "auction"},
        new("b", "buy", 7, 104),
        new("s", "sell", 7, 100),
    ]

    tie = answers([*lines, {"op": "uncross", "reference_price": 103}])
    empty: list[Line | str] = [lines[0], {"op": "uncross", "reference_price": 103}, {"op": "book"}]

    assert tie[0]["price"] == 103
    assert answers(empty)[0]["last"] is None


def test_a_reference_triggers_the_stops_that_it_reaches() -> None:
    stop = {"op": "new", "id": "s", "side": "buy", "type": "stop", "qty": 5, "stop": 105}
    lines: list[Line | str] = [new("a", "sell", 5, 107), stop]

    assert answers([*lines, {"op": "reference", "price": 104}]) == []
    assert answers([*lines, {"op": "reference", "price": 105}]) == [
        {"ev": "triggered", "id": "s"},
        {"ev": "trade", "maker": "a", "taker": "s", "price": 107, "qty": 5, "side": "buy"},
    ]


def test_time_moves_by_clock_and_by_ts() -> None:
    dated = new("a", "buy", 4, 100, tif="GTD", expire_at=50)
    expired = {"ev": "expired", "id": "a", "qty": 4}

    assert answers([dated, {"op": "clock", "ts": 49}]) == []
    assert answers([dated, {"op": "clock", "ts": 50}]) == [expired]
    assert answers([dated, new("b", "sell", 4, 100, ts=60)]) == [expired, {"ev": "accepted", "id": "b"}]
    assert answers([{"op": "clock", "ts": 50}, dated])[0]["reason"] == "invalid_expiry"


def test_book_and_orders_show_the_whole_depth() -> None:
    lines: list[Line | str] = [
        new("a", "sell", 30, 101, display=10),
        new("b", "sell", 5, 101),
        new("c", "buy", 7, 99),
    ]
    lines += [
        {"op": "new", "id": "s", "side": "sell", "type": "stop_limit", "qty": 3, "stop": 90, "price": 89}
    ]

    book = {"ev": "book", "bids": [[99, 7, 1]], "asks": [[101, 15, 2]], "last": None}
    orders = {"ev": "orders", "bids": [["c", 99, 7, 7]], "asks": [["a", 101, 10, 30], ["b", 101, 5, 5]]}
    assert answers([*lines, {"op": "book"}]) == [book]
    assert answers([*lines, {"op": "orders"}]) == [orders | {"stops": [["s", "sell", 90, 3]]}]


def test_accounts_have_no_limits() -> None:
    big = 4_000_000_000
    sells: list[Line | str] = [new(str(n), "sell", big, 100_000, owner="x") for n in range(8)]

    assert (
        len(trades_of(judged([*sells, *[new(f"b{n}", "buy", big, 100_000, owner="y") for n in range(8)]])))
        == 8
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "truncated"),
        ("[1]", "a line must be a JSON object"),
        ('{"op":"sing"}', "op must be one of new, cancel"),
        ('{"op":["new"]}', "op must be one of"),
        ('{"op":"new","id":7}', "id must be a string"),
        ('{"op":"new","id":"a","side":"up"}', "side must be one of buy, sell"),
        ('{"op":"new","id":"a","side":"buy","type":"limit","qty":"5"}', "qty must be an integer"),
        ('{"op":"new","id":"a","side":"buy","type":"limit","qty":1e3}', "qty must be an integer"),
        (
            '{"op":"new","id":"a","side":"buy","type":"limit","qty":99999999999999999999}',
            "qty must be an integer",
        ),
        ('{"op":"new","id":"a","side":"buy","type":"limit","qty":5,"tif":"SOON"}', "tif must be one of GTC"),
        ('{"op":"clock"}', "ts must be an integer"),
        ('{"op":"phase","phase":"dawn"}', "phase must be one of closed"),
        ('{"op":"reference","price":0}', "price must lie within 1 and 100000"),
    ],
)
def test_a_line_that_cannot_be_understood_is_an_error_and_the_run_goes_on(line: str, message: str) -> None:
    said = judged([line, new("a", "buy", 5, 100)])

    assert (said[0]["n"], said[0]["ev"]) == (1, "error")
    assert message in said[0]["message"]
    assert said[1] == {"n": 2, "ev": "accepted", "id": "a"}


def test_empty_lines_are_counted_and_bytes_that_are_no_text_are_an_error() -> None:
    blocks = run(BytesIO(b'\n\xff\xfe\n{"op":"book"}').read, SelfTrade.ALLOW, NARROW)

    said = [json.loads(line) for block in blocks for line in block.splitlines()]
    assert [(line["n"], line["ev"]) for line in said] == [(2, "error"), (3, "book")]


@pytest.mark.slow
def test_the_program_answers_before_it_waits_for_more() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "engine", "match", "--stp", "cancel_newest"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(b'{"op":"book"}\n')
        program.stdin.flush()

        assert json.loads(program.stdout.readline())["ev"] == "book"
        program.stdin.close()
        assert program.wait(30) == 0
