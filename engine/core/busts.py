"""A trade is reversed: money and goods go back, the market stands as it is (semantics E8)."""

from typing import Any

from engine.core.book import SLOT_BITS
from engine.core.daily import note_trades
from engine.core.events import clear_body, next_of_account, open_row
from engine.core.holds import amount_fen
from engine.core.identity import account_is_open
from engine.core.jit import part, routine
from engine.core.layout import State, Turn
from engine.vocabulary import AMOUNT_MAX_FEN, PRICE_MAX_FEN_PER_TONNE, RECORD_VERSION, Event, Reason

TRADE_BUSTED, VERSION = int(Event.TRADE_BUSTED), int(RECORD_VERSION)
OK, UNKNOWN_ACCOUNT = int(Reason.NONE), int(Reason.UNKNOWN_ACCOUNT)
UNKNOWN_LOT, UNKNOWN_TRADE = int(Reason.UNKNOWN_LOT), int(Reason.UNKNOWN_TRADE)
EXCEEDS_LIMIT = int(Reason.EXCEEDS_LIMIT)
AMOUNT_MAX, PRICE_MAX = int(AMOUNT_MAX_FEN), int(PRICE_MAX_FEN_PER_TONNE)


@part
def lot_is_known(state: State, lot: int) -> Any:
    """True for the number of a lot that was registered."""
    return lot > 0 and lot < state.head["lots_used"][0] and state.lots["account"][lot] != 0


@part
def judge_bust(state: State, turn: Turn) -> Any:
    """Why a trade cannot be reversed, or OK: the accounts can take the money, the lot has given the goods."""
    commands, at, accounts = turn.commands, turn.at, state.accounts
    account, lot, quantity = commands["account"][at], commands["lot"][at], commands["quantity_kg"][at]
    back, counter = commands["amount_fen"][at], commands["counter_amount_fen"][at]
    if not account_is_open(state, account):
        return UNKNOWN_ACCOUNT
    price, known = commands["price_fen_per_tonne"][at], lot_is_known(state, lot)
    if back < 0 or back > AMOUNT_MAX or counter < 0 or counter > AMOUNT_MAX or price < 0 or price > PRICE_MAX:
        return EXCEEDS_LIMIT
    if accounts["available"][account] > AMOUNT_MAX - back - counter:
        return EXCEEDS_LIMIT
    if known and accounts["available"][state.lots["account"][lot]] > AMOUNT_MAX - back - counter:
        return EXCEEDS_LIMIT
    if commands["match_id"][at] <= 0:
        return UNKNOWN_TRADE
    if known and (quantity <= 0 or quantity > state.lots["contracted"][lot]):
        return UNKNOWN_TRADE
    return OK if known else UNKNOWN_LOT


@routine
def bust_trade(state: State, turn: Turn) -> Any:
    """Give the buyer and the lot's owner their money back, and the lot its kilograms; say so to both.

    Orders, the last price and triggered stops stand; the day's amount and kilograms lose a trade of today.
    """
    reason = judge_bust(state, turn)
    if reason != OK:
        return reason
    commands, at, lots, accounts = turn.commands, turn.at, state.lots, state.accounts
    lot, quantity = commands["lot"][at], commands["quantity_kg"][at]
    accounts["available"][commands["account"][at]] += commands["amount_fen"][at]
    accounts["available"][lots["account"][lot]] += commands["counter_amount_fen"][at]
    lots["contracted"][lot] -= quantity
    lots["free"][lot] += quantity
    if commands["match_id"][at] >> SLOT_BITS >= state.head["day_started"][0]:
        amount = amount_fen(commands["price_fen_per_tonne"][at], quantity)
        note_trades(state, lots["instrument"][lot], -amount, -quantity)
    emit_bust(state, turn, lot)
    return OK


@part
def emit_bust(state: State, turn: Turn, lot: int) -> None:
    """A trade was reversed: its price, kilograms and match id, in the trade's own layout."""
    events, commands, at, lots = turn.events, turn.commands, turn.at, state.lots
    n = open_row(state, turn)
    clear_body(events, n)
    events["codes"][n] = 0
    events["version"][n] = VERSION
    events["kind"][n] = TRADE_BUSTED
    events["instrument"][n] = lots["instrument"][lot]
    events["account"][n] = commands["account"][at]
    events["counter_account"][n] = lots["account"][lot]
    events["account_sequence"][n] = next_of_account(state, commands["account"][at])
    events["counter_account_sequence"][n] = next_of_account(state, lots["account"][lot])
    events["match_id"][n] = commands["match_id"][at]
    events["price_fen_per_tonne"][n] = commands["price_fen_per_tonne"][at]
    events["quantity_kg"][n] = commands["quantity_kg"][at]
    events["lot"][n] = lot
