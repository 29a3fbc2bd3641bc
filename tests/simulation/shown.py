"""What the public was shown, held against the log: books command by command, trades run by run.

Law: a book that follows its increments is the core's at the command that it names; what is printed is a run
of the log's trades and busts, none left out.
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
Print = tuple[int, Decimal, Decimal, bool]  # match id, price, tonnes, whether it is busted
Sides = tuple[Levels, Levels]  # bids, asks


@dataclass
class Run:
    """What was printed without a gap: the latest trades that stood, then trades and busts as they came."""

    snapshot: list[Print] = field(default_factory=list)
    updates: list[Print] = field(default_factory=list)


@dataclass
class Seen:
    """What one watcher was shown, to be held against the log at the end."""

    books: dict[tuple[int, str], Sides] = field(default_factory=dict)  # by sequence and instrument
    runs: list[tuple[str, Run]] = field(default_factory=list)


def core_book(exchange: Exchange, code: str) -> Sides:
    """The book as the core answers for it; that of a call auction is not shown while it is crossed (E4)."""
    question = commands_of({"kind": Command.QUERY_DEPTH, "account": -1, "instrument": NUMBERS[code]})
    rows = exchange.answer(question)[:-1].view(LEVEL)
    sides: Sides = ([], [])
    for row in rows:
        level = [money_of(row["price_fen_per_tonne"]), tonnes_of(row["quantity_kg"])]
        sides[0 if row["side"] == Side.BUY else 1].append(level)
    bids, asks = sides
    crossed = code == REBAR and bids and asks and bids[0][0] >= asks[0][0]
    return ([], []) if crossed else sides


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
    """What was printed is, run by run, what was traded and busted, without a gap. Raises Violation."""
    rows = events.view(TRADE)[np.isin(events["kind"], (Event.TRADE, Event.TRADE_BUSTED))]
    for code, run in seen.runs:
        tape = [_print(row) for row in rows[rows["instrument"] == NUMBERS[code]]]
        first = tape.index(run.updates[0]) if run.updates and run.updates[0] in tape else len(tape)
        told = tape[first : first + len(run.updates)]
        if told != run.updates:
            raise Violation("market data", f"{code}: printed {run.updates}, the log says {told}")
        standing = _standing(tape[:first])
        if not _is_part(run.snapshot, standing, at_end=bool(run.updates)):
            raise Violation("market data", f"{code}: begins with {run.snapshot}, the log says {standing}")


def _print(row: Any) -> Print:
    busted = int(row["kind"]) == Event.TRADE_BUSTED
    price, quantity = money_of(row["price_fen_per_tonne"]), tonnes_of(row["quantity_kg"])
    return int(row["match_id"]), price, quantity, busted


def _standing(tape: list[Print]) -> list[Print]:
    """The trades that nobody has busted."""
    busted = {each[0] for each in tape if each[-1]}
    return [each for each in tape if each[0] not in busted]


def _is_part(run: list[Print], of: list[Print], *, at_end: bool) -> bool:
    """Whether a snapshot repeats trades without a gap, up to the last one before its first update. Where
    no update came, nobody knows when it was taken: trades may have been busted since.
    """
    if not at_end:
        return [each for each in of if each in run] == [each for each in run if each in of]
    return not run or of[-len(run) :] == run
