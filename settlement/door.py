"""Settlement's door: requests that are not orders, over a Unix socket, in the messages of engine.requests.

    connection ─▶ length + JSON ─▶ request ─▶ register or reader ─▶ answer
                                  directory ─▶ whole now ─▶ changes as they are posted

Law: everything is bounded (connections, message bytes, unanswered requests, unread pushes), and what does not
fit gets a named failure or loses its connection; a subscriber that lost its connection asks for the whole
again.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine.requests import (
    LENGTH_BYTES,
    MESSAGE_BYTES_MAX,
    AddMember,
    Answer,
    AnyRequest,
    Busts,
    ConfirmBust,
    Contracts,
    Deposit,
    Directory,
    Entries,
    Failure,
    LotRow,
    MemberRow,
    ProposeBust,
    RegisterLot,
    RejectBust,
    Withdraw,
)
from settlement.busts import BustDesk
from settlement.clearing import Batch
from settlement.reads import Reader
from settlement.register import Refusal, Register
from settlement.store import DatabaseDown

CONNECTIONS_MAX: Final = 64
PENDING_MAX: Final = 256  # unanswered requests of one connection
PUSHES_MAX: Final = 1024  # unread answers and pushes of one connection
ROWS_PER_MESSAGE: Final = 4096  # members with a key or two each stay far below MESSAGE_BYTES_MAX

log = structlog.get_logger("door")
decode: Final = msgspec.json.Decoder(AnyRequest).decode
encode: Final = msgspec.json.Encoder().encode


class Door:
    """Serves the socket; `posted` is to be called with every batch that stands in the books."""

    def __init__(self, register: Register, busts: BustDesk, reader: Reader) -> None:
        """Answer from `register`, `busts` and `reader`."""
        self._register = register
        self._busts = busts
        self._reader = reader
        self._visitors: set[_Visitor] = set()
        self._server: asyncio.Server | None = None

    async def open(self, path: Path) -> None:
        """Listen at `path`, replacing a socket that an earlier, killed program left."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._visit, path)

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for visitor in tuple(self._visitors):
            visitor.hang_up()

    async def posted(self, batch: Batch) -> None:
        """Push new members and lots to the directory's subscribers; without a database they ask again."""
        applied = batch.outcomes.number[batch.outcomes.applied].tolist()
        subscribers = [visitor for visitor in self._visitors if visitor.subscribed]
        if not subscribers or not (len(batch.new_members) or len(batch.new_lots)):
            return
        try:
            members = await self._reader.members(applied) if len(batch.new_members) else ()
            lots = await self._reader.lots(applied) if len(batch.new_lots) else ()
        except DatabaseDown:
            for visitor in subscribers:
                visitor.hang_up()
            return
        for visitor in subscribers:
            visitor.push(members, lots)

    def look_again(self) -> None:
        """Members or lots may stand in the books that were not pushed: the subscribers ask for the whole."""
        for visitor in [visitor for visitor in self._visitors if visitor.subscribed]:
            visitor.hang_up()

    async def _visit(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitor = _Visitor(writer)
        if len(self._visitors) >= CONNECTIONS_MAX:
            visitor.send(Answer(id=0, failure=Failure(code="too_many_connections", message="", retry=True)))
            await visitor.close()
            return
        self._visitors.add(visitor)
        try:
            while (message := await _message(stream)) is not None:
                self._take(visitor, message)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the visitor left in the middle of a message
        finally:
            self._visitors.discard(visitor)
            await visitor.close()

    def _take(self, visitor: "_Visitor", message: bytes) -> None:
        """Decode one request and start answering it."""
        try:
            request = decode(message)
        except msgspec.MsgspecError as error:
            visitor.send(_failed(_id_of(message), Failure(code="malformed_request", message=str(error))))
            return
        if len(visitor.tasks) >= PENDING_MAX:
            failure = Failure(code="queue_full", message="wait for answers before asking more", retry=True)
            visitor.send(_failed(request.id, failure))
            return
        task = asyncio.ensure_future(self._serve(visitor, request))
        visitor.tasks.add(task)
        task.add_done_callback(visitor.tasks.discard)

    async def _serve(self, visitor: "_Visitor", request: AnyRequest) -> None:
        """Answer one request; a failure is an answer too."""
        try:
            if isinstance(request, Directory):
                await self._subscribe(visitor, request.id)
            else:
                visitor.send(await self.answer(request))
        except Refusal as refusal:
            visitor.send(_failed(request.id, refusal.failure))
        except DatabaseDown as error:
            log.warning("request meets no database", error=str(error))
            message = "the database is down; trading goes on, try again shortly"
            failure = Failure(code="settlement_unavailable", message=message, retry=True)
            visitor.send(_failed(request.id, failure))
        except Exception:
            log.exception("request failed", request=type(request).__name__)
            message = "a fault in settlement; it was logged, tell the operator"
            visitor.send(_failed(request.id, Failure(code="internal_error", message=message)))

    async def answer(self, request: AnyRequest) -> Answer:
        """The answer to any request but Directory. Raises Refusal, StoreError."""
        match request:
            case AddMember():
                return await self._register.add_member(request)
            case RegisterLot():
                return await self._register.register_lot(request)
            case Deposit():
                return await self._register.deposit(request)
            case Withdraw():
                return await self._register.withdraw(request)
            case Contracts():
                rows = await self._reader.contracts(request.member, request.after, request.limit)
                return Answer(id=request.id, contracts=rows)
            case Entries():
                return Answer(id=request.id, entries=await self._reader.entries(request.contract))
            case ProposeBust():
                return await self._busts.propose(request)
            case ConfirmBust():
                return await self._busts.confirm(request)
            case RejectBust():
                return await self._busts.reject(request)
            case Busts():
                return await self._busts.proposals(request)
        raise AssertionError(request)

    async def _subscribe(self, visitor: "_Visitor", request_id: int) -> None:
        """The whole directory, then changes. Subscribed first: a change may come twice, none is missed.

        Members come first and in parts if they are many; the last part of the lots, perhaps empty, carries
        the request's id and says that the whole has been sent.
        """
        visitor.subscribed = True
        members, lots = await self._reader.members(), await self._reader.lots()
        last = max(0, (len(lots) - 1) // ROWS_PER_MESSAGE * ROWS_PER_MESSAGE)
        visitor.push(members, lots[:last])
        visitor.send(Answer(id=request_id, lots=lots[last:]))


class _Visitor:
    """One connection: its unanswered requests, and a bounded queue of what it has not read yet."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._unread: asyncio.Queue[Answer] = asyncio.Queue(PUSHES_MAX)
        self._sender = asyncio.ensure_future(self._write())
        self.tasks: set[asyncio.Future[None]] = set()
        self.subscribed = False

    def send(self, answer: Answer) -> None:
        """Queue an answer; who does not read loses the connection."""
        try:
            self._unread.put_nowait(answer)
        except asyncio.QueueFull:
            log.warning("a slow reader is disconnected")
            self.hang_up()

    def push(self, members: Sequence[MemberRow], lots: Sequence[LotRow]) -> None:
        """Queue rows of the directory, in parts that fit a message."""
        for start in range(0, len(members), ROWS_PER_MESSAGE):
            self.send(Answer(id=0, members=tuple(members[start : start + ROWS_PER_MESSAGE])))
        for start in range(0, len(lots), ROWS_PER_MESSAGE):
            self.send(Answer(id=0, lots=tuple(lots[start : start + ROWS_PER_MESSAGE])))

    def hang_up(self) -> None:
        """End the connection now; unsent answers are lost."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what is queued, if it is read at once, and close. Requests under way go on."""
        with contextlib.suppress(OSError, TimeoutError):
            if not self._writer.is_closing():
                await asyncio.wait_for(self._unread.join(), 1.0)
        self._sender.cancel()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                body = encode(await self._unread.get())
                self._writer.write(len(body).to_bytes(LENGTH_BYTES, "little") + body)
                self._unread.task_done()
                await self._writer.drain()


async def _message(stream: asyncio.StreamReader) -> bytes | None:
    """The next message; None when the visitor has left, or sends more than is permitted."""
    try:
        length = int.from_bytes(await stream.readexactly(LENGTH_BYTES), "little")
    except asyncio.IncompleteReadError:
        return None
    if length > MESSAGE_BYTES_MAX:
        log.warning("an oversized message is refused", bytes=length, bytes_max=MESSAGE_BYTES_MAX)
        return None
    return await stream.readexactly(length)


def _failed(request_id: int, failure: Failure) -> Answer:
    return Answer(id=request_id, failure=failure)


class _Identified(msgspec.Struct):
    id: int = 0


def _id_of(message: bytes) -> int:
    """The id of a message that is otherwise malformed, 0 if it has none."""
    try:
        return msgspec.json.decode(message, type=_Identified).id
    except msgspec.MsgspecError:
        return 0
