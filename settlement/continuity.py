"""Watches the gap-free count in every account's events: a command lost on the way is noticed.

Law: an account's events arrive with account sequences that rise by one (design 3). What an account's last
number was is known from its first event on that this process sees; before that nothing is claimed.
"""

import numpy as np

from engine.records import TRADE, Records
from engine.vocabulary import Event
from settlement.clearing import ClearingFault
from settlement.ledger import Int64s

UNKNOWN = -1


class Continuity:
    """The last account sequence seen of every account."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._last = np.full(64, UNKNOWN, np.int64)

    def check(self, events: Records) -> None:
        """Take the events' account sequences. Raises ClearingFault at the first that does not follow."""
        account, sequence = _counted(events)
        if not len(account):
            return
        self._grow(int(account[-1]) + 1)
        first = np.flatnonzero(np.diff(account, prepend=-1))
        previous = np.concatenate([sequence[:1], sequence[:-1]])
        previous[first] = self._last[account[first]]
        wrong = (previous != UNKNOWN) & (sequence != previous + 1)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ClearingFault(
                f"account {account[at]} goes from event {previous[at]} to {sequence[at]}: "
                "one is missing or repeated"
            )
        last = np.concatenate([first[1:] - 1, [len(account) - 1]])
        self._last[account[last]] = sequence[last]

    def _grow(self, accounts: int) -> None:
        if accounts > len(self._last):
            more = np.full(max(accounts, 2 * len(self._last)) - len(self._last), UNKNOWN, np.int64)
            self._last = np.concatenate([self._last, more])


def _counted(events: Records) -> tuple[Int64s, Int64s]:
    """(account, account sequence) of both parties of every event that has one, sorted by both."""
    pairs = events.view(TRADE)[np.isin(events["kind"], (Event.TRADE, Event.PREVENTED, Event.TRADE_BUSTED))]
    account = np.concatenate([events["account"], pairs["counter_account"]]).astype(np.int64)
    sequence = np.concatenate([events["account_sequence"], pairs["counter_account_sequence"]])
    counted = (account > 0) & (sequence > 0)
    account, sequence = account[counted], sequence[counted]
    order = np.lexsort((sequence, account))
    return account[order], sequence[order]
