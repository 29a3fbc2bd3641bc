"""Is everything that was acknowledged there, once? Pure: what was heard against what the exchange says now.

    sent and answered (generator) ┐
    private stream, replayed      ├─▶ findings, none of which may be
    open orders, contracts        ┘

Law: an acknowledged order stands in its member's stream exactly once, a rejected one never, an unanswered one
at most once; quantity = filled + canceled + open; every fill has two sides and one contract.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, NamedTuple

NOTHING: Final = Decimal(0)


@dataclass
class Heard:
    """What one member's session sent, and what it was answered; keys are client order ids."""

    sent: dict[str, Decimal] = field(default_factory=dict)  # tonnes ordered
    acknowledged: dict[str, str] = field(default_factory=dict)  # order id
    rejected: set[str] = field(default_factory=set)
    canceled: set[str] = field(default_factory=set)  # by an acknowledged cancel


@dataclass
class Told:
    """What the exchange says of one member afterwards."""

    events: list[dict[str, Any]]  # of the private stream, replayed
    open_tonnes: dict[str, Decimal]  # leaves of live orders by order id


class Party(NamedTuple):
    """One side of a fill."""

    member: int
    counterparty: int
    quantity: str


@dataclass
class Account:
    """The outcome: counts, and what does not fit."""

    acknowledged: int = 0
    rejected: int = 0
    unanswered: int = 0
    unanswered_but_done: int = 0
    fills: int = 0
    contracts: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is missing and nothing doubled."""
        return not self.findings

    def find(self, text: str) -> None:
        """Note one contradiction."""
        self.findings.append(text)


def account_for(heard: Mapping[int, Heard], told: Mapping[int, Told], contracts: Iterable[str]) -> Account:
    """Compare, member by member, then fills with contracts (by match id)."""
    account = Account()
    sides: defaultdict[str, list[Party]] = defaultdict(list)
    for member, mine in heard.items():
        _member(account, member, mine, told[member], sides)
    _fills(account, sides, heard.keys(), contracts)
    return account


def _member(
    account: Account, member: int, mine: Heard, told: Told, sides: defaultdict[str, list[Party]]
) -> None:
    orders: Counter[str] = Counter()
    order_ids: dict[str, str] = {}
    filled: defaultdict[str, Decimal] = defaultdict(lambda: NOTHING)
    ended: defaultdict[str, Decimal] = defaultdict(lambda: NOTHING)
    _check_gaps(account, member, told.events)
    for event in told.events:
        if event["event"] == "fill":
            filled[event["order_id"]] += Decimal(event["quantity"])
            sides[event["match_id"]].append(Party(member, event["counterparty"], event["quantity"]))
        elif event["event"] == "order" and event["status"] == "canceled":
            ended[event["order_id"]] += Decimal(event["quantity"])
        elif event["event"] == "order":
            orders[event["client_order_id"]] += 1
            order_ids[event["client_order_id"]] = event["order_id"]
    for name, quantity in mine.sent.items():
        _order(account, member, name, mine, orders[name])
        if orders[name] == 1:
            order_id = order_ids[name]
            rest = quantity - filled[order_id] - ended[order_id]
            if rest != told.open_tonnes.get(order_id, NOTHING):
                account.find(f"member {member}, order {name}: {rest} t are neither filled, canceled nor open")
            if name in mine.canceled and order_id in told.open_tonnes:
                account.find(f"member {member}, order {name}: canceled, and still open")
    for name in orders.keys() - mine.sent.keys():
        account.find(f"member {member}, order {name}: in the stream, but never sent")


def _check_gaps(account: Account, member: int, events: list[dict[str, Any]]) -> None:
    numbers = [event["account_sequence"] for event in events]
    if any(b - a != 1 for a, b in pairwise(numbers)):
        account.find(f"member {member}: the private stream has a gap or a repeat")


def _order(account: Account, member: int, name: str, mine: Heard, times: int) -> None:
    """One order that was sent, and how often it stands in the stream."""
    if name in mine.acknowledged:
        account.acknowledged += 1
        if times != 1:
            account.find(f"member {member}, order {name}: acknowledged, {times} times in the stream")
    elif name in mine.rejected:
        account.rejected += 1
        if times:
            account.find(f"member {member}, order {name}: rejected, {times} times in the stream")
    else:
        account.unanswered += 1
        account.unanswered_but_done += times
        if times > 1:
            account.find(f"member {member}, order {name}: sent once, {times} times in the stream")


def _fills(
    account: Account, sides: Mapping[str, list[Party]], members: Container[int], contracts: Iterable[str]
) -> None:
    """Every fill: two parties with one quantity (one, if the other is not of this load), one contract."""
    account.fills = len(sides)
    for match_id, parties in sides.items():
        expected = 2 if parties[0].counterparty in members else 1
        if len(parties) != expected or len({party.quantity for party in parties}) != 1:
            account.find(f"fill {match_id}: {expected} sides expected: {parties}")
    settled = Counter(contracts)
    account.contracts = settled.total()
    for match_id in sides.keys() - settled.keys():
        account.find(f"fill {match_id}: no contract")
    for match_id in settled.keys() - sides.keys():
        account.find(f"contract {match_id}: no fill of this load")
    for match_id, times in settled.items():
        if times > 1:
            account.find(f"contract {match_id}: stands {times} times")
