"""The kill switch on an account: cancel all, then refuse what enters, until it is released (semantics C6).

Law: cancels go on while an account is blocked, because they only lessen risk.
"""

import numpy as np

from engine.core.endings import condemn_or_drop, gather_of_account
from engine.core.events import NOBODY, emit_market, emit_rejected
from engine.core.identity import UNKNOWN_ACCOUNT, account_is_open
from engine.core.jit import routine
from engine.core.layout import State, Turn
from engine.vocabulary import Event, Reason

ACCOUNT_BLOCKED, ACCOUNT_RELEASED = int(Event.ACCOUNT_BLOCKED), int(Event.ACCOUNT_RELEASED)
KILL_SWITCH = int(Reason.KILL_SWITCH)


@routine
def switch_account(state: State, turn: Turn, blocked: int) -> None:
    """1: cancel every order of the account by order id, and refuse new ones from now on; 0: take them
    again.
    """
    account, ended = turn.commands["account"][turn.at], np.int64(0)
    if not account_is_open(state, account):
        emit_rejected(state, turn, UNKNOWN_ACCOUNT)
        return
    state.accounts["blocked"][account] = blocked
    if blocked != 0:
        ended = condemn_or_drop(state, turn, gather_of_account(state, account), KILL_SWITCH)
    n = emit_market(state, turn, ACCOUNT_BLOCKED if blocked != 0 else ACCOUNT_RELEASED, NOBODY)
    turn.events["account"][n] = account
    turn.events["quantity_kg"][n] = ended
