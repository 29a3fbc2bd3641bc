"""The one file of the gateway that touches aiohttp: sockets in and out, timers, start and stop.

Law: it decides nothing about the protocol. Frames go to the Dispatcher as bytes; what the outboxes hold at
the end of a turn of the loop leaves in one transport write per connection, and the turn's commands in one
frame to the engine.

    receive --> Dispatcher --> commands, frames --call_soon--> flush: one engine frame, one write per
    connection events ---> EngineFeed --> frames ------------------------^
"""

import asyncio
import contextlib
import errno
import itertools
import socket
from collections.abc import Callable, Coroutine
from time import time_ns
from typing import Any, Final

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from engine import requests
from engine.records import Records
from gateway import codec, pushes
from gateway.config import Config, ConfigError
from gateway.directory import Directory
from gateway.dispatch import Dispatcher, SessionOver
from gateway.engine_feed import Connector, EngineFeed, SocketConnector
from gateway.errors import Refusal, text_of
from gateway.notation import NS_PER_S, time_text
from gateway.outbox import Outbox
from gateway.session import Session
from gateway.settlement_link import SettlementLink
from gateway.trading import TradingDesk, error_of, rejection

SUBPROTOCOL: Final = "lecong.v1.json"
FRAME_BYTES_MAX: Final = 64 << 10
SEND_BUFFER_BYTES: Final = (
    128 << 10
)  # of the kernel; loopback otherwise swallows 4 MB before a slow peer shows
CONNECTIONS_MAX: Final = 10_000
BACKLOG_CONNECTIONS_MAX: Final = 1024
HEARTBEAT_SECONDS: Final = 15.0  # a peer that is silent for two of them is gone
STALE_CHECK_SECONDS: Final = 0.1
CLOSE_SECONDS: Final = 2.0  # for the closing handshake
SHUTDOWN_NOTICE_SECONDS: Final = 0.25
DIRECTORY_SAVE_SECONDS: Final = 0.2  # changes within this are saved together

log = structlog.get_logger(__name__)


class _Socket(web.WebSocketResponse):
    """aiohttp's WebSocket that names the error before it closes on an oversized frame."""

    before_too_big: Callable[[], None]

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close; 1009 is announced by an error frame and a reason."""
        if code == WSCloseCode.MESSAGE_TOO_BIG and not message:
            self.before_too_big()
            message = b"frame_too_large"
        return await super().close(code=code, message=message, drain=drain)


class Connection:
    """One socket with its session and outbox."""

    __slots__ = ("ending", "outbox", "session", "socket", "transport")

    def __init__(
        self,
        number: str,
        socket_: _Socket,
        transport: asyncio.Transport,
        wake: Callable[["Connection"], None],
    ) -> None:
        self.socket = socket_
        self.transport = transport
        self.outbox = Outbox(lambda _: wake(self), transport.get_write_buffer_size)
        self.session = Session(number, self.outbox)
        self.ending = False

    def write(self) -> None:
        """Everything that waits, in one write."""
        data = self.outbox.take()
        if not self.transport.is_closing():
            self.transport.write(data)


class Gateway:
    """One worker: its sessions, its links, its timers. The composition root of the package."""

    def __init__(self, config: Config, connector: Connector | None = None) -> None:
        """Wire the parts."""
        location = config.location
        self.config = config
        self.directory = Directory()
        self.desk = TradingDesk()
        self.feed = EngineFeed(
            connector or SocketConnector(location.engine_commands, location.engine_events), self.desk
        )
        self.settlement = SettlementLink(
            location.settlement_requests, self._directory_changed, self._directory_current
        )
        self.dispatcher = Dispatcher(self.desk, self.feed, self.settlement, self.directory, self._spawn)
        self.feed.dispatcher = self.dispatcher
        self.feed.on_batch = self._events_came
        self.feed.on_lost = self._engine_lost
        self.feed.on_broken = self.dispatcher.on_broken = self._session_broken
        self.port = 0
        self._connections: dict[Session, Connection] = {}
        self._last_left = asyncio.Event()
        self._numbers = itertools.count(1)
        self._dirty: list[Connection] = []
        self._flush_due = False
        self._turn_ns = 0  # when this turn's first frame came; 0: none yet
        self._save_due = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._failed: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Listen. Raises ConfigError when that is not possible as told."""
        self.config.check()
        context = self.config.ssl_context()
        listening = listen(self.config)
        self.port = listening.getsockname()[1]
        self.directory.load(self.config.location.gateway)
        application = web.Application()
        application.router.add_get("/ws", self._websocket)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        self.begin()
        await web.SockSite(
            self._runner, listening, ssl_context=context, backlog=BACKLOG_CONNECTIONS_MAX
        ).start()

    def begin(self) -> None:
        """Start the links to engine and settlement, and the timers."""
        self._failed = asyncio.get_running_loop().create_future()
        for task in (self.feed.run(), self.settlement.run(), self._heartbeat(), self._refresh_stale()):
            self._spawn_vital(task)

    async def failed(self) -> None:
        """Wait for ever; raises what ended one of the tasks that the gateway cannot be without."""
        assert self._failed is not None
        await self._failed

    async def stop(self) -> None:
        """Announce the end, close every session with 1012, stop."""
        self.desk.available = False
        if self._connections:
            self._last_left.clear()
            self._end_all("shutting_down")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_left.wait(), SHUTDOWN_NOTICE_SECONDS + CLOSE_SECONDS)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if len(self._connections) >= CONNECTIONS_MAX:
            body = codec.encode(rejection(None, Refusal("too_many_connections")))
            return web.Response(status=503, body=body, content_type="application/json")
        socket_ = _Socket(
            protocols=(SUBPROTOCOL,),
            compress=False,
            max_msg_size=FRAME_BYTES_MAX + 1,  # aiohttp refuses a frame that reaches its maximum
            autoping=False,
            decode_text=False,
            timeout=CLOSE_SECONDS,
        )
        await socket_.prepare(request)
        assert request.transport is not None
        await self.attend(socket_, request.transport)
        return socket_

    async def attend(self, socket_: _Socket, transport: asyncio.Transport) -> None:
        """Serve one open connection until it ends."""
        connection = Connection(f"c{next(self._numbers)}", socket_, transport, self._wake)
        socket_.before_too_big = lambda: self._announce_error(connection, "frame_too_large")
        session = connection.session
        self._connections[session] = connection
        seconds = self.config.logon_seconds
        deadline = asyncio.get_running_loop().call_later(seconds, self._logon_overdue, connection)
        session.outbox.send(codec.encode(session.hello(time_ns(), seconds)))
        try:
            await self._serve(connection)
        finally:
            deadline.cancel()
            self._connections.pop(session, None)
            if not self._connections:
                self._last_left.set()
            self._leave(session)

    async def _serve(self, connection: Connection) -> None:
        receive, dispatch = connection.socket.receive, self.dispatcher.receive
        session, outbox = connection.session, connection.outbox
        while True:
            message = await receive()
            if message.type is WSMsgType.TEXT:
                if not self._turn_ns:
                    self._turn_ns = time_ns()
                    if not self._flush_due:
                        self._schedule_flush()
                try:
                    dispatch(session, message.data, self._turn_ns)
                except SessionOver:
                    await self._close(connection, WSCloseCode.POLICY_VIOLATION, "too_much_before_logon")
                    return
            elif message.type is WSMsgType.PING:
                session.heard = True
                outbox.pong(bytes(message.data))
            elif message.type is WSMsgType.PONG:
                session.heard = True
            elif message.type is WSMsgType.BINARY:
                outbox.send(codec.encode(rejection(None, Refusal("not_text"))))
            else:
                return

    def _wake(self, connection: Connection) -> None:
        self._dirty.append(connection)
        if not self._flush_due:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        self._flush_due = True
        asyncio.get_running_loop().call_soon(self._flush)

    def _events_came(self, batch: Records) -> None:
        self._flush_due = True  # the flush below is this turn's
        self.feed.receive(batch)
        self._flush()

    def _flush(self) -> None:
        """The end of a turn: one frame to the engine, one write per connection."""
        self._flush_due = False
        self._turn_ns = 0
        self.feed.flush()
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.write()
            if connection.outbox.overflowed and not connection.ending:
                self._end(connection, "slow_consumer", WSCloseCode.POLICY_VIOLATION)

    def _end(self, connection: Connection, code: str, close_code: int) -> None:
        """Say why and close."""
        if not connection.ending:
            connection.ending = True
            self._leave(connection.session)
            self._announce_error(connection, code)
            self._spawn(self._close(connection, close_code, code))

    def _leave(self, session: Session) -> None:
        """The connection is gone; the end of its session goes to the engine in this turn."""
        self.dispatcher.leave(session)
        if not self._flush_due:
            self._schedule_flush()

    def _announce_error(self, connection: Connection, code: str) -> None:
        connection.outbox.send(codec.encode(pushes.Failed(error=error_of(code))))
        connection.write()

    async def _close(self, connection: Connection, close_code: int, reason: str) -> None:
        connection.ending = True
        connection.write()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(2 * CLOSE_SECONDS):
                await connection.socket.close(code=close_code, message=reason.encode(), drain=False)
        if connection.transport is not None:
            connection.transport.abort()

    def _end_all(self, code: str) -> None:
        """Announce a shutdown to every session and close with 1012."""
        text = text_of(code)
        close_ns = time_ns() + int(SHUTDOWN_NOTICE_SECONDS * NS_PER_S)
        notice = codec.encode(
            pushes.Shutdown(
                code=code,
                message=text.english,
                message_zh=text.chinese,
                close_at=time_text(close_ns),
                close_at_ns=close_ns,
            )
        )
        for connection in list(self._connections.values()):
            if connection.ending or (code == "engine_unavailable" and not connection.session.logged_on):
                continue
            connection.ending = True
            self.dispatcher.leave(connection.session)
            connection.outbox.send(notice)
            self._spawn(self._close(connection, WSCloseCode.SERVICE_RESTART, code))

    def _engine_lost(self) -> None:
        self._end_all("engine_unavailable")

    def _session_broken(self, session: Session, code: str) -> None:
        connection = self._connections.get(session)
        if connection is not None:
            restart = code == "engine_unavailable"  # a replay was cut: not the peer's fault
            self._end(
                connection, code, WSCloseCode.SERVICE_RESTART if restart else WSCloseCode.POLICY_VIOLATION
            )

    def _logon_overdue(self, connection: Connection) -> None:
        if not connection.session.logged_on:
            self._end(connection, "logon_timeout", WSCloseCode.POLICY_VIOLATION)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for connection in list(self._connections.values()):
                if connection.session.heard:
                    connection.session.heard = False
                    connection.outbox.ping()
                else:
                    connection.transport.abort()

    async def _refresh_stale(self) -> None:
        while True:
            await asyncio.sleep(STALE_CHECK_SECONDS)
            for connection in list(self._connections.values()):
                if connection.outbox.stale:
                    self.dispatcher.market.refresh_stale(connection.outbox)

    def _directory_changed(self, answer: requests.Answer) -> None:
        self.directory.merge(answer.members or (), answer.lots or ())
        if not self._save_due:
            self._save_due = True
            asyncio.get_running_loop().call_later(DIRECTORY_SAVE_SECONDS, self._save_directory)

    def _directory_current(self, current: bool) -> None:
        self.directory.current = current

    def _save_directory(self) -> None:
        self._save_due = False
        try:
            self.directory.save(self.config.location.gateway)
        except OSError as error:
            log.warning(
                "the directory could not be saved; logon needs settlement after a restart", error=str(error)
            )

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _spawn_vital(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._vital_ended)

    def _vital_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and self._failed is not None and not self._failed.done():
            self._failed.set_exception(task.exception() or RuntimeError("a task of the gateway ended"))


def listen(config: Config) -> socket.socket:
    """A listening socket with a small send buffer, which accepted ones inherit. Raises ConfigError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if config.share_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port_in_use: {config.host}:{config.port} is taken by another program; "
                "stop that one or set LECONG_PORT"
            ) from error
        raise ConfigError(
            f"cannot_listen: {config.host}:{config.port}: {error.strerror}; set LECONG_HOST and LECONG_PORT"
        ) from error
    listening.setblocking(False)
    return listening
