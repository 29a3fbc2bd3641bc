"""Who meets whom, reckoned from the orders alone: company groups, and what one of them could get at once.

Law: an order never trades with its own group, unless it allows that; what must be had at once is all there
before any of it is touched (semantics B6, D1, D2).
"""

from collections.abc import Iterable
from typing import Any

from engine.vocabulary import Command, SelfTrade
from tests.simulation.life import Life


class Groups:
    """The company group of each account; fed with commands."""

    def __init__(self) -> None:
        self._of: dict[int, int] = {}

    def note(self, command: Any) -> None:
        """Take note of an account that is opened."""
        if int(command["kind"]) == Command.OPEN_ACCOUNT:
            account, group = int(command["account"]), int(command["group"])
            self._of.setdefault(account, group or account)

    def own(self, one: int, other: int) -> bool:
        """Whether two accounts are of one group."""
        return self._of[one] == self._of[other]

    def forbid(self, incoming: Life, other: Life) -> bool:
        """Whether a trade of these two must be prevented."""
        return incoming.mode is not SelfTrade.ALLOW and self.own(incoming.account, other.account)

    def fillable(self, incoming: Life, line: Iterable[Life], wanted: int) -> int:
        """What of `wanted` kilograms the line gives before a prevention would touch who comes in."""
        waiting = [
            (order.rank, order.shown, order.leaves, order) for order in line if incoming.allows(order.limit)
        ]
        found, last = 0, max((rank[1] for rank, *_ in waiting), default=0)
        while waiting and found < wanted:
            following = min(waiting, key=lambda entry: entry[0])
            waiting.remove(following)
            (price, _), shown, leaves, order = following
            if self.forbid(incoming, order):
                if incoming.mode is not SelfTrade.CANCEL_OLDEST:
                    break
                continue
            kg = min(shown, wanted - found)
            found, leaves = found + kg, leaves - kg
            if leaves and kg == shown:  # the next slice, at the end of its price's queue
                last += 1
                waiting.append(((price, last), min(order.slice_kg, leaves), leaves, order))
        return found
