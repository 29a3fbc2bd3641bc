"""The other programs' end of the engine's two sockets: commands in, events out.

Law: commands and events travel on separate links; only the loss of a command link ends the sessions on it
(design 3).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Self, cast

import numpy as np

from engine.frames import COMMANDS_MAX, Frame, FrameReader, LinkDownError, LinkError, frame
from engine.records import EVENT, ORDER, Records, commands_of, joined
from engine.vocabulary import RECORD_VERSION, Command, Event, Reason

HELLO_S: Final = 5.0
UNREAD_BATCHES_MAX: Final = 64  # then the socket is left alone until the reader has caught up
SETTLEMENT: Final = 1  # the one keeper of books whose cursor holds the logs
UNSENT_BYTES_MAX: Final = 64 << 20  # of commands that the engine does not take; then it counts as gone


def _ignore(refused: Records) -> None:
    """Nobody asked to hear of refusals."""


class _Link(asyncio.Protocol):
    """What both links share: frames in, the engine's greeting, and the end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._hello: asyncio.Future[Records] = loop.create_future()
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self.epoch = 0
        self.sequence = 0
        self.number = 0  # of a command link: what the tags of its sessions begin with (engine.sessions)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        try:
            for kind, records in self._reader.feed(data):
                if kind is Frame.HELLO:
                    self._greeted(records)
                else:
                    self._receive(kind, records)
        except LinkError:
            self.close()

    def _greeted(self, records: Records) -> None:
        if self._hello.done():
            raise LinkError("the engine greets once")
        row = records.view(ORDER)[0]
        self.epoch, self.sequence = int(row["order_id"]), int(row["sequence"])
        self.number = int(row["tag"])
        self._hello.set_result(records)

    def connection_lost(self, error: Exception | None) -> None:
        self._gone.set()
        if not self._hello.done():
            self._hello.set_exception(
                LinkDownError("the engine closed the link before it greeted; is it starting?")
            )
            self._hello.exception()
        self._lost()

    def _receive(self, kind: Frame, records: Records) -> None:
        raise NotImplementedError

    def _lost(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    async def closed(self) -> None:
        """Return when the engine is gone."""
        await self._gone.wait()

    @classmethod
    async def _dial(cls, path: Path) -> Self:
        loop = asyncio.get_running_loop()
        link: Self | None = None
        try:
            _, link = await loop.create_unix_connection(cls, str(path))
            await asyncio.wait_for(asyncio.shield(link._hello), HELLO_S)
        except BaseException as error:
            if link is not None:
                link.close()
            if not isinstance(error, OSError | TimeoutError):
                raise
            raise LinkDownError(
                f"the engine does not answer on {path} ({error or 'silence'}); start it, or wait while it "
                "recovers"
            ) from error
        return link

    def _write(self, kind: Frame, records: Records) -> None:
        """Send one frame in one write. Raises LinkDownError."""
        if self._transport is None or self._transport.is_closing():
            raise LinkDownError("the engine is gone; connect again")
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self._transport.abort()
            raise LinkDownError("the engine does not read; connect again when it does")
        self._transport.write(frame(kind, records))


class CommandLink(_Link):
    """Commands and questions to the engine."""

    def __init__(self) -> None:
        super().__init__()
        self.on_refused: Callable[[Records], None] = _ignore
        self._questions: dict[int, tuple[asyncio.Future[Records], list[Records]]] = {}
        self._asked = 0

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Connect to location.engine_commands. Raises LinkDownError."""
        return await cls._dial(path)

    def send(self, commands: Records) -> None:
        """Send COMMAND records at once, as one frame up to COMMANDS_MAX. Raises LinkDownError."""
        for at in range(0, len(commands), COMMANDS_MAX):
            self._write(Frame.COMMANDS, commands[at : at + COMMANDS_MAX])

    async def query(self, kind: Command, *, account: int = -1, instrument: int = -1) -> Records:
        """The rows that answer a question, last END with the state's sequence. Raises LinkDownError; also
        when too many questions wait at the engine.
        """
        question = {"kind": kind, "account": account, "instrument": instrument}
        rows = await self._answer(Frame.QUERY, question)
        if rows["reason"][-1] == Reason.QUEUE_FULL:
            raise LinkDownError("too many questions wait at the engine; ask again")
        return rows

    async def snapshot(self) -> int:
        """Have the engine take a snapshot; return its sequence, 0 when it failed. Raises LinkDownError."""
        return int((await self._answer(Frame.SNAPSHOT, {}))["sequence"][-1])

    async def _answer(self, kind: Frame, question: dict[str, int]) -> Records:
        self._asked += 1
        tag = self._asked
        answer: asyncio.Future[Records] = asyncio.get_running_loop().create_future()
        self._questions[tag] = (answer, [])
        try:
            self._write(kind, commands_of(question | {"tag": tag}))
            return await answer
        finally:
            self._questions.pop(tag, None)

    def _receive(self, kind: Frame, records: Records) -> None:
        if kind is Frame.REFUSED:
            self.on_refused(records)
        elif kind is Frame.REPLY and (question := self._questions.get(int(records["tag"][0]))) is not None:
            answer, parts = question
            parts.append(records)
            if records["kind"][-1] == Event.END and not answer.done():
                answer.set_result(joined(parts))

    def _lost(self) -> None:
        for answer, _ in self._questions.values():
            if not answer.done():
                answer.set_exception(LinkDownError("the engine went away before it answered; ask again"))


class EventLink(_Link):
    """The engine's events after a sequence, in whole commands, as an asynchronous iterator."""

    def __init__(self) -> None:
        super().__init__()
        self.complete = False  # all that was asked for, up to `until`, has come
        self._batches: asyncio.Queue[Records | None] = asyncio.Queue()
        self._paused = False

    @classmethod
    async def connect(cls, path: Path, *, after: int, account: int = -1, until: int = 0) -> Self:
        """Subscribe on location.engine_events to what follows command `after`, of one account or of all (-1).
        ALL_KEPT: to all that the engine still keeps; it hangs up on who wants more.

        `until` is the sequence at which it ends, then `complete`, 0 for never; it also ends when the engine
        goes.
        Raises LinkDownError.
        """
        link = await cls._dial(path)
        link._write(Frame.SUBSCRIBE, commands_of({"sequence": after, "account": account, "due_ns": until}))
        return link

    def booked(self, sequence: int, keeper: int) -> None:
        """Tell the engine that `keeper` has booked everything up to `sequence`, on the medium: it may archive
        that. Raises LinkDownError.
        """
        self._write(Frame.CURSOR, commands_of({"sequence": sequence, "tag": keeper}))

    async def __aiter__(self) -> AsyncIterator[Records]:
        while (batch := await self._batches.get()) is not None:
            if self._paused and self._batches.qsize() < UNREAD_BATCHES_MAX // 2:
                self._listen(True)
            yield batch
        self._batches.put_nowait(None)  # the end stays the end for whoever iterates again

    def _receive(self, kind: Frame, records: Records) -> None:
        if kind is Frame.EVENTS:
            self._batches.put_nowait(records)
            if not self._paused and self._batches.qsize() >= UNREAD_BATCHES_MAX:
                self._listen(False)
        elif kind is Frame.REPLY:
            self.complete = True

    def _listen(self, listening: bool) -> None:
        self._paused = not listening
        if self._transport is None or self._transport.is_closing():
            return
        if listening:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _lost(self) -> None:
        self._batches.put_nowait(None)


def hello(epoch: int, sequence: int, number: int = 0) -> bytes:
    """The engine's greeting on either socket; a command link also hears its number."""
    row = np.zeros(1, EVENT)
    row["sequence"], row["order_id"], row["tag"] = sequence, epoch, number
    return frame(Frame.HELLO, row)


def range_end(sequence: int) -> bytes:
    """What the engine says behind the last event of a range: all up to `sequence` was sent."""
    row = np.zeros(1, EVENT)
    row["version"], row["kind"], row["sequence"] = RECORD_VERSION, Event.END, sequence
    return frame(Frame.REPLY, row)
