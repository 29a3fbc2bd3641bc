"""Subscribers of the event socket: each is a place in the event log, served at its own pace.

    HELLO ─▶   ◀─ SUBSCRIBE (after, account, until)   ─▶ EVENTS … REPLY (END)   ◀─ CURSOR (sequence, tag) …

Law: a subscriber gets whole commands, in order, without gap or double, from the event log; one that asks for
what the log no longer keeps is turned away. One that asked for a range hears that it has all of it, because
a link that is cut ends as well. A subscriber that keeps books of its own tells how far they are
on the medium (CURSOR): what it has not booked stays in the logs (engine/retention.py).
"""

import asyncio
import contextlib
from typing import Final, Protocol

import numpy as np
import structlog

from engine.event_log import EventLog
from engine.frames import ALL_KEPT, Frame, FrameReader, LinkError, frame
from engine.link import SETTLEMENT, hello, range_end
from engine.records import Records, select
from engine.sequencer import Sequencer
from engine.vocabulary import Event

READ_BYTES: Final = 1 << 18
SUBSCRIBERS_MAX: Final = 1 << 10
KEEPERS: Final = frozenset({SETTLEMENT})
PAIRED: Final = (Event.TRADE, Event.PREVENTED, Event.TRADE_BUSTED)  # other kinds keep another field there


class Server(Protocol):
    """What subscribers need of the engine."""

    epoch: int
    stopping: bool
    sequencer: Sequencer
    events: EventLog


class Subscribers:
    """Everybody on the event socket."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.tasks: set[asyncio.Task[None]] = set()
        self._undecided: set[asyncio.Task[None]] = set()  # that have not said what they want
        self._reading: dict[asyncio.Task[None] | None, int] = {}  # offset of each in the event log
        self.cursors: dict[int, int] = {}  # how far each that keeps books has them, by its tag

    def first_read(self) -> int:
        """The lowest offset in the event log that somebody reads, or its end."""
        return min(self._reading.values(), default=self._server.events.size)

    def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new one, unless there are too many or the engine ends."""
        if self._server.stopping or len(self.tasks) >= SUBSCRIBERS_MAX:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._stream(reader, writer))
        for tasks in (self.tasks, self._undecided):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def say_goodbye(self) -> None:
        """Hang up on those that have not said what they want; the others get what was published."""
        for undecided in self._undecided:
            undecided.cancel()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send one subscriber what it asked for, from the event log, at its own pace, while it is there."""
        frames = FrameReader(records_max=1)
        try:
            writer.write(hello(self._server.epoch, self._server.sequencer.sequence))
            wish, cursors = await _read_wish(reader, frames)
            self._undecided -= {asyncio.current_task()}
            self._note(cursors)
            await self._serve(reader, writer, frames, wish)
            writer.close()
        except LinkError as error:
            structlog.get_logger().warning("a subscriber broke the rules", error=str(error))
        except (ConnectionError, asyncio.CancelledError):
            pass  # it left, or the engine ends
        finally:
            self._reading.pop(asyncio.current_task(), None)
            if not writer.is_closing():
                writer.transport.abort()

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        frames: FrameReader,
        wish: np.void,
    ) -> None:
        """Feed it and listen to it, until one of the two ends."""
        after, account, until = int(wish["sequence"]), int(wish["account"]), int(wish["due_ns"])
        offset = self._place_after(after)
        task = asyncio.current_task()
        self._reading[task] = offset
        feed = asyncio.ensure_future(self._feed(writer, offset, account, until, task))
        heard = asyncio.ensure_future(self._listen(reader, frames))
        try:
            await asyncio.wait((feed, heard), return_when=asyncio.FIRST_COMPLETED)
        finally:
            feed.cancel()
            heard.cancel()
            await asyncio.gather(feed, heard, return_exceptions=True)
        for part in (heard, feed):
            if not part.cancelled():
                part.result()

    def _place_after(self, after: int) -> int:
        """The offset behind command `after`, of ALL_KEPT the first one. Raises LinkError when the command
        behind `after` is not kept any more."""
        events = self._server.events
        offset = events.position_after(after)
        if after != ALL_KEPT and 0 < events.first == offset < events.size:
            kept = int(events.read(offset)["sequence"][0])
            if kept > after + 1:
                raise LinkError(f"events after command {after} are asked for, those from {kept} on are kept")
        return offset

    async def _feed(
        self,
        writer: asyncio.StreamWriter,
        offset: int,
        account: int,
        until: int,
        task: asyncio.Task[None] | None,
    ) -> None:
        events, sequencer = self._server.events, self._server.sequencer
        while not writer.is_closing():
            grown = sequencer.grown
            complete = False
            while offset < events.size and not complete:
                rows = events.read(offset)
                offset += rows.nbytes
                wanted = wanted_events(rows, account, until)
                if len(wanted):
                    writer.write(frame(Frame.EVENTS, wanted))
                    await writer.drain()
                self._reading[task] = offset
                complete = 0 < until <= int(rows["sequence"][-1])
            if complete or 0 < until <= sequencer.sequence:
                writer.write(range_end(until))
                return
            if self._server.stopping:
                return
            await grown.wait()

    async def _listen(self, reader: asyncio.StreamReader, frames: FrameReader) -> None:
        """Take note of its cursors until it hangs up. Raises LinkError."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                self._note(list(frames.feed(data)))

    def _note(self, frames: list[tuple[Frame, Records]]) -> None:
        for kind, records in frames:
            keeper, sequence = int(records["tag"][0]), int(records["sequence"][0])
            if kind is not Frame.CURSOR or keeper not in KEEPERS:
                raise LinkError("after SUBSCRIBE the event socket takes cursors of keepers of books only")
            self.cursors[keeper] = sequence


def wanted_events(events: Records, account: int, until: int) -> Records:
    """The rows up to a sequence (0: all) that concern an account (-1: all)."""
    if until and int(events["sequence"][-1]) > until:
        events = events[: int(np.searchsorted(events["sequence"], until, side="right"))]
    if account >= 0:
        counter = np.isin(events["kind"], PAIRED) & (events["counter_account"] == account)
        return select(events, (events["account"] == account) | counter)
    return events


async def _read_wish(
    reader: asyncio.StreamReader, frames: FrameReader
) -> tuple[np.void, list[tuple[Frame, Records]]]:
    """What the subscriber wants, and what else it has said already."""
    while data := await reader.read(READ_BYTES):
        heard = list(frames.feed(data))
        if heard:
            kind, records = heard[0]
            if kind is not Frame.SUBSCRIBE:
                raise LinkError("the event socket takes one SUBSCRIBE frame of one record")
            wish: np.void = records[0]
            return wish, heard[1:]
    raise ConnectionResetError("the subscriber left before it said what it wants")
