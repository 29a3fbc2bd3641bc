"""The launch of July 2015, planned from a seed: who lists, bids and buys, until 822 tonnes are sold.

    seed ─▶ lots ─▶ tickets (trucks of 30-35 t, coils of 20-28 t, the rest, one last unit) ─▶ eight days,
                                                                             each: moments of actions

Law: the plan is pure, and complete: it names every price, weight and client order id before the first order
is sent, so that the same seed gives the same trades however fast, and however often interrupted, it is
played.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import time
from typing import Final

from engine.instruments import Instrument, load_instruments
from engine.vocabulary import Mode
from loadtest.scenarios.goods import CODES, Company, Lot, buyers, lots, producers
from loadtest.scenarios.july_2015 import (
    QUOTE_STEP_FEN,
    TRADING_DAYS,
    beijing_ns,
    moments,
    quote_at,
    reference,
)

WINDOW_KG: Final = (821_500, 822_499)  # what prints as 822 t
GOAL_KG: Final = 822_000
TRUCK_KG: Final = (30_000, 35_000)  # domain 7: lognormal, median 33 t
TRUCK_MEDIAN_KG: Final = 33_000
TRUCK_SIGMA: Final = 0.05
COIL_KG: Final = (20_000, 28_000)
COIL_SHARE: Final = 0.4
LAST_TICKETS_KG: Final = 36_000  # with less left to sell, a truck fills up and one unit ends it
ROOM_FOR_LAST_KG: Final = 501  # the last unit is bought for at least this much
BIDS_PER_DAY: Final = 8
BID_BELOW_STEPS: Final = (2, 5)  # bids that wait for a fall which does not come
TRUCK_PRODUCTS: Final = ("RB", "PL", "WR")


@dataclass(frozen=True)
class Offer:
    """A producer lists what is free of a lot, and takes an older listing of it back first."""

    lot: int  # index into Plan.lots
    price_fen_per_tonne: int
    quantity_kg: int
    client_order_id: str
    replaces: str = ""


@dataclass(frozen=True)
class Bid:
    """A buyer's order that rests: nobody sells so cheaply today."""

    buyer: int
    instrument: int
    price_fen_per_tonne: int
    quantity_kg: int
    client_order_id: str


@dataclass(frozen=True)
class Purchase:
    """A buyer takes bundles at up to a price, or (lot >= 0) picks one coil's listing."""

    buyer: int
    instrument: int
    price_fen_per_tonne: int
    quantity_kg: int
    client_order_id: str
    lot: int = -1


Action = Offer | Bid | Purchase


@dataclass(frozen=True)
class Moment:
    """What happens at one instant of simulated time."""

    time_ns: int
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Day:
    """One trading day: references first, then its moments between opening and close."""

    number: int
    references: tuple[int, ...]  # fen per tonne, by instrument
    prepare_ns: int
    open_ns: int
    lunch_ns: int
    resume_ns: int
    close_ns: int
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that will be done."""

    seed: int
    producers: tuple[Company, ...]
    buyers: tuple[Company, ...]
    lots: tuple[Lot, ...]
    days: tuple[Day, ...]

    def purchases(self) -> Iterator[Purchase]:
        """Every purchase, in order."""
        for day in self.days:
            for moment in day.moments:
                yield from (action for action in moment.actions if isinstance(action, Purchase))

    @property
    def sold_kg(self) -> int:
        """What the buyers take."""
        return sum(purchase.quantity_kg for purchase in self.purchases())


@dataclass(frozen=True)
class Ticket:
    """A wish to buy: kilograms of a BOOK instrument, or (lot >= 0) one coil."""

    instrument: Instrument
    quantity_kg: int
    lot: int = -1


def plan(seed: int) -> Plan:
    """The whole launch from a seed."""
    chance = random.Random(seed)
    goods = lots(chance)
    wishes = tickets(chance, goods)
    per_day = spread(chance, len(wishes), len(TRADING_DAYS))
    market = Market(chance, goods)
    days, done = [], 0
    for number, count in enumerate(per_day):
        days.append(market.day(number, wishes[done : done + count]))
        done += count
    return Plan(seed, producers(), buyers(), goods, tuple(days))


def tickets(chance: random.Random, goods: tuple[Lot, ...]) -> list[Ticket]:
    """Purchases of together 822 t: trucks and coils, a last truck with what is left, one last unit."""
    instruments = load_instruments()
    truckable = [product for product in instruments if product.code.startswith(TRUCK_PRODUCTS)]
    coils = [index for index, lot in enumerate(goods) if _is_coil(instruments[lot.instrument], lot)]
    chance.shuffle(coils)
    found: list[Ticket] = []
    left_kg = GOAL_KG
    while left_kg > LAST_TICKETS_KG:
        if coils and chance.random() < COIL_SHARE:
            lot = coils.pop()
            ticket = Ticket(instruments[goods[lot].instrument], goods[lot].quantity_kg, lot)
        else:
            product = chance.choice(truckable)
            ticket = Ticket(product, truck_units(chance, product) * product.unit_weight_kg)
        found.append(ticket)
        left_kg -= ticket.quantity_kg
    product = chance.choice(truckable)
    units = max(0, (left_kg - ROOM_FOR_LAST_KG) // product.unit_weight_kg)
    if units:
        found.append(Ticket(product, units * product.unit_weight_kg))
        left_kg -= units * product.unit_weight_kg
    found.append(_last(left_kg))
    return found


def truck_units(chance: random.Random, product: Instrument) -> int:
    """Whole bundles of one truck: 30-35 t, lognormal around 33 t (domain 7)."""
    wish_kg = TRUCK_MEDIAN_KG * chance.lognormvariate(0, TRUCK_SIGMA)
    least, most = -(-TRUCK_KG[0] // product.unit_weight_kg), TRUCK_KG[1] // product.unit_weight_kg
    return min(max(round(wish_kg / product.unit_weight_kg), least), most)


def _last(left_kg: int) -> Ticket:
    """The smallest unit of any fungible product with which the sum ends inside the window."""
    fits = [
        product
        for product in load_instruments()
        if product.mode is Mode.BOOK
        and WINDOW_KG[0] <= GOAL_KG - left_kg + product.unit_weight_kg <= WINDOW_KG[1]
    ]
    smallest = min(fits, key=lambda product: product.unit_weight_kg)
    return Ticket(smallest, smallest.unit_weight_kg)


def _is_coil(product: Instrument, lot: Lot) -> bool:
    return product.mode is Mode.LISTED and COIL_KG[0] <= lot.quantity_kg <= COIL_KG[1]


def spread(chance: random.Random, count: int, days: int) -> list[int]:
    """`count` tickets over `days`, in varying numbers, at least two a day."""
    per_day = [2] * days
    for _ in range(count - 2 * days):
        per_day[chance.randrange(days)] += 1
    return per_day


@dataclass
class Market:
    """What the planner must remember while it plans: what is left of each lot, and who is listed at what."""

    chance: random.Random
    goods: tuple[Lot, ...]
    left_kg: list[int] = field(init=False)
    listed: dict[int, Offer] = field(default_factory=dict)  # by lot, in the order of their time
    bidders: int = 0
    number: int = 0
    _ids: int = 0

    def __post_init__(self) -> None:
        self.left_kg = [lot.quantity_kg for lot in self.goods]

    def day(self, number: int, wishes: list[Ticket]) -> Day:
        """Plan one day on which these tickets are bought."""
        self.number, self._ids = number, 0
        self.listed.clear()  # closing took yesterday's listings back
        opening = tuple(
            self._offer(lot, 0, len(wishes)) for lot in range(len(self.goods)) if self.left_kg[lot]
        )
        bids = tuple(self._bid() for _ in range(BIDS_PER_DAY))
        times = moments(number, len(wishes))
        open_ns = beijing_ns(number, time(9))
        found = [Moment(open_ns, opening + bids)]
        for part, (time_ns, wish) in enumerate(zip(times, wishes, strict=True), 1):
            found.append(Moment(time_ns, tuple(self._bought(wish, part, len(wishes)))))
        return Day(
            number=number,
            references=tuple(reference(product, number) for product in load_instruments()),
            prepare_ns=beijing_ns(number, time(8, 45)),
            open_ns=open_ns,
            lunch_ns=beijing_ns(number, time(11, 30)),
            resume_ns=beijing_ns(number, time(13, 30)),
            close_ns=beijing_ns(number, time(16)),
            moments=tuple(found),
        )

    def _id(self) -> str:
        self._ids += 1
        return f"d{self.number + 1}-{self._ids:05d}"

    def _offer(self, lot: int, part: int, parts: int) -> Offer:
        """List what is left of a lot at the quote of the moment and its seller's premium."""
        product = load_instruments()[self.goods[lot].instrument]
        price = quote_at(product, self.number, part, parts) + self.goods[lot].premium_steps * QUOTE_STEP_FEN
        older = self.listed.pop(lot, None)
        offer = Offer(lot, price, self.left_kg[lot], self._id(), older.client_order_id if older else "")
        self.listed[lot] = offer
        return offer

    def _bid(self) -> Bid:
        """The next buyer bids for a truck below anything that today's quotes can fall to."""
        product = self.chance.choice(
            [row for row in load_instruments() if row.code.startswith(TRUCK_PRODUCTS)]
        )
        lowest = min(quote_at(product, self.number, 0, 1), quote_at(product, self.number, 1, 1))
        below = self.chance.randint(*BID_BELOW_STEPS) * QUOTE_STEP_FEN
        buyer = self.bidders % len(buyers())
        self.bidders += 1
        kg = truck_units(self.chance, product) * product.unit_weight_kg
        return Bid(buyer, product.number, lowest - below, kg, self._id())

    def _bought(self, wish: Ticket, part: int, parts: int) -> Iterator[Action]:
        """The sellers of the product follow the quote, then the purchase."""
        for lot, offer in list(self.listed.items()):
            if self.goods[lot].instrument == wish.instrument.number and self._moved(offer, part, parts):
                yield self._offer(lot, part, parts)
        buyer = self.chance.randrange(len(buyers()))
        if wish.lot >= 0:
            offer = self.listed.pop(wish.lot)
            self.left_kg[wish.lot] = 0
            price = offer.price_fen_per_tonne
        else:
            price = self._take(wish)
        yield Purchase(buyer, wish.instrument.number, price, wish.quantity_kg, self._id(), wish.lot)

    def _moved(self, offer: Offer, part: int, parts: int) -> bool:
        product = load_instruments()[self.goods[offer.lot].instrument]
        quote = quote_at(product, self.number, part, parts)
        return offer.price_fen_per_tonne != quote + self.goods[offer.lot].premium_steps * QUOTE_STEP_FEN

    def _take(self, wish: Ticket) -> int:
        """Take the kilograms from the cheapest listings, oldest first (semantics A1); the last price."""
        queue = [lot for lot in self.listed if self.goods[lot].instrument == wish.instrument.number]
        queue.sort(key=lambda lot: self.listed[lot].price_fen_per_tonne)  # stable: time decides among equals
        wanted, price = wish.quantity_kg, 0
        for lot in queue:
            taken = min(wanted, self.left_kg[lot])
            self.left_kg[lot] -= taken
            wanted -= taken
            price = self.listed[lot].price_fen_per_tonne
            if not self.left_kg[lot]:
                del self.listed[lot]
            if not wanted:
                return price
        raise AssertionError(f"more {CODES[wish.instrument.number]} is bought than was ever registered")
