"""The demo: 822 tonnes whatever is killed while it plays, and the same table."""

import itertools
from pathlib import Path

import aiohttp
import pytest

from loadtest.books import Books, sales_rows
from loadtest.crowd import operator_seed
from loadtest.demo import Demo
from loadtest.exchange import OwnExchange
from loadtest.play import SETTINGS, proved
from loadtest.scenarios.launch import plan
from tests.end_to_end.conftest import exchange_in, kill, runs

SEED = 8
# The line of progress at which each dies.
VICTIMS = {
    "engine": 5,
    "database": 9,
    "gateway": 14,
    "settlement": 20,
    "postmaster": 26,
}
SECONDS = 8.0  # of the disturbed play: time for the database to come back between its two deaths

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


async def played(exchange: OwnExchange, *, kills: bool) -> tuple[Books, set[str]]:
    """Play the launch as fast as it goes, killing one program after another on the way."""
    await exchange.started()
    killed: set[str] = set()
    lines = itertools.count()

    def say(line: str) -> None:
        number = next(lines)
        for victim, due in VICTIMS.items():
            if kills and number >= due and victim not in killed and runs(exchange, victim):
                killed.add(victim)
                kill(exchange, victim)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        demo = Demo(plan(SEED), exchange.url, operator_seed(exchange.location.keys), http, say)
        await demo.play(SECONDS if kills else 0)
        await demo.close()
    report, books = await proved(exchange.location)
    assert report.reconciled
    assert books.trial_fen == 0
    return books, killed


async def test_a_demo_with_kills_ends_with_the_same_table(tmp_path: Path) -> None:
    with exchange_in(tmp_path / "calm", SETTINGS) as exchange:
        calm, _ = await played(exchange, kills=False)
    with exchange_in(tmp_path / "storm", SETTINGS) as exchange:
        storm, killed = await played(exchange, kills=True)

    assert killed == VICTIMS.keys()
    assert sales_rows(storm.contracts) == sales_rows(calm.contracts)
    assert sales_rows(calm.contracts)[-1][1] == "822 t"
    assert storm.balances == calm.balances
