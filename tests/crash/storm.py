"""Proof 2: kill -9 of engine, settlement, gateway, database and postmaster in random order under load.

    clients over WebSocket ─▶ four real programs ◀─ a killer with a seed, reconciliation meanwhile
    afterwards: clients' histories = private streams = contracts = command log, replayed = ledger

Some clients say a thing once and never learn its outcome when the connection goes; the stubborn ones ask
again with the same client order id until they are answered.

Law: an acknowledged order is there, nothing is there twice, kilograms and fen are conserved; an order sent
after an acknowledgement was heard, by whomever, has a higher sequence (reliability, proof 8).
"""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import numpy as np

from engine.exchange import Exchange
from engine.frames import LinkDownError
from engine.location import Location
from engine.records import COMMAND, ORDER, Records, as_words, client_order_id_words, joined
from engine.vocabulary import ORDER_SLOT_BITS, Command, Event, Flag
from gateway.client import ExchangeError
from loadtest.accounting import Account, Heard, Told, account_for
from loadtest.crowd import PRODUCTS, Seat, furnish, operator_seed
from loadtest.exchange import PROGRAMS, OwnExchange
from loadtest.generator import Figures, LoadSession, generate
from loadtest.load import (
    INSTRUMENTS,
    each_seat,
    read_contracts,
    read_last_contract,
    read_position,
    read_told,
    settled_reconciliation,
)
from loadtest.trader import Trader
from loadtest.workload import Cancel, Order, sells, stream
from settlement.database import dsn
from settlement.reconciliation import ReconciliationError, reconcile_location
from settlement.store import StoreError
from tests.crash.engine_process import blocks_of
from tests.crash.tally import Tally
from tests.end_to_end.conftest import all_up, exchange_in, kill, runs, wait_for

SESSIONS, STUBBORN, RATE = 8, 2, 300
VICTIMS = (*PROGRAMS, "postmaster")
PAUSE_S = (0.2, 1.0)  # of trading between two kills
AT_ONCE_SHARE = 0.25  # of the kills follow the last one without any trading
TRADES_AGAIN_S = 10.0
# Counted one by one: as a table it would be written to the disk, gigabytes of it when nobody ends the orphan.
LONG_STATEMENT = "SELECT count(*) FROM (SELECT generate_series(1, 4000000000)) AS number"
LONG_S = 0.2  # it runs so long before its server dies
ORPHAN_ENDS = {"statement_timeout": "30s"}
BUNDLE = Decimal("2.490")


class Clock:
    """The highest sequence that any client has seen acknowledged."""

    def __init__(self) -> None:
        self.sequence = 0

    def acknowledge(self, order_id: str) -> None:
        """An order was acknowledged under this id."""
        self.sequence = max(self.sequence, sequence_of(order_id))


def sequence_of(order_id: str) -> int:
    """The sequence of the command that made an order."""
    return int(order_id) >> ORDER_SLOT_BITS


class Witness(LoadSession):
    """A session that says a thing once, and remembers what was acknowledged before it said it."""

    def __init__(self, clock: Clock, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clock = clock
        self.before: dict[str, int] = {}

    async def submit(self, message: Order | Cancel, intended_ns: int) -> None:
        """Send one message."""
        if isinstance(message, Order):
            self.before[self.name(message.number)] = self._clock.sequence
        await super().submit(message, intended_ns)

    def _answered(self, message: dict[str, Any]) -> None:
        if message["ok"] and "order_id" in message and "cum" in message:
            self._clock.acknowledge(message["order_id"])
        super()._answered(message)


class Stubborn:
    """A member who asks again until answered; each order happens exactly once."""

    def __init__(self, clock: Clock, url: str, seat: Seat, http: aiohttp.ClientSession) -> None:
        self.seat, self.heard = seat, Heard()
        self.before: dict[str, int] = {}
        self._clock, self._trader = clock, Trader(url, seat.seed, http)

    async def trade(self, stopping: asyncio.Event) -> None:
        """One order after the other until told to stop; ends when the last one is answered."""
        number = 0
        while not stopping.is_set():
            number += 1
            name = f"stubborn-{number}"
            self.before[name] = self._clock.sequence
            self.heard.sent[name] = BUNDLE
            try:
                order = await self._trader.ask(self._ordering(name))
            except ExchangeError:
                self.heard.rejected.add(name)
            else:
                self.heard.acknowledged[name] = order["id"]
                self._clock.acknowledge(order["id"])
        await self._trader.close()

    def _ordering(self, name: str) -> Any:
        product = PRODUCTS[INSTRUMENTS[0]]
        price = Decimal(product.reference_fen_per_tonne) / 100
        params = {"clientOrderId": name}
        return lambda client: client.create_order(product.code, "limit", "buy", BUNDLE, price, params)


async def storm(folder: Path, seed: int, seconds: float) -> Tally:
    """Load and kill an exchange on an empty folder, account for everything, stop it, replay its log."""
    tally = Tally()
    os.environ.pop("DATABASE_URL", None)  # the books are its own
    with exchange_in(folder, {}) as exchange:
        heard = await _weathered(exchange, seed, seconds, tally)
    check_log(exchange.location.engine / "commands", tally, heard)
    return tally


async def _weathered(exchange: OwnExchange, seed: int, seconds: float, tally: Tally) -> dict[int, Heard]:
    """What every member heard; the exchange runs and stays up."""
    await exchange.started()
    clock, figures, chance = Clock(), Figures(), random.Random(seed)
    url, name = exchange.url, f"storm-{seed}"
    operator = operator_seed(exchange.location.keys)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        seats = await furnish(url, operator, http, name, SESSIONS + STUBBORN, _products)
        positions = dict(await each_seat(seats, lambda seat: read_position(url, seat, http)))
        witnesses = [Witness(clock, url, seat, figures, "w-", http=http) for seat in seats[:SESSIONS]]
        stubborn = [Stubborn(clock, url, seat, http) for seat in seats[SESSIONS:]]
        async with Trader(url, operator, http) as desk:
            last = await read_last_contract(desk)
        for witness in witnesses:
            await witness.connect()
        await _trade(exchange, clock, witnesses, stubborn, chance, seconds, seed, figures, tally)
        wait_for(lambda: all_up(exchange))
        final = await settled_reconciliation(exchange.location)
        told = dict(await each_seat(seats, lambda seat: read_told(url, seat, positions[seat.member], http)))
        async with Trader(url, operator, http) as desk:
            contracts = await read_contracts(desk, last)
        for witness in witnesses:
            await witness.close()
    everybody: list[Witness | Stubborn] = [*witnesses, *stubborn]
    members = {each.seat.member: each for each in everybody}
    heard = {member: each.heard for member, each in members.items()}
    _count(tally, account_for(heard, told, contracts))
    if final["reconciled"] is not True:
        tally.find(f"ledger and engine do not agree: {final}")
    for member, each in members.items():
        check_order(tally, member, each.before, told[member])
    return heard


async def _trade(
    exchange: OwnExchange,
    clock: Clock,
    witnesses: list[Witness],
    stubborn: list[Stubborn],
    chance: random.Random,
    seconds: float,
    seed: int,
    figures: Figures,
    tally: Tally,
) -> None:
    """The load, with the killer and the reconciler beside it."""
    stopping = asyncio.Event()
    beside = [
        asyncio.create_task(_kill_on(exchange, clock, chance, stopping, tally)),
        asyncio.create_task(_reconcile_on(exchange.location, stopping, tally)),
        *(asyncio.create_task(each.trade(stopping)) for each in stubborn),
    ]
    messages = stream(seed, SESSIONS, [PRODUCTS[code] for code in INSTRUMENTS])
    try:
        await generate(list(witnesses), messages, RATE, seconds, figures, lambda line: None)
        stopping.set()
        await asyncio.gather(*beside)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _kill_on(
    exchange: OwnExchange, clock: Clock, chance: random.Random, stopping: asyncio.Event, tally: Tally
) -> None:
    """Kill one after the other until told to stop; every victim once before any comes again."""
    waiting: list[str] = []
    while not stopping.is_set():
        waiting = waiting or chance.sample(VICTIMS, len(VICTIMS))
        pause_s, at_once = chance.uniform(*PAUSE_S), chance.random() < AT_ONCE_SHARE
        if not at_once:
            before = clock.sequence
            await _until(lambda: clock.sequence > before, stopping)  # noqa: B023 - awaited here
            await asyncio.sleep(pause_s)
        victim = waiting.pop()
        await _until(lambda: runs(exchange, victim), stopping)  # noqa: B023 - awaited here
        if stopping.is_set():
            return
        await _kill(exchange, victim, tally)


async def _kill(exchange: OwnExchange, victim: str, tally: Tally) -> None:
    """kill -9 of one; the postmaster dies under a long statement."""
    statement = asyncio.create_task(_long_statement(exchange.location)) if victim == "postmaster" else None
    if statement is not None:
        await asyncio.wait([statement], timeout=LONG_S)
    with suppress(OSError, KeyError, IndexError, ValueError):  # it has just ended by itself
        kill(exchange, victim)
        tally.crashes += 1
    if statement is not None:
        await statement


async def _until(condition: Callable[[], bool], stopping: asyncio.Event) -> None:
    """Wait until something holds, the load ends, or TRADES_AGAIN_S are over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TRADES_AGAIN_S
    while not (condition() or stopping.is_set() or loop.time() > deadline):  # noqa: ASYNC110 - processes
        await asyncio.sleep(0.02)


async def _long_statement(location: Location) -> None:
    """A statement that does not end before its server does."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection = await asyncpg.connect(dsn(location), timeout=1, server_settings=ORPHAN_ENDS)
        try:
            await connection.execute(LONG_STATEMENT, timeout=2)
        except TimeoutError:
            pass
        finally:
            connection.terminate()


async def _reconcile_on(location: Location, stopping: asyncio.Event, tally: Tally) -> None:
    """Reconcile over and over while trading goes on; what cannot be asked now is asked again."""
    while not stopping.is_set():
        with suppress(ReconciliationError, StoreError, OSError, LinkDownError):
            report = await reconcile_location(location, dsn(location), 2.0)
            for check in report.checks:
                for difference in check.differences:
                    tally.find(f"while trading, {check.name}: {difference}")
        await asyncio.sleep(0.2)


def _products(number: int) -> tuple[str, ...]:
    return INSTRUMENTS if number < SESSIONS and sells(number) else ()


def _count(tally: Tally, account: Account) -> None:
    """Sort the findings of the accounting into losses, doubles and others."""
    tally.acknowledged += account.acknowledged
    for finding in account.findings:
        times = re.search(r"(\d+) times", finding)
        if "acknowledged, 0 times" in finding or finding.endswith("no contract"):
            tally.lose(1, finding)
        elif times is not None and int(times[1]) > 1:
            tally.double(1, finding)
        else:
            tally.find(finding)


def check_order(tally: Tally, member: int, before: dict[str, int], told: Told) -> None:
    """Find orders that stand before something that was acknowledged before they were sent."""
    for event in told.events:
        if event["event"] == "order" and event["status"] != "canceled":
            name = event["client_order_id"]
            if sequence_of(event["order_id"]) <= before.get(name, 0):
                tally.find(f"member {member}, order {name}: stands before what was acknowledged before it")


def check_log(folder: Path, tally: Tally, heard: dict[int, Heard]) -> None:
    """The command log of a stopped exchange, replayed: every acknowledged order, once."""
    commands = joined(blocks_of(folder))
    accepted = _accepted(commands)
    for account, mine in heard.items():
        for name, order_id in mine.acknowledged.items():
            words = client_order_id_words(name.encode())
            times = accepted[account, *words]
            if times == 0:
                tally.lose(1, f"member {account}, order {name} ({order_id}): not in the command log")
            elif times > 1:
                tally.double(1, f"member {account}, order {name} ({order_id}): {times} times in the log")


def _accepted(commands: Records) -> Counter[tuple[int, int, int]]:
    """How often each (account, client order id) becomes an order when the log is judged anew."""
    exchange, found = Exchange(), Counter[tuple[int, int, int]]()
    for at in range(0, len(commands), 4096):
        block = np.empty(len(commands[at : at + 4096]), COMMAND)
        as_words(block)[:] = as_words(commands[at : at + 4096])
        events = exchange.apply(block)
        taken = (events["kind"] == Event.ACCEPTED) & (events["flags"] & Flag.DUPLICATE == 0)
        for row in events[taken].view(ORDER) if taken.any() else ():
            found[int(row["account"]), int(row["client_order_id_0"]), int(row["client_order_id_1"])] += 1
    exchange.check_invariants()
    assert Command.NEW_ORDER in commands["kind"], "the load traded"
    return found
