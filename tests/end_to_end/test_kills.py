"""kill -9 of each program in the middle of a load: it is restarted alone, nothing is lost or doubled."""

import asyncio
from typing import Any

import pytest

from loadtest.exchange import PROGRAMS, OwnExchange
from loadtest.load import Wish, run_load
from tests.end_to_end.conftest import all_up, kill, wait_for

SESSIONS, RATE, SECONDS, KILL_AFTER_S = 8, 400, 4.0, 1.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


async def loaded(exchange: OwnExchange, victim: str) -> dict[str, Any]:
    """A load during which the victim dies."""
    wish = Wish(exchange.url, exchange.location.data, SESSIONS, RATE, SECONDS, 8, exchange.port, False)
    killing: list[asyncio.TimerHandle] = []

    def say(line: str) -> None:
        if "messages a second" in line:  # the load begins
            loop = asyncio.get_running_loop()
            killing.append(loop.call_later(KILL_AFTER_S, kill, exchange, victim))

    result = await run_load(wish, None, say)
    assert killing, "the load never began"
    return result


async def test_nothing_acknowledged_is_lost_or_doubled_whoever_is_killed(exchange: OwnExchange) -> None:
    for victim in (*PROGRAMS, "postmaster"):
        wait_for(lambda: all_up(exchange))
        before = exchange.pids()

        result = await loaded(exchange, victim)

        wait_for(lambda: all_up(exchange))
        after = exchange.pids()
        restarted = {name for name in PROGRAMS if before[name] != after[name]}
        assert restarted == {"database" if victim == "postmaster" else victim}
        assert result["accounting"]["findings"] == [], victim
        assert result["accounting"]["acknowledged"] > RATE / 4, victim
        assert result["accounting"]["fills"] == result["accounting"]["contracts"] > 0, victim
        assert result["reconciliation"]["reconciled"] is True, victim
