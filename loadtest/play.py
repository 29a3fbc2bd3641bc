"""`make demo` from start to end: an exchange of its own, the play, the books, the proof.

empty folder ─▶ supervise.py ─▶ Demo.play ─▶ reconcile ─▶ books from PostgreSQL ─▶ stop
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiohttp
from rich.console import Console

from engine.location import Location
from loadtest.books import Books, print_books, read_books
from loadtest.demo import Demo, DemoError
from loadtest.exchange import PROGRAMS, OwnExchange, empty
from loadtest.scenarios.launch import WINDOW_KG, Plan, plan
from settlement.database import dsn
from settlement.reconciliation import ReconciliationError, Report, reconcile_location
from settlement.store import StoreError

SETTINGS: Final = {"LECONG_CLOCK": "stepped", "LECONG_CALENDAR": "manual", "LECONG_SANDBOX": "0"}
WATCH_S: Final = 0.2
PROOF_S: Final = 90.0
WIDTH: Final = 110  # where the output is not a terminal


async def run_demo(data: Path, port: int, seed: int, seconds: float, *, keep: bool) -> bool:
    """Play, print, and return whether the books hold. Raises DemoError, ExchangeError, LocationError."""
    os.environ.pop("DATABASE_URL", None)  # the demo's books are its own
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)
    location = Location(data.absolute())
    if not keep:
        empty(location)
    launch = plan(seed)
    exchange = OwnExchange(location, port, SETTINGS)
    console.print(f"Lecong, July 2015: eight days from 8 July, seed {seed}; exchange in {data}, port {port}")
    exchange.start()
    try:
        await exchange.started()
        watching = asyncio.create_task(watch_pids(exchange, console.print))
        try:
            await _play_or_reread(launch, exchange, seconds, console)
            report, books = await proved(location)
        finally:
            watching.cancel()
        print_books(console, books)
        return tell_proof(console, report, books)
    finally:
        console.print("stopping the exchange")
        exchange.stop()


async def _play_or_reread(launch: Plan, exchange: OwnExchange, seconds: float, console: Console) -> None:
    """Play, unless --keep found the whole play in the books already. Raises DemoError for half of one."""
    _, before = await proved(exchange.location)
    sold_kg = sum(contract.quantity_kg for contract in before.contracts)
    if sold_kg == launch.sold_kg:
        console.print("these books hold the whole launch already; nothing is played")
        return
    if sold_kg:
        raise DemoError("the kept books hold a part of a launch; run without --keep to begin again")
    operator_seed = bytes.fromhex((exchange.location.keys / "operator.key").read_text().strip())
    started = time.monotonic()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        demo = Demo(launch, exchange.url, operator_seed, http, console.print)
        playing = asyncio.ensure_future(demo.play(seconds))
        try:
            await _while_running(playing, exchange)
        finally:
            playing.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await playing
            await demo.close()
    console.print(f"played in {time.monotonic() - started:.0f} s")


async def _while_running(playing: "asyncio.Future[None]", exchange: OwnExchange) -> None:
    """Wait for the play, but not on an exchange that has stopped for good. Raises ExchangeError."""
    while not playing.done():
        exchange.check()
        await asyncio.wait([playing], timeout=WATCH_S)
    playing.result()


async def watch_pids(exchange: OwnExchange, say: Callable[[str], None]) -> None:
    """Print the programs' process ids, and again whenever one was restarted."""
    known: dict[str, int] = {}
    while True:
        pids = exchange.pids()
        if len(pids) == len(PROGRAMS) and pids != known:
            say("processes: " + ", ".join(f"{name} {pids[name]}" for name in PROGRAMS))
            known = pids
        await asyncio.sleep(WATCH_S)


async def proved(location: Location) -> tuple[Report, Books]:
    """Reconcile, then read the books; tried again while a program is being restarted."""
    deadline = time.monotonic() + PROOF_S
    while True:
        try:
            return await reconcile_location(location, dsn(location)), await read_books(dsn(location))
        except (ReconciliationError, StoreError, OSError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(WATCH_S)


def tell_proof(console: Console, report: Report, books: Books) -> bool:
    """Print the reconciliation; return whether the window was met and everything holds."""
    for check in report.checks:
        for difference in check.differences:
            console.print(f"DIFFERS {check.name}: {difference}", markup=False)
    sold_kg = sum(contract.quantity_kg for contract in books.contracts)
    console.print(f"sold in eight days: {(sold_kg + 500) // 1000} t; trial balance {books.trial_fen}")
    word = "reconciled" if report.reconciled else "NOT RECONCILED"
    console.print(f"{word}: {len(report.checks)} checks at sequence {report.sequence}")
    return report.reconciled and books.trial_fen == 0 and WINDOW_KG[0] <= sold_kg <= WINDOW_KG[1]
