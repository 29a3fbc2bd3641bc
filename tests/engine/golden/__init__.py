"""The golden log: commands that were once judged, and what came of it.

`golden.log.gz` is a command log as the engine wrote it; `expected.json` has the hash of its events, which the
layout of the state does not touch, and the hash of the state. A change of either is a change of the rules or
of the layout: it must be meant.

    python -m tests.engine.golden            what the log gives now, as JSON
    python -m tests.engine.golden --accept   make that the expectation
    python -m tests.engine.golden --record   write a new log from the seed, and accept it
"""

import gzip
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.blocks import segment_name
from engine.command_log import CommandLog
from engine.disk import PosixDisk
from engine.exchange import Exchange, stamped
from engine.records import Records, client_order_id_words, commands_of, joined
from engine.recovery import gathered
from engine.state_hash import state_hash
from engine.vocabulary import Command, Flag, Mode, Phase, Side, TimeInForce
from tests.engine.builders import COIL, REBAR, SMALL, STEP_KG, terms

FOLDER: Final = Path(__file__).parent
LOG: Final = FOLDER / "golden.log.gz"
EXPECTED: Final = FOLDER / "expected.json"
SEED: Final = 20150708
SEGMENT: Final = 1 << 20
BATCHES: Final = 40
BATCH_MAX: Final = 40
ACCOUNTS: Final = 6
START_NS: Final = 1_436_313_600_000_000_000  # 8 July 2015, 08:00 in Beijing


def judged() -> dict[str, Any]:
    """What the golden log gives now."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / segment_name(1)).write_bytes(gzip.decompress(LOG.read_bytes()))
        log, exchange, events = CommandLog(PosixDisk(Path(folder))), Exchange(SMALL), hashlib.sha256()
        count = 0
        for batch in gathered(log.recover()):
            rows = exchange.apply(batch)
            events.update(rows.tobytes())
            count += len(rows)
    exchange.check_invariants()
    return {
        "commands": exchange.sequence,
        "events": count,
        "events_sha256": events.hexdigest(),
        "state_hash": state_hash(exchange.state).hex(),
    }


def accept() -> None:
    """Make what the log gives now the expectation."""
    EXPECTED.write_text(json.dumps(judged(), indent=2) + "\n")


def record() -> None:
    """Write a new log from the seed."""
    with tempfile.TemporaryDirectory() as folder:
        log = CommandLog(PosixDisk(Path(folder)), SEGMENT)
        log.resume(1)
        chance, sequence = np.random.default_rng(SEED), 0
        for number, batch in enumerate([_opening(), *(_batch(chance) for _ in range(BATCHES))]):
            stamped(batch, sequence + 1, START_NS + number * 1_000_000)
            log.append(batch)
            sequence += len(batch)
        log.close()
        raw = (Path(folder) / segment_name(1)).read_bytes()
    LOG.write_bytes(gzip.compress(raw, 9, mtime=0))


def _opening() -> Records:
    """A book and a listing, accounts with money, a lot for each and instrument; all open."""
    rows: list[dict[str, Any]] = []
    for account in range(1, ACCOUNTS + 1):
        rows.append({"kind": Command.OPEN_ACCOUNT, "account": account, "group": account % 3})
        rows.append({"kind": Command.DEPOSIT, "account": account, "amount_fen": 10**10})
        for instrument in (REBAR, COIL):
            lot = {"lot": 1 + 2 * account + instrument, "instrument": instrument}
            rows.append({"kind": Command.REGISTER_LOT, "account": account, "quantity_kg": 10**6, **lot})
    rows.append({"kind": Command.SET_PHASE, "instrument": -1, "phase": Phase.CONTINUOUS})
    return joined([terms(REBAR, Mode.BOOK), terms(COIL, Mode.LISTED), commands_of(*rows)])


def _batch(chance: np.random.Generator) -> Records:
    makers = [_order] * 12 + [_cancel] * 3 + [_cash] * 2 + [_market]
    count = int(chance.integers(1, BATCH_MAX + 1))
    return commands_of(*(makers[int(chance.integers(len(makers)))](chance) for _ in range(count)))


def _key(chance: np.random.Generator) -> dict[str, int]:
    words = client_order_id_words(f"g{int(chance.integers(600))}".encode())
    return {"client_order_id_0": words[0], "client_order_id_1": words[1]}


def _order(chance: np.random.Generator) -> dict[str, Any]:
    """An order of a book or a listing; some are wrong, some repeat an earlier key."""
    account, instrument = int(chance.integers(1, ACCOUNTS + 2)), int(chance.integers(0, 2))
    side = int(Side.SELL) if instrument == COIL else int(chance.integers(0, 2))
    step = STEP_KG if instrument == REBAR else 1
    return _key(chance) | {
        "kind": Command.NEW_ORDER,
        "account": account,
        "instrument": instrument,
        "side": side,
        "lot": 1 + 2 * account + instrument if side == Side.SELL else 0,
        "time_in_force": TimeInForce.IOC if chance.integers(5) == 0 and instrument == REBAR else 0,
        "price_fen_per_tonne": 226_000 + 100 * int(chance.integers(-8, 9)),
        "quantity_kg": step * int(chance.integers(0, 12)),
    }


def _cancel(chance: np.random.Generator) -> dict[str, Any]:
    named = {"kind": Command.CANCEL_ORDER, "flags": Flag.BY_CLIENT_ORDER_ID}
    return _key(chance) | named | {"account": int(chance.integers(1, ACCOUNTS + 1))}


def _cash(chance: np.random.Generator) -> dict[str, Any]:
    kind = Command.DEPOSIT if chance.integers(2) else Command.WITHDRAW
    return {
        "kind": kind,
        "account": int(chance.integers(0, 9)),
        "amount_fen": int(chance.integers(-5, 10**7)),
    }


def _market(chance: np.random.Generator) -> dict[str, Any]:
    phases = [Phase.HALTED, Phase.CONTINUOUS, Phase.CONTINUOUS, Phase.CONTINUOUS]
    return {"kind": Command.SET_PHASE, "instrument": -1, "phase": phases[int(chance.integers(4))]}
