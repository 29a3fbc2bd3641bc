"""The client in ccxt's vocabulary; amounts are decimal.Decimal: tonnes, CNY per tonne, CNY.

Law: what is watched is whole. A book that fails its sequence or checksum is fetched again, a private stream
that shows a gap or a lost connection resumes from its last account_sequence; neither shows anything in
between.

    async with Client("ws://127.0.0.1:8015/ws", seed) as client:
        await client.create_order("RB20-12-SG", "limit", "buy", Decimal("29.880"), Decimal("2260"))
"""

import asyncio
import contextlib
import itertools
import secrets
from collections import deque
from decimal import Decimal
from typing import Any, Final

import aiohttp

from gateway.client import shapes
from gateway.client.book import Book
from gateway.client.connection import TIMEOUT_SECONDS
from gateway.client.errors import BaseError, OperationRejected, OrderNotFound, error_of
from gateway.client.office import Amount, Office
from gateway.messages import OnDisconnect

UNREAD_EVENTS_MAX: Final = 100_000  # of a watch that nobody reads; the oldest go first
LISTINGS_READS_MAX: Final = 10  # times that a reading of listings begins again because its place ended


class Client(Office):
    """One session of one key; `cancel_on_disconnect` says which orders end with its connection."""

    def __init__(
        self,
        url: str,
        seed: bytes,
        *,
        http: aiohttp.ClientSession | None = None,
        cancel_on_disconnect: OnDisconnect = "off",
    ) -> None:
        super().__init__(url, seed, http=http, cancel_on_disconnect=cancel_on_disconnect)
        self.heals = 0  # books and streams that had to be fetched again
        self.account_sequence = -1  # of the last private event; -1 before the private stream was joined
        self._sequence = 0  # of the same event: shortens the server's search
        self._private = False
        self._books: dict[str, Book] = {}
        self._tapes: dict[str, deque[dict[str, Any]]] = {}
        self._orders: deque[dict[str, Any]] = deque(maxlen=UNREAD_EVENTS_MAX)
        self._fills: deque[dict[str, Any]] = deque(maxlen=UNREAD_EVENTS_MAX)
        self._canceling: dict[tuple[str, str], dict[str, Any]] = {}  # under way; the event, once it came
        self._events: deque[dict[str, Any]] = deque(maxlen=UNREAD_EVENTS_MAX)
        self._changed = asyncio.Event()
        self._broken: BaseError | None = None
        self._ids = itertools.count()
        self._id_prefix = secrets.token_hex(4)

    # Public data

    async def fetch_markets(self) -> list[dict[str, Any]]:
        """Every instrument with its precision, limits and phase."""
        answer = await self.request("instruments")
        return [shapes.market(each) for each in answer["instruments"]]

    async def fetch_order_book(self, symbol: str, limit: int | None = None) -> dict[str, Any]:
        """The book now."""
        if symbol in self._books:
            return await self.watch_order_book(symbol, limit, fresh=False)
        book = await self.watch_order_book(symbol, limit)
        await self.unwatch_order_book(symbol)
        return book

    async def watch_order_book(
        self, symbol: str, limit: int | None = None, *, fresh: bool = True
    ) -> dict[str, Any]:
        """The book once it differs from what was handed out last (`fresh`), or as soon as it is whole."""
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = Book()
            await self.request("subscribe", channel="depth", instruments=[symbol])
        while book.sequence == -1 or (fresh and book.sequence == book.shown):
            await self._change()
        book.shown = book.sequence
        return {
            "symbol": symbol,
            "bids": book.levels("bids", limit),
            "asks": book.levels("asks", limit),
            "nonce": book.sequence,
            "timestamp": book.time_ns // 1_000_000,
            "datetime": shapes.datetime(book.time_ns),
        }

    async def unwatch_order_book(self, symbol: str) -> None:
        """Stop watching a book."""
        if self._books.pop(symbol, None) is not None:
            await self.request("unsubscribe", channel="depth", instruments=[symbol])

    async def watch_trades(self, symbol: str) -> list[dict[str, Any]]:
        """The instrument's trades since the last call; waits for at least one."""
        if symbol not in self._tapes:
            self._tapes[symbol] = deque(maxlen=UNREAD_EVENTS_MAX)
            await self.request("subscribe", channel="trades", instruments=[symbol])
        return [shapes.trade(each, symbol) for each in await self._drain(self._tapes[symbol])]

    # Trading

    async def create_order(
        self,
        symbol: str,
        type: str,
        side: str,
        amount: Amount,
        price: Amount | None = None,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Place an order; durable on return. `params`: clientOrderId, lot (of a sell), timeInForce ("GTC"),
        stopPrice, displayAmount, minAmount, postOnly, selfTradeMode, expireAt (RFC 3339),
        keepOnDisconnect."""
        extra = params or {}
        answer = await self.request(
            "new_order",
            client_order_id=extra.get("clientOrderId") or self.client_order_id(),
            instrument=symbol,
            side=side,
            type=type,
            quantity=str(amount),
            time_in_force=str(extra.get("timeInForce", "day")).lower(),
            lot=str(extra.get("lot", "")),
            **shapes.order_fields(price, extra),
        )
        return shapes.order(answer, symbol, side)

    async def edit_order(
        self,
        id: str,
        symbol: str | None = None,
        type: str | None = None,
        side: str = "",
        amount: Amount | None = None,
        price: Amount | None = None,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Change an order's total amount, price or params stopPrice; params clientOrderId names it instead
        of `id`, params remaining is what is to be left. Not repeated by itself: ask on NetworkError."""
        extra = params or {}
        fields = {"price": price, "quantity": amount, "stop_price": extra.get("stopPrice")}
        fields["leaves"] = extra.get("remaining")
        answer = await self.request(
            "replace_order",
            order_id=id,
            client_order_id=extra.get("clientOrderId", ""),
            **dict[str, Any]({name: str(value) for name, value in fields.items() if value is not None}),
        )
        return shapes.edited(answer, symbol, side)

    async def cancel_all_orders(self, symbol: str | None = None, side: str | None = None) -> int:
        """Cancel all live orders, of one instrument or side if named. Returns how many that were."""
        return int((await self.request("mass_cancel", instrument=symbol, side=side))["canceled"])

    async def cancel_all_orders_after(self, timeout: int) -> dict[str, Any]:
        """The dead-man timer: this session's orders end in `timeout` milliseconds unless it is set again by
        then; 0 stops it."""
        answer = await self.request("cancel_all_after", timeout_ms=timeout)
        return {"triggerTime": answer["due_at_ns"] // 1_000_000, "info": answer}

    async def cancel_order(
        self, id: str = "", symbol: str | None = None, params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Cancel by order id, or by params clientOrderId. Raises OrderNotFound when no such order is live.

        When the connection broke and the repeat finds no live order, the first asking may have canceled it:
        then `status` is "canceled" if the private stream, where it is watched, says so, and otherwise None:
        live no more, by that cancel, a fill, or long before; `filled` is None too.
        """
        client_order_id = (params or {}).get("clientOrderId", "")
        name = ("order_id", id) if id else ("client_order_id", client_order_id)
        self._canceling[name] = {}
        try:
            answer = await self.request("cancel_order", order_id=id, client_order_id=client_order_id)
        except OrderNotFound as error:
            if not error.repeated:
                raise
            await self._catch_up(name)
            event = self._canceling.get(name, {})  # empty too when a second asking beside took it
            return {
                "id": event.get("order_id", id),
                "clientOrderId": event.get("client_order_id", client_order_id),
                "symbol": event.get("instrument", symbol),
                "status": "canceled" if event else None,
                "filled": Decimal(event["cum"]) if event else None,
                "remaining": Decimal(0),
                "info": event or error.answer,
            }
        finally:
            self._canceling.pop(name, None)
        return shapes.canceled(answer, symbol)

    async def _catch_up(self, name: tuple[str, str]) -> None:
        """Wait until the private stream, if it is watched, tells of the cancel or has no more to tell."""
        if self._private:
            with contextlib.suppress(TimeoutError, BaseError):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    until = (await self.request("balances"))["account_sequence"]
                    while not self._canceling.get(name) and self.account_sequence < until:
                        await self._changed.wait()

    async def pick(
        self, order_id: str, amount: Amount | None, version: int, params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Take a listing of fetch_listings: `amount` of a sell, or, with None, a bid with params lot, all of
        which goes that is free; `params` also: clientOrderId."""
        extra = params or {}
        answer = await self.request(
            "pick",
            client_order_id=extra.get("clientOrderId") or self.client_order_id(),
            order_id=order_id,
            version=version,
            quantity="" if amount is None else str(amount),
            lot=str(extra.get("lot", "")),
        )
        return shapes.order(answer, None, "buy" if amount is not None else "sell")

    async def fetch_listings(self, symbol: str) -> list[dict[str, Any]]:
        """The live orders that can be picked: id, version, price, amount, minimum (the least that a pick
        takes of it), lot; `info` has the exchange's own words. Raises OperationRejected when they change
        faster than they can be read.
        """
        for reading in range(LISTINGS_READS_MAX):
            try:
                listings = await self._pages("listings", "listings", "order_id", instrument=symbol)
                break
            except OperationRejected as error:
                if error.code != "after_ended" or reading == LISTINGS_READS_MAX - 1:
                    raise
        return [
            {
                "id": each["order_id"],
                "version": each["version"],
                "side": each["side"],
                "price": Decimal(each["price"]),
                "amount": Decimal(each["leaves"]),
                "minimum": Decimal(each["minimum"]),
                "lot": each["lot"],
                "info": each,
            }
            for each in listings
        ]

    async def fetch_open_orders(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """The live orders, of one instrument or all, however many pages they are."""
        rows = await self._pages("open_orders", "orders", "order_id")
        orders = [shapes.order(each, each["instrument"], each["side"]) for each in rows]
        return [each for each in orders if symbol in (None, each["symbol"])]

    async def fetch_balance(self) -> dict[str, Any]:
        """CNY free, used and total; `info` has the sequences."""
        answer = await self.request("balances")
        free, used = Decimal(answer["available"]), Decimal(answer["held"])
        return {"CNY": {"free": free, "used": used, "total": free + used}, "info": answer}

    async def fetch_lots(self) -> list[dict[str, Any]]:
        """The lots with their free, listed and contracted tonnes, as the exchange writes them."""
        return await self._pages("lots", "lots", "lot")

    # The private stream

    async def watch_private(self, resume_from: int | None = None) -> list[dict[str, Any]]:
        """Every private event since the last call, of all kinds, as the exchange writes them. Raises
        BadRequest (`resume_too_old`) when what was missed is no longer kept: the next call begins anew."""
        await self._join_private(resume_from)
        return await self._drain(self._events)

    async def watch_orders(self) -> list[dict[str, Any]]:
        """The order events since the last call, as the exchange writes them."""
        await self._join_private(None)
        return await self._drain(self._orders)

    async def watch_my_trades(self) -> list[dict[str, Any]]:
        """The fills since the last call."""
        await self._join_private(None)
        return [shapes.fill(each) for each in await self._drain(self._fills)]

    async def _join_private(self, resume_from: int | None) -> None:
        if not self._private:
            if resume_from is not None:
                self.account_sequence = resume_from
            self._private = True
            await self.request("subscribe", **self._private_fields())

    def _private_fields(self) -> dict[str, Any]:
        if self.account_sequence < 0:
            return {"channel": "private"}
        position = {"account_sequence": self.account_sequence, "sequence": self._sequence}
        return {"channel": "private", "resume_from": position}

    def client_order_id(self) -> str:
        """A client order id that no other client makes: 8 random hex digits and a counter."""
        return f"{self._id_prefix}{next(self._ids):x}"

    # What comes in

    async def _restore(self) -> None:
        if self._private:
            await self._join_again(self._private_fields())
        if self._books:
            for book in self._books.values():
                book.sequence = -1
            await self._join_again({"channel": "depth", "instruments": list(self._books)})
        if self._tapes:
            await self._join_again({"channel": "trades", "instruments": list(self._tapes)})

    async def _join_again(self, fields: dict[str, Any]) -> None:
        await self.say({"op": "subscribe", "id": f"again-{fields['channel']}"} | fields)

    def _answered(self, message: dict[str, Any]) -> None:
        if message.get("channel") == "private" and message["ok"] and "account_sequence" in message:
            self.account_sequence = max(self.account_sequence, message["account_sequence"])
        elif str(message["id"]).startswith("again-") and not message["ok"]:
            self._broken = error_of(message)  # a channel could not be joined again: whoever watches must know
            self._notify()

    def _told(self, message: dict[str, Any]) -> None:
        channel = message.get("channel")
        if channel == "private":
            self._told_private(message)
        elif channel == "depth":
            self._told_depth(message)
        elif channel == "trades" and message["instrument"] in self._tapes:
            if message["type"] == "update":
                self._tapes[message["instrument"]].extend(message["trades"])
        elif channel == "error" and message["error"]["code"] == "resume_too_old":
            self._private, self.account_sequence, self._sequence = False, -1, 0  # asking again were in vain
            self._broken = error_of(message)
        else:
            return
        self._notify()

    def _told_private(self, message: dict[str, Any]) -> None:
        ahead = message["account_sequence"] - self.account_sequence
        if ahead > 1:
            self._heal(self._private_fields())
        elif ahead == 1:
            self.account_sequence, self._sequence = message["account_sequence"], message["sequence"]
            self._events.append(message)
            if message["event"] == "fill":
                self._fills.append(message)
            elif message["event"] == "order":
                self._orders.append(message)
                self._note_cancel(message)

    def _note_cancel(self, event: dict[str, Any]) -> None:
        for name in ("order_id", "client_order_id"):
            if event["status"] == "canceled" and (name, event[name]) in self._canceling:
                self._canceling[name, event[name]] = event

    def _told_depth(self, message: dict[str, Any]) -> None:
        symbol = message["instrument"]
        book = self._books.get(symbol)
        if book is None or (book.sequence == -1 and message["type"] == "delta"):
            return
        if not book.apply(message):
            self._heal({"channel": "depth", "instruments": [symbol]})

    def _heal(self, fields: dict[str, Any]) -> None:
        self.heals += 1
        task = asyncio.get_running_loop().create_task(self._join_again(fields))
        self._healing.add(task)
        task.add_done_callback(self._healing.discard)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken
        await self._changed.wait()

    async def _drain(self, queue: deque[dict[str, Any]]) -> list[dict[str, Any]]:
        while not queue:
            await self._change()
        events = list(queue)
        queue.clear()
        return events
