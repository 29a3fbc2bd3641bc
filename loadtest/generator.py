"""Sends a load in open loop through many sessions, and counts what comes back.

    stream ─▶ due by the clock ─▶ session.submit ─▶ wire ─▶ answer  ─▶ latency from the INTENDED send time
                                                        └▶ own fill ─▶ the same

Law: the generator never waits for an answer. How late it sends itself is measured too: a lag of its own is
its fault, not the exchange's, but stands in the latencies (no coordinated omission).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from time import monotonic_ns
from typing import Any, Final

from gateway.client.connection import Connection
from loadtest.accounting import Heard
from loadtest.crowd import Seat
from loadtest.histogram import Latencies
from loadtest.pacer import NS_PER_S, OpenLoop
from loadtest.workload import Cancel, Order, sells

TURN_S: Final = 0.001
START_AFTER_NS: Final = NS_PER_S // 2
GRACE_S: Final = 10.0
PROGRESS_S: Final = 1.0


class Figures:
    """What the whole load measures."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.acknowledgement, self.fill, self.lag = Latencies(), Latencies(), Latencies()
        self.errors: Counter[str] = Counter()
        self.sent = 0
        self.answered = 0
        self.unsent = 0  # no connection when they were due


class LoadSession(Connection):
    """One session that submits without waiting."""

    def __init__(self, url: str, seat: Seat, figures: Figures, prefix: str, **options: Any) -> None:
        """A session of `seat`; client order ids begin with `prefix`."""
        super().__init__(url, seat.seed, **options)
        self.seat = seat
        self.heard = Heard()
        self._figures, self._prefix = figures, prefix
        self._waiting_since: dict[str, tuple[int, str, bool]] = {}  # by request id: intended, name, cancel?
        self._taken: dict[str, int] = {}  # intended time by order id, until its first fill

    async def submit(self, message: Order | Cancel, intended_ns: int) -> None:
        """Send one message; its answer comes to `_answered`."""
        request_id = f"n{message.number}"
        if isinstance(message, Cancel):
            name = self.name(message.order)
            fields = {"op": "cancel_order", "id": request_id, "client_order_id": name}
        else:
            name = self.name(message.number)
            fields = {"op": "new_order", "id": request_id} | self._order(message, name)
            self.heard.sent[name] = Decimal(fields["quantity"])
        if self._socket is None or not self._ready.is_set():
            self._figures.unsent += 1
            return
        self._waiting_since[request_id] = (intended_ns, name, isinstance(message, Cancel))
        self._figures.lag.add(monotonic_ns() - intended_ns)
        await self.say(fields)

    def name(self, number: int) -> str:
        """The client order id of message `number`."""
        return f"{self._prefix}{number:x}"

    def _order(self, order: Order, name: str) -> dict[str, str]:
        kg, fen = order.quantity_kg, order.price_fen_per_tonne
        side = "sell" if sells(order.session) else "buy"
        fields = {
            "client_order_id": name,
            "instrument": order.instrument.code,
            "side": side,
            "price": f"{fen // 100}.{fen % 100:02d}",
            "quantity": f"{kg // 1000}.{kg % 1000:03d}",
            "time_in_force": "ioc" if order.immediate else "day",
        }
        if side == "sell":
            fields["lot"] = self.seat.lots[order.instrument.code]
        return fields

    async def _restore(self) -> None:
        await self.say({"op": "subscribe", "id": "private", "channel": "private"})

    def _answered(self, message: dict[str, Any]) -> None:
        known = self._waiting_since.pop(message["id"] or "", None)
        if known is None:
            return
        intended_ns, name, is_cancel = known
        self._figures.answered += 1
        self._figures.acknowledgement.add(monotonic_ns() - intended_ns)
        if not message["ok"]:
            self._figures.errors[message["error"]["code"]] += 1
            if not is_cancel:
                self.heard.rejected.add(name)
        elif is_cancel:
            self.heard.canceled.add(name)
        else:
            self.heard.acknowledged[name] = message["order_id"]
            if message["cum"] != "0.000":
                self._taken[message["order_id"]] = intended_ns

    def _told(self, message: dict[str, Any]) -> None:
        if message.get("event") == "fill" and message["role"] == "taker":
            intended_ns = self._taken.pop(message["order_id"], None)
            if intended_ns is not None:
                self._figures.fill.add(monotonic_ns() - intended_ns)

    @property
    def unanswered(self) -> int:
        """How many requests of this session still wait."""
        return len(self._waiting_since)


async def generate(
    sessions: list[LoadSession],
    messages: Iterator[Order | Cancel],
    rate: int,
    seconds: float,
    figures: Figures,
    say: Callable[[str], None],
) -> None:
    """Send for `seconds`, then wait a little for the last answers."""
    loop = OpenLoop(monotonic_ns() + START_AFTER_NS, rate, seconds)
    progress = asyncio.create_task(_progress(figures, loop, say))
    try:
        while figures.sent < loop.count:
            for _ in range(loop.due(figures.sent, monotonic_ns())):
                message = next(messages)
                await sessions[message.session].submit(message, loop.intended_ns(figures.sent))
                figures.sent += 1
            await asyncio.sleep(TURN_S)
        deadline = monotonic_ns() + int(GRACE_S * NS_PER_S)
        for session in sessions:
            while session.unanswered and monotonic_ns() < deadline:  # noqa: ASYNC110 - many wait, one sleeps
                await asyncio.sleep(TURN_S)
    finally:
        progress.cancel()


async def _progress(figures: Figures, loop: OpenLoop, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        p50, p99 = (figures.acknowledgement.percentile_ms(each) for each in (50, 99))
        say(
            f"{figures.sent:7,}/{loop.count:,} sent │ {figures.answered:7,} answered │ "
            f"{figures.errors.total():5,} errors │ {figures.fill.count:6,} fills │ "
            f"ack p50 {p50:.2f} p99 {p99:.2f} ms │ lag p99 {figures.lag.percentile_ms(99):.2f} ms"
        )
