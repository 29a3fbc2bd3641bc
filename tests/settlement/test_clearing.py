"""Events to rows: golden numbers of domain 6, and the refusal of streams that are not whole."""

import hashlib
from typing import Any

import numpy as np
import pytest

from engine.instruments import load_instruments
from engine.records import Records, as_words, joined
from engine.vocabulary import Reason, Side
from settlement import clearing
from settlement.clearing import (
    CHAIN_START,
    Batch,
    ClearingFault,
    EntryNumbersExhausted,
    Position,
    check_order,
    clear,
    default_terms,
)
from settlement.fills import Terms
from settlement.ledger import (
    SEQUENCE_LAST_BOOKED,
    Goods,
    Money,
    Posting,
    account,
    account_name,
    entry_number,
)
from tests.fakes import DUPLICATE, Tape

REBAR = next(row.number for row in load_instruments() if row.code == "RB20-12-SG")
COIL = next(row.number for row in load_instruments() if row.code == "HC5.75-LG")
SELLER, BUYER = 1, 2
START = Position(0, 0, CHAIN_START)
Leg = tuple[str, str, str, int]


def cleared(tape: Tape, before: Position = START) -> Batch:
    return clear(tape.take(), before, 1, default_terms())


def money_legs(batch: Batch) -> list[Leg]:
    return _legs(batch.money, Money, "amount_fen")


def goods_legs(batch: Batch) -> list[Leg]:
    return _legs(batch.goods, Goods, "quantity_kg")


def _legs(rows: Records, kinds: Any, amount: str) -> list[Leg]:
    return [
        (
            Posting(row["posting"]).name,
            account_name(int(row["debit"]), kinds),
            account_name(int(row["credit"]), kinds),
            int(row[amount]),
        )
        for row in rows
    ]


def e1(tape: Tape) -> None:
    """Domain E1: 29,880 kg of rebar at 2,260.00."""
    tape.buy(BUYER, REBAR, {"seller": SELLER, "lot": 7, "price": 226_000, "quantity_kg": 29_880})


def test_a_fill_of_e1_pays_the_amount_and_both_fees_with_vat_inside() -> None:
    tape = Tape()
    e1(tape)

    batch = cleared(tape)

    assert money_legs(batch) == [
        ("P2", "TRADING:2", "DEPOSIT:2", 67_528_80),
        ("P2", "TRADING:2", "FEE", 14_09),
        ("P2", "TRADING:2", "FEE_VAT", 85),
        ("P2", "TRADING:1", "FEE", 14_09),
        ("P2", "TRADING:1", "FEE_VAT", 85),
        ("P3", "DEPOSIT:2", "ESCROW:2", 67_528_80),
    ]
    assert goods_legs(batch) == [("P2", "LISTED:7", "CONTRACT:7", 29_880)]


def test_the_fills_of_e6_keep_their_gross_legs_apart() -> None:
    tape = Tape()
    e1(tape)
    tape.buy(BUYER, COIL, {"seller": 3, "lot": 8, "price": 209_000, "quantity_kg": 27_850})

    batch = cleared(tape)

    trading = account(BUYER, Money.TRADING)
    out = batch.money["amount_fen"][batch.money["debit"] == trading]
    assert out.tolist() == [67_528_80, 14_09, 85, 58_206_50, 13_14, 79]
    assert dict(zip(*(column.tolist() for column in batch.money_deltas), strict=True))[trading] == -(
        67_528_80 + 58_206_50 + 14_94 + 13_93
    )


def test_under_deposit_the_balance_and_the_sellers_deposit_have_legs_of_their_own() -> None:
    full = default_terms()
    ten_percent = Terms(full.buyer_deposit_bp // 10, full.seller_deposit_bp + 1000, full.fee_fen_per_tonne)
    tape = Tape()
    e1(tape)

    batch = clear(tape.take(), START, 1, ten_percent)

    assert money_legs(batch) == [
        ("P2", "TRADING:2", "DEPOSIT:2", 6_752_88),
        ("P2", "TRADING:2", "FEE", 14_09),
        ("P2", "TRADING:2", "FEE_VAT", 85),
        ("P2", "TRADING:1", "FEE", 14_09),
        ("P2", "TRADING:1", "FEE_VAT", 85),
        ("P2", "TRADING:1", "DEPOSIT:1", 6_752_88),
        ("P3", "DEPOSIT:2", "ESCROW:2", 6_752_88),
        ("P3", "TRADING:2", "ESCROW:2", 60_775_92),
    ]


def test_a_contract_is_matched_confirmed_and_paid_in_its_fills_batch() -> None:
    tape = Tape()
    e1(tape)

    batch = cleared(tape)

    assert batch.transitions["state"].tolist() == [1, 2, 4]
    assert batch.contracts["state"].tolist() == [4]
    assert batch.contracts[["contract", "buyer", "seller", "lot", "amount_fen"]].tolist() == [
        (1, BUYER, SELLER, 7, 67_528_80)
    ]


def test_the_buyer_is_the_resting_order_when_a_seller_comes_in() -> None:
    tape = Tape()
    e1(tape)
    events = tape.take()
    events["side"] = Side.SELL

    batch = clear(events, START, 1, default_terms())

    assert batch.contracts[["buyer", "seller"]].tolist() == [(SELLER, BUYER)]


def test_cash_moves_between_bank_and_trading() -> None:
    tape = Tape()
    tape.deposited(BUYER, 1_000_00, 1)
    tape.deposited(BUYER, 400_00, 2, out=True)

    batch = cleared(tape)

    assert money_legs(batch) == [
        ("P0", "BANK", "TRADING:2", 1_000_00),
        ("P0", "TRADING:2", "BANK", 400_00),
    ]
    assert batch.money_deltas.account.tolist() == [Money.BANK, account(BUYER, Money.TRADING)]
    assert batch.money_deltas.amount.tolist() == [-600_00, 600_00]


def test_goods_follow_their_sell_orders_and_a_repeat_moves_nothing() -> None:
    tape = Tape()
    tape.registered(7, SELLER, REBAR, 29_880, 1)
    tape.sell(SELLER, 7, REBAR, 226_000, 9_960)
    tape.sell(SELLER, 7, REBAR, 226_000, 9_960, flags=DUPLICATE)
    tape.canceled(SELLER, Side.SELL, 7, REBAR, 4_980)
    tape.canceled(BUYER, Side.BUY, 0, REBAR, 4_980)

    batch = cleared(tape)

    assert goods_legs(batch) == [
        ("G1", "RECEIPT:7", "FREE:7", 29_880),
        ("G2", "FREE:7", "LISTED:7", 9_960),
        ("G3", "LISTED:7", "FREE:7", 4_980),
    ]


def test_answers_to_the_outbox_are_found_and_orders_refusals_are_not_taken_for_them() -> None:
    tape = Tape()
    tape.opened(BUYER, 1)
    tape.refused(2, Reason.INSUFFICIENT_FUNDS)
    tape.refused(3, Reason.PRICE_OFF_TICK)
    events = tape.take()
    events["tag"][2] = 77 << 48 | 3  # a gateway's order; bytes of its client order id stand where `outbox` is

    outcomes = clear(events, START, 1, default_terms()).outcomes

    assert outcomes.number.tolist() == [1, 2]
    assert outcomes.applied.tolist() == [True, False]
    assert outcomes.reason.tolist() == [Reason.NONE, Reason.INSUFFICIENT_FUNDS]
    assert outcomes.sequence.tolist() == [1, 2]


def test_a_thousand_fills_sum_to_zero_and_touch_each_balance_once() -> None:
    tape, random = Tape(), np.random.default_rng(8)
    for _ in range(200):
        fills = [
            {"seller": int(random.integers(50, 99)), "lot": int(random.integers(1, 9))}
            | {"price": int(random.integers(1, 10**6)), "quantity_kg": int(random.integers(1, 10**6))}
            for _ in range(5)
        ]
        tape.buy(int(random.integers(1, 50)), REBAR, *fills)

    batch = cleared(tape)

    assert len(batch.contracts) == 1000
    assert batch.money_deltas.amount.sum() == 0
    assert batch.goods_deltas.amount.sum() == 0
    for deltas in (batch.money_deltas, batch.goods_deltas):
        assert (np.diff(deltas.account) > 0).all()
    for entries in (batch.money["entry"], batch.goods["entry"]):
        assert (np.diff(entries.astype(np.int64)) > 0).all()


def test_the_same_events_give_the_same_bytes_and_chain() -> None:
    tape = Tape()
    e1(tape)
    events = tape.take()

    first, second = (clear(events, START, 1, default_terms()) for _ in range(2))

    assert first.after == second.after
    assert first.after.chain == hashlib.sha256(CHAIN_START + events.tobytes()).digest()
    assert first.contracts.tobytes() == second.contracts.tobytes()
    assert first.money.tobytes() == second.money.tobytes()


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_event_that_is_missing_inside_a_command_is_a_gap(lost: int) -> None:
    tape = Tape()
    fill = {"seller": SELLER, "lot": 7, "price": 226_000, "quantity_kg": 2_490}
    tape.buy(BUYER, REBAR, fill, fill, fill)
    words = as_words(tape.take())
    holed = np.delete(words, lost, axis=0).reshape(-1).view(tape_dtype())

    with pytest.raises(ClearingFault, match="gap in the event stream"):
        clear(holed, START, 1, default_terms())


def tape_dtype() -> Any:
    tape = Tape()
    e1(tape)
    return tape.take().dtype


def test_events_that_the_books_have_already_are_refused() -> None:
    tape = Tape()
    e1(tape)

    with pytest.raises(ClearingFault, match="repeats"):
        cleared(tape, Position(1, 1, CHAIN_START))


def test_commands_out_of_order_are_refused() -> None:
    tape = Tape()
    tape.opened(1, 1)
    tape.opened(2, 2)
    backwards = as_words(tape.take())[::-1].copy().reshape(-1).view(tape_dtype())

    with pytest.raises(ClearingFault, match="gap"):
        clear(backwards, START, 1, default_terms())


def test_a_command_that_the_ledger_cannot_number_stops_settlement_by_name() -> None:
    tape = Tape()
    e1(tape)
    events = tape.take()
    events["sequence"] = SEQUENCE_LAST_BOOKED + 1

    with pytest.raises(EntryNumbersExhausted, match="books commands up to"):
        check_order(events, START)


def test_a_command_with_too_many_events_stops_settlement_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape()
    e1(tape)
    events = tape.take()
    monkeypatch.setattr(clearing, "INDEX_MAX", len(events) - 2)

    with pytest.raises(EntryNumbersExhausted, match="more than"):
        check_order(events, START)


def test_a_command_that_ends_half_a_million_orders_has_entries_of_its_own() -> None:
    tape = Tape()
    for sequence in (1, 2):
        tape.opened(sequence, sequence)
    events = tape.take()
    events = joined([events[:1]] * (1 << 19) + [events[1:]])
    events["index"][:-1] = np.arange(1 << 19)

    numbers = entry_number(events["sequence"], events["index"].astype(np.int64), 0)

    check_order(events, START)
    assert (np.diff(numbers) > 0).all()
