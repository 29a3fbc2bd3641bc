"""The wire of a client: dial, log on, ask, be told; it reconnects and repeats by itself.

Law: a request ends with one effect and one answer. Requests that may be repeated (by client order id, by a
natural key, or because they only ask) are sent again after a reconnect or a passing fault until `timeout`;
the others end with NetworkError when the connection goes.
"""

import asyncio
import contextlib
import itertools
from time import time_ns
from typing import Any, Final, Self

import aiohttp
import msgspec

from gateway.client.errors import (
    AuthenticationError,
    BaseError,
    ExchangeNotAvailable,
    NetworkError,
    RequestTimeout,
    error_of,
)
from gateway.messages import OnDisconnect
from gateway.session import signed_logon

TIMEOUT_SECONDS: Final = 30.0
RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8)  # back-off; the last one repeats
FRAME_BYTES_MAX: Final = 16 << 20  # answers with many rows are long
HEARTBEAT_SECONDS: Final = 10.0

# Asking again cannot do it twice: a client order id or a natural key names it, or it changes nothing.
REPEATABLE: Final = frozenset(
    {
        "new_order", "pick", "cancel_order", "mass_cancel", "open_orders", "balances", "lots", "listings",
        "instruments",
        "contracts", "entries", "ping", "add_member", "register_lot", "deposit", "withdraw", "set_phase",
        "set_reference", "set_clock", "block_account", "release_account", "bust_trade",
        "confirm_bust", "busts", "subscribe", "unsubscribe",
    }
)  # fmt: skip
PASSING: Final = frozenset(
    {
        "engine_unavailable", "settlement_unavailable", "directory_unavailable", "shutting_down",
        "queue_full", "too_many_in_flight",
    }
)  # fmt: skip
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class _Waiting:
    """A request without an answer yet."""

    __slots__ = ("frame", "future", "repeatable", "sent", "sent_again")

    def __init__(self, frame: bytes, repeatable: bool) -> None:
        self.frame = frame
        self.repeatable = repeatable
        self.sent = self.sent_again = False
        self.future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()


class Connection:
    """The wire of a client: dial, log on, ask, be told; reconnects and repeats by itself."""

    def __init__(
        self,
        url: str,
        seed: bytes,
        *,
        http: aiohttp.ClientSession | None = None,
        cancel_on_disconnect: OnDisconnect = "off",
    ) -> None:
        self.url = url
        self.seed = seed
        self._on_disconnect = cancel_on_disconnect
        self.member = -1
        self.connects = 0  # how often a session was established
        self._http = http
        self._own_http = http is None
        self._socket: aiohttp.ClientWebSocketResponse[Any] | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._numbers = itertools.count(1)
        self._ready = asyncio.Event()
        self._refused: BaseError | None = None
        self._task: asyncio.Task[None] | None = None
        self._healing: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self, timeout: float = TIMEOUT_SECONDS) -> None:
        """Log on. Raises AuthenticationError when refused, NetworkError when not reached within `timeout`."""
        if self._http is None:
            self._http = aiohttp.ClientSession()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            await self.close()
            raise ExchangeNotAvailable(f"{self.url} does not answer; is the exchange running?") from None
        if self._refused is not None:
            refused = self._refused
            await self.close()
            raise refused

    async def close(self) -> None:
        """End the session; requests under way end with NetworkError."""
        tasks = [*self._healing, *([self._task] if self._task else [])]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_waiting(everything=True)
        if self._own_http and self._http is not None:
            await self._http.close()
            self._http = None

    async def request(self, op: str, timeout: float = TIMEOUT_SECONDS, **fields: Any) -> dict[str, Any]:
        """Send a request and return its response. Raises a BaseError of errors.py."""
        repeatable = op in REPEATABLE
        deadline = asyncio.get_running_loop().time() + timeout
        repeated = False
        for attempt in itertools.count():
            answer, sent_again = await self._ask(op, fields, repeatable, deadline)
            repeated |= sent_again
            if answer["ok"]:
                return answer
            passing = repeatable and answer["error"]["code"] in PASSING
            pause = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
            if not passing or asyncio.get_running_loop().time() + pause > deadline:
                error = error_of(answer)
                error.repeated = repeated
                raise error
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _ask(
        self, op: str, fields: dict[str, Any], repeatable: bool, deadline: float
    ) -> tuple[dict[str, Any], bool]:
        """The response, and whether the request was sent more than once for it."""
        if self._refused is not None:
            raise self._refused
        request_id = f"q{next(self._numbers)}"
        waiting = _Waiting(_encode({"op": op, "id": request_id} | fields), repeatable)
        self._waiting[request_id] = waiting
        try:
            if self._socket is not None and self._ready.is_set():
                await self._send_waiting(waiting)
            elif not repeatable:
                raise NetworkError(f"not connected, and {op} is not repeated")
            async with asyncio.timeout_at(deadline):
                return await waiting.future, waiting.sent_again
        except TimeoutError:
            raise RequestTimeout(f"no answer to {op} in time; its outcome is unknown") from None
        finally:
            self._waiting.pop(request_id, None)

    async def say(self, message: dict[str, Any]) -> None:
        """Send without waiting; the response, if any, goes to `_answered`."""
        if self._socket is not None:
            await self._send(_encode(message))

    async def _send_waiting(self, waiting: _Waiting) -> None:
        waiting.sent, waiting.sent_again = True, waiting.sent
        await self._send(waiting.frame)

    async def _send(self, frame: bytes) -> None:
        assert self._socket is not None
        with contextlib.suppress(ConnectionError):  # the read loop notices, reconnects and repeats
            await self._socket.send_frame(frame, aiohttp.WSMsgType.TEXT)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._session()
                failures = 0
            except (aiohttp.ClientError, OSError, TimeoutError):
                failures += 1
            except AuthenticationError as error:
                self._refused = error
                self._fail_waiting(everything=True)
                self._ready.set()
                return
            finally:
                self._socket = None
            self._ready.clear()
            self._fail_waiting(everything=False)
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])

    async def _session(self) -> None:
        assert self._http is not None
        socket = await self._http.ws_connect(
            self.url, max_msg_size=FRAME_BYTES_MAX, compress=0, decode_text=False, heartbeat=HEARTBEAT_SECONDS
        )
        async with socket:
            self._socket = socket
            await self._log_on(socket)
            self.connects += 1
            await self._restore()
            for waiting in list(self._waiting.values()):
                await self._send_waiting(waiting)
            self._ready.set()
            while True:
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                self._receive(_decode(message.data))

    async def _log_on(self, socket: Any) -> None:
        """Answer the challenge. Raises AuthenticationError for good, ConnectionError for now."""
        hello = await _next(socket)
        if "nonce" not in hello:
            raise ConnectionError("the server did not greet")
        logon = signed_logon(self.seed, hello["nonce"], time_ns(), cancel_on_disconnect=self._on_disconnect)
        await socket.send_frame(_encode(logon), aiohttp.WSMsgType.TEXT)
        answer = await _next(socket)
        if not answer.get("ok", False):
            error = error_of(answer) if "error" in answer else NetworkError("no answer to logon")
            if isinstance(error, AuthenticationError):
                raise error
            raise ConnectionError(str(error))
        self.member = answer["member"]

    def _receive(self, message: dict[str, Any]) -> None:
        if "ok" in message:
            waiting = self._waiting.get(message["id"])
            if waiting is not None and not waiting.future.done():
                waiting.future.set_result(message)
            self._answered(message)
        else:
            self._told(message)

    async def _restore(self) -> None:
        """Join again what was joined; called between logon and the first repeated request."""

    def _answered(self, message: dict[str, Any]) -> None:
        """A response came, whoever waits for it."""

    def _told(self, message: dict[str, Any]) -> None:
        """A push came."""

    def _fail_waiting(self, *, everything: bool) -> None:
        for waiting in self._waiting.values():
            if (everything or not waiting.repeatable) and not waiting.future.done():
                error = self._refused or NetworkError("the connection ended; the outcome is unknown")
                waiting.future.set_exception(error)


async def _next(socket: Any) -> dict[str, Any]:
    """The next frame during logon. Raises ConnectionError when there is none."""
    message = await socket.receive(TIMEOUT_SECONDS)
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectionError("the connection ended during logon")
    frame: dict[str, Any] = _decode(message.data)
    return frame
