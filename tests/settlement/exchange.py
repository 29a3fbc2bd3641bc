"""Settlement's parts at work on a test database and a fake engine, without sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.instruments import load_instruments
from engine.requests import AddMember, Deposit, RegisterLot
from settlement.busts import BustDesk
from settlement.clearing import Batch, default_terms
from settlement.outbox import Outbox
from settlement.reads import Reader
from settlement.register import Register
from settlement.settler import Settler
from settlement.store import Connection, Store
from tests.fakes import FakeEngine

ANSWER_S = 10.0
REBAR, REBAR_UNIT_KG = "RB20-12-SG", 2490
COIL = "HC5.75-LG"
REBAR_NUMBER = next(row.number for row in load_instruments() if row.code == REBAR)


class Exchange:
    """Register, outbox, settler and reader, wired as the service wires them."""

    def __init__(self, dsn: str, engine: FakeEngine, answer_s: float = ANSWER_S) -> None:
        self.engine = engine
        self.connections = [Connection(dsn) for _ in range(3)]
        self.store = Store(dsn)
        self.outbox = Outbox(self.connections[0], engine.command_link)
        self.register = Register(self.connections[1], self.outbox, answer_s)
        self.busts = BustDesk(self.connections[1], self.outbox, answer_s)
        self.reader = Reader(self.connections[2])
        self.settler = Settler(
            self.store, engine.event_link, default_terms(), self.posted, self.outbox.look_again
        )

    async def posted(self, batch: Batch) -> None:
        self.outbox.settle(batch.outcomes)

    async def caught_up(self) -> None:
        """Wait until the books stand at the engine's sequence."""
        assert await self.settler.reached(self.engine.tape.sequence, ANSWER_S)

    async def member(self, code: str, amount_fen: int = 0) -> int:
        answer = await self.register.add_member(AddMember(id=1, code=code, name=code.title()))
        assert answer.member is not None
        if amount_fen:
            deposit = Deposit(id=1, member=answer.member, amount_fen=amount_fen, reference=f"first-{code}")
            await self.register.deposit(deposit)
        return answer.member

    async def lot(self, member: int, units: int, receipt: str = "R-1") -> int:
        answer = await self.register.register_lot(rebar(member, units, receipt))
        assert answer.lot is not None
        return answer.lot


def rebar(member: int, /, units: int = 12, receipt: str = "R-1", **changes: object) -> RegisterLot:
    """A sound registration of rebar by the bundle."""
    fields: dict[str, object] = {
        "member": member,
        "receipt": receipt,
        "instrument": REBAR,
        "warehouse": "LC-SW-A",
        "units": units,
        "quantity_kg": units * REBAR_UNIT_KG,
    }
    return RegisterLot(id=1, **(fields | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def running(exchange: Exchange) -> AsyncIterator[Exchange]:
    """The exchange with its settler and outbox at work."""
    tasks = [asyncio.ensure_future(work) for work in (exchange.settler.run(), exchange.outbox.run())]
    try:
        yield exchange
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in exchange.connections:
            await connection.close()
        await exchange.store.close()
