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
def _basis_points(state: State, instrument: int, side: int) -> Any:
    if side == BUY:
        return state.instruments["buyer_deposit"][instrument]
    return state.instruments["seller_deposit"][instrument]


@part
def hold_fen(state: State, instrument: int, side: int, price: int, leaves: int) -> Any:
    """The fen that `leaves` kilograms of an order hold: deposit + fee + reserve (semantics G3).

    A buyer's deposit is reckoned at the order's limit, a seller's at the upper band price.
    """
    instruments = state.instruments
    points = _basis_points(state, instrument, side)
    fen = fee_fen(leaves, instruments["fee"][instrument])
    fen += money.RESERVE_FEN_PER_STEP * quotient(leaves, instruments["step_inverse"][instrument])
    if points != 0:
        at = price if side == BUY else instruments["upper"][instrument]
        fen += deposit_fen(amount_fen(at, leaves), points)
    return fen


@part
def charge_fen(state: State, instrument: int, side: int, amount: int, quantity: int) -> Any:
    """What a fill takes from an account: deposit on the amount, and the fee (domain 4 P2)."""
    fen = fee_fen(quantity, state.instruments["fee"][instrument])
    points = _basis_points(state, instrument, side)
    if points != 0:
        fen += deposit_fen(amount, points)
    return fen


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
def contract_goods(state: State, lot: int, quantity: int) -> None:
    """Listed kilograms of a lot were sold."""
    state.lots["listed"][lot] -= quantity
    state.lots["contracted"][lot] += quantity
