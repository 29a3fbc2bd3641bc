"""What the public was shown, held against the log: books command by command, trades run by run.

Law: a book that follows its increments is the core's at the command that it names; what is printed is a run
of the log's trades, none left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import numpy as np

from engine.exchange import Exchange
from engine.instruments import load_instruments
from engine.records import LEVEL, TRADE, Records, commands_of
from engine.vocabulary import Command, Event, Side
from tests.simulation.programs import COIL, REBAR
from tests.simulation.report import Violation

NUMBERS: Final = {product.code: product.number for product in load_instruments()}
WATCHED: Final = (REBAR, COIL)
Levels = list[list[Decimal]]  # price and tonnes, best first
Sides = tuple[Levels, Levels]  # bids, asks


@dataclass
class Seen:
    """What one watcher was shown, to be held against the log at the end."""

    books: dict[tuple[int, str], Sides] = field(default_factory=dict)  # by sequence and instrument
    runs: list[tuple[str, list[tuple[Any, ...]]]] = field(default_factory=list)  # trades without a gap


def core_book(exchange: Exchange, code: str) -> Sides:
    """The book as the core answers for it."""
    question = commands_of({"kind": Command.QUERY_DEPTH, "account": -1, "instrument": NUMBERS[code]})
    rows = exchange.answer(question)[:-1].view(LEVEL)
    sides: Sides = ([], [])
    for row in rows:
        level = [money_of(row["price_fen_per_tonne"]), tonnes_of(row["quantity_kg"])]
        sides[0 if row["side"] == Side.BUY else 1].append(level)
    return sides


def money_of(fen: Any) -> Decimal:
    """Fen as a client reads them."""
    return Decimal(int(fen)) / 100


def tonnes_of(kg: Any) -> Decimal:
    """Kilograms as a client reads them."""
    return Decimal(int(kg)) / 1000


def check_books(seen: Seen, commands: Records, fresh: Exchange) -> None:
    """Judge the log anew, and look at every command of which a book was shown. Raises Violation."""
    stops = sorted({sequence for sequence, _ in seen.books})
    for sequence, part in zip(stops, _cut(commands, stops), strict=False):
        if len(part):
            fresh.apply(part)
        for code in WATCHED:
            shown = seen.books.get((sequence, code))
            if shown is not None and shown != core_book(fresh, code):
                text = f"{code} was shown as {shown} behind command {sequence}"
                raise Violation("market data", f"{text}, the log says {core_book(fresh, code)}")
    rest = commands[commands["sequence"] > fresh.sequence]
    if len(rest):
        fresh.apply(rest)


def _cut(commands: Records, stops: list[int]) -> Iterator[Records]:
    """The commands up to each stop, one part after another."""
    yield from np.split(commands, np.searchsorted(commands["sequence"], stops, side="right"))


def check_prints(seen: Seen, events: Records) -> None:
    """What was printed is, run by run, what was traded, without a gap. Raises Violation."""
    rows = events.view(TRADE)[events["kind"] == Event.TRADE]
    for code, run in seen.runs:
        of_code = rows[rows["instrument"] == NUMBERS[code]]
        ids = of_code["match_id"].tolist()
        if not run:
            continue
        first = ids.index(run[0][0]) if run[0][0] in ids else len(ids)
        traded = [
            (int(row["match_id"]), money_of(row["price_fen_per_tonne"]), tonnes_of(row["quantity_kg"]))
            for row in of_code[first : first + len(run)]
        ]
        if traded != run:
            raise Violation("market data", f"{code}: printed {run}, traded {traded}")
