"""A database that is down from the start, and an engine whose disk is full: named errors, and no harm."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from gateway.client import BaseError, Client
from loadtest.crowd import furnish, operator_seed
from loadtest.play import proved
from loadtest.trader import Trader
from tests.end_to_end.conftest import exchange_in, wait_for

DISK_BYTES = 48 << 20
SEGMENT_MIB = "2"
BALLAST_BYTES = 1 << 16
ORDERS_AT_ONCE = 400
ORDERS_MAX = 60_000
REBAR = "RB20-12-SG"
BUNDLE = Decimal("2.490")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose engine has a disk of a few MiB to itself."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "engine"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_without_a_database_nobody_is_admitted_and_the_reason_is_named(tmp_path: Path) -> None:
    nowhere = {"DATABASE_URL": "postgresql://lecong@127.0.0.1:1/nowhere"}
    with exchange_in(tmp_path, nowhere) as exchange:
        wait_for(lambda: "waiting for the database" in (tmp_path / "exchange.log").read_text())
        with pytest.raises(BaseError, match="does not answer"):
            await Client(exchange.url, bytes(32)).connect(2.0)
        log = (tmp_path / "exchange.log").read_text()

    assert "start the server (`python -m settlement.database`) or correct DATABASE_URL" in log


async def test_a_full_disk_refuses_orders_by_name_and_still_cancels(
    small_disk: Path, http: aiohttp.ClientSession
) -> None:
    with exchange_in(small_disk, {"LECONG_LOG_SEGMENT_MIB": SEGMENT_MIB}) as exchange:
        await exchange.started()
        (seat,) = await furnish(
            exchange.url, operator_seed(exchange.location.keys), http, "full", 1, lambda _: ()
        )
        buyer = Trader(exchange.url, seat.seed, http)
        client = await buyer.connected()
        resting = [await client.create_order(REBAR, "limit", "buy", BUNDLE, "2200") for _ in range(20)]
        fill_disk(small_disk / "engine" / "ballast")

        assert await _refusals_when_full(client) == {"disk_full"}
        for order in resting[:10]:
            await client.cancel_order(order["id"])
        live = await client.fetch_open_orders()
        assert [order["id"] for order in live] == [order["id"] for order in resting[10:]]
        report, _ = await proved(exchange.location)
        assert report.reconciled
        await buyer.close()


def fill_disk(ballast: Path) -> None:
    """Leave no space on the disk of `ballast`."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(BALLAST_BYTES))


async def _refusals_when_full(client: Client) -> set[str]:
    """Place orders that end at once until some are refused; the codes of the refusals."""
    now = {"timeInForce": "IOC"}
    for _ in range(ORDERS_MAX // ORDERS_AT_ONCE):
        orders = [
            client.create_order(REBAR, "limit", "buy", BUNDLE, "2200", now) for _ in range(ORDERS_AT_ONCE)
        ]
        answers = await asyncio.gather(*orders, return_exceptions=True)
        if codes := {answer.code for answer in answers if isinstance(answer, BaseError)}:
            return codes
    return set()
