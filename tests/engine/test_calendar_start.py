"""The engine with LECONG_CALENDAR: how it starts, what a mistake in the file says, and its real clock."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from engine.calendar import BEIJING
from engine.exchange import Exchange
from engine.instruments import load_instruments
from engine.location import Location
from engine.machine import MACHINE
from engine.service import Engine, Settings
from engine.vocabulary import Phase
from tests.engine.fakes import SetClock
from tests.engine.test_calendar import FOSHAN
from tests.engine.test_service import CAPACITY, FIRST_COMMANDS, serving, wait_for

HOUR_NS = 3_600 * 10**9


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    monkeypatch.setenv("LECONG_LOG_SEGMENT_MIB", "1")
    return Location(tmp_path).create()


async def test_calendar_of_a_file_opens_new_instruments_as_the_hour_asks_and_goes_on(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """semantics E1: nobody has to set a phase."""
    nine = datetime(2026, 11, 23, 9, tzinfo=BEIJING)
    clock = SetClock(int(nine.timestamp()) * 10**9)
    monkeypatch.setenv("LECONG_CALENDAR", str(FOSHAN))
    machine = replace(MACHINE, clock=lambda: clock)

    async with serving(Engine(location, Settings(), Exchange(CAPACITY), machine)) as engine:
        await wait_for(engine, FIRST_COMMANDS)
        opened_in = phases_of(engine)
        clock.time_ns += 5 * HOUR_NS // 2
        await wait_for(engine, FIRST_COMMANDS + len(load_instruments()))
        at_lunch = phases_of(engine)

    assert opened_in == {Phase.CONTINUOUS}
    assert at_lunch == {Phase.HALTED}


def phases_of(engine: Engine) -> set[int]:
    rows = engine.exchange.state.instruments
    return set(rows["phase"][rows["defined"] != 0].tolist())


async def test_outage_over_lunch_leaves_everything_halted_until_the_afternoon(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """semantics E6: the engine was down from ten to noon; the change at half past one resumes trading."""
    ten = int(datetime(2026, 11, 23, 10, tzinfo=BEIJING).timestamp()) * 10**9
    clock = SetClock(ten)
    monkeypatch.setenv("LECONG_CALENDAR", str(FOSHAN))
    machine, products = replace(MACHINE, clock=lambda: clock), len(load_instruments())
    async with serving(Engine(location, Settings(), Exchange(CAPACITY), machine)) as engine:
        before = phases_of(engine)

    clock.time_ns = ten + 2 * HOUR_NS
    again = Engine(location, Settings(), Exchange(CAPACITY), machine)
    async with serving(again) as engine:
        await wait_for(engine, FIRST_COMMANDS + products)
        after = phases_of(engine)
        clock.time_ns = ten + 7 * HOUR_NS // 2
        await wait_for(engine, FIRST_COMMANDS + 2 * products)
        resumed = phases_of(engine)

    assert (before, after, resumed) == ({Phase.CONTINUOUS}, {Phase.HALTED}, {Phase.CONTINUOUS})


def test_mistake_in_the_calendar_ends_the_start_with_status_2(tmp_path: Path) -> None:
    file = tmp_path / "calendar.toml"
    file.write_text(FOSHAN.read_text(encoding="utf-8").replace('"closed"', '"shut"', 1), encoding="utf-8")
    environment = os.environ | {"LECONG_CALENDAR": str(file), "LECONG_DATA": str(tmp_path / "data")}

    done = subprocess.run(
        [sys.executable, "-m", "engine", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert f"engine: the calendar {file} cannot be used: schedule[0].phases[6].phase is 'shut'" in done.stderr
