"""`python -m loadtest run` from start to end: furnish, generate, account for everything, reconcile."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

import aiohttp

from engine.location import Location
from gateway.client import Client
from loadtest.accounting import Account, Told, account_for
from loadtest.crowd import PRODUCTS, Seat, furnish, operator_seed
from loadtest.exchange import OwnExchange, empty
from loadtest.generator import Figures, LoadSession, generate
from loadtest.trader import Trader, patiently
from loadtest.workload import sells, stream
from settlement.database import dsn
from settlement.reconciliation import ReconciliationError, reconcile_location
from settlement.store import StoreError

INSTRUMENTS: Final = ("RB20-12-SG", "RB25-12-SG", "RB16-9-SG", "RB22-12-LG")
CROWD: Final = "load"
AT_ONCE: Final = 16
REPLAY_S: Final = 60.0
SETTLED_S: Final = 30.0
RETRY_S: Final = 0.2
SETTINGS: Final = {"LECONG_SANDBOX": "0"}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What to run, and against which exchange."""

    url: str
    data: Path
    sessions: int
    rate: int
    seconds: float
    seed: int
    port: int  # of an exchange of one's own, with `start`
    start: bool


@contextmanager
def exchange_of(wish: Wish) -> Iterator[tuple[Wish, OwnExchange | None]]:
    """The exchange to load: the running one, or one of its own on an emptied folder."""
    if not wish.start:
        yield wish, None
        return
    os.environ.pop("DATABASE_URL", None)
    location = Location(wish.data.absolute())
    empty(location)
    exchange = OwnExchange(location, wish.port, SETTINGS)
    exchange.start()
    try:
        yield replace(wish, url=exchange.url), exchange
    finally:
        exchange.stop()


async def run_load(wish: Wish, exchange: OwnExchange | None, say: Say) -> dict[str, Any]:
    """Load the exchange; what --json prints. Raises the client's errors, OSError, ExchangeError."""
    if exchange is not None:
        await exchange.started()
    location = Location(wish.data.absolute())
    operator = operator_seed(location.keys)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        say(f"admitting {wish.sessions} members with money and goods …")
        seats = await furnish(wish.url, operator, http, CROWD, wish.sessions, _products)
        figures = Figures()
        positions = dict(await each_seat(seats, lambda seat: read_position(wish.url, seat, http)))
        async with Trader(wish.url, operator, http) as desk:
            last_contract = await read_last_contract(desk)
            async with _sessions(wish, seats, figures, http) as sessions:
                say(
                    f"{wish.rate:,} messages a second through {len(sessions)} sessions for {wish.seconds:g} s"
                )
                messages = stream(wish.seed, wish.sessions, [PRODUCTS[code] for code in INSTRUMENTS])
                await generate(sessions, messages, wish.rate, wish.seconds, figures, say)
                heard = {session.seat.member: session.heard for session in sessions}
            say("accounting for every acknowledgement …")
            reconciled = await settled_reconciliation(location)
            told = dict(
                await each_seat(seats, lambda seat: read_told(wish.url, seat, positions[seat.member], http))
            )
            contracts = await read_contracts(desk, last_contract)
    account = account_for(heard, told, contracts)
    return _result(wish, figures, account, reconciled)


def _products(number: int) -> tuple[str, ...]:
    return INSTRUMENTS if sells(number) else ()


async def each_seat(seats: list[Seat], work: Callable[[Seat], Any]) -> list[tuple[int, Any]]:
    """(member, result) of `work` for every seat, some at a time, begun again after every passing fault.
    Raises the client's errors.
    """
    free = asyncio.Semaphore(AT_ONCE)

    async def one(seat: Seat) -> tuple[int, Any]:
        async with free:
            return seat.member, await patiently(lambda: work(seat))

    return list(await asyncio.gather(*(one(seat) for seat in seats)))


@asynccontextmanager
async def _sessions(
    wish: Wish, seats: list[Seat], figures: Figures, http: aiohttp.ClientSession
) -> AsyncIterator[list[LoadSession]]:
    """One session per seat, logged on and on its private stream."""
    prefix = f"{int(time()):x}-"
    sessions = [LoadSession(wish.url, seat, figures, prefix, http=http) for seat in seats]
    try:
        for session in sessions:
            await session.connect()
        yield sessions
    finally:
        await asyncio.gather(*(session.close() for session in sessions))


async def read_position(url: str, seat: Seat, http: aiohttp.ClientSession) -> int:
    """Where a member's private stream stands."""
    async with Client(url, seat.seed, http=http) as client:
        return int((await client.fetch_balance())["info"]["account_sequence"])


async def read_told(url: str, seat: Seat, position: int, http: aiohttp.ClientSession) -> Told:
    """The member's private stream after `position`, replayed, and its live orders."""
    async with Client(url, seat.seed, http=http) as client:
        until = int((await client.fetch_balance())["info"]["account_sequence"])
        events: list[dict[str, Any]] = []
        async with asyncio.timeout(REPLAY_S):
            while (events[-1]["account_sequence"] if events else position) < until:
                events += await client.watch_private(position)
        orders = await client.fetch_open_orders()
        return Told(events, {order["id"]: Decimal(order["remaining"]) for order in orders})


async def read_last_contract(desk: Trader) -> str:
    """The newest contract before the load begins."""
    return (await read_contracts(desk, "0") or ["0"])[-1]


async def read_contracts(desk: Trader, after: str) -> list[str]:
    """The ids of all contracts after one; waits for settlement if it is being restarted."""
    contracts = await desk.ask(lambda client: client.fetch_contracts(0, after))
    return [contract["contract"] for contract in contracts]


async def settled_reconciliation(location: Location) -> dict[str, Any]:
    """The reconciliation of an exchange on this machine; it also waits until settlement has caught up."""
    deadline = monotonic() + SETTLED_S
    while True:
        try:
            report = await reconcile_location(location, dsn(location), SETTLED_S)
        except (ReconciliationError, StoreError, OSError) as error:  # a program is being restarted, or away
            if monotonic() > deadline:
                return {"reconciled": None, "reason": str(error)}
            await asyncio.sleep(RETRY_S)
        else:
            differing = [check.name for check in report.checks if not check.holds]
            return {"reconciled": report.reconciled, "checks": len(report.checks), "differing": differing}


def _result(wish: Wish, figures: Figures, account: Account, reconciled: dict[str, Any]) -> dict[str, Any]:
    return {
        "sessions": wish.sessions,
        "rate": wish.rate,
        "seconds": wish.seconds,
        "sent": figures.sent,
        "answered": figures.answered,
        "unsent": figures.unsent,
        "order_to_durable_acknowledgement": figures.acknowledgement.summary(),
        "order_to_fill": figures.fill.summary(),
        "generator_lag": figures.lag.summary(),
        "errors": dict(figures.errors.most_common()),
        "accounting": {
            "holds": account.holds,
            "acknowledged": account.acknowledged,
            "rejected": account.rejected,
            "unanswered": account.unanswered,
            "unanswered_but_done": account.unanswered_but_done,
            "fills": account.fills,
            "contracts": account.contracts,
            "findings": account.findings[:20],
        },
        "reconciliation": reconciled,
    }
