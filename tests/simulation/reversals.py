"""Busts over the gateway: one operator proposes to reverse a trade, another confirms or drops it.

Law: what is answered holds: a proposal stands in the books, a confirmed bust in the log; who proposed can
never confirm.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from engine.vocabulary import Event
from tests.simulation.clients import REPEAT_SHARE, Client, Request, public_key
from tests.simulation.outcomes import Acknowledgement
from tests.simulation.report import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

REVERSALS: Final = 5  # that a seed tries
PAUSE_S: Final = (0.02, 0.4)
ALONE_SHARE: Final = 0.4  # of the proposals that the proposer tries to confirm
DROP_SHARE: Final = 0.3
TOGETHER_SHARE: Final = 0.3  # of the confirmations that are sent twice at once
PAGE: Final = 1000


class Reversals:
    """Two operators, one reversal after the other."""

    def __init__(self, world: "World", first: Client, second: Client) -> None:
        self._world, self._dice = world, world.dice
        self._operators = [first, second]

    async def run(self, reversals: int = REVERSALS) -> None:
        """Try some reversals of trades that stand."""
        for _ in range(reversals):
            await asyncio.sleep(self._dice.uniform(*PAUSE_S))
            self._dice.shuffle(self._operators)
            contract = await self._choose()
            if contract is not None:
                await self._reverse(contract, *self._operators)

    async def _choose(self) -> str | None:
        """A contract that is not reversed yet."""
        answer = await self._ask(self._operators[0], "contracts", member=0, limit=PAGE)
        paid = [row["contract"] for row in answer["contracts"] if row["state"] == "paid"]
        return self._dice.choice(paid) if paid else None

    async def _reverse(self, contract: str, proposer: Client, other: Client) -> None:
        answer = await self._ask(proposer, "bust_trade", contract=contract, reason="price typed wrong")
        self._world.auditor.proposed(int(contract), public_key(proposer.name))
        if answer["bust"]["state"] != "proposed":
            raise Violation("protocol", f"a proposal was answered {answer}")
        if self._dice.random() < ALONE_SHARE:
            await self._refused(proposer, "confirm_bust", contract, "same_person")
        if self._dice.random() < DROP_SHARE:
            await self._drop(contract, self._dice.choice(self._operators))
            return
        times = 2 if self._dice.random() < TOGETHER_SHARE else 1
        busts = [self._confirm(other, contract) for _ in range(times)]
        await asyncio.gather(*busts)
        if self._dice.random() < REPEAT_SHARE:
            await self._confirm(other, contract)
        if self._dice.random() < REPEAT_SHARE:
            await self._refused(proposer, "bust_trade", contract, "already_busted")

    async def _confirm(self, operator: Client, contract: str) -> None:
        answer = await self._ask(operator, "confirm_bust", contract=contract)
        told = Acknowledgement(-1, contract, answer["sequence"], Event.TRADE_BUSTED, (int(contract),))
        self._world.auditor.acknowledged(told)

    async def _drop(self, contract: str, operator: Client) -> None:
        """Drop the proposal. Its repeat finds none: the first asking may have done it unheard."""
        answer = await operator.settle(Request("reject_bust", {"contract": contract}))
        if not answer["ok"] and answer["error"]["code"] != "bust_not_proposed":
            raise Violation("protocol", f"a proposal was not dropped: {answer}")
        self._world.report.counts["busts dropped"] += 1

    async def _ask(self, operator: Client, op: str, **fields: Any) -> Any:
        answer = await operator.settle(Request(op, fields))
        if not answer["ok"]:
            raise Violation("protocol", f"{op} {fields} was refused: {answer['error']}")
        return answer

    async def _refused(self, operator: Client, op: str, contract: str, code: str) -> None:
        fields = {"contract": contract} | ({"reason": "again"} if op == "bust_trade" else {})
        answer = await operator.settle(Request(op, fields))
        if answer["ok"] or answer["error"]["code"] != code:
            raise Violation("protocol", f"{op} of {contract} was answered {answer}, {code} is due")
        self._world.report.counts[f"busts refused: {code}"] += 1
