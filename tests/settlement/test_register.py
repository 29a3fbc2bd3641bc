"""What the register grants, what it refuses, and that a repeat gets the first answer."""

import asyncpg
import msgspec
import pytest

from engine.requests import AddMember, Deposit, Key, RegisterLot, Withdraw
from settlement.door import Door
from settlement.register import Refusal
from tests.settlement.exchange import COIL, REBAR_UNIT_KG, Exchange, rebar

KEY = Key(public_key="ab" * 32, scopes=("read", "trade"))


async def refused(
    exchange: Exchange, request: AddMember | RegisterLot | Deposit | Withdraw
) -> tuple[str, str]:
    """The code and the field of the refusal."""
    door = Door(exchange.register, exchange.busts, exchange.reader)
    with pytest.raises(Refusal) as caught:
        await door.answer(request)
    return caught.value.failure.code, caught.value.failure.field


async def test_members_are_numbered_from_one_as_their_engine_accounts(exchange: Exchange) -> None:
    assert await exchange.member("mill") == 1
    assert await exchange.member("trader") == 2
    assert exchange.engine.available == {1: 0, 2: 0}


async def test_the_same_member_again_gets_the_first_answer(exchange: Exchange) -> None:
    request = AddMember(id=1, code="mill", name="Mill", keys=(KEY,))

    first = await exchange.register.add_member(request)
    second = await exchange.register.add_member(request)

    assert first == second
    assert len(await exchange.reader.members()) == 1


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (AddMember(id=1, code="Mill", name="x"), "invalid_value", "code"),
        (AddMember(id=1, code="", name="x"), "invalid_value", "code"),
        (AddMember(id=1, code="x", name=" "), "invalid_value", "name"),
        (AddMember(id=1, code="x", name="x", group=77), "unknown_member", "group"),
        (AddMember(id=1, code="x", name="x", keys=(Key("AB", ("read",)),)), "invalid_value", "keys"),
        (AddMember(id=1, code="x", name="x", keys=(Key("cd" * 32, ()),)), "invalid_value", "keys"),
        (AddMember(id=1, code="x", name="x", keys=(KEY,)), "key_exists", "keys"),
        (AddMember(id=1, code="mill", name="Other", keys=(KEY,)), "member_exists", "code"),
    ],
)
async def test_a_member_that_cannot_be_admitted_is_refused_by_name(
    exchange: Exchange, request_: AddMember, code: str, field: str
) -> None:
    await exchange.register.add_member(AddMember(id=1, code="mill", name="Mill", keys=(KEY,)))

    assert await refused(exchange, request_) == (code, field)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"member": 9}, "unknown_member", "member"),
        ({"member": 2**40}, "unknown_member", "member"),
        ({"instrument": "GOLD"}, "unknown_instrument", "instrument"),
        ({"warehouse": "MOON"}, "unknown_warehouse", "warehouse"),
        ({"receipt": ""}, "invalid_value", "receipt"),
        ({"units": 0}, "invalid_value", "units"),
        ({"quantity_kg": 29_881}, "quantity_inconsistent", "quantity_kg"),
        ({"quantity_kg": 10**10}, "invalid_value", "quantity_kg"),
        ({"production_date": "8 July"}, "invalid_value", "production_date"),
        ({"certificate_sha256": "12"}, "invalid_value", "certificate_sha256"),
        ({"receipt": "R-0"}, "receipt_registered", "receipt"),
        ({"heat": "H1", "piece": "7"}, "piece_registered", "piece"),
    ],
)
async def test_goods_that_cannot_be_registered_are_refused_by_name(
    exchange: Exchange, changes: dict[str, object], code: str, field: str
) -> None:
    member = await exchange.member("mill")
    await exchange.register.register_lot(rebar(member, receipt="R-0", heat="H1", piece="7"))

    request = rebar(member, **changes)  # type: ignore[arg-type]
    assert await refused(exchange, request) == (code, field)

    assert len(exchange.engine.lots) == 1


async def test_the_same_receipt_again_gets_the_first_answer(exchange: Exchange) -> None:
    member = await exchange.member("mill")
    request = rebar(member, heat="H1", piece="7", production_date="2015-06-30", remark="shed 4")

    first = await exchange.register.register_lot(request)
    second = await exchange.register.register_lot(request)

    assert first == second
    assert len(exchange.engine.lots) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"units": 13, "quantity_kg": 13 * REBAR_UNIT_KG},
        {"warehouse": "LC-SW-B"},
        {"heat": "H2"},
        {"production_date": "2015-06-29"},
        {"quality": "second"},
        {"certificate_sha256": "ab" * 32},
        {"remark": "shed 5"},
        {"member": 2},
    ],
)
async def test_a_receipt_with_other_content_is_refused(
    exchange: Exchange, changes: dict[str, object]
) -> None:
    member, _ = await exchange.member("mill"), await exchange.member("other")
    same: dict[str, object] = {"heat": "H1", "piece": "7", "production_date": "2015-06-30"}
    await exchange.register.register_lot(rebar(member, **same))  # type: ignore[arg-type]

    request = RegisterLot(**(msgspec.structs.asdict(rebar(member, **same)) | changes))  # type: ignore[arg-type]
    assert await refused(exchange, request) == ("receipt_registered", "receipt")

    assert len(exchange.engine.lots) == 1


async def test_a_coil_weighs_what_the_scales_said(exchange: Exchange) -> None:
    member = await exchange.member("mill")
    coil = rebar(member, instrument=COIL, units=1, quantity_kg=27_850)

    answer = await exchange.register.register_lot(coil)

    assert answer.lot == 1
    assert exchange.engine.lots[1].free == 27_850


async def test_a_bank_reference_moves_money_once(exchange: Exchange) -> None:
    member = await exchange.member("trader")
    deposit = Deposit(id=1, member=member, amount_fen=100_00, reference="b-1")

    first = await exchange.register.deposit(deposit)
    second = await exchange.register.deposit(deposit)

    assert first == second
    assert exchange.engine.available[member] == 100_00
    other = Deposit(id=1, member=member, amount_fen=200_00, reference="b-1")
    assert await refused(exchange, other) == ("reference_used", "reference")
    out = Withdraw(id=1, member=member, amount_fen=100_00, reference="b-1")
    assert await refused(exchange, out) == ("reference_used", "reference")


async def test_only_free_money_is_withdrawn_and_a_refusal_is_final(exchange: Exchange, database: str) -> None:
    member = await exchange.member("trader", 100_00)

    too_much = Withdraw(id=1, member=member, amount_fen=100_01, reference="w-1")
    assert await refused(exchange, too_much) == ("insufficient_funds", "")
    assert await refused(exchange, too_much) == ("insufficient_funds", "")
    await exchange.register.withdraw(Withdraw(id=1, member=member, amount_fen=40_00, reference="w-2"))

    assert exchange.engine.available[member] == 60_00
    connection = await asyncpg.connect(database)
    balance = await connection.fetchval(
        "SELECT amount_fen FROM money_balance WHERE account = $1", member << 8 | 16
    )
    await connection.close()
    assert balance == 60_00


@pytest.mark.parametrize("amount_fen", [0, -5, 10**18])
async def test_amounts_beyond_the_permitted_are_refused(exchange: Exchange, amount_fen: int) -> None:
    member = await exchange.member("trader")

    request = Deposit(id=1, member=member, amount_fen=amount_fen, reference="b-1")
    assert await refused(exchange, request) == ("invalid_value", "amount_fen")
