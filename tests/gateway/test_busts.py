"""A bust reaches both parties and the public without a gap; the persons who order it are keys."""

from typing import Any

import pytest

from engine.records import TRADE, select
from engine.requests import Answer, BustRow, Busts, ConfirmBust, ProposeBust, RejectBust, Request
from engine.vocabulary import Command, Event
from gateway.errors import Refusal
from gateway.inquiries import settlement_answer, settlement_request
from gateway.messages import Busts as BustsMessage
from gateway.messages import BustTrade
from gateway.messages import ConfirmBust as ConfirmBustMessage
from gateway.messages import RejectBust as RejectBustMessage
from tests.gateway.conftest import COIL
from tests.gateway.real_core import MILL, REBAR, TRADER, House, tonnes

KEY = "ab" * 32
ROW = BustRow(proposal=3, contract=9, state="proposed", reason="why", proposer=KEY, decider="")


def bust(house: House, kg: int) -> str:
    """Reverse the last trade; returns its match id."""
    trades = [select(each, each["kind"] == Event.TRADE).view(TRADE) for each in house.seen]
    row = next(each for each in reversed(trades) if len(each))[0]
    house.settle(
        kind=Command.BUST_TRADE, account=TRADER, lot=MILL, match_id=int(row["match_id"]), quantity_kg=kg,
        price_fen_per_tonne=int(row["price_fen_per_tonne"]), amount_fen=1000, counter_amount_fen=5,
    )  # fmt: skip
    return str(row["match_id"])


def test_a_bust_is_told_to_both_and_to_the_public_and_newcomers_do_not_see_the_trade(house: House) -> None:
    house.ask(TRADER, "subscribe", channel="trades", instruments=[REBAR])
    house.ask(TRADER, "subscribe", channel="depth", instruments=[REBAR])
    house.order(MILL, "sell", "2330.00", 5)
    house.order(TRADER, "buy", "2330.00", 2)
    for member in (MILL, TRADER):
        house.told(member, "private")
    house.told(TRADER, "trades")
    house.told(TRADER, "depth")

    asked: list[int] = []
    house.dispatcher.market._ask = asked.append

    match_id = bust(house, 2 * 2501)

    (buyer,), (seller,) = house.told(TRADER, "private"), house.told(MILL, "private")
    common = {
        "event": "busted",
        "match_id": match_id,
        "price": "2330.00",
        "quantity": tonnes(2),
        "fee": "2.50",
    }
    assert common.items() <= buyer.items()
    assert common.items() <= seller.items()
    assert [(each["side"], each["counterparty"]) for each in (buyer, seller)] == [
        ("buy", MILL), ("sell", TRADER),
    ]  # fmt: skip
    (told,) = house.told(TRADER, "trades")
    assert (told["type"], [each["match_id"] for each in told["trades"]]) == ("busted", [match_id])
    assert asked == [], "orders stand: the book is not even asked for"
    house.dispatcher.market._ask = house.asked.append
    house.ask(MILL, "subscribe", channel="trades", instruments=[REBAR])
    assert house.told(MILL, "trades")[0]["trades"] == []
    house.order(TRADER, "buy", "2330.00", 1)
    assert house.told(TRADER, "private"), "the stream goes on without a gap"


def test_a_bust_of_a_trade_of_long_ago_is_published_too(house: House) -> None:
    house.order(MILL, "sell", "2330.00", 5)
    house.order(TRADER, "buy", "2330.00", 2)
    house.ask(TRADER, "subscribe", channel="trades", instruments=[REBAR])
    house.told(TRADER, "trades")

    match_id = bust(house, 2 * 2501)

    (told,) = house.told(TRADER, "trades")
    assert [(each["match_id"], each["auction"]) for each in told["trades"]] == [(match_id, False)]


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        (BustTrade(id="1", contract="9", reason="why"), ProposeBust(id=0, contract=9, key=KEY, reason="why")),
        (ConfirmBustMessage(id="1", contract="9"), ConfirmBust(id=0, contract=9, key=KEY)),
        (RejectBustMessage(id="1", contract="9"), RejectBust(id=0, contract=9, key=KEY)),
        (BustsMessage(id="1", after="2", limit=5), Busts(id=0, after=2, limit=6)),
    ],
)
def test_settlement_hears_which_key_asks(message: Any, asked: Request) -> None:
    assert settlement_request(message, 7, KEY) == asked


def test_the_answers_are_the_proposals() -> None:
    proposed = ProposeBust(id=0, contract=9, key=KEY, reason="why")
    page = Busts(id=0, limit=2)

    noted: Any = settlement_answer("1", proposed, Answer(id=0, busts=(ROW,)))
    listed: Any = settlement_answer("2", page, Answer(id=0, busts=(ROW, ROW)))
    confirmed: Any = settlement_answer("3", ConfirmBust(id=0, contract=9, key=KEY), Answer(id=0, sequence=44))

    assert (noted.bust.proposal, noted.bust.contract, noted.bust.state) == ("3", "9", "proposed")
    assert (len(listed.busts), listed.more) == (1, True)
    assert confirmed.sequence == 44


def test_a_trader_may_not_bust(house: House) -> None:
    for op, fields in (("bust_trade", {"reason": "x"}), ("confirm_bust", {}), ("reject_bust", {})):
        assert house.ask(TRADER, op, contract="1", **fields)["error"]["code"] == "scope_missing"
    assert house.ask(TRADER, "busts")["error"]["code"] == "scope_missing"
    with pytest.raises(Refusal, match="invalid_id"):
        settlement_request(ConfirmBustMessage(id="1", contract=COIL), 7, KEY)
