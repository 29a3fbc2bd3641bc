"""An exchange on its logs in a folder, as the engine wires it but without sockets, and what trades there.

Commands are limit orders of 64 funded accounts around one price in one book, a third of them
immediate-or-cancel, by rising reference.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np

from engine.blocks import BLOCK_COMMANDS_MAX
from engine.clock import WallClock
from engine.command_log import CommandLog
from engine.core.layout import Capacity
from engine.disk import PosixDisk
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.records import COMMAND, INSTRUMENT_TERMS, Records, commands_of, joined
from engine.recovery import recover
from engine.sequencer import Sequencer
from engine.snapshot import Snapshots
from engine.snapshot_taker import SnapshotTaker
from engine.vocabulary import RECORD_VERSION, Command, Flag, Mode, Phase, Side, TimeInForce

SEED: Final = 20150708
ACCOUNTS: Final = 64
LEVELS: Final = 4000
MIDDLE: Final = 2 * LEVELS
AROUND: Final = 20  # ticks from the middle, of orders that trade
AHEAD_COMMANDS: Final = 4 * BLOCK_COMMANDS_MAX  # handed to the sequencer before they are durable
PAUSE_S: Final = 0.002  # between two looks at what is made in the background, or two attempts


def set_up() -> Records:
    """One open book, 64 accounts with money and a lot each."""
    terms = np.zeros(1, INSTRUMENT_TERMS)
    terms["version"], terms["kind"], terms["mode"] = RECORD_VERSION, Command.DEFINE_INSTRUMENT, Mode.BOOK
    terms["tick_fen_per_tonne"], terms["step_kg"], terms["minimum_kg"] = 1, 1, 1
    terms["lower_fen_per_tonne"], terms["upper_fen_per_tonne"] = MIDDLE - LEVELS, MIDDLE + LEVELS
    terms["reference_fen_per_tonne"], terms["maximum_kg"] = MIDDLE, 10**6
    terms["buyer_deposit_bp"], terms["fee_fen_per_tonne"] = 10_000, 50
    rows: list[dict[str, int]] = [{"kind": Command.SET_PHASE, "instrument": -1, "phase": Phase.CONTINUOUS}]
    for account in range(1, ACCOUNTS + 1):
        rows.append({"kind": Command.OPEN_ACCOUNT, "account": account})
        rows.append({"kind": Command.DEPOSIT, "account": account, "amount_fen": 10**16})
        rows.append(
            {"kind": Command.REGISTER_LOT, "account": account, "lot": account, "quantity_kg": 4 * 10**9}
        )
    return joined([terms.view(COMMAND), commands_of(*rows)])


def orders(count: int, first: int, *, resting: bool = False) -> Records:
    """`count` orders with references from `first`: such as trade, or buys that rest below everything."""
    chance = np.random.default_rng((SEED, first))
    number = np.arange(first, first + count)
    commands = np.zeros(count, COMMAND)
    commands["version"], commands["kind"] = RECORD_VERSION, Command.NEW_ORDER
    commands["account"], commands["flags"] = 1 + number % ACCOUNTS, Flag.BY_REFERENCE
    commands["client_order_id_0"] = number + 1
    commands["quantity_kg"] = chance.integers(1, 1000, count)
    if resting:
        commands["price_fen_per_tonne"] = MIDDLE - LEVELS + chance.integers(0, LEVELS - 2 * AROUND, count)
        return commands
    sells = chance.integers(0, 2, count) == 1
    commands["side"] = np.where(sells, int(Side.SELL), int(Side.BUY))
    commands["lot"] = np.where(sells, commands["account"], 0)
    immediate = chance.integers(0, 3, count) == 0
    commands["time_in_force"] = np.where(immediate, int(TimeInForce.IOC), int(TimeInForce.DAY))
    commands["price_fen_per_tonne"] = MIDDLE + chance.integers(-AROUND, AROUND + 1, count)
    return commands


class Bench:
    """Exchange, logs and sequencer in a folder, as the engine wires them, without sockets."""

    def __init__(self, folder: Path, every: int = 0) -> None:
        """Recover what lies in `folder`; snapshots every so many commands."""
        capacity = Capacity(orders=1 << 21, levels=1 << 15, instruments=4, accounts=128, lots=128, day=16)
        self.exchange = Exchange(capacity)
        self.exchange.apply(np.zeros(0, COMMAND))
        self.log = CommandLog(PosixDisk(folder / "commands"), spares=PosixDisk(folder / "spares"))
        self.events = EventLog(folder / "events.log")
        self.snapshots = Snapshots(PosixDisk(folder / "snapshots"))
        started = time.perf_counter()
        self.begun = recover(self.log, self.exchange, self.events, self.snapshots)
        self.recovery_s = time.perf_counter() - started
        self.taker = SnapshotTaker(self.snapshots, self, every, wake=self._wake)
        self.sequencer: Sequencer | None = None
        self._work: asyncio.Future[None]  # of the sequencer, once it runs

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Sequencer]:
        """The sequencer at work, ended at the end."""
        self.log.resume(self.log.epoch + 1)
        sequencer = self.sequencer = Sequencer(self.exchange, self.log, self.events, WallClock())
        sequencer.rest_is_due, sequencer.at_rest = self.taker.is_due, self.taker.at_rest
        work = self._work = asyncio.ensure_future(sequencer.run())
        work.add_done_callback(lambda _: sequencer.grown.set())  # who waits for it must not wait for ever
        try:
            if self.exchange.sequence == 0:
                await self.through(set_up())
            yield sequencer
        finally:
            sequencer.stop()
            await work
            self.taker.close()
            self.close()

    async def through(self, commands: Records) -> None:
        """Send commands, as many ahead as keeps the disk busy, until all are durable and published. Raises
        what the sequencer died of, and OSError for a disk without space.
        """
        sequencer, sent = self.sequencer, 0
        assert sequencer is not None, "it runs"
        first = sequencer.sequence
        while sequencer.sequence - first < len(commands):
            ahead = sent - (sequencer.sequence - first)
            if sent < len(commands) and ahead <= AHEAD_COMMANDS - BLOCK_COMMANDS_MAX:
                part = commands[sent : sent + BLOCK_COMMANDS_MAX]
                if sequencer.submit(part) is None:
                    sent += len(part)
                    continue
                if ahead == 0:  # refused, and nothing is on its way: the next segment is not made yet
                    if self.log.trouble is not None:
                        raise self.log.trouble
                    await asyncio.sleep(PAUSE_S)
                    continue
            await self.grown()

    async def grown(self) -> None:
        """Return when the event log has grown. Raises what the sequencer died of."""
        assert self.sequencer is not None, "it runs"
        await self.sequencer.grown.wait()
        if self._work.done():
            self._work.result()

    async def made_ahead(self) -> None:
        """Return when the log has its segments ahead, as it has after a quiet while."""
        assert self.sequencer is not None, "it runs"
        while not self.log.is_ahead() and not self._work.done():
            self.sequencer.wake()
            await asyncio.sleep(PAUSE_S)

    def _wake(self) -> None:
        if self.sequencer is not None:
            self.sequencer.wake()

    def close(self) -> None:
        """Let go of the files."""
        self.log.close()
        self.events.close()


def emptied(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
