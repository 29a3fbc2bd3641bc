"""A client that speaks records, COMMAND and EVENT as in the log, over the engine's two sockets.

    orders, counted by a reference that only rises ─▶ command link
    every event of its account, from the first on  ◀─ event link, resumed behind the last command heard

Law: a reference is executed at most once, however often it is sent; what comes over the event link is, byte
for byte, what the log says of the account, and not before it is durable (laws 3, 5, 8).
"""

import asyncio
import contextlib
import random
from operator import or_
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.frames import LINK_SHIFT, LinkDownError
from engine.link import CommandLink, EventLink
from engine.records import ORDER, Records, commands_of, joined, select
from engine.vocabulary import Command, Event, Flag, Reason, Scope, SelfTrade, Side, TimeInForce
from tests.simulation.clients import PAUSE_S, REPEAT_SHARE, RETRY_S, Client
from tests.simulation.days import REFERENCE, Key
from tests.simulation.line import ANSWER_S
from tests.simulation.outcomes import Acknowledgement, outcome
from tests.simulation.programs import REBAR
from tests.simulation.report import Violation
from tests.simulation.shown import NUMBERS
from tests.simulation.wishes import PRICES, STEP_KG, TICK

if TYPE_CHECKING:
    from tests.simulation.world import World

PAIRED: Final = (Event.TRADE, Event.PREVENTED, Event.TRADE_BUSTED)  # events of two accounts
PARTIES: Final = (("account", "account_sequence"), ("counter_account", "counter_account_sequence"))
REQUEST_MASK: Final = (1 << LINK_SHIFT) - 1
SESSION_TAGS: Final = 1 << 40  # requests from here on start sessions or cancel
BURST_MAX: Final = 6
CANCEL_SHARE: Final = 0.2
HANG_UP_SHARE: Final = 0.08
LIVES_NS: Final = 400_000_000  # of its gtd orders
Row = dict[str, Any]


class BinaryTrader(Client):
    """Trades over records; what it does not hear of it sends again under the same reference."""

    def __init__(self, world: "World", name: str, seed: int) -> None:
        super().__init__(world, name)
        self.dice = random.Random(f"{name} {seed}")
        self.lots: list[tuple[str, str, int]] = []
        self.heard: list[Records] = []
        self.rejected: list[Key] = []
        self._pending: dict[int, Row] = {}  # by reference
        self._decided_rows: list[Row] = []
        self._resting: list[int] = []  # order ids
        self._link: CommandLink | None = None
        self._sessions: set[int] = set()  # of this link
        self._references = self._others = 0
        self._last = 0  # sequence of the last command heard of
        self._account_sequence = 0
        self._news = asyncio.Event()

    async def run(self, requests: int) -> None:
        """Trade until `requests` were decided; the links stay up afterwards."""
        await self.ready.wait()
        self._staying = asyncio.ensure_future(self._stay())
        while self._references < requests or self._pending:
            if not self._pending:
                for _ in range(min(self.dice.randrange(1, BURST_MAX), requests - self._references)):
                    self._references += 1
                    self._pending[self._references] = self._order()
            self._send()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._decided(), ANSWER_S)
            await asyncio.sleep(self.dice.uniform(*(RETRY_S if self._pending else PAUSE_S)))

    async def _decided(self) -> None:
        while self._pending:
            self._news.clear()
            await self._news.wait()

    async def _stay(self) -> None:
        """Keep both links up, for ever."""
        while True:
            try:
                await self._live()
            except (LinkDownError, OSError):
                self.world.report.counts["links of records lost"] += 1
            except Violation as violation:
                self.world.violated(violation)
            await asyncio.sleep(self.dice.uniform(*RETRY_S))

    async def _live(self) -> None:
        """One life of both links. Raises LinkDownError when one of them is gone, Violation."""
        link = await CommandLink.connect(self.world.location.engine_commands)
        events: EventLink | None = None
        listening: asyncio.Future[None] | None = None
        try:
            path = self.world.location.engine_events
            events = await EventLink.connect(path, after=self._last, account=self.account)
            self._link, self._sessions = link, set()
            scope = self.dice.choice((Scope.NONE, Scope.NONE, Scope.SESSION))
            self._say(link, {"kind": Command.START_SESSION, "scope": scope, "instrument": -1})
            self._send()
            listening = asyncio.ensure_future(self._listen(events))
            gone = asyncio.ensure_future(link.closed())
            await asyncio.wait((listening, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if listening.done():
                listening.result()
        finally:
            self._link = None
            if listening is not None:
                listening.cancel()
            for each in (link, events):
                if each is not None:
                    each.close()

    async def _listen(self, events: EventLink) -> None:
        async for batch in events:
            for row in batch:
                self._hear(row)
            self.heard.append(batch)
            self._news.set()
        raise LinkDownError("the event link is gone")

    def _say(self, link: CommandLink, *rows: Row) -> None:
        """Send what is not an order. Raises LinkDownError."""
        for row in rows:
            self._others += 1
            tag = link.number << LINK_SHIFT | SESSION_TAGS + self._others
            link.send(commands_of(row | {"account": self.account, "tag": tag}))

    def _send(self) -> None:
        """Everything undecided, in one frame; now and then a cancel before it."""
        link = self._link
        if link is None or not self._pending:
            return
        with contextlib.suppress(LinkDownError):
            if self._resting and self.dice.random() < CANCEL_SHARE:
                order_id = self.dice.choice(self._resting)
                self._say(link, {"kind": Command.CANCEL_ORDER, "order_id": order_id, "instrument": -1})
            tag, session = link.number << LINK_SHIFT, max(self._sessions, default=0)
            again = self._decided_rows[-1:] if self.dice.random() < REPEAT_SHARE else []
            rows = [*again, *(self._pending[at] for at in sorted(self._pending))]
            tags = [{"tag": tag | row["client_order_id_0"], "session": session} for row in rows]
            link.send(commands_of(*map(or_, rows, tags)))
            if self.dice.random() < HANG_UP_SHARE:
                link.close()

    def _order(self) -> Row:
        """A buy of rebar, or a sell from a lot; its reference is the next."""
        lots = [lot for code, lot, _ in self.lots if code == REBAR]
        sell = bool(lots) and self.dice.random() < 0.5
        tif = self.dice.choice((TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.GTD))
        row = {
            "kind": Command.NEW_ORDER,
            "account": self.account,
            "instrument": NUMBERS[REBAR],
            "side": Side.SELL if sell else Side.BUY,
            "time_in_force": tif,
            "flags": Flag.BY_REFERENCE,
            "client_order_id_0": self._references,
            "price_fen_per_tonne": self.dice.randrange(*PRICES, TICK),
            "quantity_kg": self.dice.randrange(1, 6) * STEP_KG,
            "lot": int(self.dice.choice(lots)) if sell else 0,
            "self_trade_mode": self.dice.choice(tuple(SelfTrade)),
        }
        return row | ({"due_ns": self.world.clock.now_ns() + LIVES_NS} if tif is TimeInForce.GTD else {})

    def _hear(self, row: Any) -> None:
        """One event, in order. Raises Violation."""
        order = np.array([row]).view(ORDER)[0]
        sequence, kind, request = (
            int(row["sequence"]),
            Event(int(row["kind"])),
            int(row["tag"]) & REQUEST_MASK,
        )
        self.world.auditor.shown(sequence)
        self._last = sequence
        mine = int(row["account"]) == self.account
        for party, number in PARTIES[: 1 + (kind in PAIRED)]:  # it may be both
            if int(row[party]) == self.account:
                self._account_sequence = max(self._account_sequence, int(row[number]))
        if not mine:
            return
        link = self._link.number if self._link is not None else 0
        if kind is Event.SESSION_STARTED and int(row["tag"]) >> LINK_SHIFT == link:
            self._sessions.add(int(order["session"]))
        elif kind is Event.SESSION_ENDED:
            self._sessions.discard(int(order["session"]))
        elif kind in (Event.ACCEPTED, Event.REJECTED) and request in self._pending:
            self._decided_rows.append(self._pending.pop(request))
            self._decide(order, kind, request)
        elif kind is Event.REJECTED and int(order["reason"]) == Reason.STALE_REFERENCE:
            self.world.report.counts["references repeated"] += 1

    def _decide(self, order: Any, kind: Event, reference: int) -> None:
        told = Acknowledgement(
            self.account, f"{REFERENCE}{reference}", int(order["sequence"]), kind, outcome(order)
        )
        self.world.auditor.acknowledged(told)
        if kind is Event.REJECTED:
            self.rejected.append((self.account, told.key))
            stale = int(order["reason"]) == Reason.STALE_REFERENCE
            self.world.report.counts["stale references" if stale else "records rejected"] += 1
        elif int(order["leaves_kg"]) > 0:
            self._resting.append(int(order["order_id"]))

    @property
    def sessions(self) -> int:
        """How many sessions of its account may live when all is quiet: those of its link."""
        return len(self._sessions) if self._link is not None else 0

    def caught_up(self, account_sequence: int) -> bool:
        """Whether its event link has arrived at an account sequence."""
        return self._link is not None and self._account_sequence >= account_sequence

    def check(self, events: Records, first: dict[Key, Any]) -> None:
        """Hold what was heard against the log. Raises Violation."""
        counter = np.isin(events["kind"], PAIRED) & (events["counter_account"] == self.account)
        expected = select(events, (events["account"] == self.account) | counter).tobytes()
        heard = joined(self.heard).tobytes() if self.heard else b""
        if heard != expected:
            raise Violation("records", f"account {self.account} heard other records than the log has")
        twice = [key for key in self.rejected if key in first]
        if twice:
            raise Violation("double", f"{twice} were executed, and their client was told that they were not")
