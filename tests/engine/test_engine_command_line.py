"""`python -m engine` as a real process: its exit statuses, its errors, and what a kill leaves behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from engine.instruments import load_instruments
from engine.link import CommandLink, EventLink
from engine.location import Location
from engine.records import Records, client_order_id_words, commands_of, joined
from engine.vocabulary import Command

REBAR = load_instruments()[0]
pytestmark = pytest.mark.slow


def environment(data: Path, **changes: str) -> dict[str, str]:
    return os.environ | {"LECONG_DATA": str(data), "LECONG_LOG_SEGMENT_MIB": "1"} | changes


@contextmanager
def program(data: Path, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """An engine that has said it is ready."""
    command = [sys.executable, "-m", "engine", "serve"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment(data, **changes), text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready: sequence ")
            yield process
        finally:
            process.kill()


def tool(data: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """`python -m engine` with `words`, run to its end."""
    command = [sys.executable, "-m", "engine", *words]
    return subprocess.run(
        command, env=environment(data, **changes), capture_output=True, text=True, timeout=60
    )


def failure(data: Path, **changes: str) -> tuple[int, str]:
    """Exit status and error of an engine that cannot run."""
    ended = tool(data, "serve", **changes)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(("variable", "value"), [("LECONG_CLOCK", "sun"), ("LECONG_LOG_SEGMENT_MIB", "many")])
def test_wrong_setting_ends_with_status_2_and_one_line(tmp_path: Path, variable: str, value: str) -> None:
    status, error = failure(tmp_path, **{variable: value})

    assert status == 2
    assert error.startswith(f"engine: {variable} is '{value}'; it must be")
    assert error.count("\n") == 1


def on_a_full_disk(data: Path, **changes: str) -> subprocess.Popen[bytes]:
    """An engine whose words no disk takes."""
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "engine", "serve"]
        return subprocess.Popen(command, env=environment(data, **changes), stdout=full, stderr=full)


def test_refusal_that_cannot_be_said_keeps_its_status(tmp_path: Path) -> None:
    with on_a_full_disk(tmp_path, LECONG_CLOCK="sun") as process:
        assert process.wait(60) == 2


async def test_engine_whose_words_no_disk_takes_serves_and_stops_as_asked(tmp_path: Path) -> None:
    location = Location(tmp_path).create()
    with on_a_full_disk(tmp_path) as process:
        while not location.engine_commands.exists():
            assert process.poll() is None
            await asyncio.sleep(0.02)
        link = await CommandLink.connect(location.engine_commands)
        assert await link.snapshot() > 0

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_damaged_log_ends_with_status_2_and_names_the_place(tmp_path: Path) -> None:
    location = Location(tmp_path).create()
    (location.engine / "commands").mkdir()
    (location.engine / "commands" / "00000002.log").write_bytes(bytes(1 << 20))

    status, error = failure(tmp_path)

    assert (status, error.count("\n")) == (2, 1)
    assert "segment 00000001.log is missing" in error


def test_disk_without_space_for_the_first_segment_ends_with_status_2(tmp_path: Path) -> None:
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", tmp_path]).returncode
    ):
        pytest.skip("mounting a small tmpfs needs root")
    try:
        status, error = failure(tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)

    assert (status, error.count("\n")) == (2, 1)
    assert "free space" in error


async def test_sigterm_ends_it_with_status_0_within_a_second_though_clients_are_connected(
    tmp_path: Path,
) -> None:
    with program(tmp_path) as process:
        location = Location(tmp_path)
        commands = await CommandLink.connect(location.engine_commands)
        events = await EventLink.connect(location.engine_events, after=0)
        deaf, deaf_writer = await asyncio.open_unix_connection(location.engine_events)
        commands.send(commands_of({"kind": Command.OPEN_ACCOUNT, "account": 1}))
        await commands.query(Command.QUERY_INSTRUMENTS)

        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(process.wait, 10)
        seconds = time.monotonic() - started

        assert process.stdout is not None
        assert (status, process.stdout.read()) == (0, "")
        assert seconds < 1.0
        seen = joined([batch async for batch in events])
        assert seen["sequence"][-1] == 2 * len(load_instruments()) + 1
        await asyncio.wait_for(commands.closed(), 5)
        deaf_writer.close()
        assert await deaf.read()


def test_second_engine_ends_with_status_2_and_names_the_first(tmp_path: Path) -> None:
    with program(tmp_path) as first:
        status, error = failure(tmp_path)

    assert status == 2
    assert f"another engine runs on {tmp_path}/engine (pid {first.pid})" in error


def orders(first: int, count: int) -> Records:
    """Buys with rising client order ids; most are accepted, some find no money."""
    price = REBAR.reference_fen_per_tonne
    rows = []
    for number in range(first, first + count):
        words = client_order_id_words(f"order-{number}".encode())
        rows.append(
            {
                "kind": Command.NEW_ORDER,
                "account": 1,
                "instrument": REBAR.number,
                "client_order_id_0": words[0],
                "client_order_id_1": words[1],
                "price_fen_per_tonne": price,
                "quantity_kg": REBAR.minimum_kg,
                "tag": number,
            }
        )
    return commands_of(*rows)


async def test_what_was_taken_before_sigterm_is_published_before_the_end(tmp_path: Path) -> None:
    with program(tmp_path) as process:
        location = Location(tmp_path)
        commands = await CommandLink.connect(location.engine_commands)
        events = await EventLink.connect(location.engine_events, after=0)
        for first in range(0, 3000, 500):
            commands.send(orders(first, 500))
        await commands.query(Command.QUERY_INSTRUMENTS)  # the engine has read what was sent before it
        process.send_signal(signal.SIGTERM)

        heard = joined([batch async for batch in events])
        assert await asyncio.to_thread(process.wait, 10) == 0

    with program(tmp_path):
        again = await CommandLink.connect(location.engine_commands)
        assert again.sequence == heard["sequence"][-1] == 2 * len(load_instruments()) + 3000
        again.close()
        await again.closed()


async def load_until_killed(process: subprocess.Popen[str], location: Location, kill_at: int) -> Records:
    """Send orders as they are acknowledged, kill -9 in the middle, return every event that was heard."""
    commands = await CommandLink.connect(location.engine_commands)
    events = await EventLink.connect(location.engine_events, after=0)
    commands.send(
        commands_of(
            {"kind": Command.OPEN_ACCOUNT, "account": 1},
            {"kind": Command.DEPOSIT, "account": 1, "amount_fen": 10**13},
        )
    )
    heard: list[Records] = []
    sent = commands.sequence
    async for batch in events:
        heard.append(batch)
        if batch["sequence"][-1] >= kill_at:
            process.kill()
        if not commands._gone.is_set() and sent - int(batch["sequence"][-1]) < 500:
            commands.send(orders(sent * 10, 200))
            sent += 200
    return joined(heard)


@pytest.mark.parametrize("kill_at", [300, 4000])
async def test_kill_under_load_loses_no_acknowledged_command(tmp_path: Path, kill_at: int) -> None:
    location = Location(tmp_path)
    with program(tmp_path) as process:
        heard = await load_until_killed(process, location, kill_at)

    with program(tmp_path):
        link = await EventLink.connect(location.engine_events, after=0, until=int(heard["sequence"][-1]))
        found = joined([batch async for batch in link])

    assert heard["sequence"][-1] >= kill_at
    assert np.array_equal(found.view(np.uint8), heard.view(np.uint8))
    assert link.epoch == 2


async def traded(data: Path, count: int) -> None:
    """So many orders through the running engine, all of them durable."""
    commands = await CommandLink.connect(Location(data).engine_commands)
    commands.send(orders(commands.sequence, count))
    events = await EventLink.connect(
        Location(data).engine_events, after=commands.sequence, until=commands.sequence + count
    )
    assert [batch async for batch in events]
    commands.close()


async def test_tools_work_beside_a_running_engine_and_on_a_stopped_one(tmp_path: Path) -> None:
    first = 2 * len(load_instruments())
    with program(tmp_path):
        await traded(tmp_path, 300)
        taken = await asyncio.to_thread(tool, tmp_path, "snapshot")
        await traded(tmp_path, 200)
        beside = json.loads((await asyncio.to_thread(tool, tmp_path, "verify", "--json", "--all")).stdout)

    stopped = tool(tmp_path, "snapshot")
    verdict = tool(tmp_path, "verify", "--all")
    state = json.loads(tool(tmp_path, "replay", "--until", str(first + 300), "--json").stdout)
    shown = tool(tmp_path, "inspect", "1", "2")

    assert (taken.stdout, stopped.stdout) == (
        f"snapshot of command {first + 300}\n",
        f"snapshot of command {first + 500}\n",
    )
    assert (beside["running"], beside["findings"], beside["last_sequence"]) == (True, [], first + 500)
    assert verdict.returncode == 0
    assert f"commands 1 to {first + 500} replayed: {first + 500} commands" in verdict.stdout
    assert "and 2 later snapshots compared" in verdict.stdout
    assert (state["sequence"], state["begun_with_snapshot"]) == (first + 300, first + 300)
    assert "define_instrument sequence=1 " in shown.stdout
    with program(tmp_path):
        again = await CommandLink.connect(Location(tmp_path).engine_commands)
        assert again.sequence == first + 500
        again.close()


async def test_snapshots_taken_by_themselves_survive_a_kill_and_shorten_the_log(tmp_path: Path) -> None:
    with program(tmp_path, LECONG_SNAPSHOT_COMMANDS="500") as process:
        await traded(tmp_path, 1000)
        async with asyncio.timeout(20):
            while not (Location(tmp_path).engine / "snapshots" / "0.snapshot").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        heard = await load_until_killed(process, Location(tmp_path), 5000)

    verdict = json.loads(tool(tmp_path, "verify", "--json").stdout)

    assert verdict["findings"] == [] or "early" in verdict["findings"][0]
    assert verdict["first_sequence"] > 1
    assert verdict["last_sequence"] >= heard["sequence"][-1]
    with program(tmp_path):
        link = await EventLink.connect(
            Location(tmp_path).engine_events, after=0, until=int(heard["sequence"][-1])
        )
        found = joined([batch async for batch in link])
    assert np.array_equal(found.view(np.uint8), heard.view(np.uint8))


async def test_verify_says_what_differs_and_ends_with_status_1(tmp_path: Path) -> None:
    with program(tmp_path):
        await traded(tmp_path, 1)
    path = Location(tmp_path).engine / "events.log"
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(raw)

    verdict = tool(tmp_path, "verify")

    assert verdict.returncode == 1
    assert "DOES NOT FIT: events.log differs at event 0 of command 1" in verdict.stdout


def test_tools_name_what_is_not_there_and_end_with_status_2(tmp_path: Path) -> None:
    ended = tool(tmp_path, "verify")

    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith(f"engine: {tmp_path}/engine holds no command log")
