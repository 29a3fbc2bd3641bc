"""Money and kilograms taken and released in the same step as the order (law 7, semantics G3, G4).

Law: per account, `held` = sum of the formula over its live orders; per lot, `listed` = sum of the leaves of
its live sells; available + held changes only by deposits, withdrawals and charges. An incoming order is
checked against the hold of its whole quantity and then charged fill by fill from what is available; only what
rests is held, which the inequality of semantics G3 covers.
"""

from typing import Any

from engine import money
from engine.core.jit import part, quotient
from engine.core.layout import State
from engine.vocabulary import OrderType, Side

BUY, SELL = int(Side.BUY), int(Side.SELL)
STOP = int(OrderType.STOP)

amount_fen = part(money.amount_fen)
deposit_fen = part(money.deposit_fen)
fee_fen = part(money.fee_fen)


@part
def of_side(side: int, of_buys: int, of_sells: int) -> Any:
    """One of two numbers, without a branch on the side, which nothing foretells."""
    return of_buys + (of_sells - of_buys) * side


@part
def _basis_points(state: State, instrument: int, side: int) -> Any:
    instruments = state.instruments
    of_buyer, of_seller = instruments["buyer_deposit"][instrument], instruments["seller_deposit"][instrument]
    return of_side(side, of_buyer, of_seller)


@part
def hold_fen(state: State, instrument: int, side: int, price: int, leaves: int) -> Any:
    """The fen that `leaves` kilograms of an order hold: deposit + fee + reserve (semantics G3).

    A buyer's deposit is reckoned at the order's limit, a seller's at the upper band price.
    """
    instruments = state.instruments
    points, upper = _basis_points(state, instrument, side), instruments["upper"][instrument]
    fen = fee_fen(leaves, instruments["fee"][instrument])
    fen += money.RESERVE_FEN_PER_STEP * quotient(leaves, instruments["step_inverse"][instrument])
    return fen + deposit_fen(amount_fen(of_side(side, price, upper), leaves), points)


@part
def charge_fen(state: State, instrument: int, side: int, amount: int, quantity: int) -> Any:
    """What a fill takes from an account: deposit on the amount, and the fee (domain 4 P2)."""
    fee = fee_fen(quantity, state.instruments["fee"][instrument])
    return fee + deposit_fen(amount, _basis_points(state, instrument, side))


@part
def change_hold(state: State, slot: int, hold: int, charged: int) -> None:
    """Let the order in `slot` hold `hold` fen; what that releases and is not charged becomes available."""
    accounts, orders = state.accounts, state.orders
    account = state.nodes["account"][slot]
    released = orders["hold"][slot] - hold
    orders["hold"][slot] = hold
    accounts["held"][account] -= released
    accounts["available"][account] += released - charged


@part
def list_goods(state: State, lot: int, quantity: int) -> None:
    """Free kilograms of a lot are listed; a negative quantity gives them back."""
    state.lots["free"][lot] -= quantity
    state.lots["listed"][lot] += quantity


@part
def list_of_sell(state: State, side: int, lot: int, quantity: int) -> None:
    """The same for an order of either side, without a branch on it: a buy lists nothing of lot 0, which is
    nobody's.
    """
    list_goods(state, lot * side, quantity * side)


@part
def contract_goods(state: State, lot: int, quantity: int) -> None:
    """Listed kilograms of a lot were sold."""
    state.lots["listed"][lot] -= quantity
    state.lots["contracted"][lot] += quantity
