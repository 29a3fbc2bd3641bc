"""The gateway's line to settlement: requests that are not orders, and the directory that settlement pushes.

Law: nothing here is needed for trading. While settlement is away requests are refused
(`settlement_unavailable`) and the link keeps trying; requests are repeatable by their natural keys, so a
caller may simply ask again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine import requests
from gateway.errors import Refusal

REQUEST_SECONDS: Final = 10.0
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)  # the last one repeats
WAITING_MAX: Final = 1024  # requests under way at once

log = structlog.get_logger(__name__)
_decode: Final = msgspec.json.Decoder(requests.Answer).decode


class SettlementLink:
    """One connection to settlement's socket, made again whenever it is lost."""

    def __init__(
        self, path: Path, on_directory: Callable[[requests.Answer], None], on_current: Callable[[bool], None]
    ) -> None:
        self._path = path
        self._on_directory = on_directory  # parts of it, and changes
        self._on_current = on_current  # the whole was sent: yes; the line is lost, changes may be missed: no
        self._directory = 0  # the id of the request for it
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[requests.Answer]] = {}
        self._next = 1

    async def run(self) -> None:
        """Connect, listen, and connect again, until cancelled."""
        failures = 0
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                continue
            failures = 0
            try:
                self._writer = writer
                self._directory = self._number()
                self._write(requests.Directory(id=self._directory))
                await self._listen(reader)
            except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
                log.warning("settlement link lost", error=str(error))
            finally:
                self._writer = None
                self._on_current(False)
                self._fail_waiting()
                writer.close()
            await asyncio.sleep(RETRY_SECONDS[0])

    async def request(self, message: requests.Request) -> requests.Answer:
        """Ask and wait. Raises Refusal with settlement's own code, or settlement_unavailable."""
        if self._writer is None or len(self._waiting) >= WAITING_MAX:
            raise Refusal("settlement_unavailable")
        message.id = self._number()
        future: asyncio.Future[requests.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[message.id] = future
        try:
            self._write(message)
            answer = await asyncio.wait_for(future, REQUEST_SECONDS)
        except TimeoutError:
            raise Refusal("settlement_unavailable") from None
        finally:
            self._waiting.pop(message.id, None)
        return answer

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            length = int.from_bytes(await reader.readexactly(requests.LENGTH_BYTES), "little")
            if length > requests.MESSAGE_BYTES_MAX:
                raise OSError(f"settlement sent a message of {length} bytes")
            answer = _decode(await reader.readexactly(length))
            future = self._waiting.get(answer.id)
            if answer.members is not None or answer.lots is not None:
                self._on_directory(answer)
            if answer.id == self._directory:
                if answer.failure is not None:  # ask again, on a new line
                    raise OSError(f"settlement sent no directory: {answer.failure.message}")
                self._on_current(True)
            if future is not None and not future.done():
                future.set_result(answer)

    def _write(self, message: requests.Request) -> None:
        assert self._writer is not None
        payload = msgspec.json.encode(message)
        self._writer.write(len(payload).to_bytes(requests.LENGTH_BYTES, "little") + payload)

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _fail_waiting(self) -> None:
        for future in self._waiting.values():
            with contextlib.suppress(asyncio.InvalidStateError):
                future.set_exception(Refusal("settlement_unavailable"))
