"""What others read of the books."""

import hashlib

from settlement.reads import TransitionRow
from tests.fakes import JULY_8_2015_NS
from tests.settlement.exchange import REBAR_NUMBER, Exchange


async def one_fill(exchange: Exchange) -> None:
    """Member 1 sells two bundles to member 2."""
    mill, trader = await exchange.member("mill", 1_000_00), await exchange.member("trader", 100_000_00)
    lot = await exchange.lot(mill, 12)
    exchange.engine.sell(lot, REBAR_NUMBER, 226_000, 4_980)
    exchange.engine.buy(trader, lot, REBAR_NUMBER, 226_000, 4_980)
    await exchange.caught_up()


async def test_a_contracts_text_can_be_rendered_again_and_has_the_stored_hash(exchange: Exchange) -> None:
    await one_fill(exchange)

    found = await exchange.reader.contract_text(1)

    assert found is not None
    text, digest = found
    assert "quantity_kg 0000004980\n" in text
    assert digest == hashlib.sha256(text.encode("ascii")).hexdigest()
    assert await exchange.reader.contract_text(2) is None


async def test_a_contract_entered_its_states_at_the_time_of_the_fill(exchange: Exchange) -> None:
    await one_fill(exchange)
    traded_ns = JULY_8_2015_NS + exchange.engine.tape.sequence

    assert await exchange.reader.transitions(1) == tuple(
        TransitionRow(state, 1, traded_ns) for state in ("matched", "confirmed", "paid")
    )


async def test_a_members_entries_are_those_of_his_accounts_newest_first(exchange: Exchange) -> None:
    await one_fill(exchange)

    rows = await exchange.reader.entries_of_member(1)

    assert [(row.posting, row.debit, row.credit, row.amount) for row in rows] == [
        ("P2", "TRADING:1", "FEE_VAT", 14),
        ("P2", "TRADING:1", "FEE", 2_35),
        ("P0", "BANK", "TRADING:1", 1_000_00),
    ]


async def test_contracts_of_a_member_are_those_he_bought_or_sold(exchange: Exchange) -> None:
    await one_fill(exchange)

    assert [len(await exchange.reader.contracts(member, 0, 9)) for member in (0, 1, 2, 3)] == [1, 1, 1, 0]
