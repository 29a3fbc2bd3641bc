"""A dozen kills in random order under load: nothing acknowledged is lost, nothing happens twice."""

from pathlib import Path

import pytest

from engine.command_log import CommandLog
from engine.disk import PosixDisk
from engine.exchange import stamped
from engine.records import client_order_id_words, commands_of, joined
from engine.vocabulary import Command, Phase
from loadtest.accounting import Heard, Told
from tests.crash.history import BUYER, REBAR, History
from tests.crash.storm import VICTIMS, check_log, check_order, storm
from tests.crash.tally import Tally

SEED, SECONDS = 8, 10.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


async def test_a_storm_of_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    tally = await storm(tmp_path, SEED, SECONDS)

    assert tally.holds, tally.findings
    assert tally.crashes >= len(VICTIMS)
    assert tally.acknowledged > 100


def log_with_orders(folder: Path, *names: str) -> None:
    """A command log of an open market in which account 1 buys once under each name."""
    buys = [
        {
            "kind": Command.NEW_ORDER,
            "account": BUYER,
            "instrument": REBAR.number,
            "price_fen_per_tonne": REBAR.reference_fen_per_tonne,
            "quantity_kg": REBAR.step_kg,
            "client_order_id_0": client_order_id_words(name.encode())[0],
            "client_order_id_1": client_order_id_words(name.encode())[1],
        }
        for name in names
    ]
    opening = {"kind": Command.SET_PHASE, "instrument": REBAR.number, "phase": Phase.CONTINUOUS}
    parts = [REBAR.terms(), commands_of(opening), History().furnished(), commands_of(*buys)]
    log = CommandLog(PosixDisk(folder), 1 << 20)
    log.resume(1)
    log.append(stamped(joined(parts), 1, 1_436_313_600_000_000_000))
    log.close()


def test_an_acknowledged_order_that_the_log_does_not_have_is_a_loss(tmp_path: Path) -> None:
    log_with_orders(tmp_path, "there", "twice", "twice")  # the repeat is answered with the first outcome
    tally = Tally()

    check_log(tmp_path, tally, {BUYER: Heard(acknowledged={"there": "1", "twice": "2", "missing": "3"})})

    assert (tally.losses, tally.doubles, tally.others) == (1, 0, 0)
    assert "order missing (3): not in the command log" in tally.findings[0]


def test_an_order_before_what_was_acknowledged_before_it_is_found() -> None:
    order = {"event": "order", "status": "new", "client_order_id": "late", "order_id": str(7 << 22)}
    fits, differs = Tally(), Tally()

    check_order(fits, 1, {"late": 6}, Told([order], {}))
    check_order(differs, 1, {"late": 7}, Told([order], {}))

    assert (fits.holds, differs.holds) == (True, False)
