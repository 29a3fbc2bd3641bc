"""What a load sends: a seeded stream of orders and cancels around the reference, some of which cross.

Law: the stream is a function of seed, sessions and instruments; prices stand on the tick, quantities on the
step. Even sessions sell from their lots, odd ones buy.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engine.instruments import Instrument

CANCEL_SHARE: Final = 0.15
IOC_SHARE: Final = 0.2
AROUND_TICKS: Final = 4  # prices lie so far around the reference
UNITS_MAX: Final = 3
RECENT_MAX: Final = 32  # of a session's orders, from which a cancel chooses


@dataclass(frozen=True)
class Order:
    """One order to send; its number makes its client order id."""

    number: int
    session: int
    instrument: Instrument
    price_fen_per_tonne: int
    quantity_kg: int
    immediate: bool


@dataclass(frozen=True)
class Cancel:
    """Cancel order `order` of the same session; it may have ended already."""

    number: int
    session: int
    order: int


def sells(session: int) -> bool:
    """Whether a session sells."""
    return session % 2 == 0


def stream(seed: int, sessions: int, instruments: Sequence[Instrument]) -> Iterator[Order | Cancel]:
    """Messages without end, the sessions taking turns."""
    chance = random.Random(seed)
    recent: list[list[int]] = [[] for _ in range(sessions)]
    number = 0
    while True:
        session = number % sessions
        own = recent[session]
        if own and chance.random() < CANCEL_SHARE:
            yield Cancel(number, session, own.pop(chance.randrange(len(own))))
        else:
            order = _order(chance, number, session, instruments)
            if not order.immediate:
                own.append(number)
                del own[:-RECENT_MAX]
            yield order
        number += 1


def _order(chance: random.Random, number: int, session: int, instruments: Sequence[Instrument]) -> Order:
    product = chance.choice(instruments)
    away = chance.randint(-AROUND_TICKS, AROUND_TICKS) * product.tick_fen_per_tonne
    return Order(
        number=number,
        session=session,
        instrument=product,
        price_fen_per_tonne=product.reference_fen_per_tonne + away,
        quantity_kg=chance.randint(1, UNITS_MAX) * product.unit_weight_kg,
        immediate=chance.random() < IOC_SHARE,
    )
