"""The engine in this process, over its real sockets: recovery, subscribers, and a clean end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import event_log
from engine.command_log import CorruptLogError, LogFullError
from engine.core.layout import Capacity
from engine.disk import PosixDisk
from engine.exchange import Exchange
from engine.frames import ALL_KEPT, COMMANDS_MAX, HEAD, Frame, frame
from engine.instruments import load_instruments
from engine.link import SETTLEMENT, CommandLink, EventLink
from engine.location import Location, LocationInUseError
from engine.records import TRADE, Records, commands_of, joined
from engine.service import Engine, Settings, SettingsError, next_epoch, run, wanted_events
from engine.vocabulary import Command, Event, Reason
from tests.engine.fakes import MemoryDisk, bytes_of, deposit, events_of

CAPACITY = Capacity(orders=1 << 10, levels=1 << 18, instruments=64, accounts=64, lots=64, day=1 << 10)
FIRST_COMMANDS = 2 * len(load_instruments())  # define and open each


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECONG_LOG_SEGMENT_MIB", "1")


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(tmp_path).create()


def opened(location: Location) -> Engine:
    return Engine(location, Settings(), Exchange(CAPACITY))


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[Engine]:
    """The engine at work; ended as SIGTERM ends it."""
    work = asyncio.ensure_future(engine.serve())
    while not (engine._location.engine_events.is_socket() or work.done()):  # noqa: ASYNC110 - a socket tells nobody when it appears
        await asyncio.sleep(0.001)
    await wait_for(engine, FIRST_COMMANDS)
    try:
        yield engine
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(work, 5)


async def wait_for(engine: Engine, sequence: int) -> None:
    async with asyncio.timeout(30):
        while engine.sequencer.sequence < sequence:
            await engine.sequencer.grown.wait()


async def events_after(location: Location, after: int, until: int, account: int = -1) -> Records:
    link = await EventLink.connect(location.engine_events, after=after, account=account, until=until)
    parts = [batch async for batch in link]
    link.close()
    assert link.complete
    return joined(parts) if parts else events_of()


async def test_new_exchange_has_its_instruments_and_answers(location: Location) -> None:
    async with serving(opened(location)):
        link = await CommandLink.connect(location.engine_commands)
        rows = await link.query(Command.QUERY_INSTRUMENTS)
        link.close()

    assert rows["kind"].tolist() == [Event.INSTRUMENT] * (FIRST_COMMANDS // 2) + [Event.END]
    assert rows["sequence"][-1] == FIRST_COMMANDS


async def test_epoch_rises_and_the_sequence_goes_on_at_every_start(location: Location) -> None:
    greetings = []
    for number in range(3):
        async with serving(opened(location)) as engine:
            link = await CommandLink.connect(location.engine_commands)
            greetings.append((link.epoch, link.sequence))
            link.send(commands_of(deposit()))
            await wait_for(engine, FIRST_COMMANDS + number + 1)
            link.close()

    assert greetings == [(1, FIRST_COMMANDS), (2, FIRST_COMMANDS + 1), (3, FIRST_COMMANDS + 2)]


async def test_socket_that_a_kill_left_behind_is_replaced(location: Location) -> None:
    location.engine_commands.write_text("left over")
    location.engine_events.write_text("left over")

    async with serving(opened(location)):
        link = await CommandLink.connect(location.engine_commands)
        link.close()


async def test_subscribers_resume_from_any_sequence_without_gap_or_double(location: Location) -> None:
    generator = np.random.default_rng(8)
    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        end = FIRST_COMMANDS + 400
        link.send(commands_of(*(deposit(account) for account in generator.integers(0, 9, 400))))
        await wait_for(engine, end)
        whole = await events_after(location, 0, end)

        assert np.unique(whole["sequence"]).tolist() == list(range(1, end + 1))
        for _ in range(10):
            cuts = [0, *sorted(generator.choice(end, 3, replace=False).tolist()), end]
            parts = [await events_after(location, a, b) for a, b in pairwise(cuts) if a < b]
            assert bytes_of(parts) == whole.tobytes()
        link.close()


async def test_range_is_read_to_its_end_and_no_further(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "READ_EVENTS", FIRST_COMMANDS)
    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        link.send(commands_of(*(deposit() for _ in range(10 * FIRST_COMMANDS))))
        await wait_for(engine, 11 * FIRST_COMMANDS)
        reads = Mock(wraps=engine.events.read)
        monkeypatch.setattr(engine.events, "read", reads)

        some = await events_after(location, 0, FIRST_COMMANDS)
        nothing = [await events_after(location, at, at) for at in (FIRST_COMMANDS, 11 * FIRST_COMMANDS)]

        assert (len(np.unique(some["sequence"])), len(joined(nothing))) == (FIRST_COMMANDS, 0)
        assert reads.call_count <= 3, "what stands behind a range is not read"
        link.close()


async def test_live_subscriber_gets_what_comes_and_ends_at_until(location: Location) -> None:
    async with serving(opened(location)):
        commands = await CommandLink.connect(location.engine_commands)
        events = asyncio.ensure_future(events_after(location, FIRST_COMMANDS, FIRST_COMMANDS + 3))
        for _ in range(5):
            commands.send(commands_of(deposit()))
            await asyncio.sleep(0.01)

        assert (await events)["sequence"].tolist() == [FIRST_COMMANDS + i for i in (1, 2, 3)]
        commands.close()


async def test_account_filter_shows_an_account_its_own_events_only(location: Location) -> None:
    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        link.send(commands_of(*({"kind": Command.OPEN_ACCOUNT, "account": a} for a in (1, 2, 3))))
        link.send(commands_of(*(deposit(account, 100 + account) for account in (1, 2, 3, 2))))
        await wait_for(engine, FIRST_COMMANDS + 7)

        events = await events_after(location, FIRST_COMMANDS, FIRST_COMMANDS + 7, account=2)

        assert events["account"].tolist() == [2, 2, 2]
        assert events["account_sequence"].tolist() == [1, 2, 3]
        link.close()


@pytest.mark.parametrize("kind", [Event.TRADE, Event.PREVENTED, Event.TRADE_BUSTED])
def test_filter_takes_both_parties_and_no_listing_version_for_an_account(kind: Event) -> None:
    events = events_of((1, 1), (2, 1), (3, 1))
    events["account"] = [4, 5, 5]
    events["kind"] = [kind, Event.ACCEPTED, kind]
    events.view(TRADE)["counter_account"] = [7, 7, 6]  # in ACCEPTED the listing's version stands there

    assert wanted_events(events, 7, 0)["sequence"].tolist() == [1]
    assert wanted_events(events, 5, 2)["sequence"].tolist() == [2]
    assert wanted_events(events, -1, 0)["sequence"].tolist() == [1, 2, 3]


async def test_subscriber_that_does_not_read_holds_nobody_up(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LECONG_LOG_SEGMENT_MIB")
    async with serving(opened(location)) as engine:
        slow, slow_writer = await asyncio.open_unix_connection(location.engine_events, limit=1024)
        slow_writer.write(frame(Frame.SUBSCRIBE, commands_of({"account": -1})))
        link = await CommandLink.connect(location.engine_commands)
        end = FIRST_COMMANDS + 30_000

        link.send(commands_of(deposit()).repeat(30_000))
        await wait_for(engine, end)
        fast = await events_after(location, FIRST_COMMANDS, end)

        assert len(fast) == 30_000
        raw = bytearray()
        while len(raw) < 30_000 * 128:
            raw += await slow.read(1 << 20)
        slow_writer.close()
        link.close()


async def test_subscriber_that_left_is_forgotten_at_once(location: Location) -> None:
    async with serving(opened(location)) as engine:
        links = [await EventLink.connect(location.engine_events, after=FIRST_COMMANDS) for _ in range(5)]
        await asyncio.sleep(0.05)
        there = len(engine.subscribers.tasks)

        for link in links:
            link.close()
        await asyncio.sleep(0.1)

        assert (there, len(engine.subscribers.tasks)) == (5, 0)


async def test_answer_of_many_rows_reaches_a_client_that_reads(location: Location) -> None:
    engine = opened(location)
    accounts = engine.exchange.state.accounts
    many = np.zeros(200_000, accounts.dtype)
    many["open"] = 1
    async with serving(engine):
        engine.exchange.state = engine.exchange.state._replace(accounts=many)
        link = await CommandLink.connect(location.engine_commands)
        rows = await asyncio.wait_for(link.query(Command.QUERY_BALANCES), 20)
        engine.exchange.state = engine.exchange.state._replace(accounts=accounts)
        link.close()

    assert len(rows) == 200_001


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        HEAD.pack(1, 1, 0),
        HEAD.pack(1, 1, 1 << 31),
        frame(Frame.EVENTS, events_of((1, 1))),
    ],
)
async def test_client_that_breaks_the_rules_is_cut_off_and_the_others_stay(
    location: Location, rubbish: bytes
) -> None:
    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        for path in (location.engine_commands, location.engine_events):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(rubbish)
            try:
                rest = await asyncio.wait_for(reader.read(), 5)
            except ConnectionError:
                rest = b""
            assert len(rest) in (0, HEAD.size + 128)  # the greeting
            writer.close()

        link.send(commands_of(deposit()))
        await wait_for(engine, FIRST_COMMANDS + 1)
        link.close()


async def test_stopped_engine_hangs_up_on_everybody_and_takes_its_sockets_away(location: Location) -> None:
    async with serving(opened(location)) as engine:
        commands = await CommandLink.connect(location.engine_commands)
        events = await EventLink.connect(location.engine_events, after=0)

    assert (engine.doors, engine.subscribers.tasks) == (set(), set())
    assert not location.engine_commands.exists()
    assert not location.engine_events.exists()
    await asyncio.wait_for(commands.closed(), 5)
    await asyncio.wait_for(events.closed(), 5)


async def test_refused_commands_come_back_to_their_sender(location: Location) -> None:
    async with serving(opened(location)):
        link = await CommandLink.connect(location.engine_commands)
        heard = asyncio.Queue[Records]()
        link.on_refused = heard.put_nowait

        link.send(commands_of(deposit(tag=4)).repeat(COMMANDS_MAX))  # more than segments of 1 MiB take

        refused = joined([await asyncio.wait_for(heard.get(), 5) for _ in range(8)])
        assert refused["reason"].tolist() == [Reason.QUEUE_FULL] * COMMANDS_MAX
        assert set(refused["tag"].tolist()) == {4}
        link.close()


async def test_second_engine_on_the_folder_is_refused(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import service
    from engine.location import lock_folder

    monkeypatch.setattr(service, "LOCK_WAIT_S", 0.0)

    with lock_folder(location.engine, "engine"), pytest.raises(LocationInUseError, match="another engine"):
        await run(location)


async def test_restart_rebuilds_the_same_state_and_the_same_event_log(location: Location) -> None:
    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        link.send(commands_of({"kind": Command.OPEN_ACCOUNT, "account": 1}, *[deposit()] * 50))
        await wait_for(engine, FIRST_COMMANDS + 51)
        link.close()
    before = (location.engine / "events.log").read_bytes()[: engine.events.size]

    again = opened(location)

    for name in engine.exchange.state._fields:
        first, second = getattr(engine.exchange.state, name), getattr(again.exchange.state, name)
        assert first.tobytes() == second.tobytes(), name
    assert (location.engine / "events.log").read_bytes()[: again.events.size] == before
    again.log.close()


async def test_event_log_that_knows_more_than_the_command_log_refuses_and_changes_nothing(
    location: Location,
) -> None:
    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        link.send(commands_of(*[deposit()] * 5))
        await wait_for(engine, FIRST_COMMANDS + 5)
        link.close()
    segment = location.engine / "commands" / "00000001.log"
    raw = bytearray(segment.read_bytes())
    last = max(at for at in range(0, len(raw), 4096) if any(raw[at : at + 64]))
    raw[last + 70] ^= 1
    segment.write_bytes(raw)
    events = (location.engine / "events.log").read_bytes()

    with pytest.raises(CorruptLogError, match=r"events\.log holds command 85, the command log ends at"):
        opened(location)

    assert segment.read_bytes() == raw
    assert (location.engine / "events.log").read_bytes() == events
    assert (location.engine / "epoch").read_bytes() == b"1\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=st.integers(0, 1000), of_log=st.integers(0, 1000))
def test_epoch_is_above_every_earlier_one(stored: int, of_log: int) -> None:
    disk = MemoryDisk()
    disk.replace("epoch", f"{stored}\n".encode())

    epoch = next_epoch(disk, of_log)

    assert epoch > max(stored, of_log)
    assert next_epoch(disk, of_log) > epoch


@pytest.mark.parametrize("content", [b"", b"x\n", b"-1\n", b"4294967295\n"])
def test_damaged_epoch_is_named(content: bytes) -> None:
    disk = MemoryDisk()
    disk.replace("epoch", content)

    with pytest.raises(CorruptLogError, match="the file epoch says"):
        next_epoch(disk, 3)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("LECONG_CLOCK", "sun", "LECONG_CLOCK is 'sun'; it must be wall or stepped"),
        ("LECONG_CALENDAR", "lunar", "LECONG_CALENDAR is 'lunar'; it must be open, manual, or the file of"),
        ("LECONG_LOG_SEGMENT_MIB", "0", "LECONG_LOG_SEGMENT_MIB is '0'; it must be a whole number from 1 to"),
        ("LECONG_LOG_SEGMENT_MIB", "1.5", "LECONG_LOG_SEGMENT_MIB is '1.5'"),
        ("LECONG_LOG_SEGMENT_MIB", "-1", "LECONG_LOG_SEGMENT_MIB is '-1'"),
        ("LECONG_LOG_SEGMENT_MIB", "2000", "LECONG_LOG_SEGMENT_MIB is '2000'"),
        (
            "LECONG_SNAPSHOT_COMMANDS",
            "often",
            "LECONG_SNAPSHOT_COMMANDS is 'often'; it must be a whole number",
        ),
        ("LECONG_EVENTS_KEPT", "-1", "LECONG_EVENTS_KEPT is '-1'; it must be a whole number from 0 to"),
    ],
)
def test_setting_that_does_not_exist_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=says):
        Settings()


def test_manual_calendar_leaves_the_instruments_closed(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LECONG_CALENDAR", "manual")

    engine = opened(location)

    assert engine.sequencer._inbox.waiting == FIRST_COMMANDS // 2
    engine.log.close()


def test_full_disk_at_the_first_start_is_named(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PosixDisk, "free", lambda disk: 4096)

    with pytest.raises(LogFullError, match="no space for the command log's first segment of 1 MiB"):
        opened(location)


async def test_cursor_of_settlement_is_noted_also_when_it_comes_with_the_wish(location: Location) -> None:
    async with serving(opened(location)) as engine:
        link = await EventLink.connect(location.engine_events, after=0)
        link.booked(7, SETTLEMENT)
        async with asyncio.timeout(5):
            while engine.subscribers.cursors != {SETTLEMENT: 7}:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert engine.subscribers.first_read() <= engine.events.size
            link.booked(9, SETTLEMENT)
            while engine.subscribers.cursors != {SETTLEMENT: 9}:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        link.close()


async def test_cursor_of_somebody_who_keeps_no_books_ends_the_link(location: Location) -> None:
    async with serving(opened(location)) as engine:
        link = await EventLink.connect(location.engine_events, after=0)
        link.booked(7, 99)
        await asyncio.wait_for(link.closed(), 5)

        assert engine.subscribers.cursors == {}


async def test_subscriber_that_wants_what_is_no_longer_kept_is_turned_away(
    location: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(opened(location)) as engine:
        engine.events.forget(engine.events.size)
        if engine.events.first == 0:
            pytest.skip("this file system makes no holes")
        link = await EventLink.connect(location.engine_events, after=0)
        assert [batch async for batch in link] == []
        kept = int(engine.events.read(engine.events.first)["sequence"][0])
        late = await events_after(location, kept, FIRST_COMMANDS)
        rest = await events_after(location, ALL_KEPT, FIRST_COMMANDS)

    assert (late["sequence"][0], rest["sequence"][0]) == (kept + 1, kept)
    assert f"events after command 0 are asked for, those from {kept} on are kept" in capsys.readouterr().out


async def test_snapshots_are_taken_at_the_interval_and_the_next_start_begins_with_one(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LECONG_SNAPSHOT_COMMANDS", "20")
    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        link.send(commands_of(*[deposit()] * 30))
        await wait_for(engine, FIRST_COMMANDS + 30)
        taken = await link.snapshot()
        link.close()

    again = opened(location)

    assert taken == FIRST_COMMANDS + 30
    newest = again.snapshots.newest()
    assert newest is not None
    assert newest.sequence == taken == again.exchange.sequence
    again.log.close()
