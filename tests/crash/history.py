"""What one client of the engine sent and heard, and whether a recovered log agrees with it.

Every command carries a number of its own (tag), so that it is known again wherever it turns up.

Law (reliability, proof 8): what was heard stands in the log as it was heard; nothing stands there twice; what
was sent after an acknowledgement was heard has a higher sequence; what the door refused stands nowhere.
"""

import random

import numpy as np
import numpy.typing as npt

from engine.instruments import load_instruments
from engine.records import Records, client_order_id_words, commands_of, joined
from engine.vocabulary import Command, Flag, Side, TimeInForce
from tests.crash.tally import Tally

REBAR = load_instruments()[0]
BUYER, SELLER, LOT = 1, 2, 1
PLENTY_FEN, PLENTY_KG = 10**16, 4 * 10**9
AROUND_TICKS, UNITS_MAX = 3, 3
CANCEL_SHARE, IOC_SHARE = 0.2, 0.3


class History:
    """The client's memory over all starts of one engine."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.sent = 0  # tags are 1, 2, 3 …
        self.sequence = 0  # of the last command whose events were heard
        self._heard: list[Records] = []
        self._heard_before = [0]  # by tag: the last sequence heard when it was sent
        self._refused: set[int] = set()

    def hear(self, events: Records) -> None:
        """Take what the engine published: these commands are acknowledged."""
        self._heard.append(events)
        self.sequence = int(events["sequence"][-1])

    def refuse(self, rows: Records) -> None:
        """Take the REFUSED rows of commands that stayed outside."""
        self._refused |= {int(tag) for tag in rows["tag"]}

    @property
    def refused(self) -> int:
        """How many commands stayed outside."""
        return len(self._refused)

    def furnished(self) -> Records:
        """Commands that give two accounts money and goods, once."""
        rows = [
            {"kind": Command.OPEN_ACCOUNT, "account": BUYER},
            {"kind": Command.OPEN_ACCOUNT, "account": SELLER},
            {"kind": Command.DEPOSIT, "account": BUYER, "amount_fen": PLENTY_FEN},
            {"kind": Command.DEPOSIT, "account": SELLER, "amount_fen": PLENTY_FEN},
            {
                "kind": Command.REGISTER_LOT,
                "account": SELLER,
                "lot": LOT,
                "instrument": REBAR.number,
                "quantity_kg": PLENTY_KG // REBAR.step_kg * REBAR.step_kg,
            },
        ]
        return self._noted([dict(row) for row in rows])

    def orders(self, count: int, chance: random.Random, *, cancels_only: bool = False) -> Records:
        """`count` orders and cancels to send now; some of them trade, some are rejected."""
        rows = []
        for number in range(self.sent + 1, self.sent + 1 + count):
            if cancels_only or (number > 100 and chance.random() < CANCEL_SHARE):
                rows.append(_cancel(chance.randint(max(1, number - 100), number - 1), chance))
            else:
                rows.append(_order(number, chance))
        return self._noted(rows)

    def _noted(self, rows: list[dict[str, int]]) -> Records:
        for row in rows:
            self.sent += 1
            row["tag"] = self.sent
            self._heard_before.append(self.sequence)
        return commands_of(*rows)

    def check_events(self, found: Records) -> Tally:
        """Compare with all events of a recovered engine, byte by byte where they were heard."""
        first = found[found["index"] == 0] if len(found) else found
        tally = self.check(_numbers(first, "tag"), _numbers(first, "sequence"))
        if tally.holds and self._heard:
            heard = joined(self._heard)
            same = np.array_equal(found[: len(heard)].view(np.uint8), heard.view(np.uint8))
            if not same:
                tally.find("an event that was heard is told differently after the restart")
        return tally

    def check_commands(self, blocks: list[Records]) -> Tally:
        """Compare with all commands of a recovered log."""
        commands = joined(blocks) if blocks else commands_of()
        return self.check(_numbers(commands, "tag"), _numbers(commands, "sequence"))

    def check(self, tags: npt.NDArray[np.int64], sequences: npt.NDArray[np.int64]) -> Tally:
        """Compare with the (tag, sequence) pairs that a log holds; tag 0 is the engine's own."""
        heard = joined(self._heard) if self._heard else commands_of()
        acknowledged = {
            int(tag): int(number)
            for tag, number in zip(heard["tag"], heard["sequence"], strict=True)
            if tag > 0
        }
        tally = Tally(acknowledged=len(acknowledged))
        own = tags > 0
        found = dict(zip(tags[own].tolist(), sequences[own].tolist(), strict=True))
        if missing := acknowledged.keys() - found.keys():
            tally.lose(
                len(missing), f"{len(missing)} acknowledged commands, the first has tag {min(missing)}"
            )
        moved = [tag for tag in acknowledged.keys() & found.keys() if found[tag] != acknowledged[tag]]
        if moved:
            tally.find(f"{len(moved)} acknowledged commands have another sequence, as tag {min(moved)}")
        if twice := int(own.sum()) - len(found):
            tally.double(twice, f"{twice} commands stand in the log more than once")
        if foreign := [tag for tag in found if tag > self.sent or tag in self._refused]:
            tally.find(f"{len(foreign)} commands were never sent, or refused, as tag {min(foreign)}")
        early = [tag for tag in found if tag <= self.sent and found[tag] <= self._heard_before[tag]]
        if early:
            tally.find(f"{len(early)} commands stand before one that was acknowledged before they were sent")
        return tally


def _numbers(rows: Records, name: str) -> npt.NDArray[np.int64]:
    return rows[name].astype(np.int64)


def _identity(number: int) -> dict[str, int]:
    words = client_order_id_words(f"order-{number}".encode())
    return {"client_order_id_0": words[0], "client_order_id_1": words[1]}


def _order(number: int, chance: random.Random) -> dict[str, int]:
    selling = chance.random() < 0.5
    away = chance.randint(-AROUND_TICKS, AROUND_TICKS) * REBAR.tick_fen_per_tonne
    return {
        "kind": Command.NEW_ORDER,
        "account": SELLER if selling else BUYER,
        "side": Side.SELL if selling else Side.BUY,
        "lot": LOT if selling else 0,
        "instrument": REBAR.number,
        "price_fen_per_tonne": REBAR.reference_fen_per_tonne + away,
        "quantity_kg": chance.randint(1, UNITS_MAX) * REBAR.step_kg,
        "time_in_force": TimeInForce.IOC if chance.random() < IOC_SHARE else TimeInForce.DAY,
        **_identity(number),
    }


def _cancel(number: int, chance: random.Random) -> dict[str, int]:
    """Cancel an own order by its id; it may have ended, or be the other's."""
    account = chance.choice((BUYER, SELLER))
    fields = {"kind": Command.CANCEL_ORDER, "account": account, "flags": Flag.BY_CLIENT_ORDER_ID}
    return {**fields, "instrument": REBAR.number, **_identity(number)}
