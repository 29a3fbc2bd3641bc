"""What every trade took and every bust gave back, reckoned beside core and settlement with sums of its own.

    events ─▶ contracts ─▶ what must stand in accounts, lots, entries, contracts' rows, and be heard by whom

Law: a trade takes its amount and two fees once and contracts its kilograms; a bust gives all of it back once,
to who had given it, and nothing else moves (semantics E8, G3; domain 4).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from engine.exchange import Exchange
from engine.records import CASH, LOT, TRADE, Records
from engine.vocabulary import Event, Side
from settlement.busts import BustState
from settlement.contracts import State
from settlement.ledger import Goods, Money, account
from tests.simulation.database import Database, Fields
from tests.simulation.report import Violation

FEE_PER_MILLE: Final = 50  # fen for a thousand kilograms, of each side
PLATFORM: Final = 0


def half_up(number: int, divisor: int) -> int:
    """number / divisor, the half upwards."""
    return (2 * number + divisor) // (2 * divisor)


@dataclass
class Contract:
    """One trade."""

    match_id: int
    sequence: int
    instrument: int
    buyer: int
    seller: int
    lot: int
    price: int
    kg: int
    busted: int = 0  # the command that reversed it; 0: none

    @property
    def amount_fen(self) -> int:
        """What the goods cost."""
        return half_up(self.price * self.kg, 1000)

    @property
    def fee_fen(self) -> int:
        """What each side pays to the platform."""
        return max(1, half_up(self.kg * FEE_PER_MILLE, 1000))

    def stands(self, sequence: int) -> bool:
        """Whether it holds behind a command."""
        return self.sequence <= sequence and not 0 < self.busted <= sequence

    def money(self) -> Iterator[tuple[int, int]]:
        """What it moves: account of the ledger, fen."""
        yield account(self.buyer, Money.TRADING), -self.amount_fen - self.fee_fen
        yield account(self.seller, Money.TRADING), -self.fee_fen
        yield account(self.buyer, Money.ESCROW), self.amount_fen
        yield account(PLATFORM, Money.FEE), 2 * self.fee_fen

    def goods(self, stands: bool) -> Iterator[tuple[int, int]]:
        """What it moves: account of the lot, kilograms. What a bust gives back is not listed again."""
        yield account(self.lot, Goods.LISTED), -self.kg
        yield account(self.lot, Goods.CONTRACT if stands else Goods.FREE), self.kg


class Contracts:
    """All trades, in their order; fed with events."""

    def __init__(self, counts: Counter[str]) -> None:
        self.found: dict[int, Contract] = {}
        self.cash: Counter[int] = Counter()  # fen that each account brought in, less what it took out
        self.registered: Counter[int] = Counter()  # kilograms of each lot
        self._counts = counts

    def note(self, events: Records) -> None:
        """Take note of whole commands. Raises Violation."""
        cash, lots, trades = events.view(CASH), events.view(LOT), events.view(TRADE)
        for at, kind in enumerate(events["kind"].tolist()):
            if kind == Event.TRADE:
                self._trade(trades[at])
            elif kind == Event.TRADE_BUSTED:
                self._bust(trades[at])
            elif kind in (Event.DEPOSITED, Event.WITHDRAWN):
                sign = 1 if kind == Event.DEPOSITED else -1
                self.cash[int(cash["account"][at])] += sign * int(cash["amount_fen"][at])
            elif kind == Event.LOT_REGISTERED:
                self.registered[int(lots["lot"][at])] += int(lots["quantity_kg"][at])

    def _trade(self, row: Any) -> None:
        parties = int(row["account"]), int(row["counter_account"])
        buyer, seller = parties if int(row["side"]) == Side.BUY else reversed(parties)
        found = Contract(
            match_id=int(row["match_id"]),
            sequence=int(row["sequence"]),
            instrument=int(row["instrument"]),
            buyer=buyer,
            seller=seller,
            lot=int(row["lot"]),
            price=int(row["price_fen_per_tonne"]),
            kg=int(row["quantity_kg"]),
        )
        if found.match_id in self.found:
            raise Violation("double", f"match id {found.match_id} was given twice")
        self.found[found.match_id] = found

    def _bust(self, row: Any) -> None:
        contract = self.found.get(int(row["match_id"]))
        if contract is None:
            raise Violation("conservation", f"a bust of no trade: {row}")
        if contract.busted:
            raise Violation("double", f"{contract} was busted again by {int(row['sequence'])}")
        told = tuple(
            int(row[name])
            for name in ("account", "counter_account", "lot", "price_fen_per_tonne", "quantity_kg")
        )
        if told != (contract.buyer, contract.seller, contract.lot, contract.price, contract.kg):
            raise Violation("conservation", f"the bust of {contract} says {told}")
        contract.busted = int(row["sequence"])
        self._counts["trades busted"] += 1

    def check_exchange(self, exchange: Exchange) -> None:
        """Every account's fen and every lot's kilograms are what came in less what stands. Raises Violation
        (law 7).
        """
        fen, contracted = Counter(self.cash), Counter[int]()
        for contract in self.found.values():
            if contract.busted == 0:
                fen[contract.buyer] -= contract.amount_fen + contract.fee_fen
                fen[contract.seller] -= contract.fee_fen
                contracted[contract.lot] += contract.kg
        for number, row in enumerate(exchange.state.accounts):
            if int(row["available"] + row["held"]) != fen[number]:
                text = f"account {number} has {row['available']} + {row['held']} fen, {fen[number]} are due"
                raise Violation("conservation", text)
        for number, row in enumerate(exchange.state.lots):
            kg = int(row["free"] + row["listed"] + row["contracted"]), int(row["contracted"])
            due = self.registered[number], contracted[number]
            if kg != due:
                raise Violation("conservation", f"lot {number}: in all and contracted {kg} kg, {due} are due")

    def check_books(self, database: Database) -> None:
        """The rows and entries up to the cursor are those of these contracts. Raises Violation."""
        end = database.table("settlement_cursor")[True]["sequence"]
        posted = {key: contract for key, contract in self.found.items() if contract.sequence <= end}
        rows = database.table("contract")
        if rows.keys() != posted.keys():
            raise Violation(
                "books", f"contracts {sorted(rows.keys() ^ posted.keys())} are missing, or of no trade"
            )
        money = _moves(database, "money_entry", "amount_fen")
        goods = _moves(database, "goods_entry", "quantity_kg")
        for key, contract in posted.items():
            stands = contract.stands(end)
            state = State.PAID if stands else State.BUSTED
            if (rows[key]["state"], rows[key]["amount_fen"]) != (state, contract.amount_fen):
                raise Violation("books", f"{contract} stands as {rows[key]}")
            _check_moves(contract, "fen", money[key], _summed(contract.money()) if stands else Counter())
            _check_moves(contract, "kg", goods[key], _summed(contract.goods(stands)))
        self._check_busts(database, end)

    def _check_busts(self, database: Database, end: int) -> None:
        """Two persons were behind every bust; one on its way is an order to the engine. Raises Violation."""
        done = []
        for row in database.table("bust").values():
            state, ordered = BustState(row["state"]), row["outbox"] is not None
            two = row["decider"] is not None and row["decider"] != row["proposer"]
            if ordered != (state in (BustState.ORDERED, BustState.BUSTED, BustState.REFUSED)):
                raise Violation("books", f"a bust contradicts itself: {row}")
            if ordered and not two:
                raise Violation("books", f"one person alone busted: {row}")
            if state is BustState.BUSTED:
                done.append(row["contract"])
        due = [key for key, contract in self.found.items() if 0 < contract.busted <= end]
        if sorted(done) != sorted(due):
            raise Violation("books", f"busts of {sorted(done)} are in the books, {sorted(due)} in the log")

    def check_heard(self, seen: dict[int, dict[int, Any]]) -> None:
        """Both parties heard of each trade and of its bust, once each. Raises Violation."""
        due: dict[int, Counter[tuple[str, str]]] = {}
        for contract in self.found.values():
            for party in (contract.buyer, contract.seller):
                told = due.setdefault(party, Counter())
                told["fill", str(contract.match_id)] += 1
                if contract.busted:
                    told["busted", str(contract.match_id)] += 1
        for party, events in seen.items():
            pairs = (event for event in events.values() if event["event"] in ("fill", "busted"))
            heard = Counter((event["event"], event["match_id"]) for event in pairs)
            if heard != due.get(party, Counter()):
                wrong = (heard - due.get(party, Counter())) + (due.get(party, Counter()) - heard)
                raise Violation("private stream", f"account {party} did not hear once of {wrong}")


def _summed(moves: Iterator[tuple[int, int]]) -> Counter[int]:
    """Moves by account; who gives and gets as much has none."""
    total = Counter[int]()
    for number, amount in moves:
        total[number] += amount
    return total


def _moves(database: Database, table: str, column: str) -> dict[int, Counter[int]]:
    """What the entries of each contract moved, by account; VAT counts as a part of its fee."""
    found: dict[int, Counter[int]] = {}
    for row in database.table(table).values():
        moved = found.setdefault(row["contract"], Counter())
        for side, sign in (("debit", -1), ("credit", 1)):
            moved[_account(table, row, side)] += sign * row[column]
    return found


def _account(table: str, row: Fields, side: str) -> int:
    vat, fee = account(PLATFORM, Money.FEE_VAT), account(PLATFORM, Money.FEE)
    return int(fee) if table == "money_entry" and row[side] == vat else int(row[side])


def _check_moves(contract: Contract, unit: str, found: Counter[int], due: Counter[int]) -> None:
    differs = {key for key in found.keys() | due.keys() if found[key] != due[key]}
    if differs:
        pairs = {key: (found[key], due[key]) for key in sorted(differs)}
        raise Violation("books", f"{contract} moved {unit}, found and due by account: {pairs}")
