"""One order as a trader thinks of it: what it asked for, what it has got, and where it stands.

Law: it is told what happens and decides nothing; lives.py knows what may happen to whom.
"""

from dataclasses import dataclass
from typing import Any, Final

from engine.vocabulary import (
    PRICE_MAX_FEN_PER_TONNE,
    Command,
    Flag,
    OrderType,
    SelfTrade,
    Side,
    TimeInForce,
)

STOPS: Final = (OrderType.STOP, OrderType.STOP_LIMIT)
WITHOUT_LIMIT: Final = (OrderType.MARKET, OrderType.STOP)  # they never rest
PRICED_BY_OTHERS: Final = (OrderType.MARKET, OrderType.MARKET_TO_LIMIT)
IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)


@dataclass
class Life:
    """One order that lives."""

    order_id: int
    account: int
    instrument: int
    side: Side
    kind: OrderType
    force: TimeInForce
    limit: int  # fen per tonne; of an order without one the worst that it may get
    stop: int  # fen per tonne; 0: none
    slice_kg: int  # 0: it shows all
    lot: int
    quantity: int
    leaves: int
    place: int  # who has the lower one came first
    mode: SelfTrade
    minimum: int  # kilograms that it gets at once, or nothing; 0: any
    post_only: bool
    cum: int = 0
    shown: int = 0
    waits: bool = False  # a stop that nothing has reached yet

    @property
    def rank(self) -> tuple[int, int]:
        """Better price first, then the earlier place."""
        return (-self.limit if self.side is Side.BUY else self.limit), self.place

    def allows(self, price: int) -> bool:
        """Whether it may trade at a price."""
        return price <= self.limit if self.side is Side.BUY else price >= self.limit

    def reached(self, last: int) -> bool:
        """Whether the last price triggers it."""
        return bool(last) and (last >= self.stop if self.side is Side.BUY else last <= self.stop)

    def show(self) -> None:
        """Show the next slice, or all."""
        self.shown = min(self.slice_kg or self.leaves, self.leaves)


def entered(command: Any, row: Any, place: int) -> Life:
    """The order that a command asks for, or that a pick is; `row` acknowledges it."""
    picks = int(command["kind"]) == Command.PICK
    with_a_lot = picks and int(row["side"]) == Side.SELL  # with all that it has free
    kg = int((row if with_a_lot else command)["quantity_kg"])
    return Life(
        order_id=int(row["order_id"]),
        account=int(command["account"]),
        instrument=int(row["instrument"]),
        side=Side(int(row["side"] if picks else command["side"])),
        kind=OrderType(int(command["order_type"])),
        force=TimeInForce(int(command["time_in_force"])),
        limit=_limit(command, row),
        stop=0 if picks else int(command["stop_fen_per_tonne"]),
        slice_kg=0 if picks else int(command["display_quantity_kg"]),
        lot=int(row["lot"]),
        quantity=kg,
        leaves=kg,
        place=place,
        mode=SelfTrade(int(command["self_trade_mode"])),
        minimum=0 if picks else int(command["minimum_quantity_kg"]),
        post_only=bool(command["flags"] & Flag.POST_ONLY),
    )


def _limit(command: Any, row: Any) -> int:
    """Its limit; of a market order the one that it was told, of a stop none."""
    if int(command["order_type"]) == OrderType.STOP:
        return PRICE_MAX_FEN_PER_TONNE if int(command["side"]) == Side.BUY else 0
    told = int(command["kind"]) == Command.PICK or int(command["order_type"]) in PRICED_BY_OTHERS
    return int((row if told else command)["price_fen_per_tonne"])
