"""The matching core beside the yardstick of the shared folder, on the same messages, in one run.

What is timed is the shipped core with everything in it: holds on funded accounts and lots, the rising client
reference as idempotency scheme, events written to the buffer, batches of 256, one thread. Counted are
workload messages; a modify of the workload loses its place and is two commands. Order ids come from an
untimed dry run. The reports of the core, written in the workload's own form, must have the published hash.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.layout import Capacity
from engine.exchange import Exchange, stamped
from engine.records import (
    COMMAND,
    INSTRUMENT_TERMS,
    ORDER,
    TRADE,
    Records,
    commands_of,
    joined,
    select,
)
from engine.vocabulary import (
    ORDER_SLOT_BITS,
    RECORD_VERSION,
    Command,
    Event,
    Flag,
    Mode,
    Phase,
    SelfTrade,
    Side,
    TimeInForce,
)

BATCH_COMMANDS: Final = 256
ACCOUNTS: Final = 64
ROUNDS: Final = 5
MONEY_FEN: Final = 10**16
GOODS_KG: Final = 4 * 10**9
NEW, CANCEL, MODIFY = 0, 1, 2
WORKLOAD: Final = np.dtype(
    [
        ("type", "u1"),
        ("side", "u1"),
        ("ioc", "u1"),
        ("pad", "u1"),
        ("quantity", "<u4"),
        ("sequence", "<u8"),
        ("order", "<u8"),
        ("price", "<i8"),
        ("instrument", "<i8"),
    ]
)
WORKLOAD_HEADER_BYTES: Final = 16
HASH_MESSAGES: Final = 200_000
WORKLOADS: Final[dict[str, tuple[str, ...]]] = {  # flow.py's messages, instruments, resting orders
    "flash1_normal": (),
    "one": ("4000000", "1", "10000"),
    "many": ("4000000", "1000", "200000"),
}
HASHES: Final = {  # of the reports of the first so many messages of flash1 normal (bench/README.md)
    2_000: "27354d9323877b0fd4caa548be215f59aa5d63be40f4d2b76d885452a4fe9a81",
    20_000: "4008343c211f7e3330f9c7b7e72de5ebf5ee73fdf09ce47a2cb01e1e34b6c393",
    200_000: "95581e86b8613e6c57987cce0bb8bd9c6fa2aae2f00c1b39d6d2ed9fa4506b21",
    1_996_097: "e9b2e3926854410b01a035aeb25dd05f1e597c233be8263de9eb49b6713d367e",
}


@dataclass(frozen=True)
class Replay:
    """A workload as commands of the core."""

    messages: npt.NDArray[np.void]
    commands: (
        Records  # stamped, with the order ids of the dry run; tag = message << 1 | (second half of a modify)
    )
    set_up: Records  # what comes before: terms, phase, accounts, money, lots


def shared_folder() -> Path:
    """LECONG_SHARED, or ../shared."""
    return Path(os.environ.get("LECONG_SHARED", Path(__file__).parents[2] / "shared"))


def read_workload(path: Path, count: int | None = None) -> npt.NDArray[np.void]:
    """The messages of a workload file (yardstick's format)."""
    messages = np.fromfile(path, WORKLOAD, offset=WORKLOAD_HEADER_BYTES)
    return messages[:count]


def build_replay(messages: npt.NDArray[np.void]) -> Replay:
    """Turn messages into commands; a dry run through the core finds the order ids that cancels name."""
    start = set_up(int(messages["instrument"].max()) + 1, *_price_range(messages))
    builder = _Builder(messages, start)
    for at in range(len(messages)):
        builder.add(at)
    return Replay(messages, builder.commands(), start)


def fresh_exchange(replay: Replay) -> Exchange:
    """An exchange with instruments open and accounts and lots funded, as before the first message."""
    instruments = int(replay.messages["instrument"].max()) + 1
    lower, upper = _price_range(replay.messages)
    levels = 4 * instruments * (2 + upper - lower + 1)
    capacity = Capacity(
        1 << 20, levels, max(instruments, 4), 2 * ACCOUNTS, ACCOUNTS * instruments + 2, 1 << 10
    )
    exchange = Exchange(capacity)
    events = exchange.apply(replay.set_up)
    assert not events["reason"].any(), "the set-up is accepted"
    return exchange


def time_core(replay: Replay) -> float:
    """Seconds that the core takes for all commands, in batches of 256, on a fresh exchange."""
    exchange, commands = fresh_exchange(replay), replay.commands
    batches = [commands[at : at + BATCH_COMMANDS] for at in range(0, len(commands), BATCH_COMMANDS)]
    started = time.perf_counter()
    for batch in batches:
        exchange.apply(batch)
    return time.perf_counter() - started


def report_hash(replay: Replay) -> str:
    """SHA-256 over the report lines of the workload's own format."""
    exchange, lines = fresh_exchange(replay), []
    for at in range(0, len(replay.commands), BATCH_COMMANDS):
        lines += _report_lines(replay, exchange.apply(replay.commands[at : at + BATCH_COMMANDS]))
    lines.sort(key=lambda line: line[0])
    return hashlib.sha256("\n".join(text for _, text in lines).encode()).hexdigest()


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Core and yardstick taking turns on flash1 normal: ratio, figures, hash; or None and the reason."""
    reason = _obstacle()
    if reason is not None:
        return {"ratio": None, "reason": reason}
    with tempfile.TemporaryDirectory() as folder:
        yardstick, workload = _yardstick(Path(folder)), Path(folder) / "normal.bin"
        _write_workload("flash1_normal", workload)
        digest = report_hash(build_replay(read_workload(workload, HASH_MESSAGES)))
        figures = _figures(yardstick, workload, rounds)
    return figures | {
        "report_hash_200000": digest,
        "report_hash_as_published": digest == HASHES[HASH_MESSAGES],
    }


def measure_all(rounds: int = ROUNDS) -> dict[str, Any]:
    """Core and yardstick on flash1 normal, one instrument, and 1,000 instruments."""
    reason = _obstacle()
    if reason is not None:
        return {"ratios": dict.fromkeys(WORKLOADS), "reason": reason}
    with tempfile.TemporaryDirectory() as folder:
        yardstick, found = _yardstick(Path(folder)), {}
        for name in WORKLOADS:
            workload = Path(folder) / f"{name}.bin"
            _write_workload(name, workload)
            found[name] = _figures(yardstick, workload, rounds)
            workload.unlink()
    return {"ratios": {name: figures["ratio"] for name, figures in found.items()}, "figures": found}


def _obstacle() -> str | None:
    """Why nothing can be measured here, or None."""
    source = shared_folder() / "data" / "flash1" / "normal_seed23.npz"
    if not source.exists():
        return f"{source} is not there; set LECONG_SHARED"
    return "g++ is not installed" if shutil.which("g++") is None else None


def _yardstick(folder: Path) -> Path:
    program, flags = folder / "yardstick", ["-O3", "-march=native", "-std=c++17"]
    source = shared_folder() / "bench" / "yardstick.cpp"
    subprocess.run(["g++", *flags, str(source), "-o", str(program)], check=True)
    return program


def _write_workload(name: str, path: Path) -> None:
    bench = shared_folder() / "bench"
    if name == "flash1_normal":
        source = shared_folder() / "data" / "flash1" / "normal_seed23.npz"
        arguments = [str(bench / "workload.py"), str(source), str(path)]
    else:
        arguments = [str(bench / "flow.py"), *WORKLOADS[name], str(path)]
    subprocess.run([sys.executable, *arguments], check=True)


def _figures(yardstick: Path, workload: Path, rounds: int) -> dict[str, Any]:
    """Ratio and figures of core and yardstick on one workload, best of so many rounds."""
    messages = read_workload(workload)
    replay = build_replay(messages)
    core, peer = _alternate(replay, [str(yardstick), str(workload), "1"], rounds)
    return {
        "ratio": round(peer / core, 3),
        "core_messages_per_second": round(len(messages) / core),
        "yardstick_messages_per_second": round(len(messages) / peer),
        "messages": len(messages),
        "commands": len(replay.commands),
        "configuration": f"batches of {BATCH_COMMANDS}, holds, prevention, rising reference, "
        f"best of {rounds}, one processor",
    }


def _alternate(replay: Replay, peer: list[str], rounds: int) -> tuple[float, float]:
    """Best seconds of core and yardstick, taking turns on the same processor."""
    processors = os.sched_getaffinity(0)
    core_s, peer_s = [], []
    os.sched_setaffinity(0, {max(processors)})  # the yardstick inherits it
    try:
        for _ in range(rounds):
            core_s.append(time_core(replay))
            printed = subprocess.run(peer, check=True, capture_output=True, text=True).stdout
            peer_s.append(float(json.loads(printed)["seconds"]))
    finally:
        os.sched_setaffinity(0, processors)
    return min(core_s), min(peer_s)


class _Builder:
    """The dry run: commands are applied whenever the next one needs to know what became of an order."""

    def __init__(self, messages: npt.NDArray[np.void], set_up: Records) -> None:
        self._messages = messages
        self._columns = {name: messages[name].tolist() for name in ("type", "side", "order")}
        self._live: dict[int, int] = {}  # the workload's order id -> the engine's, while it rests
        self._sides: dict[int, int] = {}
        self._touched: set[int] = set()  # the workload's order ids entered since the last flush
        self._pending: list[
            tuple[int, bool, int, int]
        ] = []  # message, is a new order, side, engine's order id
        self._parts: list[Records] = []
        self._sequence = len(set_up)
        self._exchange = fresh_exchange(Replay(messages, set_up, set_up))

    def add(self, at: int) -> None:
        """Append the commands of message `at`."""
        kind, order = self._columns["type"][at], self._columns["order"][at]
        if kind == MODIFY or (kind == CANCEL and order in self._touched):
            self._flush()
        if kind == NEW:
            self._sides[order] = self._columns["side"][at]
        else:
            order_id = self._live.get(order, 0)
            self._pending.append((at, False, 0, order_id))
            if kind == CANCEL or not self._rests(order_id):
                return
        self._touched.add(order)
        self._pending.append((at, True, self._sides[order], 0))

    def commands(self) -> Records:
        """All commands, stamped."""
        self._flush()
        return joined(self._parts)

    def _rests(self, order_id: int) -> bool:
        slot = order_id & (1 << ORDER_SLOT_BITS) - 1
        return order_id != 0 and int(self._exchange.state.nodes["id"][slot]) == order_id

    def _flush(self) -> None:
        """Apply what was added and learn what rests."""
        if not self._pending:
            return
        chunk = _commands_of(self._messages, np.array(self._pending, np.int64), self._sequence + 1)
        self._sequence += len(chunk)
        self._parts.append(chunk)
        self._pending.clear()
        self._touched.clear()
        events = self._exchange.apply(chunk)
        accepted = select(events, events["kind"] == Event.ACCEPTED).view(ORDER)
        rests = accepted["leaves_kg"] > 0
        orders = self._messages["order"][accepted["tag"][rests] >> np.uint64(1)]
        self._live.update(zip(orders.tolist(), accepted["order_id"][rests].tolist(), strict=True))


def _commands_of(messages: npt.NDArray[np.void], pending: npt.NDArray[np.int64], first: int) -> Records:
    """COMMAND records of (message, is a new order, side, order id) rows, stamped from sequence `first`."""
    at, is_new, side, order_id = pending.T
    rows, commands = messages[at], np.zeros(len(pending), COMMAND)
    commands["version"] = RECORD_VERSION
    commands["kind"] = np.where(is_new, int(Command.NEW_ORDER), int(Command.CANCEL_ORDER))
    commands["side"] = side
    ioc = (rows["ioc"] != 0) & (rows["type"] == NEW)
    commands["time_in_force"] = np.where(ioc, int(TimeInForce.IOC), int(TimeInForce.DAY))
    commands["flags"] = int(Flag.BY_REFERENCE)
    commands["self_trade_mode"] = int(SelfTrade.ALLOW)  # the workload knows no owners; the check is made
    commands["account"] = 1 + rows["order"] % ACCOUNTS
    commands["instrument"] = rows["instrument"]
    commands["tag"] = at << 1 | (is_new & (rows["type"] == MODIFY))
    commands["order_id"] = order_id
    commands["price_fen_per_tonne"], commands["quantity_kg"] = rows["price"], rows["quantity"]
    commands["lot"] = np.where(
        side == Side.SELL, 1 + rows["instrument"] * ACCOUNTS + rows["order"] % ACCOUNTS, 0
    )
    stamped(commands, first, 1)
    commands["client_order_id_0"] = commands["sequence"]
    return commands


def _price_range(messages: npt.NDArray[np.void]) -> tuple[int, int]:
    """Lowest and highest price of the orders; cancels of a flow name none."""
    prices = messages["price"][messages["type"] != CANCEL]
    return int(prices.min()), int(prices.max())


def set_up(instruments: int, lower: int, upper: int) -> Records:
    """So many instruments whose band spans these prices; 64 accounts with money and a lot in each."""
    terms = np.zeros(instruments, INSTRUMENT_TERMS)
    terms["version"], terms["kind"] = RECORD_VERSION, Command.DEFINE_INSTRUMENT
    terms["instrument"], terms["mode"] = np.arange(instruments), Mode.BOOK
    terms["tick_fen_per_tonne"], terms["step_kg"], terms["minimum_kg"] = 1, 1, 1
    terms["lower_fen_per_tonne"], terms["upper_fen_per_tonne"] = lower, upper
    terms["reference_fen_per_tonne"], terms["maximum_kg"] = lower, 10**9
    terms["buyer_deposit_bp"], terms["fee_fen_per_tonne"] = 10_000, 50
    rows: list[dict[str, int]] = [{"kind": Command.SET_PHASE, "instrument": -1, "phase": Phase.CONTINUOUS}]
    for account in range(1, ACCOUNTS + 1):
        rows.append({"kind": Command.OPEN_ACCOUNT, "account": account})
        rows.append({"kind": Command.DEPOSIT, "account": account, "amount_fen": MONEY_FEN})
        for instrument in range(instruments):
            lot = {"lot": account + instrument * ACCOUNTS, "instrument": instrument, "quantity_kg": GOODS_KG}
            rows.append({"kind": Command.REGISTER_LOT, "account": account, **lot})
    return stamped(joined([terms.view(COMMAND), commands_of(*rows)]), 1, 1)


def _report_lines(replay: Replay, events: Records) -> list[tuple[tuple[int, int], str]]:
    """The workload's report lines of a batch of events, each with its sort key (message, report type)."""
    messages, lines = replay.messages, []
    orders, kinds = messages["order"], messages["type"]
    first = len(replay.set_up) + 1

    def name(order_id: int) -> int:
        command = (order_id >> ORDER_SLOT_BITS) - first
        return int(orders[int(replay.commands["tag"][command]) >> 1])

    for event, trade in zip(events.view(ORDER), events.view(TRADE), strict=True):
        at, second = int(event["tag"]) >> 1, int(event["tag"]) & 1
        order, kind = int(orders[at]), int(kinds[at])
        side, price, quantity = (
            int(event["side"]),
            int(event["price_fen_per_tonne"]),
            int(event["quantity_kg"]),
        )
        if event["kind"] == Event.ACCEPTED:
            report = 3 if second else 0
            lines.append(((at, report), f"{report},{at},{side},{order},{price},{quantity}"))
        elif event["kind"] == Event.TRADE:
            maker, taker = name(int(trade["counter_order_id"])), name(int(trade["order_id"]))
            lines.append(((at, 1), f"1,{at},{price},{quantity},{maker},{taker}"))
        elif event["kind"] == Event.CANCELED and not (kind == MODIFY and not second):
            lines.append(((at, 2), f"2,{at},{side},{order},{price}"))
        elif event["kind"] == Event.REJECTED:
            report = 4 if kind == CANCEL else 5
            lines.append(((at, report), f"{report},{at},{order}"))
    return lines
