"""Requests reach settlement, its answers come back, and its absence is a named refusal."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import requests
from gateway.errors import Refusal
from gateway.server import Gateway
from gateway.settlement_link import SettlementLink
from tests.gateway.conftest import BUYER, OPERATOR, STRANGER, Connect, members, public_key, until


class FakeSettlement:
    """Answers what a test told it to, by op; the directory always."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {"directory": {"members": members(), "lots": ()}}
        self.asked: list[requests.AnyRequest] = []
        self.server: asyncio.Server | None = None
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.server = await asyncio.start_unix_server(self._serve, str(path))

    def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(requests.AnyRequest)
        try:
            while True:
                message = decoder.decode(
                    await reader.readexactly(int.from_bytes(await reader.readexactly(4), "little"))
                )
                self.asked.append(message)
                answer = self.answers.get(str(message.__struct_config__.tag))
                if answer is not None:
                    payload = msgspec.json.encode(requests.Answer(id=message.id, **answer))
                    writer.write(len(payload).to_bytes(4, "little") + payload)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


@pytest.fixture
async def settlement(gateway: Gateway) -> AsyncIterator[FakeSettlement]:
    fake = FakeSettlement()
    await fake.start(gateway.config.location.settlement_requests)
    await until(lambda: gateway.settlement._writer is not None)
    yield fake
    fake.stop()


async def test_members_lots_and_money_go_through_settlement(
    connect: Connect, settlement: FakeSettlement
) -> None:
    operator = await connect(OPERATOR)
    settlement.answers |= {
        "add_member": {"member": 9},
        "register_lot": {"lot": 12},
        "deposit": {"sequence": 77},
    }

    added = await operator.ask("add_member", code="new", name="New Steel")
    lot = await operator.ask(
        "register_lot",
        member=1,
        receipt="R-1",
        instrument="RB12-9-SG",
        warehouse="LC01",
        units=4,
        quantity="10.004",
    )
    money = await operator.ask("deposit", member=2, amount="1000.50", reference="bank-1")

    assert (added["member"], lot["lot"], money["sequence"]) == (9, "12", 77)
    asked = {type(each): each for each in settlement.asked}
    registered, deposited = asked[requests.RegisterLot], asked[requests.Deposit]
    assert (registered.quantity_kg, registered.units) == (10_004, 4)  # type: ignore[union-attr]
    assert deposited.amount_fen == 100_050  # type: ignore[union-attr]


async def test_a_new_member_may_log_on_at_once(connect: Connect, settlement: FakeSettlement) -> None:
    operator = await connect(OPERATOR)
    settlement.answers["add_member"] = {"member": 9}
    key = {"public_key": public_key(STRANGER), "scopes": ["trade"]}

    await operator.ask("add_member", code="new", name="New Steel", keys=[key])

    assert (await connect(STRANGER)).socket.closed is False


async def test_a_new_member_may_log_on_at_once_where_an_older_copy_has_its_number(
    connect: Connect, settlement: FakeSettlement
) -> None:
    operator = await connect(OPERATOR)
    settlement.answers["add_member"] = {"member": 2}
    key = {"public_key": public_key(STRANGER), "scopes": ["trade"]}

    await operator.ask("add_member", code="new", name="New Steel", keys=[key])

    assert (await connect(STRANGER)).socket.closed is False


async def test_the_directory_is_current_from_its_last_part_until_the_line_is_lost(
    settlement: FakeSettlement, gateway: Gateway
) -> None:
    await until(lambda: gateway.directory.current)

    settlement.stop()
    await until(lambda: not gateway.directory.current)

    settlement.answers["directory"] = {"failure": requests.Failure(code="internal_error", message="not now")}
    await settlement.start(gateway.config.location.settlement_requests)
    await until(lambda: len([each for each in settlement.asked if isinstance(each, requests.Directory)]) > 2)
    assert not gateway.directory.current

    settlement.answers["directory"] = {"members": members(), "lots": ()}
    await until(lambda: gateway.directory.current)


@pytest.mark.parametrize(
    ("code", "chinese", "fix"),
    [
        ("reference_used", "银行流水号已用于另一笔款项,请更换", None),  # settlement's own
        ("of_a_newer_settlement", "not this time", None),
        ("insufficient_funds", "可用资金不足,请先入金", "103=3"),  # what the engine told settlement
    ],
)
async def test_settlements_refusals_pass_through_with_the_clients_field(
    connect: Connect, settlement: FakeSettlement, code: str, chinese: str, fix: str | None
) -> None:
    operator = await connect(OPERATOR)
    failure = requests.Failure(code=code, message="not this time", field="amount_fen")
    settlement.answers["deposit"] = {"failure": failure}

    answer = await operator.ask("deposit", member=2, amount="1.00", reference="bank-1")

    error = answer["error"]
    assert (error["code"], error["path"], error["retry"]) == (code, "$.amount", False)
    assert (error["message"], error["message_zh"], error.get("fix")) == ("not this time", chinese, fix)


async def test_own_contracts_only_are_asked_for_and_shown(
    connect: Connect, settlement: FakeSettlement
) -> None:
    buyer = await connect(BUYER)
    contract = requests.ContractRow(
        contract=8, instrument="RB12-9-SG", buyer=2, seller=1, lot=7, price_fen_per_tonne=226_000,
        quantity_kg=29_880, amount_fen=6_752_880, state="PAID", traded_ns=1436317200000000000,
    )  # fmt: skip
    entry = requests.EntryRow(
        entry=1, posting="P2", unit="fen", debit="TRADING:2", credit="DEPOSIT:2", amount=6_752_880, sequence=5
    )
    settlement.answers |= {"contracts": {"contracts": (contract,)}, "entries": {"entries": (entry,)}}

    contracts, entries = await buyer.ask("contracts"), await buyer.ask("entries", contract="8")
    others = await buyer.ask("entries", contract="7")

    assert (contracts["contracts"][0]["amount"], contracts["contracts"][0]["state"]) == ("67528.80", "PAID")
    assert (entries["entries"][0]["amount"], entries["entries"][0]["unit"]) == ("67528.80", "CNY")
    assert (others["error"]["code"], others["error"]["path"]) == ("unknown_contract", "$.contract")
    assert {each.member for each in settlement.asked if isinstance(each, requests.Contracts)} == {2}


async def test_contracts_say_whether_there_are_more(connect: Connect, settlement: FakeSettlement) -> None:
    buyer = await connect(BUYER)
    rows = [
        requests.ContractRow(
            contract=number, instrument="RB12-9-SG", buyer=2, seller=1, lot=7, price_fen_per_tonne=226_000,
            quantity_kg=29_880, amount_fen=6_752_880, state="paid", traded_ns=1436317200000000000,
        )
        for number in (1, 2, 3)
    ]  # fmt: skip

    settlement.answers["contracts"] = {"contracts": tuple(rows)}
    page = await buyer.ask("contracts", limit=2)
    settlement.answers["contracts"] = {"contracts": tuple(rows[2:])}
    rest = await buyer.ask("contracts", limit=2, after="2")

    asked = [(each.after, each.limit) for each in settlement.asked if isinstance(each, requests.Contracts)]
    assert ([each["contract"] for each in page["contracts"]], page["more"]) == (["1", "2"], True)
    assert ([each["contract"] for each in rest["contracts"]], rest["more"]) == (["3"], False)
    assert asked == [(0, 3), (2, 3)]


async def test_a_settlement_that_dies_is_unavailable_and_comes_back(
    connect: Connect, settlement: FakeSettlement, gateway: Gateway
) -> None:
    operator = await connect(OPERATOR)
    waiting = asyncio.create_task(operator.ask("withdraw", member=2, amount="1.00", reference="w-1"))
    await until(lambda: any(isinstance(each, requests.Withdraw) for each in settlement.asked))

    settlement.stop()
    answer = await waiting

    assert (answer["error"]["code"], answer["error"]["retry"]) == ("settlement_unavailable", True)
    settlement.answers["withdraw"] = {"sequence": 5}
    await settlement.start(gateway.config.location.settlement_requests)
    await until(lambda: gateway.settlement._writer is not None)
    assert (await operator.ask("withdraw", member=2, amount="1.00", reference="w-1"))["sequence"] == 5


async def test_the_directory_is_kept_on_disk(settlement: FakeSettlement, gateway: Gateway) -> None:
    await until(lambda: (gateway.config.location.gateway / "directory.json").exists())


async def test_without_a_connection_a_request_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="settlement_unavailable"):
        await SettlementLink(tmp_path / "none", lambda _: None, lambda _: None).request(
            requests.Entries(id=0, contract=1)
        )
