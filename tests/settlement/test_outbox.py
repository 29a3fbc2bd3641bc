"""Commands for the engine: in the order of commit, until answered, applied once."""

import asyncio

import asyncpg
import pytest

from engine.records import commands_of
from engine.requests import AddMember, Deposit
from engine.vocabulary import Command
from settlement.clearing import Batch
from settlement.register import Refusal
from settlement.store import DatabaseDown
from tests.fakes import FakeEngine
from tests.settlement.exchange import ANSWER_S, Exchange, running


async def numbers(database: str) -> list[int]:
    connection = await asyncpg.connect(database)
    try:
        return [row["number"] for row in await connection.fetch("SELECT number FROM outbox ORDER BY number")]
    finally:
        await connection.close()


async def test_numbers_rise_without_a_gap_in_the_order_of_commit(exchange: Exchange, database: str) -> None:
    await asyncio.gather(*(exchange.member(f"m{i}") for i in range(20)))

    assert await numbers(database) == list(range(1, 21))
    assert exchange.engine.sent == sorted(exchange.engine.sent)
    assert exchange.engine.available.keys() == set(range(1, 21))


async def test_a_refused_request_takes_no_number(exchange: Exchange, database: str) -> None:
    await exchange.member("mill")
    bad = AddMember(id=1, code="mill", name="Another")
    for _ in range(3):
        with pytest.raises(Refusal, match="belongs to a member"):
            await exchange.register.add_member(bad)

    await exchange.member("trader")

    assert await numbers(database) == [1, 2]


async def test_what_was_committed_while_the_engine_was_down_is_sent_when_it_is_back(database: str) -> None:
    engine = FakeEngine(down=True)
    async with running(Exchange(database, engine)) as exchange:
        waiting = [asyncio.ensure_future(exchange.member(f"m{i}")) for i in range(5)]
        await asyncio.sleep(0.3)
        assert engine.sent == []

        engine.down = False

        assert sorted(await asyncio.gather(*waiting)) == [1, 2, 3, 4, 5]
        assert engine.sent == [1, 2, 3, 4, 5]


async def test_answer_posted_by_a_commit_of_unknown_outcome_does_not_stop_the_outbox(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, broken = exchange.store.post, list[Batch]()

    async def commit_and_break(batch: Batch) -> None:
        await post(batch)
        if not broken:
            broken.append(batch)
            raise DatabaseDown("the connection broke behind the COMMIT")

    monkeypatch.setattr(exchange.store, "post", commit_and_break)

    async with asyncio.timeout(ANSWER_S / 2):
        assert [await exchange.member("mill"), await exchange.member("trader")] == [1, 2]

    assert len(broken) == 1


async def test_what_a_killed_process_committed_late_is_sent_without_anybody_asking(
    exchange: Exchange, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.outbox.LOOK_S", 0.05)
    await exchange.member("mill")
    late = await asyncpg.connect(database)
    command = commands_of({"kind": Command.OPEN_ACCOUNT, "account": 2, "outbox": 2, "tag": 2})

    async with late.transaction():
        await late.execute("UPDATE outbox_counter SET number = 2")
        await late.execute("INSERT INTO outbox (number, command) VALUES (2, $1)", command.tobytes())
    await late.close()

    assert await exchange.outbox.answer(2, ANSWER_S / 2) is not None
    assert exchange.engine.sent == [1, 2]


async def test_a_frame_that_the_engine_turns_away_is_sent_again(exchange: Exchange) -> None:
    exchange.engine.refusals = 2

    await exchange.member("mill", 5_00)

    assert exchange.engine.available == {1: 5_00}


async def test_a_link_that_breaks_before_the_answer_is_known_resends_and_money_moves_once(
    exchange: Exchange,
) -> None:
    member = await exchange.member("mill")
    deposit = Deposit(id=1, member=member, amount_fen=7_00, reference="b-1")
    exchange.engine.hang_up()  # both links: the deposit goes out on new ones, and its event may come late

    answers = await asyncio.gather(*(exchange.register.deposit(deposit) for _ in range(5)))
    exchange.engine.hang_up()
    await exchange.member("trader")

    assert len({answer.sequence for answer in answers}) == 1
    assert exchange.engine.available[member] == 7_00


async def test_a_new_process_sends_what_the_old_one_left_from_the_lowest_on(database: str) -> None:
    engine = FakeEngine(down=True)
    async with running(Exchange(database, engine, answer_s=0.1)) as first:
        for code in ("a", "b", "c"):
            with pytest.raises(Refusal, match="is kept and will be carried out") as caught:
                await first.member(code)
            assert (caught.value.failure.code, caught.value.failure.retry) == ("engine_unavailable", True)
    engine.down = False

    async with running(Exchange(database, engine)) as second:
        assert await asyncio.wait_for(second.member("c"), ANSWER_S) == 3

    assert engine.sent == [1, 2, 3]
