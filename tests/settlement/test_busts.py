"""A trade is reversed by two persons, exactly, once, and by name where it cannot be (semantics E8)."""

import asyncio
from typing import Any

import asyncpg
import numpy as np
import pytest

from engine.records import TRADE, select
from engine.requests import AddMember, BustRow, Busts, ConfirmBust, Key, ProposeBust, RejectBust
from engine.vocabulary import Command, Event, Reason
from settlement.ledger import Goods, Money, Posting, account
from settlement.reconciliation import reconcile
from settlement.register import Refusal
from settlement.settler import Settler
from tests.engine.builders import STEP_KG
from tests.settlement.exchange import REBAR_NUMBER as REBAR
from tests.settlement.exchange import Exchange
from tests.settlement.test_order_events import MILL, PRICE, TRADER, Day

ANNA, BEN, CLERK = "aa" * 32, "bb" * 32, "cc" * 32


@pytest.fixture
async def traded(exchange: Exchange) -> Exchange:
    """Two operators, a clerk, a mill and a trader with two contracts, 1 and 2, of one lot."""
    keys = (Key(ANNA, ("operate",)), Key(BEN, ("operate",)), Key(CLERK, ("settle",)))
    await exchange.register.add_member(AddMember(id=1, code="house", name="House", keys=keys))
    mill, trader = await exchange.member("mill", 1_000_00), await exchange.member("trader", 100_000_00)
    lot = await exchange.lot(mill, 12)
    exchange.engine.sell(lot, REBAR, 226_000, 12 * 2_490)
    exchange.engine.buy(trader, lot, REBAR, 226_000, 3 * 2_490)
    exchange.engine.buy(trader, lot, REBAR, 226_000, 5 * 2_490)
    await exchange.caught_up()
    return exchange


def propose(contract: int = 1, key: str = ANNA, reason: str = "fat finger") -> ProposeBust:
    return ProposeBust(id=1, contract=contract, key=key, reason=reason)


def confirm(contract: int = 1, key: str = BEN) -> ConfirmBust:
    return ConfirmBust(id=2, contract=contract, key=key)


async def code_of(work: Any) -> str:
    with pytest.raises(Refusal) as refused:
        await work
    return refused.value.failure.code


async def reconciled(exchange: Exchange) -> list[str]:
    """What does not hold."""
    await exchange.caught_up()
    link = await exchange.engine.command_link()
    report = await reconcile(exchange.connections[2], link, 5.0)
    return [f"{check.name}: {check.differences}" for check in report.checks if not check.holds]


async def balances(database: str) -> dict[int, int]:
    connection = await asyncpg.connect(database)
    try:
        return dict(await connection.fetch("SELECT account, amount_fen FROM money_balance"))
    finally:
        await connection.close()


async def test_two_persons_reverse_a_trade_and_every_account_is_as_before(
    traded: Exchange, database: str
) -> None:
    before, state = await balances(database), dict(traded.engine.available)
    traded.engine.buy(3, 1, REBAR, 226_000, 4 * 2_490)
    await traded.caught_up()

    proposed = await traded.busts.propose(propose(3))
    assert await reconciled(traded) == [], "a proposal alone moves nothing"
    answer = await traded.busts.confirm(confirm(3))

    assert proposed.busts == (
        BustRow(proposal=1, contract=3, state="proposed", reason="fat finger", proposer=ANNA, decider=""),
    )
    assert answer.sequence == traded.engine.tape.sequence
    assert (await balances(database), traded.engine.available) == (before, state)
    assert traded.engine.lots[1].free == 4 * 2_490
    assert await reconciled(traded) == []
    (row,) = await traded.reader.contracts(0, 2, 10)
    assert (row.contract, row.state) == (3, "busted")
    entered = [row.state for row in await traded.reader.transitions(3)]
    assert entered == ["matched", "confirmed", "paid", "busted"]
    entries = [row for row in await traded.reader.entries(3) if row.posting in ("P14", "R2")]
    assert {(row.posting, row.debit, row.credit) for row in entries} == {
        ("R2", "FEE", "TRADING:3"), ("R2", "FEE_VAT", "TRADING:3"), ("R2", "FEE", "TRADING:2"),
        ("R2", "FEE_VAT", "TRADING:2"), ("P14", "ESCROW:3", "TRADING:3"), ("P14", "CONTRACT:1", "FREE:1"),
    }  # fmt: skip
    assert len(await traded.reader.entries(3)) == 7 + 6


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE contract SET state = 4 WHERE contract = 1", "ESCROW = paid contracts' amounts"),
        ("UPDATE contract SET state = 32 WHERE contract = 2", "bought = sold for every fill"),
        (
            "INSERT INTO money_entry VALUES (999999999999, 1, 2, 784, 5, 202)",
            "no contract without its postings",
        ),
        (
            "INSERT INTO money_entry VALUES (999999999999, 2, 786, 784, 5, 14)",
            "no contract without its postings",
        ),
        ("INSERT INTO goods_entry VALUES (999999999999, 1, 260, 258, 5, 14)", "bought = sold for every fill"),
        ("INSERT INTO contract_transition VALUES (2, 0, 32, 1)", "every state was entered by its transition"),
    ],
)
async def test_a_reversal_that_was_tampered_with_is_found(
    traded: Exchange, database: str, tampering: str, found: str
) -> None:
    await traded.busts.propose(propose())
    await traded.busts.confirm(confirm())
    assert await reconciled(traded) == []
    connection = await asyncpg.connect(database)

    await connection.execute(tampering)
    await connection.close()

    assert found in [each.partition(":")[0] for each in await reconciled(traded)]


async def test_one_person_is_not_two(traded: Exchange) -> None:
    await traded.busts.propose(propose())

    assert await code_of(traded.busts.confirm(confirm(key=ANNA))) == "same_person"
    assert await code_of(traded.busts.confirm(confirm(key=CLERK))) == "scope_missing"
    assert await code_of(traded.busts.propose(propose(key=CLERK))) == "scope_missing"
    assert await code_of(traded.busts.confirm(confirm(key="00" * 32))) == "scope_missing"
    assert traded.engine.lots[1].contracted == 8 * 2_490


async def test_the_database_too_refuses_one_person_as_both(traded: Exchange, database: str) -> None:
    await traded.busts.propose(propose())
    connection = await asyncpg.connect(database)

    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("UPDATE bust SET state = 1, decider = proposer, outbox = 1")
    await connection.close()


async def test_what_cannot_be_reversed_is_refused_by_name(traded: Exchange, database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE contract SET state = 5 WHERE contract = 2")  # delivery has begun
    await connection.close()
    await traded.busts.propose(propose())
    await traded.busts.confirm(confirm())

    assert await code_of(traded.busts.propose(propose(99))) == "unknown_contract"
    assert await code_of(traded.busts.confirm(confirm(99))) == "unknown_contract"
    assert await code_of(traded.busts.propose(propose(2))) == "contract_settled"
    assert await code_of(traded.busts.propose(propose(1))) == "already_busted"
    assert await code_of(traded.busts.confirm(confirm(1, ANNA))) == "already_busted"
    assert await code_of(traded.busts.reject(RejectBust(id=3, contract=1, key=BEN))) == "bust_not_proposed"


async def test_repeats_get_the_first_answer(traded: Exchange) -> None:
    first = await traded.busts.propose(propose())
    again = await traded.busts.propose(propose())
    confirmed = [await traded.busts.confirm(confirm()) for _ in range(2)]

    assert first == again
    assert confirmed[0] == confirmed[1]
    assert traded.engine.lots[1].contracted == 5 * 2_490
    assert await code_of(traded.busts.propose(propose(2, reason=""))) == "invalid_value"


async def test_a_second_proposal_must_be_the_first_ones(traded: Exchange) -> None:
    await traded.busts.propose(propose())

    assert await code_of(traded.busts.propose(propose(key=BEN))) == "bust_proposed"
    assert await code_of(traded.busts.propose(propose(reason="other"))) == "bust_proposed"
    assert await code_of(traded.busts.confirm(confirm(2))) == "bust_not_proposed"


async def test_a_dropped_proposal_cannot_be_confirmed_and_may_come_again(traded: Exchange) -> None:
    await traded.busts.propose(propose())

    dropped = await traded.busts.reject(RejectBust(id=3, contract=1, key=ANNA))

    assert [row.state for row in dropped.busts or ()] == ["dropped"]
    assert await code_of(traded.busts.confirm(confirm())) == "bust_not_proposed"
    await traded.busts.propose(propose(key=BEN))
    await traded.busts.confirm(confirm(key=ANNA))
    listed = (await traded.busts.proposals(Busts(id=4))).busts or ()
    assert [(row.proposal, row.state, row.proposer, row.decider) for row in listed] == [
        (1, "dropped", ANNA, ANNA), (2, "busted", BEN, ANNA),
    ]  # fmt: skip
    assert await reconciled(traded) == []


async def test_a_bust_that_the_engine_refuses_leaves_everything_and_may_be_proposed_anew(
    traded: Exchange,
) -> None:
    await traded.busts.propose(propose())
    traded.engine.refusing_busts = True

    assert await code_of(traded.busts.confirm(confirm())) == "exceeds_limit"

    assert await reconciled(traded) == []
    traded.engine.refusing_busts = False
    await traded.busts.propose(propose())
    await traded.busts.confirm(confirm())
    assert await reconciled(traded) == []


async def test_a_confirmation_outlives_an_engine_that_is_down(traded: Exchange) -> None:
    await traded.busts.propose(propose())
    traded.busts._answer_s = 0.2
    traded.engine.down = True
    traded.engine.hang_up()

    assert await code_of(traded.busts.confirm(confirm())) == "engine_unavailable"
    assert await code_of(traded.busts.reject(RejectBust(id=3, contract=1, key=ANNA))) == "bust_not_proposed"
    traded.engine.down = False
    traded.busts._answer_s = 10.0
    await traded.busts.confirm(confirm())

    assert traded.engine.lots[1].free == 3 * 2_490
    assert await reconciled(traded) == []


async def test_a_bust_that_nobody_ordered_stops_settlement(traded: Exchange) -> None:
    fault: Settler = traded.settler
    contract = (await traded.reader.contracts(0, 0, 1))[0]
    row = {"account": 3, "instrument": REBAR, "lot": 1, "match_id": contract.contract}
    row |= {"price_fen_per_tonne": 226_000, "quantity_kg": contract.quantity_kg}
    before = fault.position

    traded.engine.tape.busted(row, 2, 99)
    traded.engine.publish()
    await asyncio.sleep(0.5)

    assert fault.position == before, "nothing of it is booked"


def test_the_real_core_and_the_ledger_reverse_alike() -> None:
    day = Day()
    day.sell(MILL, PRICE, 5)
    day.buy(TRADER, PRICE, 3)
    day.buy(TRADER, PRICE, 2)
    traded = [select(each, each["kind"] == Event.TRADE).view(TRADE) for each in day.seen]
    fill = next(each for each in traded if len(each))
    contract = day.batch().contracts[0]
    back = int(contract["amount_fen"] + contract["buyer_fee_fen"])
    counter = int(contract["seller_fee_fen"] + contract["seller_deposit_fen"])

    day.venue.command(
        kind=Command.BUST_TRADE, account=TRADER, lot=day.lots[MILL], match_id=int(fill["match_id"][0]),
        price_fen_per_tonne=PRICE, quantity_kg=3 * STEP_KG, amount_fen=back, counter_amount_fen=counter,
        outbox=99, tag=99,
    )  # fmt: skip

    day.sell(MILL, PRICE, 1)  # the seller's count goes on behind the bust
    batch = day.batch()
    assert batch.busted.contract.tolist() == fill["match_id"].tolist()
    assert (batch.busted.outbox.tolist(), batch.outcomes.number.tolist()[-1]) == ([99], 99)
    returned = np.isin(batch.money["posting"], (Posting.P14, Posting.R2))
    assert int(batch.money["amount_fen"][returned].sum()) == back + counter
    goods = dict(zip(*(column.tolist() for column in batch.goods_deltas), strict=True))
    assert goods[account(day.lots[MILL], Goods.CONTRACT)] == 2 * STEP_KG
    money = dict(zip(*(column.tolist() for column in batch.money_deltas), strict=True))
    assert money[account(TRADER, Money.ESCROW)] == int(day.batch().contracts[1]["amount_fen"])
    day.assert_books_agree()


def test_the_real_core_answers_a_refused_bust_to_the_outbox() -> None:
    day = Day()

    day.venue.command(kind=Command.BUST_TRADE, account=TRADER, lot=day.lots[MILL], match_id=5,
                      quantity_kg=STEP_KG, outbox=99, tag=99)  # fmt: skip

    outcomes = day.batch().outcomes
    assert (outcomes.number.tolist()[-1], bool(outcomes.applied[-1])) == (99, False)
    assert int(outcomes.reason[-1]) == Reason.UNKNOWN_TRADE
