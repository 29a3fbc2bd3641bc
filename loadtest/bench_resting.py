"""What a resting order costs: its memory, the time of a command beside a million others and of a mass cancel
that ends one of them, the hash over all.

Law: all that the process keeps is counted (tables, levels, links, events, what the system rounds up), as the
growth of its resident memory; times beside 10,000 and 1,000,000 resting orders are taken in turns, on the
same mix of commands, through the core that ships.
"""

import os
import statistics
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.layout import DAY_FILL_DENOMINATOR, DAY_FILL_NUMERATOR, Capacity, empty_state
from engine.exchange import EVENTS_OF_A_BATCH, Exchange, stamped
from engine.records import COMMAND, EVENT, Records, commands_of, empty_commands
from engine.state_hash import state_hash
from engine.vocabulary import RECORD_VERSION, Command, Event, Flag, Side
from loadtest.bench_core import (
    ACCOUNTS,
    BATCH_COMMANDS,
    CANCEL,
    MONEY_FEN,
    ROUNDS,
    WORKLOAD,
    Replay,
    build_replay,
    fresh_exchange,
    set_up,
)

MILLION: Final = 1_000_000
FEW: Final = 10_000
MIXED_MESSAGES: Final = 1_000_000  # that are timed
SEED: Final = 20150708
DEPTH: Final = 1_000  # levels of each side, beyond the touch
TOUCH: Final = 10 * DEPTH  # best bid; the best ask is a tick above
QUANTITY_KG: Final = 10
MASS_CANCELS: Final = 50
ANY_SIDE: Final = 255
TINY: Final = Capacity(orders=64, levels=64, instruments=1, accounts=2, lots=2, day=2)
ORDER_TABLES: Final = ("nodes", "orders", "specials", "owners", "scratch")
MARKS: Final = {"bytes_per_order": 160, "million_order_cost": 2.0, "state_hash_ms": 500}
KINDS: Final = {  # of orders: (shows a part only, by client order id)
    "limit_by_reference": (False, False),
    "iceberg_by_reference": (True, False),
    "limit_by_client_order_id": (False, True),
    "iceberg_by_client_order_id": (True, True),
}


def measure(orders: int = MILLION, messages: int = MIXED_MESSAGES, rounds: int = ROUNDS) -> dict[str, Any]:
    """The keys that `python -m loadtest core --json` has besides the ratios."""
    Exchange(TINY).apply(empty_commands(0))  # loads the kernels: they are no order's
    memory = {kind: resident_bytes(orders, *how) for kind, how in KINDS.items()}
    cost, hash_ms = cost_beside(FEW, orders, messages, rounds)
    return {
        "bytes_per_order": memory["limit_by_reference"],
        "million_order_cost": cost["ratio"],
        "state_hash_ms": hash_ms,
        "resting": {
            "marks": MARKS,
            "resting_orders": orders,
            "resident_bytes_per_order": memory,
            "table_bytes_per_order": table_bytes(),
            "reserved_bytes_per_order": reserved_bytes(),
            "cost": cost,
        },
    }


def table_bytes() -> dict[str, int]:
    """Bytes of a row of each table that grows with the orders; a client order id's entry is one of day."""
    state = empty_state(TINY)
    return {name: int(getattr(state, name).itemsize) for name in (*ORDER_TABLES, "day")}


def reserved_bytes() -> dict[str, float]:
    """Address space for each order of the engine's own capacity; what is not used of it takes no memory."""
    capacity = Capacity()
    state = empty_state(capacity)
    tables = sum(getattr(state, name).nbytes for name in ORDER_TABLES)
    rest = sum(array.nbytes for array in state) - tables
    events = (capacity.events + EVENTS_OF_A_BATCH) * EVENT.itemsize
    named = {"order_tables_and_levels": tables, "other_tables": rest, "events_of_the_largest_command": events}
    return {name: round(count / capacity.orders, 1) for name, count in named.items()}


def resident_bytes(orders: int, shows_part: bool, by_client_order_id: bool) -> float:
    """By how much the process grows for each resting order, exchange and all, from nothing to `orders`.

    Orders by client order id are no more than the day's table may take.
    """
    day = 1 << orders.bit_length()
    if by_client_order_id:
        orders = min(orders, day * DAY_FILL_NUMERATOR // DAY_FILL_DENOMINATOR)
    before = _resident()
    exchange = Exchange(
        Capacity(orders=orders + orders // 2, day=day)
    )  # an iceberg's slices need room for events
    _fill(exchange, orders, shows_part, by_client_order_id)
    grown = (_resident() - before) / orders
    assert int(exchange.state.head["live_orders"][0]) == orders, "all rest"
    return round(grown, 1)


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _fill(exchange: Exchange, orders: int, shows_part: bool, by_client_order_id: bool) -> None:
    start = set_up(1, TOUCH - DEPTH, TOUCH + DEPTH)
    exchange.apply(start)
    dice = np.random.default_rng(SEED)
    for first in range(0, orders, BATCH_COMMANDS):
        commands = _resting_buys(np.arange(first, min(first + BATCH_COMMANDS, orders)), dice)
        if shows_part:
            commands["display_quantity_kg"] = QUANTITY_KG // 2
        if by_client_order_id:
            commands["flags"] = 0
        exchange.apply(stamped(commands, len(start) + 1 + first, 1))


def _resting_buys(numbers: npt.NDArray[np.int64], dice: np.random.Generator) -> Records:
    commands = np.zeros(len(numbers), COMMAND)
    commands["version"], commands["kind"] = RECORD_VERSION, Command.NEW_ORDER
    commands["account"], commands["flags"] = 1 + numbers % ACCOUNTS, Flag.BY_REFERENCE
    commands["client_order_id_0"] = 1 + numbers
    commands["quantity_kg"] = QUANTITY_KG
    commands["price_fen_per_tonne"] = TOUCH - dice.integers(1, DEPTH, len(numbers))
    return commands


def cost_beside(few: int, many: int, messages: int, rounds: int) -> tuple[dict[str, Any], float]:
    """The cost of a command beside many resting orders over that beside few; ms of the hash over many."""
    replays = {resting: build_replay(mixed_messages(resting, messages)) for resting in (few, many)}
    times: dict[int, list[float]] = {few: [], many: []}
    mass_us: dict[int, list[float]] = {few: [], many: []}
    hash_ms = []
    for _ in range(rounds):
        for resting, replay in replays.items():
            seconds, exchange = time_behind(replay, resting)
            times[resting].append(seconds)
            assert int(exchange.state.head["live_orders"][0]) == resting, "as many rest as before"
            mass_us[resting].append(mass_cancel_us(exchange))
        started = time.perf_counter()
        digest = state_hash(exchange.state)
        hash_ms.append(1e3 * (time.perf_counter() - started))
    ns = {
        resting: 1e9 * min(times[resting]) / (len(replays[resting].commands) - resting) for resting in times
    }
    cost = {
        "ratio": round(ns[many] / ns[few], 3),
        "ns_per_command_few": round(ns[few], 1),
        "ns_per_command_many": round(ns[many], 1),
        "mass_cancel_us_few": round(min(mass_us[few]), 1),
        "mass_cancel_us_many": round(min(mass_us[many]), 1),
        "resting_few": few,
        "resting_many": many,
        "commands": messages,
        "state_hash": digest.hex()[:16],
        "configuration": f"4 new orders, 4 cancels at random, a maker and its taker in every 10; "
        f"batches of {BATCH_COMMANDS}, rising reference, best of {rounds}",
    }
    return cost, round(min(hash_ms), 1)


def mixed_messages(resting: int, count: int) -> npt.NDArray[np.void]:
    """So many resting orders, then `count` messages beside them that leave as many: in every ten, four new
    ones, four cancels of any at random, and a maker at the touch with the taker that meets it.
    """
    dice = np.random.default_rng((SEED, resting))
    tens = count // 10
    messages = np.zeros(resting + 10 * tens, WORKLOAD)
    messages["sequence"] = np.arange(len(messages))
    messages["quantity"], messages["order"] = QUANTITY_KG, np.arange(len(messages))
    messages["side"] = dice.integers(0, 2, len(messages))
    away = dice.integers(1, DEPTH, len(messages))
    messages["price"] = np.where(messages["side"] == Side.BUY, TOUCH - away, TOUCH + 1 + away)
    mixed = messages[resting:].reshape(tens, 10)
    mixed["type"][:, 4:8] = CANCEL
    mixed["order"][:, 4:8] = _canceled(resting, tens, dice)
    mixed["price"][:, 8:] = TOUCH + mixed["side"][:, 8:9].astype(np.int64)
    mixed["side"][:, 9] = mixed["side"][:, 8] ^ 1
    return messages


def _canceled(resting: int, tens: int, dice: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which orders the cancels name: any of those that live, each once."""
    live = np.arange(resting).tolist()
    chosen = np.zeros((tens, 4), np.int64)
    draws = dice.integers(0, resting, (tens, 4)).tolist()
    for ten in range(tens):
        for k in range(4):
            at = draws[ten][k]
            chosen[ten, k] = live[at]
            live[at] = resting + 10 * ten + k
    return chosen


def time_behind(replay: Replay, untimed: int) -> tuple[float, Exchange]:
    """Seconds for the commands behind the first `untimed` ones, on a fresh exchange; and the exchange."""
    exchange, commands = fresh_exchange(replay), replay.commands
    for at in range(0, untimed, BATCH_COMMANDS):
        exchange.apply(commands[at : min(at + BATCH_COMMANDS, untimed)])
    batches = [commands[at : at + BATCH_COMMANDS] for at in range(untimed, len(commands), BATCH_COMMANDS)]
    started = time.perf_counter()
    for batch in batches:
        exchange.apply(batch)
    return time.perf_counter() - started, exchange


def mass_cancel_us(exchange: Exchange) -> float:
    """Median microseconds of the call that ends a member's only order, entered last of all."""
    member, times = ACCOUNTS + 1, []
    opened = {"kind": Command.OPEN_ACCOUNT, "account": member}
    funded = {"kind": Command.DEPOSIT, "account": member, "amount_fen": MONEY_FEN}
    everything = {"kind": Command.MASS_CANCEL, "account": member, "instrument": -1, "side": ANY_SIDE}
    exchange.apply(stamped(commands_of(opened, funded), exchange.sequence + 1, 1))
    for number in range(MASS_CANCELS):
        order = _resting_buys(np.array([number]), np.random.default_rng(SEED))
        order["account"] = member
        exchange.apply(stamped(order, exchange.sequence + 1, 1))
        command = stamped(commands_of(everything), exchange.sequence + 1, 1)
        started = time.perf_counter()
        events = exchange.apply(command)
        times.append(1e6 * (time.perf_counter() - started))
        assert events["kind"].tolist() == [Event.CANCELED, Event.ORDERS_CANCELED], "one order has ended"
    return statistics.median(times)


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    cost, memory = result["resting"]["cost"], result["resting"]["resident_bytes_per_order"]
    orders = f"{result['resting']['resting_orders']:,} resting orders"
    return [
        f"{orders}: {result['bytes_per_order']} bytes each (mark: at most {MARKS['bytes_per_order']}); "
        + ", ".join(f"{kind} {each}" for kind, each in memory.items()),
        f"a command beside them: {cost['ratio']} x that beside {cost['resting_few']:,} (mark: at most "
        f"{MARKS['million_order_cost']}; {cost['ns_per_command_many']} and {cost['ns_per_command_few']} ns)",
        f"a mass cancel that ends one of them: {cost['mass_cancel_us_many']} us, beside "
        f"{cost['resting_few']:,} {cost['mass_cancel_us_few']} us",
        f"hash of their state: {result['state_hash_ms']} ms (mark: at most {MARKS['state_hash_ms']})",
    ]
