"""Who watches the market: a book rebuilt from increments and the trades as they are printed.

Law: a book follows its increments and proves itself by its checksum; at rest it is the core's; nothing is
shown before it is durable (law 3). All of it is held against the log at the end (tests/simulation/shown.py).
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from engine.exchange import Exchange
from gateway.client.book import Book
from tests.simulation.clients import Client
from tests.simulation.line import Line
from tests.simulation.report import Violation
from tests.simulation.shown import WATCHED, Run, Seen, core_book

if TYPE_CHECKING:
    from tests.simulation.world import World

NEWCOMER_SHARE: Final = 0.4  # of the busts after which it comes back as one who has not seen the trade


class Watcher(Client):
    """Subscribes to depth and trades over whichever gateway it reaches."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.seen = Seen()
        self._books: dict[str, Book] = {}
        self._runs: dict[str, Run] = {}

    async def joined(self, line: Line) -> bool:
        """Watch both products, from their snapshots on. Raises LineDown."""
        self._books = {code: Book() for code in WATCHED}
        self._runs.clear()
        for channel in ("depth", "trades"):
            answer = await line.ask("subscribe", channel=channel, instruments=list(WATCHED))
            if not answer["ok"]:
                self.passing(answer)
                return False
        return True

    def on_event(self, event: Any) -> None:
        """Follow; what does not follow is a violation."""
        try:
            if event["channel"] == "depth":
                self._show(event)
            else:
                self._print(event)
        except Violation as violation:
            self.world.violated(violation)

    def _show(self, depth: Any) -> None:
        code, book = depth["instrument"], self._books[depth["instrument"]]
        self.world.auditor.shown(depth["sequence"])
        if not book.apply(depth):
            raise Violation("market data", f"a {depth['type']} of {code} does not fit the book: {depth}")
        sides = book.levels("bids"), book.levels("asks")
        if self.seen.books.setdefault((book.sequence, code), sides) != sides:
            raise Violation("market data", f"{code} stood in two ways behind command {book.sequence}")
        self.world.report.counts["books shown"] += 1

    def _print(self, trades: Any) -> None:
        code = trades["instrument"]
        if trades["type"] == "snapshot" or code not in self._runs:
            self._runs[code] = Run()
            self.seen.runs.append((code, self._runs[code]))
        run, busted = self._runs[code], trades["type"] == "busted"
        prints = run.snapshot if trades["type"] == "snapshot" else run.updates
        for trade in trades["trades"]:
            self.world.auditor.shown(trade["sequence"])
            price, quantity = Decimal(trade["price"]), Decimal(trade["quantity"])
            prints.append((int(trade["match_id"]), price, quantity, busted))
            self.world.report.counts["busts shown" if busted else "trades shown"] += 1
        if busted and self.line is not None and self.dice.random() < NEWCOMER_SHARE:
            self.line.hang_up()

    def caught_up(self, exchange: Exchange) -> bool:
        """Whether its books are the core's."""
        if self.line is None or self.line.gone.is_set():
            return False
        return all(
            book.sequence >= 0 and (book.levels("bids"), book.levels("asks")) == core_book(exchange, code)
            for code, book in self._books.items()
        )
