"""A whole exchange of its own: the supervisor, the four programs, real sockets, the embedded PostgreSQL."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from engine.location import Location
from loadtest.crowd import furnish, operator_seed
from loadtest.exchange import PROGRAMS, OwnExchange
from loadtest.trader import Trader

WAIT_S = 30.0
POLL_S = 0.05


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def exchange_in(folder: Path, settings: Mapping[str, str]) -> Iterator[OwnExchange]:
    """An exchange on `folder`, stopped at the end."""
    exchange = OwnExchange(Location(folder), free_port(), {"LECONG_SANDBOX": "0", **settings})
    exchange.start()
    try:
        yield exchange
    finally:
        exchange.stop()


@pytest.fixture(autouse=True)
def own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The books are the embedded server's, whatever this machine has."""
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[OwnExchange]:
    """An always open exchange."""
    with exchange_in(tmp_path, {}) as running:
        await running.started()
        yield running


@dataclass(frozen=True)
class Market:
    """Who trades on an exchange: the operator, and two members with money and no goods."""

    seller_member: int
    operator: Trader
    seller: Trader
    buyer: Trader

    async def register(self, receipt: str, instrument: str, tonnes: Decimal, units: int = 1) -> str:
        """A lot of the seller's; returns its number."""
        terms = (self.seller_member, receipt, instrument, "LC-SW-A", units, tonnes)
        return await self.operator.ask(lambda client: client.register_lot(*terms))


@asynccontextmanager
async def market_of(exchange: OwnExchange, http: aiohttp.ClientSession) -> AsyncIterator[Market]:
    """The members are admitted; their sessions end with the block."""
    key = operator_seed(exchange.location.keys)
    seats = await furnish(exchange.url, key, http, "e2e", 2, lambda _: ())
    operator, seller, buyer = (
        Trader(exchange.url, seed, http) for seed in (key, seats[0].seed, seats[1].seed)
    )
    try:
        yield Market(seats[0].member, operator, seller, buyer)
    finally:
        for trader in (operator, seller, buyer):
            await trader.close()


@pytest.fixture
async def market(exchange: OwnExchange, http: aiohttp.ClientSession) -> AsyncIterator[Market]:
    """Who trades on the always open exchange."""
    async with market_of(exchange, http) as traders:
        yield traders


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def wait_for(condition: Callable[[], bool], seconds: float = WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(POLL_S)


def postmaster_record(exchange: OwnExchange) -> Path:
    return exchange.location.postgres / "cluster" / "postmaster.pid"


def runs(exchange: OwnExchange, victim: str) -> bool:
    """Whether there is such a process now."""
    return postmaster_record(exchange).exists() if victim == "postmaster" else victim in exchange.pids()


def kill(exchange: OwnExchange, victim: str) -> None:
    """kill -9 of a program, or of the postmaster."""
    if victim == "postmaster":
        pid = int(postmaster_record(exchange).read_text().splitlines()[0])
    else:
        pid = exchange.pids()[victim]
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def all_up(exchange: OwnExchange) -> bool:
    return exchange.pids().keys() == set(PROGRAMS)
