"""The operator: admits members, moves their money and goods, turns days and calls auctions while they trade.

Law: one thing of a lane is answered before its next is asked, so that a day is closed, rolled and opened
again in this order, whatever breaks between; days and auctions share one lane.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from tests.simulation.clients import REPEAT_SHARE, Client, Request, public_key
from tests.simulation.outcomes import MARKET, Acknowledgement
from tests.simulation.programs import COIL, REBAR
from tests.simulation.report import Violation
from tests.simulation.reversals import Reversals
from tests.simulation.wishes import COIL_KG, STEP_KG, money, tonnes

if TYPE_CHECKING:
    from tests.simulation.world import World

LANES: Final = 3
GROUP_SHARE: Final = 0.2  # of the traders that belong to another's company group
MOVEMENT_S: Final = (0.005, 0.3)
DAYS: Final = (0, 1, 1, 2)  # that a seed may turn
DAY_S: Final = (0.1, 0.6)  # before a day is closed
CLOSED_S: Final = (0.0, 0.1)  # between close, roll and opening
AUCTIONS: Final = (1, 2, 2)  # that a seed calls
CALL_S: Final = (0.05, 0.4)  # before an auction is called
GATHER_S: Final = (0.1, 0.8)  # while its orders gather
PRE_OPEN_SHARE: Final = 0.3  # of the auctions that begin before there is an indicative price
NO_CANCEL_SHARE: Final = 0.4  # of those that end with a phase in which nothing is taken


class Member(Protocol):
    """Who is admitted, and given money and goods."""

    name: str
    account: int
    lots: list[tuple[str, str, int]]
    ready: asyncio.Event


class Operator(Client):
    """Admits the traders, gives them money and goods, and goes on doing so."""

    def __init__(self, world: "World", traders: Sequence[Member], watcher: Client) -> None:
        super().__init__(world, "operator")
        self._traders, self._watcher = traders, watcher
        self._numbers = 0

    async def run(self, movements: int) -> None:
        """Set the traders up, then move money and goods while they trade."""
        self._watcher.account = await self._add(self._watcher.name, ["read"])
        self._watcher.ready.set()
        for trader in self._traders:
            await self._admit(trader)
        second = Client(self.world, "checker")
        await self._add(second.name, ["operate"])
        for trader in self._traders:  # only now, so that all of them meet
            trader.ready.set()
        reversals = Reversals(self.world, self, second).run()
        lanes = (self._lane(movements // LANES) for _ in range(LANES))
        await asyncio.gather(self._keep_market(), reversals, *lanes)

    async def _keep_market(self) -> None:
        """Days and auctions, one after the other."""
        turns = [self._turn_day] * self.dice.choice(DAYS) + [self._auction] * self.dice.choice(AUCTIONS)
        self.dice.shuffle(turns)
        for turn in turns:
            await turn()

    async def _turn_day(self) -> None:
        """Close, roll, open again; now and then by an auction."""
        await asyncio.sleep(self.dice.uniform(*DAY_S))
        await self._market("set_phase", phase="closed")
        await asyncio.sleep(self.dice.uniform(*CLOSED_S))
        await self._market("roll_day")
        await asyncio.sleep(self.dice.uniform(*CLOSED_S))
        if self.dice.random() < PRE_OPEN_SHARE:
            await self._gather()
        await self._market("set_phase", phase="continuous")

    async def _auction(self) -> None:
        """Interrupt trading of one product, or of all, by a call auction."""
        await asyncio.sleep(self.dice.uniform(*CALL_S))
        of = self.dice.choice(({"instrument": REBAR}, {}))
        await self._gather(**of)
        await self._market("set_phase", phase="continuous", **of)

    async def _gather(self, **of: str) -> None:
        """Let orders gather."""
        if self.dice.random() < PRE_OPEN_SHARE:
            await self._market("set_phase", phase="pre_open", **of)
            await asyncio.sleep(self.dice.uniform(*CLOSED_S))
        await self._market("set_phase", phase="auction", **of)
        await asyncio.sleep(self.dice.uniform(*GATHER_S))
        if self.dice.random() < NO_CANCEL_SHARE:
            await self._market("set_phase", phase="no_cancel", **of)
            await asyncio.sleep(self.dice.uniform(*CLOSED_S))

    async def _market(self, op: str, **fields: str) -> None:
        """One command about the whole market."""
        answer = await self.settle(Request(op, fields))
        if not answer["ok"]:
            raise Violation("protocol", f"{op} was refused: {answer['error']}")
        self.world.auditor.acknowledged(Acknowledgement(-1, "", answer["sequence"], MARKET[op], ()))

    async def _lane(self, movements: int) -> None:
        """Some movements, one after the other; other lanes go on beside."""
        for _ in range(movements):
            await asyncio.sleep(self.dice.uniform(*MOVEMENT_S))
            trader = self.dice.choice(self._traders)
            await self.dice.choice((self._pay, self._take_out, self._register))(trader)

    async def _admit(self, trader: Member) -> None:
        trader.account = await self._add(trader.name, ["read", "trade"], self._group())
        await self._pay(trader)
        for code in (REBAR, REBAR, COIL):
            await self._register(trader, code)

    def _group(self) -> int:
        """The company group of who is admitted next: now and then that of a trader who came before."""
        admitted = [trader.account for trader in self._traders if trader.account]
        return self.dice.choice(admitted) if admitted and self.dice.random() < GROUP_SHARE else 0

    async def _add(self, name: str, scopes: list[str], group: int = 0) -> int:
        key = {"public_key": public_key(name), "scopes": scopes}
        fields = {"code": name, "name": name.title(), "group": group, "keys": [key]}
        answer = await self.settle(Request("add_member", fields))
        account: int = answer["member"]
        return account

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    async def _pay(self, trader: Member) -> None:
        amount = self.dice.randrange(5_000_000, 50_000_000)
        await self._move("deposit", trader, amount)

    async def _take_out(self, trader: Member) -> None:
        await self._move("withdraw", trader, self.dice.randrange(100, 20_000_000))

    async def _move(self, op: str, trader: Member, fen: int) -> None:
        fields = {"member": trader.account, "amount": money(fen), "reference": f"B{self._next()}"}
        answer = await self.settle(Request(op, fields))
        if self.dice.random() < REPEAT_SHARE:
            again = await self.settle(Request(op, fields))
            if again | {"id": ""} != answer | {"id": ""}:
                raise Violation("double", f"bank order {fields} was answered {answer}, then {again}")

    async def _register(self, trader: Member, instrument: str = "") -> None:
        code = instrument or self.dice.choice((REBAR, COIL))
        units = self.dice.randrange(2, 30) if code == REBAR else 1
        kg = units * STEP_KG if code == REBAR else COIL_KG
        number = self._next()
        fields = {
            "member": trader.account,
            "receipt": f"R{number}",
            "instrument": code,
            "warehouse": "LC-SW-A",
            "units": units,
            "quantity": tonnes(kg),
        }
        answer = await self.settle(Request("register_lot", fields))
        trader.lots.append((code, answer["lot"], kg))
