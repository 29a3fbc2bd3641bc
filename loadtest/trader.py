"""A member with one WebSocket session, who gets every request answered, whatever is killed meanwhile.

Law: asking again never does a thing twice. Orders carry client order ids, registrations their natural keys;
an operator's commands state a target (clock at, phase is, reference is, day empty of ids), so repeating one
before anything else was asked changes nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Self, TypeVar

import aiohttp

from gateway.client import Client, NetworkError, OrderNotFound

Answer = TypeVar("Answer")
PATIENCE_S: Final = 150.0
PAUSE_S: Final = 0.1


async def patiently(ask: Callable[[], Awaitable[Answer]], patience_s: float = PATIENCE_S) -> Answer:
    """What `ask` returns, asked again after every passing fault. Raises the client's errors."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await ask()
        except NetworkError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(PAUSE_S)


class Trader:
    """One key of one member, and the session that it trades through."""

    def __init__(
        self, url: str, seed: bytes, http: aiohttp.ClientSession, patience_s: float = PATIENCE_S
    ) -> None:
        """Nothing is dialled before the first request."""
        self._url, self._seed, self._http = url, seed, http
        self._patience_s = patience_s
        self._client: Client | None = None
        self._dialling = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ask(self, question: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """The answer to `question`, asked again after every passing fault. Raises the client's errors."""

        async def ask() -> Answer:
            return await question(await self.connected())

        return await patiently(ask, self._patience_s)

    async def connected(self) -> Client:
        """The session, logged on. Raises the client's errors."""
        async with self._dialling:
            if self._client is None:
                client = Client(self._url, self._seed, http=self._http)
                try:
                    await client.connect()
                except BaseException:  # also when this task is canceled: the client's own task must end
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def cancel(self, client_order_id: str) -> None:
        """Cancel an own order; one that has ended already was canceled by an earlier asking."""
        try:
            await self.ask(lambda client: client.cancel_order(params={"clientOrderId": client_order_id}))
        except OrderNotFound:
            return

    async def close(self) -> None:
        """End the session."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
