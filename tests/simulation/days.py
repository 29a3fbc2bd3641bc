"""Trading days, reckoned beside the core: what a roll of the day ends, forgets and makes the reference.

Law: no order of the day outlives its day (semantics B5); a client order id is free again at the roll unless
its order lives (C8); the settlement price of the day's trades, less its busts, is the next day's reference
(E5, E8).
"""

from typing import Any, Final

import numpy as np

from engine import money
from engine.claims import UnsoundError
from engine.exchange import Exchange
from engine.records import TRADE, Records, client_order_id_text
from engine.soundness import check_sound
from engine.vocabulary import Command, Event, Flag, TimeInForce
from tests.simulation.report import Violation

Key = tuple[int, str]  # account, client order id
amount_fen: Any = money.amount_fen
REFERENCE: Final = "#"  # begins the key of a client that counts its orders


def key_of(account: Any, flags: Any, word_0: Any, word_1: Any) -> Key:
    """What names an order for its client."""
    if int(flags) & Flag.BY_REFERENCE:
        return int(account), f"{REFERENCE}{int(word_0)}"
    return int(account), client_order_id_text(int(word_0), int(word_1))


def by_day(commands: Records) -> list[Records]:
    """Commands cut behind each roll of the day."""
    cuts = np.flatnonzero(commands["kind"] == Command.ROLL_DAY) + 1
    return [part for part in np.split(commands, cuts) if len(part)]


class Days:
    """The days that were turned."""

    def __init__(self) -> None:
        self._rolls: list[tuple[int, frozenset[Key]]] = []  # sequence, and whose order lives on
        # the day's fen and kilograms, by instrument and trade
        self._traded: dict[int, dict[int, tuple[int, int]]] = {}
        self._references: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rolls)

    def generation(self, key: Key, sequence: int) -> int:
        """How often a client order id was free again before a command."""
        return sum(1 for rolled, living in self._rolls if rolled < sequence and key not in living)

    def note(self, events: Records, exchange: Exchange) -> frozenset[Key] | None:
        """Take note of events that hold a roll at most at their end; the exchange stands behind them. Returns
        whose order lives on, if the day was rolled. Raises Violation.
        """
        for row in events.view(TRADE)[np.isin(events["kind"], (Event.TRADE, Event.TRADE_BUSTED))]:
            trades = self._traded.setdefault(int(row["instrument"]), {})
            price, quantity = int(row["price_fen_per_tonne"]), int(row["quantity_kg"])
            if row["kind"] == Event.TRADE:
                trades[int(row["match_id"])] = amount_fen(price, quantity), quantity
            else:  # a trade of an earlier day is settled (semantics E8)
                trades.pop(int(row["match_id"]), None)
        rolled = (events["kind"] == Event.DAY_ROLLED).any()
        living = self._roll(int(events["sequence"][-1]), exchange) if rolled else None
        instruments = exchange.state.instruments
        self._references = {
            int(number): int(instruments["reference"][number])
            for number in np.flatnonzero(instruments["defined"])
        }
        return living

    def _roll(self, sequence: int, exchange: Exchange) -> frozenset[Key]:
        state = exchange.state
        for number, before in self._references.items():
            trades = self._traded.get(number, {}).values()
            fen, kg = sum(fen for fen, _ in trades), sum(kg for _, kg in trades)
            tick = int(state.instruments["tick"][number])
            expected = (2 * 1000 * fen + kg * tick) // (2 * kg * tick) * tick if kg else before
            found = int(state.instruments["reference"][number])
            if found != expected:
                text = f"the reference of instrument {number} is {found} after command {sequence}"
                raise Violation("day", f"{text}; its trades say {expected}")
        self._traded.clear()
        slots = np.flatnonzero(state.nodes["id"][: exchange.capacity.orders + 1])
        orders = state.orders[slots]
        if (orders["time_in_force"] == TimeInForce.DAY).any():
            raise Violation("day", f"an order of the day lives behind its roll, command {sequence}")
        try:
            check_sound(state)
        except UnsoundError as error:
            raise Violation("invariant", str(error)) from error
        names = ("flags", "client_order_id_0", "client_order_id_1")
        rows = zip(state.nodes["account"][slots], *(orders[name] for name in names), strict=True)
        living = frozenset(key_of(*row) for row in rows)
        self._rolls.append((sequence, living))
        return living
