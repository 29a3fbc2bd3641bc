"""The accounting finds what is missing, doubled or contradictory, and nothing else."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from loadtest.accounting import Account, Heard, Told, account_for

SELLER, BUYER = 1, 2


def order(sequence: int, name: str, order_id: str, quantity: str, status: str = "new") -> dict[str, Any]:
    return {
        "event": "order",
        "account_sequence": sequence,
        "client_order_id": name,
        "order_id": order_id,
        "quantity": quantity,
        "status": status,
    }


def fill(
    sequence: int, order_id: str, quantity: str, counterparty: int, match_id: str = "9"
) -> dict[str, Any]:
    return {
        "event": "fill",
        "account_sequence": sequence,
        "order_id": order_id,
        "quantity": quantity,
        "counterparty": counterparty,
        "match_id": match_id,
    }


class Case:
    """A sale of 5 t out of 7.5, the rest canceled but for 1 t; one order rejected, one unanswered."""

    def __init__(self) -> None:
        self.heard = {
            SELLER: Heard(sent={"s": Decimal("7.5")}, acknowledged={"s": "70"}),
            BUYER: Heard(
                sent={"b": Decimal("5"), "r": Decimal("5"), "u": Decimal("5")},
                acknowledged={"b": "80"},
                rejected={"r"},
            ),
        }
        self.told = {
            SELLER: Told(
                [
                    order(4, "s", "70", "7.5"),
                    fill(5, "70", "5", BUYER),
                    order(6, "s", "70", "1.5", "canceled"),
                ],
                {"70": Decimal("1")},
            ),
            BUYER: Told([order(1, "b", "80", "5", "filled"), fill(2, "80", "5", SELLER)], {}),
        }
        self.contracts = ["9"]

    def account(self) -> Account:
        return account_for(self.heard, self.told, self.contracts)


def test_a_whole_account_holds_and_counts() -> None:
    account = Case().account()

    assert account.findings == []
    assert (account.acknowledged, account.rejected, account.unanswered) == (2, 1, 1)
    assert (account.fills, account.contracts, account.unanswered_but_done) == (1, 1, 0)


def test_an_unanswered_order_may_have_been_done_once() -> None:
    case = Case()
    case.told[BUYER].events.append(order(3, "u", "81", "5"))
    case.told[BUYER].open_tonnes["81"] = Decimal("5")

    account = case.account()

    assert account.holds
    assert account.unanswered_but_done == 1


def lose_order(case: Case) -> None:
    case.told[BUYER].events[0]["client_order_id"] = "x"


def double_order(case: Case) -> None:
    case.told[BUYER].events.append(order(3, "b", "99", "5"))


def do_rejected(case: Case) -> None:
    case.told[BUYER].events.append(order(3, "r", "99", "5"))


def lose_event(case: Case) -> None:
    case.told[SELLER].events.pop(1)


def repeat_event(case: Case) -> None:
    case.told[SELLER].events.insert(1, case.told[SELLER].events[1])


def lose_open_order(case: Case) -> None:
    case.told[SELLER].open_tonnes.clear()


def keep_canceled(case: Case) -> None:
    case.heard[SELLER].canceled.add("s")


def lose_contract(case: Case) -> None:
    case.contracts.clear()


def double_contract(case: Case) -> None:
    case.contracts.append("9")


def strange_contract(case: Case) -> None:
    case.contracts.append("10")


def other_quantity(case: Case) -> None:
    case.told[BUYER].events[1]["quantity"] = "4.9"


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (lose_order, "acknowledged, 0 times"),
        (double_order, "acknowledged, 2 times"),
        (do_rejected, "rejected, 1 times"),
        (lose_event, "gap"),
        (repeat_event, "gap"),
        (lose_open_order, "neither filled, canceled nor open"),
        (keep_canceled, "canceled, and still open"),
        (lose_contract, "no contract"),
        (double_contract, "stands 2 times"),
        (strange_contract, "no fill"),
        (other_quantity, "2 sides expected"),
    ],
)
def test_what_does_not_fit_is_found(spoil: Callable[[Case], None], finding: str) -> None:
    case = Case()

    spoil(case)

    assert any(finding in each for each in case.account().findings)


def test_a_fill_with_a_stranger_has_one_side_here() -> None:
    case = Case()
    case.told[SELLER].events.insert(2, fill(6, "70", "0.5", 77, "10"))
    case.told[SELLER].events[3]["account_sequence"] = 7
    case.told[SELLER].events[3]["quantity"] = "1.0"
    case.contracts.append("10")

    assert case.account().findings == []
