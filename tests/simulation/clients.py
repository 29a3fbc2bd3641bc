"""Who uses the exchange: what all clients share, and traders who order, replace and cancel over JSON.

Law: a client believes only answers. What was not answered is sent again, under the same client order id,
receipt or bank reference, over whichever gateway it reaches next; now and then also what was answered.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.vocabulary import Event
from gateway.notation import parse_decimal, parse_price, parse_quantity
from tests.simulation import wishes
from tests.simulation.line import Line, LineDown
from tests.simulation.outcomes import Acknowledgement
from tests.simulation.programs import COIL
from tests.simulation.report import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

PAUSE_S: Final = (0.001, 0.25)
RETRY_S: Final = (0.05, 0.4)
BURST_MAX: Final = 4
REPEAT_SHARE: Final = 0.12
CANCEL_SHARE: Final = 0.14
REPLACE_SHARE: Final = 0.14
PICK_SHARE: Final = 0.1
RECENT: Final = 5  # of the last so many that came to rest one is replaced: others have mostly ended
LIVES_S: Final = (0.002, 1.5)  # what a gtd order lasts
OLDER_RESUME_SHARE: Final = 0.4
# Refusals after which the same request may be sent again: nothing was consumed.
PASSING: Final = frozenset(
    {
        "engine_unavailable", "settlement_unavailable", "directory_unavailable", "queue_full",
        "shutting_down", "disk_full", "too_many_in_flight", "unknown_key",
    }
)  # fmt: skip
# What the engine or settlement may answer to a request of these clients, for good.
EXPECTED: Final = frozenset(
    {
        "insufficient_funds", "insufficient_goods", "unknown_order", "too_late", "whole_lot_only",
        "own_listing", "stale_version", "unknown_instrument", "instrument_closed", "invalid_expiry",
        "same_person", "already_busted", "bust_not_proposed",
    }
)  # fmt: skip


def seed_of(name: str) -> bytes:
    """The private key of a client."""
    return sha256(name.encode()).digest()


def public_key(name: str) -> str:
    """Its public key, as hex."""
    return Ed25519PrivateKey.from_private_bytes(seed_of(name)).public_key().public_bytes_raw().hex()


@dataclass
class Request:
    """Something that a client wants, until it is answered."""

    op: str
    fields: dict[str, Any]
    key: str = ""  # of the order that is placed, replaced or canceled
    answer: Any = None


class Client:
    """What operator and traders share: a line that is made again, and requests that are repeated."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name, self.dice = world, name, world.dice
        self.line: Line | None = None
        self._dialing = asyncio.Lock()
        self.account = 0
        self.ready = asyncio.Event()  # admitted

    async def connected(self) -> Line:
        """A line that is logged on; tried for ever."""
        async with self._dialing:
            while self.line is None or self.line.gone.is_set():
                self.line = await self._dial()
                if self.line is None:
                    await asyncio.sleep(self.dice.uniform(*RETRY_S))
            return self.line

    async def _dial(self) -> Line | None:
        """A new line, logged on and joined; None when that does not work now."""
        with contextlib.suppress(LineDown):
            line = await Line.dial(self.dice.choice(self.world.gateways), self.on_event)
            answer = await line.logon(seed_of(self.name), **self.options())
            if answer["ok"]:
                self.account = answer["member"]
                if await self.joined(line):
                    return line
            else:
                self.passing(answer)
            line.hang_up()
        return None

    def options(self) -> dict[str, Any]:
        """What the next logon asks for."""
        return {}

    async def joined(self, line: Line) -> bool:
        """What a new line needs besides the logon. Raises LineDown."""
        return True

    def on_event(self, event: Any) -> None:
        """A private event came."""

    def passing(self, answer: Any) -> None:
        """Raise Violation unless the refusal is one after which a client may try again."""
        code = answer["error"]["code"]
        self.world.report.counts[f"refused: {code}"] += 1
        if code not in PASSING:
            raise Violation("protocol", f"{self.name} was refused: {answer['error']}")

    async def settle(self, request: Request) -> Any:
        """Send until there is an answer for good."""
        while True:
            with contextlib.suppress(LineDown):
                line = await self.connected()
                answer = await line.ask(request.op, **request.fields)
                if self.final(request, answer):
                    request.answer = answer
                    return answer
            if self.line is not None and self.dice.random() < 0.3:
                self.line.hang_up()
            await asyncio.sleep(self.dice.uniform(*RETRY_S))

    def final(self, request: Request, answer: Any) -> bool:
        """Whether the answer settles the request. Raises Violation for an answer that must not come."""
        if answer["ok"] or "sequence" in answer or answer["error"]["code"] in EXPECTED:
            return True
        self.passing(answer)
        return False


class Trader(Client):
    """Places and cancels orders, and keeps its private stream."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.lots: list[wishes.Lot] = []
        self._keys: list[str] = []  # of the orders that were placed
        self._rested: dict[str, wishes.Fields] = {}  # those that had something left when accepted
        self._answered: list[Request] = []
        self._last = (0, 0)  # account sequence and sequence of the last private event
        self._next = 1  # the account sequence that this line must bring next
        self._numbers = 0

    async def run(self, requests: int) -> None:
        """Trade until `requests` were answered."""
        await self.ready.wait()
        pending: list[Request] = []
        done = 0
        while done < requests or pending:
            while len(pending) < BURST_MAX and done + len(pending) < requests:
                pending.append(await self._wish())
                if self.dice.random() < 0.4:
                    break
            await self._send(pending)
            answered = [request for request in pending if request.answer is not None]
            pending = [request for request in pending if request.answer is None]
            done += len(answered)
            await asyncio.sleep(self.dice.uniform(*(RETRY_S if pending else PAUSE_S)))

    async def _send(self, requests: list[Request]) -> None:
        """Send what is not answered, together; now and then something that is."""
        burst = list(requests)
        if self._answered and self.dice.random() < REPEAT_SHARE:
            burst.append(self.dice.choice(self._answered))
        line = await self.connected()
        await asyncio.gather(*(self._one(line, request) for request in burst))
        if self.dice.random() < 0.05:
            line.hang_up()

    async def _one(self, line: Line, request: Request) -> None:
        before = self.world.auditor.published
        with contextlib.suppress(LineDown):
            answer = await line.ask(request.op, **request.fields)
            if answer.get("sequence", before + 1) <= before:
                text = f"sent after {before} was known, sequenced as {answer['sequence']}"
                raise Violation("order", text)
            if self.final(request, answer):
                self._note(request, answer)

    def _note(self, request: Request, answer: Any) -> None:
        cancels = request.op == "cancel_order"
        if answer["ok"] or ("sequence" in answer and not cancels):
            self.world.auditor.acknowledged(self._told(request, answer))
        if request.answer is None:
            request.answer = answer
            if not cancels:
                self._answered.append(request)
            if request.op == "new_order" and answer["ok"] and kg_of(answer["leaves"]):
                self._rested[request.key] = request.fields

    def _told(self, request: Request, answer: Any) -> Acknowledgement:
        """The answer in the engine's numbers."""
        if not answer["ok"]:
            kind, words = Event.REJECTED, (answer["error"]["code"],)
            key = "" if request.op == "replace_order" else request.key  # which is not free by that
            return Acknowledgement(self.account, key, answer["sequence"], kind, words)
        if "canceled" in answer:
            numbers = int(answer["order_id"]), kg_of(answer["canceled"]), kg_of(answer["cum"])
            return Acknowledgement(self.account, request.key, answer["sequence"], Event.CANCELED, numbers)
        if request.op == "replace_order":
            return self._replaced(request, answer)
        outcome = (
            int(answer["order_id"]),
            parse_price(answer["price"]),
            parse_quantity(answer["quantity"]),
            kg_of(answer["leaves"]),
            kg_of(answer["cum"]),
            parse_decimal(answer["amount"], 2, "$", 10**17),
        )
        return Acknowledgement(
            self.account, request.key, answer["sequence"], Event.ACCEPTED, outcome, answer["duplicate"]
        )

    def _replaced(self, request: Request, answer: Any) -> Acknowledgement:
        outcome = (
            int(answer["order_id"]),
            answer["version"],
            parse_price(answer["price"]),
            parse_quantity(answer["quantity"]),
            kg_of(answer["leaves"]),
            kg_of(answer["cum"]),
            answer["kept_place"],
        )
        return Acknowledgement(self.account, request.key, answer["sequence"], Event.REPLACED, outcome)

    async def _wish(self) -> Request:
        """The next thing this trader wants."""
        chance = self.dice.random()
        if chance < CANCEL_SHARE and self._keys:
            key = self.dice.choice(self._keys)
            return Request("cancel_order", {"client_order_id": key}, key)
        if chance < CANCEL_SHARE + REPLACE_SHARE and self._rested:
            key = self.dice.choice(list(self._rested)[-RECENT:])
            return Request("replace_order", wishes.change(self.dice, key, self._rested[key]), key)
        if chance < CANCEL_SHARE + REPLACE_SHARE + PICK_SHARE:
            pick = await self._pick()
            if pick is not None:
                return pick
        return self._order()

    def _key(self) -> str:
        self._numbers += 1
        return f"{self.name[-1]}{self._numbers}"

    def _order(self) -> Request:
        """A new order."""
        key = self._key()
        fields = wishes.order(self.dice, self.lots, self._soon)
        self._keys.append(key)
        return Request("new_order", fields | {"client_order_id": key}, key)

    def _soon(self) -> str:
        """An instant at which an order may end, as clients write it: to the microsecond."""
        time_us = self.world.clock.now_ns() // 1_000 + round(self.dice.uniform(*LIVES_S) * 1_000_000)
        return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_us)).isoformat()

    async def _pick(self) -> Request | None:
        """Take a listing that another trader offers."""
        try:
            line = await self.connected()
            answer = await line.ask("listings", instrument=COIL)
        except LineDown:
            return None
        if not answer["ok"]:
            self.passing(answer)
            return None
        others = [row for row in answer["listings"] if row["member"] != self.account]
        if not others:
            return None
        row, key = self.dice.choice(others), self._key()
        coils = [lot for code, lot, _ in self.lots if code == COIL]
        if row["side"] == "buy":
            if not coils:
                return None
            wanted = {"lot": self.dice.choice(coils)}
        else:
            wanted = {"quantity": wishes.part(self.dice, kg_of(row["minimum"]), kg_of(row["leaves"]))}
        fields = {"order_id": row["order_id"], "version": row["version"], "client_order_id": key}
        return Request("pick", fields | wanted, key)

    def options(self) -> dict[str, Any]:
        """Most orders are to stay, so that there is something to trade with."""
        return {"cancel_on_disconnect": self.dice.choice(("off", "off", "session", "account"))}

    async def joined(self, line: Line) -> bool:
        """Resume the private stream: from the beginning, from the last event, or from an older one."""
        number, sequence = self._last
        if number and self.dice.random() < OLDER_RESUME_SHARE:
            number, sequence = self.dice.randrange(number), 0
        self._next = number + 1
        resume = {"account_sequence": number, "sequence": sequence}
        answer = await line.ask("subscribe", channel="private", resume_from=resume)
        if not answer["ok"]:
            self.passing(answer)
        return bool(answer["ok"])

    def on_event(self, event: Any) -> None:
        """Keep the event; the auditor knows whether it may come."""
        number = event["account_sequence"]
        try:
            if number != self._next:
                text = f"{self.name} got event {number} where {self._next} comes next on this line"
                raise Violation("private stream", text)
            self.world.auditor.heard(self.account, event)
        except Violation as violation:
            self.world.violated(violation)
        self._next = number + 1
        self._last = max(self._last, (number, event["sequence"]))

    @property
    def sessions(self) -> int:
        """How many sessions of its account may live when all is quiet: its line's."""
        return int(self.line is not None and not self.line.gone.is_set())

    def caught_up(self, account_sequence: int) -> bool:
        """Whether the stream has arrived at an account sequence."""
        return len(self.world.auditor.seen.get(self.account, {})) >= account_sequence


def kg_of(text: str) -> int:
    """Kilograms of what an answer says."""
    return parse_decimal(text, 3, "$", 10**12)
