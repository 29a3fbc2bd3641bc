"""A small shard at work, an order that ends at an instant, and what was told: for tests of what is due."""

from typing import Any

from engine.records import Records, commands_of
from engine.vocabulary import Command, Event, Mode, OrderType, Phase, Side, TimeInForce
from tests.engine.builders import terms
from tests.engine.fakes import Shard, deposit

SECOND_NS = 1_000_000_000
NARROW = {"band_bp": 50, "lower_fen_per_tonne": 224_900, "upper_fen_per_tonne": 227_100}  # few levels


async def opened(shard: Shard) -> None:
    """A rich account, number 1, and an instrument, closed."""
    assert shard.sequencer.submit(terms(0, Mode.BOOK, **NARROW)) is None
    await shard.reaches(1)
    await shard.sequenced({"kind": Command.OPEN_ACCOUNT, "account": 1}, deposit(1, 10**12))


async def furnished(shard: Shard) -> None:
    """The same, the instrument open."""
    await opened(shard)
    await shard.sequenced({"kind": Command.SET_PHASE, "instrument": 0, "phase": Phase.CONTINUOUS})


def gtd(number: int, due_ns: int, **fields: Any) -> dict[str, Any]:
    """A buy that rests until `due_ns`."""
    return {
        "kind": Command.NEW_ORDER, "account": 1, "instrument": 0, "client_order_id_0": number,
        "side": Side.BUY, "order_type": OrderType.LIMIT, "time_in_force": TimeInForce.GTD,
        "price_fen_per_tonne": 226_000, "quantity_kg": 24_900, "due_ns": due_ns,
    } | fields  # fmt: skip


def told(events: Records) -> list[tuple[str, int]]:
    return [(Event(int(row["kind"])).name, int(row["time_ns"])) for row in events]


async def since(shard: Shard, sequence: int, count: int) -> Records:
    """The events of the next `count` commands."""
    await shard.reaches(sequence + count)
    return shard.events.read(shard.events.position_after(sequence))


def step(due_ns: int) -> Records:
    return commands_of({"kind": Command.SET_CLOCK, "due_ns": due_ns})
