"""The independent model: what was acknowledged and published, held against the log after each recovery.

    clients ──▶ acknowledged, seen ─┐
    log on the disk, read anew ─────┼──▶ the same outcome, once, for ever
    database ───────────────────────┘
    (lives.py reckons what becomes of each order, contracts.py what trades and busts move, days.py the days)

Law: the auditor believes what clients were told. It keeps its own copy of the log and its own exchange, fed
from that copy alone; so a snapshot, a retained segment or a cache that is wrong shows as a difference.
"""

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.command_log import CommandLog, CorruptLogError
from engine.exchange import Exchange
from engine.records import CASH, ORDER, TRADE, Records, as_words, joined, select
from engine.service import Engine
from engine.vocabulary import Command, Event, Flag, Phase, Reason, TimeInForce
from settlement.busts import BustState
from tests.simulation import books
from tests.simulation.contracts import Contracts
from tests.simulation.days import REFERENCE, Days, Key, by_day, key_of
from tests.simulation.disk import Entries, Inode, SimulatedDisk, SimulatedFolder
from tests.simulation.lives import Lives
from tests.simulation.outcomes import MARKET, Acknowledgement, outcome
from tests.simulation.process import Process
from tests.simulation.programs import CAPACITY
from tests.simulation.report import Violation
from tests.simulation.shown import Seen, check_books, check_prints

if TYPE_CHECKING:
    from tests.simulation.binary import BinaryTrader
    from tests.simulation.world import World

ORDERS: Final = (Command.NEW_ORDER, Command.PICK)
KEY: Final = ("account", "flags", "client_order_id_0", "client_order_id_1")


class Auditor:
    """Checks every law that can be checked from outside."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.commands: list[Records] = []  # the log, as far as a recovery or the end has confirmed it
        self.events: list[Records] = []
        self.exchange = Exchange(CAPACITY)
        self.epoch = 0
        self.published = 0  # the highest sequence that a client, settlement or gateway has heard of
        self.first: dict[Key, tuple[Any, ...]] = {}  # outcome of the first command of a client order id
        self._unchecked: list[Acknowledgement] = []
        self._told: dict[tuple[Key, int], tuple[Any, ...]] = {}  # that was heard first of a key, by its days
        self._executed: dict[tuple[Key, int], tuple[Any, ...]] = {}  # the outcomes of `first`, of all days
        self.days = Days()
        self.lives = Lives(world.report.counts)
        self.contracts = Contracts(world.report.counts)
        self._proposals: list[tuple[int, str]] = []  # contract, and by whom its bust was proposed
        self.seen: dict[int, dict[int, Any]] = {}  # per account: private events by account sequence
        self._by_sequence: dict[int, Records] = {}  # the first event of each command

    @property
    def sequence(self) -> int:
        """The last command that is known to be durable."""
        return self.exchange.sequence

    def acknowledged(self, told: Acknowledgement) -> None:
        """A client was told an outcome."""
        self._world.report.counts["acknowledged"] += 1
        self.published = max(self.published, told.sequence)
        self._unchecked.append(told)

    def proposed(self, contract: int, key: str) -> None:
        """An operator was told that a bust is proposed."""
        self._proposals.append((contract, key))

    def shown(self, sequence: int) -> None:
        """Something of a command was shown to the public, or over a link of records. Raises Violation unless
        the command is durable by now (law 3).
        """
        self.published = max(self.published, sequence)
        engine = self._world.engine
        if engine is None or engine.log.sequence < sequence:
            raise Violation("early", f"command {sequence} was shown before it was durable")

    def heard(self, account: int, event: Any) -> None:
        """A private event arrived at a client. Raises Violation if it differs from what came before."""
        number = event["account_sequence"]
        self.published = max(self.published, event["sequence"])
        seen = self.seen.setdefault(account, {})
        if number in seen:
            if seen[number] != event:
                raise Violation("private stream", f"event {number} of {account} came in two versions")
        elif number != len(seen) + 1:
            raise Violation("private stream", f"account {account} got event {number} after {len(seen)}")
        seen[number] = event

    def recovered(self, engine: Engine) -> None:
        """The engine has recovered and has not served anybody yet. Raises Violation."""
        counts = self._world.report.counts
        counts["recoveries"] += 1
        if engine.epoch <= self.epoch:
            raise Violation("regress", f"epoch {engine.epoch} after {self.epoch}")
        self.epoch = engine.epoch
        self._read_log()
        if engine.sequencer.sequence != self.sequence:
            text = f"the engine is at {engine.sequencer.sequence}, the log at {self.sequence}"
            raise Violation("replay", text)
        same_state(engine.exchange, self.exchange)
        check_invariants(self.exchange)
        self._check_acknowledged()
        self._check_standing()
        self._count_what_stood()

    def _check_standing(self) -> None:
        """Orders, accounts, lots, books and proposals are what the log makes them. Raises Violation."""
        self.lives.check(self.exchange)
        self.contracts.check_exchange(self.exchange)
        books.check(self._world.database, self.all_events(), self.sequence)
        self.contracts.check_books(self._world.database)
        rows = self._world.database.table("bust").values()
        lost = set(self._proposals) - {(row["contract"], row["proposer"]) for row in rows}
        if lost:
            raise Violation("loss", f"busts that were proposed are not in the books: {lost}")

    def _count_what_stood(self) -> None:
        """What the crash before this recovery fell among."""
        counts, state = self._world.report.counts, self.exchange.state
        counts["recoveries in an auction"] += bool((state.instruments["phase"] > Phase.CONTINUOUS).any())
        counts["recoveries with hidden kilograms"] += bool(state.specials["hidden"].any())
        counts["recoveries with stops"] += any(life.waits for life in self.lives.living.values())
        busts = self._world.database.table("bust").values()
        counts["recoveries in a bust"] += any(row["state"] == BustState.ORDERED for row in busts)

    def _read_log(self) -> None:
        """Take what the log has gained; what it had may not have changed."""
        before = self.sequence
        offset = 0
        known = joined(self.commands) if self.commands else None
        for block in self._blocks():
            overlap = max(0, min(len(block), before - offset))
            if known is not None and overlap:
                same = as_words(block[:overlap]) == as_words(known[offset : offset + overlap])
                if not same.all():
                    raise Violation("loss", f"command {offset + 1} or a later one is another than before")
            if overlap < len(block):
                self._take(select(block, np.arange(overlap, len(block))))
            offset += len(block)
        if offset < max(before, self.published):
            text = f"the log ends at {offset}; {before} were recovered before, {self.published} published"
            raise Violation("loss", text)

    def _blocks(self) -> list[Records]:
        """The blocks of the log as recovery would read them now. Raises Violation where it would refuse."""
        try:
            return list(CommandLog(self._copy()).recover())
        except CorruptLogError as error:
            raise Violation("loss", f"nobody damaged the log, and recovery refuses it: {error}") from error

    def _copy(self) -> SimulatedFolder:
        """The log as a program would find it now, on a disk of its own: reading it heals nothing."""
        entries = Entries()
        for folder in ("archive", "commands"):
            path = str(self._world.location.engine / folder)
            for name, inode in self._world.disk.folders.get(path, Entries()).seen.items():
                entries.seen[name] = Inode(inode.seen, inode.seen)
        disk = SimulatedDisk(random.Random(0), lambda process, kind: None)
        return SimulatedFolder(disk, Process("auditor"), entries)

    def _take(self, commands: Records) -> None:
        """Apply new commands of the log, day by day."""
        for day in by_day(commands):
            self._judge(day)

    def _judge(self, commands: Records) -> None:
        """Note the outcomes of commands that hold a roll of the day at most at their end."""
        self.commands.append(commands)
        events = self.exchange.apply(commands).copy()
        self.events.append(events)
        self._reckon(commands, events)
        orders = events.view(ORDER)
        accepted = (events["kind"] == Event.ACCEPTED) & (events["flags"] & Flag.DUPLICATE == 0)
        for row in orders[accepted]:
            key = key_of(*(row[name] for name in KEY))
            if key in self.first:
                raise Violation("double", f"{key} was executed twice, the second time as {row['sequence']}")
            self.first[key] = outcome(row)
            self._executed[key, self.days.generation(key, int(row["sequence"]))] = outcome(row)
        living = self.days.note(events, self.exchange)
        if living is not None:
            self._world.report.counts["days rolled"] += 1
            self.first = {k: told for k, told in self.first.items() if k in living or k[1][:1] == REFERENCE}
        applied = len(np.unique(numbers_of_settlement(events)))
        self._world.report.counts["settlement commands applied"] += applied
        repeated, duplicates = events["kind"] == Event.REPEATED, events["flags"] & Flag.DUPLICATE != 0
        self._world.report.counts["settlement commands repeated"] += int(repeated.sum())
        self._world.report.counts["orders repeated"] += int(duplicates.sum())

    def _reckon(self, commands: Records, events: Records) -> None:
        """Follow orders and contracts, command by command."""
        parts = np.split(events, np.flatnonzero(events["index"] == 0)[1:])
        for command, part in zip(commands, parts, strict=True):
            self._by_sequence[int(command["sequence"])] = part
            self.lives.note(command, part)
        self.contracts.note(events)

    def _check_acknowledged(self) -> None:
        """Every acknowledgement stands in the log with its outcome. Raises Violation."""
        for told in self._unchecked:
            event = self._by_sequence.get(told.sequence)
            if event is None:
                raise Violation("loss", f"command {told.sequence} was acknowledged ({told})")
            self._world.report.counts["checked"] += 1
            if told.kind in MARKET.values():
                if not (event["kind"] == told.kind).any():
                    raise Violation("loss", f"command {told.sequence} is another than {told.kind.name}")
                continue
            if told.kind is Event.TRADE_BUSTED:
                self._compare_bust(told)
                continue
            self._compare(told, event.view(ORDER)[0])
            self._compare_repeat(told)
        self._unchecked.clear()

    def _compare_bust(self, told: Acknowledgement) -> None:
        contract = self.contracts.found.get(told.outcome[0])
        if contract is None or contract.busted != told.sequence:
            raise Violation("loss", f"{contract} was acknowledged as busted by command {told.sequence}")

    def _place(self, told: Acknowledgement) -> tuple[Key, int]:
        """The client order id, and how often it had been free again."""
        key = (told.account, told.key)
        return key, self.days.generation(key, told.sequence)

    def _compare_repeat(self, told: Acknowledgement) -> None:
        """A request has one outcome for a client, as long as its client order id is not free again."""
        if told.kind in (Event.CANCELED, Event.REPLACED) or not told.key or told.key.startswith(REFERENCE):
            return
        before = self._told.setdefault(self._place(told), told.outcome)
        if before != told.outcome:
            text = f"{told.key} of {told.account} was {before}, its repeat {told.outcome}"
            raise Violation("double", text)

    def _compare(self, told: Acknowledgement, row: Any) -> None:
        place, found = (int(row["account"]), Event(int(row["kind"]))), outcome(row)
        if place != (told.account, told.kind) or found != told.outcome:
            raise Violation("loss", f"command {told.sequence} is {place} {found}, acknowledged as {told}")
        if told.kind is not Event.ACCEPTED:
            return
        executed = self._executed.get(self._place(told))
        if executed != told.outcome:
            raise Violation("double", f"{told.key}: executed as {executed} on its day, told {told.outcome}")

    def all_events(self) -> Records | None:
        """Every event of the log, None when there is none."""
        return joined(self.events) if self.events else None

    def finish(self, engine: Engine) -> None:
        """The end: everybody is up and has caught up. Raises Violation."""
        self._read_log()
        self._check_acknowledged()
        if engine.sequencer.sequence != self.sequence:
            raise Violation("replay", f"{engine.sequencer.sequence} published, {self.sequence} in the log")
        same_state(engine.exchange, self.exchange)
        check_invariants(engine.exchange)
        events = self.all_events()
        assert events is not None
        check_once(events)
        self._world.report.counts["orders expired"] += check_expiries(
            joined(self.commands), events, self.exchange
        )
        self._check_standing()
        books.check_complete(self._world.database, events, self.exchange)
        books.check_streams(self.seen, events)
        self.contracts.check_heard(self.seen)

    def finish_shown(self, seen: Seen, records: "BinaryTrader") -> None:
        """What was shown to the public and over records is what the log says. Raises Violation."""
        events = self.all_events()
        assert events is not None
        check_prints(seen, events)
        fresh = Exchange(CAPACITY)
        check_books(seen, joined(self.commands), fresh)
        same_state(fresh, self.exchange)
        records.check(events, self.first)

    def flip_a_bit(self) -> None:
        """Damage a copy of the log: recovery must refuse it, or give up its last block and no more."""
        dice, report = self._world.dice, self._world.report
        whole = [block.tobytes() for block in self._blocks()]
        damaged = self._copy()
        if not whole:
            return
        name = dice.choice(damaged.names())
        content = damaged.entries.seen[name].seen
        used = max(len(bytes(content).rstrip(b"\0")), 1)
        at = dice.randrange(used)
        content[at] ^= 1 << dice.randrange(8)
        report.faults["bit flip"] += 1
        try:
            found = [block.tobytes() for block in CommandLog(damaged).recover()]
        except CorruptLogError:
            report.counts["bit flips refused"] += 1
            return
        if found not in (whole, whole[:-1]):
            raise Violation("damage", f"bit flip at byte {at} of {name} passed recovery unnoticed")
        report.counts["bit flips without effect" if found == whole else "bit flips in the last block"] += 1


def numbers_of_settlement(events: Records) -> Any:
    """The outbox numbers of what was applied for settlement; a bust says it as its tag."""
    cash, busted = events.view(CASH), events["kind"] == Event.TRADE_BUSTED
    applied = (events["kind"] >= Event.ACCOUNT_OPENED) & (events["kind"] <= Event.LOT_WITHDRAWN)
    return np.concatenate([cash["outbox"][applied & (cash["outbox"] > 0)], events["tag"][busted]])


def same_state(one: Exchange, other: Exchange) -> None:
    """Raise Violation unless both exchanges hold the same bytes (law 4)."""
    for name in one.state._fields:
        if getattr(one.state, name).tobytes() != getattr(other.state, name).tobytes():
            raise Violation("replay", f"the array {name} differs from a replay of the log")


def check_invariants(exchange: Exchange) -> None:
    """Raise Violation where the exchange contradicts itself (law 7)."""
    try:
        exchange.check_invariants()
    except AssertionError as error:
        raise Violation("invariant", str(error)) from error


def check_expiries(commands: Records, events: Records, exchange: Exchange) -> int:
    """No gtd order lives when a command is judged at its instant or later, but for the EXPIRE that ends it;
    return how many were ended by one. Raises Violation (semantics B5, E6).
    """
    orders, trades, end = events.view(ORDER), events.view(TRADE), int(commands["sequence"][-1]) + 1
    others = commands[commands["kind"] != Command.EXPIRE]
    gtd = commands[commands["time_in_force"] == TimeInForce.GTD]
    due_ns = dict(zip(gtd["sequence"].tolist(), gtd["due_ns"].tolist(), strict=True))
    canceled, met = events["kind"] == Event.CANCELED, np.isin(events["kind"], (Event.TRADE, Event.PREVENTED))
    entered = (events["kind"] == Event.ACCEPTED) & (events["flags"] & Flag.DUPLICATE == 0)
    for row in orders[entered & (orders["leaves_kg"] > 0)]:
        sequence, order_id = int(row["sequence"]), int(row["order_id"])
        if sequence not in due_ns:
            continue
        later = others["sequence"][others["time_ns"] >= due_ns[sequence]]
        own = canceled & (orders["order_id"] == order_id)
        own |= met & ((trades["order_id"] == order_id) | (trades["counter_order_id"] == order_id))
        lives = bool((exchange.state.nodes["id"] == order_id).any())
        last = end if lives else int(events["sequence"][own].max())
        if len(later) and last >= later[0]:
            raise Violation("expiry", f"the gtd order of command {sequence} lived on at command {later[0]}")
    return int((events["reason"][canceled] == Reason.EXPIRED).sum())


def overdue(exchange: Exchange, now_ns: int) -> int:
    """How many gtd orders live though their instant has come."""
    live = exchange.state.nodes["id"][: exchange.capacity.orders + 1] != 0
    live &= exchange.state.orders["time_in_force"] == TimeInForce.GTD
    return int((exchange.state.specials["expire_ns"][live] <= max(exchange.time_ns, now_ns)).sum())


def check_once(events: Records) -> None:
    """Sequences rise without a gap, time never falls, settlement's numbers were applied once each. Raises
    Violation (laws 2, 8).
    """
    sequences = np.unique(events["sequence"])
    if not np.array_equal(sequences, np.arange(1, len(sequences) + 1)):
        raise Violation("regress", "the events' sequences have a gap")
    if (np.diff(events["time_ns"]) < 0).any():
        raise Violation("regress", "a time stamp is below an earlier one")
    numbers = Counter(numbers_of_settlement(events).tolist())
    twice = [number for number, count in numbers.items() if count > 1]
    if twice:
        raise Violation("double", f"settlement's commands {twice} were applied twice")
