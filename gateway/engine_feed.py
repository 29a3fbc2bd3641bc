"""The gateway's side of the engine: one command link, one event link, and what their loss means.

Law: losing the command link ends the sessions on it (nobody knows what became of requests under way);
losing only the event link does not, the feed resumes after the last sequence seen. Events are filtered as
whole batches; Python touches only the rows of requests that wait here, of accounts served here and of
instruments watched here.

    EVENTS --select by tag >> 48--> TradingDesk.answer      (first: acknowledgements)
           --select by account----> PrivateStreams.apply
           --select by instrument-> MarketData.apply
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

import structlog

from engine.frames import ALL_KEPT
from engine.link import CommandLink, EventLink
from engine.records import Records, select
from engine.vocabulary import Command
from gateway import answers, codec, messages
from gateway.dispatch import Dispatcher
from gateway.errors import Refusal, reason_code
from gateway.inquiries import account_position
from gateway.outbox import OUTBOX_PUBLIC_BYTES_MAX, text_frame
from gateway.private_stream import PrivateStream, changes
from gateway.session import Session
from gateway.trading import TradingDesk

RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5)  # the last one repeats
SMALL_BATCH_ROWS: Final = 64
REPLAY_STALL_SECONDS: Final = 30.0  # a peer that reads nothing for so long is a slow consumer
REPLAY_POLL_SECONDS: Final = 0.01
_NOT_THERE: Final = "resume_too_old"  # what is to be replayed is not among the events that were searched
_CUT: Final = "engine_unavailable"  # the search did not come to its end

log = structlog.get_logger(__name__)


class Commands(Protocol):
    """engine.link.CommandLink."""

    epoch: int
    sequence: int
    number: int
    on_refused: Callable[[Records], None]

    def send(self, commands: Records) -> None:
        """Send one frame of commands."""

    async def query(self, kind: Command, *, account: int = -1, instrument: int = -1) -> Records:
        """Ask; the rows end with END."""

    async def closed(self) -> None:
        """Return when the engine is gone."""


class Events(Protocol):
    """engine.link.EventLink."""

    epoch: int
    sequence: int
    complete: bool

    def __aiter__(self) -> AsyncIterator[Records]:
        """Arrays of whole commands' events."""

    def close(self) -> None:
        """Hang up."""


class Connector(Protocol):
    """How links are made; each raises ConnectionError when the engine is away."""

    async def commands(self) -> Commands:
        """A new command link."""

    async def events(self, *, after: int, account: int = -1, until: int = 0) -> Events:
        """A new event link."""


class SocketConnector:
    """Links over the engine's Unix sockets."""

    def __init__(self, commands: Path, events: Path) -> None:
        self._commands = commands
        self._events = events

    async def commands(self) -> Commands:
        """A new command link."""
        return await CommandLink.connect(self._commands)

    async def events(self, *, after: int, account: int = -1, until: int = 0) -> Events:
        """A new event link."""
        return await EventLink.connect(self._events, after=after, account=account, until=until)


class EngineFeed:
    """Keeps the links, carries commands out and events in."""

    def __init__(self, connector: Connector, desk: TradingDesk) -> None:
        self._connector = connector
        self._desk = desk
        self._link: Commands | None = None
        self.sequence = 0  # of the last event seen
        self.dispatcher: Dispatcher | None = None  # set by the composition root
        self.on_batch: Callable[[Records], None] = self.receive
        self.on_lost: Callable[[], None] = _nothing  # ends the sessions
        self.on_broken: Callable[[Session, str], None] = _ignore  # ends one session, with a code

    async def run(self) -> None:
        """Connect, serve until the engine goes, connect again; until cancelled."""
        failures = 0
        while True:
            try:
                link = await self._connector.commands()
                events = await self._connector.events(after=link.sequence)
            except ConnectionError as error:
                if failures == 0:
                    log.warning("engine not reachable", error=str(error))
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                continue
            failures = 0
            await self._serve(link, events)

    async def _serve(self, link: Commands, events: Events) -> None:
        self.sequence = link.sequence
        link.on_refused = self._desk.refuse
        self._link = link
        self._desk.open(link.number)
        log.info("engine connected", sequence=link.sequence, epoch=link.epoch)
        reading = asyncio.create_task(self._read(link, events))
        closed = asyncio.create_task(link.closed())
        try:
            await asyncio.wait((reading, closed), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()  # a bug in the gateway: end the process rather than serve without events
        finally:
            reading.cancel()
            closed.cancel()
            self._link = None
            self._desk.forget()
            self._market_clear()
            log.warning("engine lost", sequence=self.sequence)
            self.on_lost()

    async def _read(self, link: Commands, events: Events) -> None:
        """Read events; when only this link is lost, resume after the last sequence seen."""
        while True:
            try:
                async for batch in events:
                    self.on_batch(batch)
            finally:
                events.close()
            log.warning("event link lost, resuming", sequence=self.sequence)
            events = await self._resumed(link.epoch)

    async def _resumed(self, epoch: int) -> Events:
        """A new event link to the same run of the engine, from the last sequence seen."""
        while True:
            await asyncio.sleep(RETRY_SECONDS[0])
            with contextlib.suppress(ConnectionError):
                events = await self._connector.events(after=self.sequence)
                if events.epoch == epoch:
                    return events
                events.close()

    def receive(self, batch: Records) -> None:
        """One batch of events of whole commands, to everyone here whom it concerns."""
        assert self.dispatcher is not None
        market, private = self.dispatcher.market, self.dispatcher.private
        if self._desk.waiting:
            mine = batch
            if len(batch) > SMALL_BATCH_ROWS:  # below, looking at every row costs less than selecting some
                mine = select(batch, self._desk.tells(batch))
            self._desk.answer(codec.rows_of(mine))
        if private.serving:
            concerned = private.concerned(batch)
            for session in private.apply(codec.rows_of(select(batch, concerned))):
                self.on_broken(session, "slow_consumer")
        if market.watching:
            market.apply(codec.rows_of(select(batch, market.watched[batch["instrument"]])))
        self.sequence = int(batch["sequence"][-1])

    def flush(self) -> None:
        """Send the commands of this turn as one frame."""
        commands = self._desk.take_commands()
        if commands and self._link is not None:
            try:
                self._link.send(codec.commands_from(commands))
            except ConnectionError:
                return  # `closed` returns next and ends the sessions

    async def query(self, kind: Command, *, account: int = -1, instrument: int = -1) -> Records:
        """Ask the engine. Raises Refusal engine_unavailable."""
        if self._link is None:
            raise Refusal("engine_unavailable")
        try:
            rows = await self._link.query(kind, account=account, instrument=instrument)
        except ConnectionError:
            raise Refusal("engine_unavailable") from None
        if rows["reason"][-1]:  # turned away at the door
            raise Refusal(reason_code(int(rows["reason"][-1])))
        return rows

    async def resume(
        self, session: Session, resume_from: messages.ResumeFrom | None, request_id: str
    ) -> None:
        """Join the private stream: respond, replay from the event log what was missed, continue live."""
        assert self.dispatcher is not None
        stream = self.dispatcher.private.join(session)
        try:
            rows = await self.query(Command.QUERY_BALANCES, account=session.member)
            position, until = account_position(rows)
            start = position if resume_from is None else resume_from.account_sequence
            if start > position:
                raise Refusal("resume_ahead", "$.resume_from.account_sequence")
        except Refusal:
            self.dispatcher.private.leave(session)
            raise
        stream.last = start
        answer = answers.Subscribed(id=request_id, channel="private", account_sequence=start)
        session.outbox.send(codec.encode(answer))
        hint = resume_from.sequence if resume_from else 0
        fault = await self._replay(stream, position, until, hint - 1 if hint else ALL_KEPT)
        if fault in (_NOT_THERE, _CUT) and hint:  # a wrong hint, or turned away: search all that there is
            fault = await self._replay(stream, position, until, ALL_KEPT)
        if fault or not stream.go_live():
            self.on_broken(session, fault or "slow_consumer")

    async def _replay(self, stream: PrivateStream, position: int, until: int, after: int) -> str:
        """Send the account's events up to `position`; return "" or, as an error's code, why not all came."""
        if stream.last >= position:
            return ""
        try:
            link = await self._connector.events(after=after, account=stream.account, until=until)
        except ConnectionError:
            return _CUT
        try:
            async for batch in link:
                for account, account_sequence, event in changes(codec.rows_of(batch)):
                    wanted = account == stream.account and account_sequence <= position
                    if wanted and not stream.replay(account_sequence, text_frame(codec.encode(event))):
                        return _NOT_THERE
                if not await _drained(stream.session):
                    return "slow_consumer"
        finally:
            link.close()
        if stream.last == position:
            return ""
        return _NOT_THERE if link.complete else _CUT

    def _market_clear(self) -> None:
        assert self.dispatcher is not None
        self.dispatcher.market.clear()


async def _drained(session: Session) -> bool:
    """Wait until the peer has read most of what was replayed; False when it reads nothing for too long."""
    deadline = monotonic() + REPLAY_STALL_SECONDS
    while session.outbox.backlog > OUTBOX_PUBLIC_BYTES_MAX:
        if session.ended or monotonic() > deadline:
            return False
        await asyncio.sleep(REPLAY_POLL_SECONDS)
    return not session.ended


def _nothing() -> None:
    """Nobody listens."""


def _ignore(session: Session, code: str) -> None:
    """Nobody listens."""
