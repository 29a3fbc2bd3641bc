"""Accounts and lots: settlement's commands, applied once (law 8, domain 4 P0)."""

import pytest

from engine.records import CASH, LOT
from engine.vocabulary import AMOUNT_MAX_FEN, Command, Reason
from tests.engine.builders import REBAR, RICH_FEN, STEP_KG, Venue, kinds, reason_of


@pytest.fixture
def venue() -> Venue:
    """Account 1 with money."""
    venue = Venue()
    venue.account(1)
    return venue


def test_p0_a_deposit_is_available_at_once(venue: Venue) -> None:
    events = venue.settle(kind=Command.DEPOSIT, account=1, amount_fen=500)

    assert kinds(events) == ["deposited"]
    row = events.view(CASH)[0]
    assert (int(row["amount_fen"]), int(row["available_fen"])) == (500, RICH_FEN + 500)
    assert int(row["outbox"]) == venue.outbox


def test_p0_a_withdrawal_takes_only_what_is_free(venue: Venue) -> None:
    venue.buy(1, 226_000, STEP_KG)
    available, held = venue.money(1)

    refused = venue.settle(kind=Command.WITHDRAW, account=1, amount_fen=available + 1)
    taken = venue.settle(kind=Command.WITHDRAW, account=1, amount_fen=available)

    assert reason_of(refused) is Reason.INSUFFICIENT_FUNDS
    assert kinds(taken) == ["withdrawn"]
    assert venue.money(1) == (0, held)


def test_law8_a_repeated_outbox_number_changes_nothing(venue: Venue) -> None:
    events = venue.command(kind=Command.DEPOSIT, account=1, amount_fen=500, outbox=venue.outbox)

    assert kinds(events) == ["repeated"]
    assert int(events.view(CASH)["outbox"][0]) == venue.outbox
    assert venue.money(1) == (RICH_FEN, 0)


def test_law8_a_refused_number_is_used_up(venue: Venue) -> None:
    refused = venue.settle(kind=Command.DEPOSIT, account=50, amount_fen=500)
    venue.settle(kind=Command.OPEN_ACCOUNT, account=50)

    again = venue.command(kind=Command.DEPOSIT, account=50, amount_fen=500, outbox=venue.outbox - 1)

    assert (reason_of(refused), kinds(again)) == (Reason.UNKNOWN_ACCOUNT, ["repeated"])
    assert int(refused.view(CASH)["outbox"][0]) == venue.outbox - 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": Command.OPEN_ACCOUNT, "account": 1}, Reason.ACCOUNT_EXISTS),
        ({"kind": Command.OPEN_ACCOUNT, "account": 64}, Reason.ACCOUNTS_FULL),
        ({"kind": Command.OPEN_ACCOUNT, "account": 0}, Reason.ACCOUNTS_FULL),
        ({"kind": Command.DEPOSIT, "account": 2, "amount_fen": 1}, Reason.UNKNOWN_ACCOUNT),
        ({"kind": Command.DEPOSIT, "account": 1, "amount_fen": 0}, Reason.EXCEEDS_LIMIT),
        ({"kind": Command.DEPOSIT, "account": 1, "amount_fen": -5}, Reason.EXCEEDS_LIMIT),
        ({"kind": Command.DEPOSIT, "account": 1, "amount_fen": AMOUNT_MAX_FEN}, Reason.EXCEEDS_LIMIT),
        ({"kind": Command.WITHDRAW, "account": 1, "amount_fen": -5}, Reason.EXCEEDS_LIMIT),
        ({"kind": Command.WITHDRAW, "account": 2, "amount_fen": 1}, Reason.UNKNOWN_ACCOUNT),
        ({"kind": Command.REGISTER_LOT, "account": 2, "lot": 1, "quantity_kg": 1}, Reason.UNKNOWN_ACCOUNT),
        (
            {"kind": Command.REGISTER_LOT, "account": 1, "lot": 1, "instrument": 7, "quantity_kg": 1},
            Reason.UNKNOWN_INSTRUMENT,
        ),
        ({"kind": Command.REGISTER_LOT, "account": 1, "lot": 1, "quantity_kg": 0}, Reason.EXCEEDS_LIMIT),
        ({"kind": Command.REGISTER_LOT, "account": 1, "lot": 256, "quantity_kg": 1}, Reason.LOTS_FULL),
        ({"kind": Command.WITHDRAW_LOT, "lot": 1, "quantity_kg": 1}, Reason.UNKNOWN_LOT),
    ],
)
def test_a4_a_bad_command_of_settlement_is_refused_by_name(
    venue: Venue, fields: dict[str, int], reason: Reason
) -> None:
    assert reason_of(venue.settle(**fields)) is reason
    assert venue.money(1) == (RICH_FEN, 0)


def test_a_lot_is_registered_once(venue: Venue) -> None:
    venue.lot(1, 1, 10 * STEP_KG)

    refused = venue.settle(
        kind=Command.REGISTER_LOT, lot=1, account=1, instrument=REBAR, quantity_kg=10 * STEP_KG
    )

    assert reason_of(refused) is Reason.LOT_EXISTS


def test_only_free_kilograms_leave_the_register(venue: Venue) -> None:
    venue.lot(1, 1, 10 * STEP_KG)
    venue.sell(1, 226_000, 6 * STEP_KG, 1)

    refused = venue.settle(kind=Command.WITHDRAW_LOT, lot=1, quantity_kg=5 * STEP_KG)
    nothing = venue.settle(kind=Command.WITHDRAW_LOT, lot=1, quantity_kg=0)
    taken = venue.settle(kind=Command.WITHDRAW_LOT, lot=1, quantity_kg=4 * STEP_KG)

    assert reason_of(refused) is Reason.INSUFFICIENT_GOODS
    assert reason_of(nothing) is Reason.EXCEEDS_LIMIT
    assert kinds(taken) == ["lot_withdrawn"]
    assert int(taken.view(LOT)["free_kg"][0]) == 0
    venue.exchange.check_invariants()
