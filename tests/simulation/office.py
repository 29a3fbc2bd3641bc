"""The operator: admits members, moves their money and goods, and turns the day while they trade.

Law: one thing of a lane is answered before its next is asked, so that a day is closed, rolled and opened
again in this order, whatever breaks between.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from tests.simulation.auditor import MARKET, Acknowledgement
from tests.simulation.clients import COIL_KG, REPEAT_SHARE, STEP_KG, Client, Request, public_key, tonnes
from tests.simulation.programs import COIL, REBAR
from tests.simulation.report import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

LANES: Final = 3
MOVEMENT_S: Final = (0.005, 0.3)
DAYS: Final = (0, 1, 1, 2)  # that a seed may turn
DAY_S: Final = (0.1, 1.0)  # before a day is closed
CLOSED_S: Final = (0.0, 0.1)  # between close, roll and opening


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
        for trader in self._traders:
            await self._admit(trader)
        self._watcher.account = await self._add(self._watcher.name, ["read"])
        self._watcher.ready.set()
        days = self._turn_days(self.dice.choice(DAYS))
        await asyncio.gather(days, *(self._lane(movements // LANES) for _ in range(LANES)))

    async def _turn_days(self, days: int) -> None:
        """Close, roll, open again."""
        for _ in range(days):
            await asyncio.sleep(self.dice.uniform(*DAY_S))
            await self._market("set_phase", phase="closed")
            await asyncio.sleep(self.dice.uniform(*CLOSED_S))
            await self._market("roll_day")
            await asyncio.sleep(self.dice.uniform(*CLOSED_S))
            await self._market("set_phase", phase="continuous")

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
        trader.account = await self._add(trader.name, ["read", "trade"])
        await self._pay(trader)
        await self._register(trader)
        await self._register(trader, COIL)
        trader.ready.set()

    async def _add(self, name: str, scopes: list[str]) -> int:
        key = {"public_key": public_key(name), "scopes": scopes}
        answer = await self.settle(Request("add_member", {"code": name, "name": name.title(), "keys": [key]}))
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
        amount = f"{fen // 100}.{fen % 100:02}"
        fields = {"member": trader.account, "amount": amount, "reference": f"B{self._next()}"}
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
