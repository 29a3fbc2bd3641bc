"""Sessions end with their link, and what a crash left open ends before anybody is let in."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.frames import LINK_SHIFT, LINKS_MAX, LinkError
from engine.link import CommandLink
from engine.location import Location
from engine.records import EVENT, ORDER, Records, commands_of
from engine.sessions import Sessions
from engine.vocabulary import Command, Event, Reason, Scope
from tests.engine.test_service import FIRST_COMMANDS, events_after, opened, serving, wait_for

OPEN: Mapping[str, Any] = {"kind": Command.OPEN_ACCOUNT, "account": 1, "outbox": 1}


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    monkeypatch.setenv("LECONG_LOG_SEGMENT_MIB", "1")
    return Location(tmp_path).create()


class Inbox:
    """Takes what is submitted, or refuses it while `full`."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []  # (account, session) of each END_SESSION
        self.full = False

    def submit(self, commands: Records) -> Records | None:
        if self.full:
            return commands
        assert (commands["kind"] == Command.END_SESSION).all()
        self.taken += list(zip(commands["account"].tolist(), commands["session"].tolist(), strict=True))
        return None


def events_of(*rows: Mapping[str, Any]) -> Records:
    events = np.zeros(len(rows), EVENT)
    for at, row in enumerate(rows):
        for name, value in row.items():
            events[name][at] = value
    return events


def started(session: int, link: int, account: int = 3) -> dict[str, Any]:
    return {
        "kind": Event.SESSION_STARTED, "session": session, "account": account, "tag": link << LINK_SHIFT | 5,
    }  # fmt: skip


def test_a_lost_link_ends_its_own_sessions_only() -> None:
    inbox = Inbox()
    sessions = Sessions(inbox.submit)
    first, second = sessions.accept(), sessions.accept()
    sessions.note(events_of(started(11, first), started(12, second), started(13, first, account=4)))

    sessions.lost(first)

    assert inbox.taken == [(3, 11), (4, 13)]
    assert len(sessions) == 1


def test_a_session_that_ended_by_itself_is_not_ended_again() -> None:
    inbox = Inbox()
    sessions = Sessions(inbox.submit)
    link = sessions.accept()
    sessions.note(events_of(started(11, link), {"kind": Event.SESSION_ENDED, "session": 11, "account": 3}))

    sessions.lost(link)

    assert inbox.taken == []


def test_a_session_that_starts_after_its_link_is_gone_ends_at_once() -> None:
    inbox = Inbox()
    sessions = Sessions(inbox.submit)
    link = sessions.accept()
    sessions.lost(link)

    sessions.note(events_of(started(11, link)))

    assert inbox.taken == [(3, 11)]


async def test_ends_that_found_no_room_are_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sessions.RETRY_S", 0.01)
    inbox = Inbox()
    sessions = Sessions(inbox.submit)
    link = sessions.accept()
    sessions.note(events_of(started(11, link)))
    inbox.full = True
    sessions.lost(link)
    await asyncio.sleep(0.03)
    assert inbox.taken == []

    inbox.full = False
    await asyncio.sleep(0.05)

    assert inbox.taken == [(3, 11)]


async def test_an_end_that_a_client_was_refused_is_the_engines_to_repeat(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.sessions.RETRY_S", 0.01)
    async with serving(opened(location)) as engine:
        link = await _with_session(location)
        await wait_for(engine, FIRST_COMMANDS + 2)
        session = int(engine.exchange.state.sessions["id"][1])
        monkeypatch.setattr(engine.sequencer, "_closed_door", lambda: Reason.DISK_FULL)
        end = {"kind": Command.END_SESSION, "account": 1, "session": session}
        link.send(commands_of({"kind": Command.DEPOSIT, "account": 1}, end))
        await asyncio.sleep(0.1)
        assert engine.exchange.state.sessions["id"][1] == session, "there was no room"

        monkeypatch.setattr(engine.sequencer, "_closed_door", lambda: Reason.NONE)

        await wait_for(engine, FIRST_COMMANDS + 3)
        assert engine.exchange.state.sessions["id"][1] == 0
        link.close()


def test_no_two_live_links_have_one_number_and_a_number_is_not_used_again_soon() -> None:
    sessions = Sessions(Inbox().submit)
    kept = sessions.accept()
    given = []
    for _ in range(LINKS_MAX):
        given.append(sessions.accept())
        sessions.lost(given[-1])

    assert kept not in given
    assert len(set(given)) == LINKS_MAX - 1
    assert 0 not in given, "settlement's tags begin with 0"


def test_a_session_under_another_links_number_is_refused() -> None:
    sessions = Sessions(Inbox().submit)
    link, other = sessions.accept(), sessions.accept()

    sessions.check(commands_of({"kind": Command.START_SESSION, "tag": link << LINK_SHIFT}), link)
    with pytest.raises(LinkError, match=f"number, {other}, in the upper"):
        sessions.check(commands_of({"kind": Command.START_SESSION, "tag": link << LINK_SHIFT}), other)


async def _with_session(location: Location) -> CommandLink:
    """A link with an account and its session, both durable."""
    link = await CommandLink.connect(location.engine_commands)
    start = {"kind": Command.START_SESSION, "account": 1, "scope": Scope.ACCOUNT}
    link.send(commands_of(OPEN, start | {"tag": link.number << LINK_SHIFT}))
    return link


async def test_the_engine_ends_the_sessions_of_a_link_that_breaks(location: Location) -> None:
    async with serving(opened(location)) as engine:
        link = await _with_session(location)
        await wait_for(engine, FIRST_COMMANDS + 2)

        link.close()

        await wait_for(engine, FIRST_COMMANDS + 3)
        events = await events_after(location, FIRST_COMMANDS + 1, FIRST_COMMANDS + 3)

    assert events["kind"].tolist() == [Event.SESSION_STARTED, Event.SESSION_ENDED]
    assert len(set(events.view(ORDER)["session"].tolist())) == 1


async def test_a_session_that_the_log_left_open_ends_before_anybody_is_let_in(location: Location) -> None:
    async with serving(opened(location)) as engine:
        link = await _with_session(location)
        await wait_for(engine, FIRST_COMMANDS + 2)
        session = int(engine.exchange.state.sessions["id"][1])
        engine.sequencer.stop()  # what comes behind it is refused: the session stays open in the log
        link.close()

    async with serving(opened(location)) as engine:
        link = await CommandLink.connect(location.engine_commands)
        order = {"kind": Command.NEW_ORDER, "account": 1, "session": session, "client_order_id_0": 7}
        link.send(commands_of(order))
        await wait_for(engine, FIRST_COMMANDS + 4)
        events = await events_after(location, FIRST_COMMANDS + 2, FIRST_COMMANDS + 4)
        link.close()

    assert events["kind"].tolist() == [Event.SESSION_ENDED, Event.REJECTED]
    assert events["reason"].tolist() == [Reason.NONE, Reason.UNKNOWN_SESSION]
