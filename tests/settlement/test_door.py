"""The Unix socket: messages in, answers out, everything bounded."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.requests import (
    LENGTH_BYTES,
    MESSAGE_BYTES_MAX,
    AddMember,
    Answer,
    Contracts,
    Deposit,
    Directory,
    Entries,
    Key,
    Request,
)
from settlement import door as door_module
from settlement.clearing import Batch
from settlement.door import Door
from tests.fakes import FakeEngine
from tests.settlement.exchange import REBAR_NUMBER, Exchange, rebar, running

WAIT_S = 10.0
KEY = Key(public_key="ab" * 32, scopes=("read", "trade"))


class Visitor:
    """A client of the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *requests: Request) -> None:
        for request in requests:
            self.send_bytes(msgspec.json.encode(request))

    def send_bytes(self, body: bytes) -> None:
        self.writer.write(len(body).to_bytes(LENGTH_BYTES, "little") + body)

    async def answer(self) -> Answer:
        length = int.from_bytes(
            await asyncio.wait_for(self.reader.readexactly(LENGTH_BYTES), WAIT_S), "little"
        )
        return msgspec.json.decode(await self.reader.readexactly(length), type=Answer)

    async def ask(self, request: Request) -> Answer:
        self.send(request)
        return await self.answer()


class House:
    """An exchange with its door open at `path`."""

    def __init__(self, exchange: Exchange, path: Path) -> None:
        self.exchange, self.path = exchange, path
        self.door = Door(exchange.register, exchange.busts, exchange.reader)
        settle = exchange.posted

        async def posted(batch: Batch) -> None:
            await settle(batch)
            await self.door.posted(batch)

        exchange.settler._posted = posted
        self.visitors: list[Visitor] = []

    async def visit(self) -> Visitor:
        visitor = Visitor(*await asyncio.open_unix_connection(self.path))
        self.visitors.append(visitor)
        return visitor


@pytest.fixture
async def house(database: str, tmp_path: Path) -> AsyncIterator[House]:
    async with running(Exchange(database, FakeEngine())) as exchange:
        house = House(exchange, tmp_path / "door")
        await house.door.open(house.path)
        yield house
        for visitor in house.visitors:
            visitor.writer.close()
        await house.door.close()
        await asyncio.sleep(0)


async def test_a_newcomer_is_admitted_pays_in_registers_and_sees_the_contract(house: House) -> None:
    visitor = await house.visit()
    seller = (await visitor.ask(AddMember(id=1, code="mill", name="Mill"))).member
    buyer = (await visitor.ask(AddMember(id=2, code="trader", name="Trader"))).member
    assert (seller, buyer) == (1, 2)
    for member in (1, 2):
        deposit = Deposit(id=3, member=member, amount_fen=100_000_00, reference=f"b-{member}")
        assert (await visitor.ask(deposit)).failure is None
    assert (await visitor.ask(rebar(1))).lot == 1
    engine = house.exchange.engine
    engine.sell(1, REBAR_NUMBER, 226_000, 29_880)
    engine.buy(2, 1, REBAR_NUMBER, 226_000, 29_880)
    await house.exchange.caught_up()

    (contract,) = (await visitor.ask(Contracts(id=4, member=2))).contracts or ()
    entries = (await visitor.ask(Entries(id=5, contract=contract.contract))).entries or ()

    assert (contract.buyer, contract.seller, contract.amount_fen) == (2, 1, 67_528_80)
    assert (contract.instrument, contract.state) == ("RB20-12-SG", "paid")
    assert [(row.posting, row.unit, row.debit, row.credit, row.amount) for row in entries] == [
        ("P2", "fen", "TRADING:2", "DEPOSIT:2", 67_528_80),
        ("P2", "fen", "TRADING:2", "FEE", 14_09),
        ("P2", "fen", "TRADING:2", "FEE_VAT", 85),
        ("P2", "fen", "TRADING:1", "FEE", 14_09),
        ("P2", "fen", "TRADING:1", "FEE_VAT", 85),
        ("P3", "fen", "DEPOSIT:2", "ESCROW:2", 67_528_80),
        ("P2", "kg", "LISTED:1", "CONTRACT:1", 29_880),
    ]


async def test_contracts_are_paged_in_the_order_of_their_numbers(house: House) -> None:
    exchange = house.exchange
    mill, trader = await exchange.member("mill", 1_000_00), await exchange.member("trader", 900_000_00)
    lot = await exchange.lot(mill, 5)
    for _ in range(5):
        exchange.engine.sell(lot, REBAR_NUMBER, 226_000, 2_490)
        exchange.engine.buy(trader, lot, REBAR_NUMBER, 226_000, 2_490)
    await exchange.caught_up()
    visitor = await house.visit()

    pages = [await visitor.ask(Contracts(id=1, member=0, after=after, limit=2)) for after in (0, 2, 4, 5)]

    assert [[row.contract for row in page.contracts or ()] for page in pages] == [[1, 2], [3, 4], [5], []]


async def test_the_directory_is_the_whole_and_then_each_change(house: House) -> None:
    visitor, other = await house.visit(), await house.visit()
    await other.ask(AddMember(id=1, code="mill", name="Mill", keys=(KEY,)))
    await other.ask(rebar(1))

    visitor.send(Directory(id=9))
    whole = [await visitor.answer(), await visitor.answer()]
    await other.ask(AddMember(id=1, code="trader", name="Trader"))
    pushed = await visitor.answer()

    assert [row.keys for row in whole[0].members or ()] == [(KEY,)]
    assert [(row.lot, row.receipt, row.instrument) for row in whole[1].lots or ()] == [
        (1, "R-1", "RB20-12-SG")
    ]
    assert [answer.id for answer in (*whole, pushed)] == [0, 9, 0]
    assert [row.code for row in pushed.members or ()] == ["trader"]


async def test_a_member_is_in_the_directory_only_when_the_engine_knows_him(house: House) -> None:
    house.exchange.engine.down = True
    house.exchange.engine.hang_up()
    visitor, other = await house.visit(), await house.visit()
    other.send(AddMember(id=1, code="mill", name="Mill"))
    await asyncio.sleep(0.3)

    visitor.send(Directory(id=9))

    assert (await visitor.answer()).lots == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"op":"steal","id":3}',
        b'{"op":"entries","id":3,"contract":1,"extra":1}',
        b"\xff\xfe",
    ],
)
async def test_a_malformed_request_is_answered_and_the_connection_lives(house: House, body: bytes) -> None:
    visitor = await house.visit()

    visitor.send_bytes(body)
    answer = await visitor.answer()

    assert answer.failure is not None
    assert answer.failure.code == "malformed_request"
    assert (await visitor.ask(Entries(id=4, contract=1))).entries == ()


async def test_an_oversized_message_loses_its_connection(house: House) -> None:
    visitor = await house.visit()

    visitor.writer.write((MESSAGE_BYTES_MAX + 1).to_bytes(LENGTH_BYTES, "little"))

    assert await asyncio.wait_for(visitor.reader.read(), WAIT_S) == b""


async def test_too_many_unanswered_requests_are_refused(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr(door_module, "PENDING_MAX", 3)
    house.exchange.engine.down = True
    house.exchange.engine.hang_up()
    visitor = await house.visit()

    visitor.send(*(AddMember(id=i, code=f"m{i}", name="x") for i in range(1, 5)))
    answer = await visitor.answer()

    assert answer.id == 4
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.retry) == ("queue_full", True)


async def test_too_many_connections_are_refused(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr(door_module, "CONNECTIONS_MAX", 1)
    first = await house.visit()
    await first.ask(Entries(id=1, contract=1))

    answer = await (await house.visit()).answer()

    assert answer.failure is not None
    assert answer.failure.code == "too_many_connections"


async def test_without_a_database_the_answer_says_so_and_to_try_again(tmp_path: Path) -> None:
    async with running(Exchange("postgresql://nobody@/none?host=/nonexistent", FakeEngine())) as exchange:
        house = House(exchange, tmp_path / "door")
        await house.door.open(house.path)
        visitor = await house.visit()

        answer = await visitor.ask(Contracts(id=4, member=1))

        visitor.writer.close()
        await house.door.close()
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.retry) == ("settlement_unavailable", True)
