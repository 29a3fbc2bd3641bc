"""Plays the launch of July 2015 against a running exchange, in lock step: one answer, then the next request.

    Plan ─▶ members, money, lots ─▶ day by day: clock, roll, references, open, moments, close

Law: what is asked, and in which order, is the plan's alone. Everything is acknowledged before the next
request leaves, so killing any program only delays, and the same seed gives the same table.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.client import Client
from loadtest.pacer import Stretch
from loadtest.scenarios.goods import CODES, Company
from loadtest.scenarios.july_2015 import BEIJING, NS_PER_S
from loadtest.scenarios.launch import Bid, Day, Moment, Offer, Plan, Purchase
from loadtest.trader import Trader

TRADER_SCOPES: Final = ("read", "trade")
REGISTER_AT_ONCE: Final = 8  # requests to settlement under way

Say = Callable[[str], None]


class DemoError(Exception):
    """The exchange did something else than planned."""


class Demo:
    """One run of a plan: its sessions, and what was acknowledged so far."""

    def __init__(
        self, plan: Plan, url: str, operator_seed: bytes, http: aiohttp.ClientSession, say: Say
    ) -> None:
        """Nothing is sent before `play`."""
        self._plan = plan
        self._say = say
        self._operator = Trader(url, operator_seed, http)
        self._traders = {
            company: Trader(url, company.key_seed(plan.seed), http)
            for company in (*plan.producers, *plan.buyers)
        }
        self._numbers: dict[Company, int] = {}
        self._lots: dict[int, str] = {}  # the exchange's id by the plan's index
        self._orders: dict[int, str] = {}  # order id of the listing by lot
        self.sold_kg = 0
        self.purchases = 0

    async def play(self, seconds: float) -> None:
        """Everything, the trading spread over `seconds`. Raises DemoError and the client's errors."""
        await self._admit()
        await self._store_goods()
        steps = sum(len(day.moments) for day in self._plan.days)
        stretch, step = Stretch(time.monotonic(), seconds, steps), 0
        for day in self._plan.days:
            await self._open(day)
            for moment in day.moments:
                await asyncio.sleep(stretch.wait_s(step, time.monotonic()))
                await self._lunch_before(day, moment)
                await self._play(day, moment)
                step += 1
            await self._clock(day.close_ns)
            await self._operator.ask(lambda client: client.set_phase("closed"))
        await asyncio.sleep(stretch.wait_s(steps, time.monotonic()))

    async def close(self) -> None:
        """End every session."""
        for trader in (self._operator, *self._traders.values()):
            await trader.close()

    async def _admit(self) -> None:
        """Members with their keys and their money, then a session for each."""
        await _each(list(self._traders), self._admit_one)
        for trader in self._traders.values():
            await trader.ask(lambda client: client.request("ping"))
        self._say(f"{len(self._plan.producers)} producers and {len(self._plan.buyers)} buyers are logged on")

    async def _admit_one(self, company: Company) -> None:
        key = Ed25519PrivateKey.from_private_bytes(company.key_seed(self._plan.seed)).public_key()
        keys = [(key.public_bytes_raw().hex(), TRADER_SCOPES)]
        member = await self._operator.ask(
            lambda client: client.add_member(company.code, company.name, keys=keys)
        )
        amount, reference = _cny(company.deposit_fen), f"opening-{company.code}"
        await self._operator.ask(lambda client: client.deposit(member, amount, reference))
        self._numbers[company] = member

    async def _store_goods(self) -> None:
        await _each(range(len(self._plan.lots)), self._store_lot)
        tonnes = sum(lot.quantity_kg for lot in self._plan.lots) // 1000
        self._say(f"{len(self._plan.lots)} lots of {len(CODES)} products, {tonnes:,} t, are registered")

    async def _store_lot(self, index: int) -> None:
        lot = self._plan.lots[index]
        seller = self._plan.producers[lot.seller]

        async def register(client: Client) -> str:
            return await client.register_lot(
                self._numbers[seller], lot.receipt, CODES[lot.instrument], lot.warehouse, lot.units,
                _tonnes(lot.quantity_kg), heat=lot.heat, piece=lot.piece,
                production_date=lot.production_date.isoformat(),
            )  # fmt: skip

        self._lots[index] = await self._operator.ask(register)

    async def _open(self, day: Day) -> None:
        """A new day: its clock, no client order ids, yesterday's closes as references, then trading."""
        await self._clock(day.prepare_ns)
        await self._operator.ask(lambda client: client.roll_day())
        for code, price in zip(CODES, day.references, strict=True):
            await self._reference(code, price)
        await self._clock(day.open_ns)
        await self._operator.ask(lambda client: client.set_phase("continuous"))

    async def _reference(self, code: str, price_fen: int) -> None:
        await self._operator.ask(lambda client: client.set_reference(code, _cny(price_fen)))

    async def _clock(self, time_ns: int) -> None:
        await self._operator.ask(lambda client: client.set_clock(time_ns))

    async def _lunch_before(self, day: Day, moment: Moment) -> None:
        """Halt from 11:30 to 13:30 before the first moment of the afternoon."""
        first = min((each.time_ns for each in day.moments if each.time_ns >= day.resume_ns), default=0)
        if moment.time_ns == first:
            await self._clock(day.lunch_ns)
            await self._operator.ask(lambda client: client.set_phase("halted"))
            await self._clock(day.resume_ns)
            await self._operator.ask(lambda client: client.set_phase("continuous"))

    async def _play(self, day: Day, moment: Moment) -> None:
        await self._clock(moment.time_ns)
        offers = bids = 0
        line = ""
        for action in moment.actions:
            if isinstance(action, Offer):
                offers += 1
                await self._offer(action)
            elif isinstance(action, Bid):
                bids += 1
                await self._order(action, "day")
            else:
                line = await self._purchase(action)
        self._tell(moment.time_ns, line or f"day {day.number + 1} opens: {offers} listings, {bids} bids")

    async def _offer(self, offer: Offer) -> None:
        lot = self._plan.lots[offer.lot]
        seller = self._traders[self._plan.producers[lot.seller]]
        if offer.replaces:
            await seller.cancel(offer.replaces)
        params = {"clientOrderId": offer.client_order_id, "lot": self._lots[offer.lot]}
        price, amount = _cny(offer.price_fen_per_tonne), _tonnes(offer.quantity_kg)
        code = CODES[lot.instrument]
        order = await seller.ask(
            lambda client: client.create_order(code, "limit", "sell", amount, price, params)
        )
        self._orders[offer.lot] = order["id"]

    async def _order(self, order: Bid | Purchase, time_in_force: str) -> dict[str, Any]:
        buyer = self._traders[self._plan.buyers[order.buyer]]
        params = {"clientOrderId": order.client_order_id, "timeInForce": time_in_force}
        code, amount = CODES[order.instrument], _tonnes(order.quantity_kg)
        price = _cny(order.price_fen_per_tonne)
        return await buyer.ask(
            lambda client: client.create_order(code, "limit", "buy", amount, price, params)
        )

    async def _purchase(self, purchase: Purchase) -> str:
        """Buy as planned; returns the line that says so. Raises DemoError if it was not filled whole."""
        done = await (self._pick(purchase) if purchase.lot >= 0 else self._order(purchase, "ioc"))
        if done["filled"] != _tonnes(purchase.quantity_kg):
            raise DemoError(f"{purchase} was filled with {done['filled']} t; the book is not as planned")
        self.sold_kg += purchase.quantity_kg
        self.purchases += 1
        how = "picks" if purchase.lot >= 0 else "buys"
        buyer = self._plan.buyers[purchase.buyer].code
        return f"{buyer} {how} {done['filled']} t {CODES[purchase.instrument]} at {done['average']}"

    async def _pick(self, purchase: Purchase) -> dict[str, Any]:
        """Look at the listings, as a buyer does, and take the planned one."""
        buyer = self._traders[self._plan.buyers[purchase.buyer]]
        code, order_id = CODES[purchase.instrument], self._orders[purchase.lot]
        listings = await buyer.ask(lambda client: client.fetch_listings(code))
        version = next((each["version"] for each in listings if each["id"] == order_id), 1)
        params, amount = {"clientOrderId": purchase.client_order_id}, _tonnes(purchase.quantity_kg)
        return await buyer.ask(lambda client: client.pick(order_id, amount, version, params))

    def _tell(self, time_ns: int, line: str) -> None:
        moment = datetime.fromtimestamp(time_ns // NS_PER_S, BEIJING)
        sold = f"{Decimal(self.sold_kg) / 1000:8.3f} t"
        self._say(f"{moment:%a %d %b %Y %H:%M} │ {sold} │ {self.purchases:2} purchases │ {line}")


async def _each(items: Any, work: Callable[[Any], Any]) -> None:
    """Do `work` for every item, a few at a time. Raises what ended the first that failed."""
    free = asyncio.Semaphore(REGISTER_AT_ONCE)

    async def one(item: Any) -> None:
        async with free:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(one(item))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _cny(fen: int) -> Decimal:
    return Decimal(fen) / 100


def _tonnes(kg: int) -> Decimal:
    return Decimal(kg) / 1000
