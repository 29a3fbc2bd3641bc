"""The two records of the house, COMMAND and EVENT: socket frame, log payload, core input and output (law 5).

Little-endian, 128 bytes, every byte accounted for. The first 48 bytes mean the same in every record of a
type; behind them several fields may share an offset, each belonging to other kinds, as the drawings show. A
kind's fields, and only those, are read through its own view (`events.view(TRADE)`), which has the same 128
bytes.

    COMMAND   0 sequence | 8 time_ns | 16 version kind side order_type time_in_force flags phase
             self_trade_mode 24 account | 28 instrument | 32 tag | 40 outbox
             orders:       48 client_order_id (two u64: 16 ASCII bytes verbatim, zero-padded; or reference, 0)
                           64 order_id | 72 price_fen_per_tonne | 80 quantity_kg | 88 lot
                           96 listing_version (pick) or minimum_quantity_kg
                          104 stop | 112 due_ns | 120 display      (40 session)
             a bust:       64 match_id | 80 quantity_kg | 88 lot | 96 counter_amount_fen | 104 amount_fen
             cash, lots:   48 - | 80 quantity_kg | 88 lot | 104 amount_fen | 120 group
             clock:       112 due_ns      (timers: 40 session)
             a session:   120 scope           (its end: 40 session)
             instrument:   48 code (16 bytes) | 64 tick | 68 step | 72 reference | 80 lower | 88 upper
                           96 minimum | 104 maximum | 112 buyer bp | 114 seller bp | 116 band bp
                          118 fee | 120 mode | 122 collar bp | 124 dynamic bp
                          126 volatility auction s

    EVENT     0 sequence | 8 time_ns | 16 version kind side order_type time_in_force flags phase reason
             24 index | 28 instrument | 32 account | 36 counter_account | 40 tag | 48 account_sequence
             TRADE:        56 counter_account_sequence | 64 order_id | 72 counter_order_id | 80 match_id
                           88 price | 96 quantity | 104 leaves | 112 counter_leaves | 120 lot
             ACCEPTED, REJECTED, CANCELED, ORDER:
                           56 amount_fen | 64 order_id | 72 client_order_id (two u64) | 88 price | 96 quantity
                          104 leaves | 112 cum | 120 lot      (36 listing_version, a listing's 56 minimum)
             cash:         56 amount_fen | 64 available_fen | 72 held_fen | 80 outbox
             lots:         64 free_kg | 72 listed_kg | 80 outbox | 96 quantity | 112 contracted_kg | 120 lot
             LEVEL:        88 price | 96 quantity | 104 orders
             instrument:   64 lower | 72 upper | 80 last | 88 price (reference)
"""

import mmap
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

RECORD_BYTES: Final = 128
CLIENT_ORDER_ID_BYTES: Final = 16
CACHE_LINE_BYTES: Final = 64
HUGE_PAGE_BYTES: Final = 2 << 20

Records = npt.NDArray[np.void]


def _layout(fields: Mapping[str, tuple[str, int]]) -> np.dtype[np.void]:
    """A little-endian record type of 128 bytes from {name: (format, offset)}."""
    names = list(fields)
    return np.dtype(
        {
            "names": names,
            "formats": [fields[name][0] for name in names],
            "offsets": [fields[name][1] for name in names],
            "itemsize": RECORD_BYTES,
        }
    )


_COMMAND_HEAD: Final = {
    "sequence": ("<i8", 0),  # stamped by the sequencer
    "time_ns": ("<i8", 8),  # Unix nanoseconds UTC, stamped by the sequencer
    "codes": ("<u8", 16),  # the eight bytes that follow, as one word
    "version": ("u1", 16),
    "kind": ("u1", 17),  # vocabulary.Command
    "side": ("u1", 18),
    "order_type": ("u1", 19),
    "time_in_force": ("u1", 20),
    "flags": ("u1", 21),
    "phase": ("u1", 22),
    "self_trade_mode": ("u1", 23),
    "account": ("<i4", 24),
    "instrument": ("<i4", 28),
    "tag": ("<u8", 32),  # the sender's, echoed in every event of the command: gateway << 48 | request
    "outbox": ("<i8", 40),  # of settlement's commands: its rising number; else 0
    "session": ("<i8", 40),  # of clients' commands: the session they came in; 0: none
}
_COMMAND_BODY: Final = {
    "client_order_id_0": ("<u8", 48),
    "client_order_id_1": ("<u8", 56),
    "order_id": ("<i8", 64),
    "price_fen_per_tonne": ("<i8", 72),
    "quantity_kg": ("<i8", 80),
    "lot": ("<i8", 88),
    "listing_version": ("<i8", 96),
    "minimum_quantity_kg": ("<i8", 96),
    "amount_fen": ("<i8", 104),
    "stop_fen_per_tonne": ("<i8", 104),
    "due_ns": ("<i8", 112),
    "group": ("<i8", 120),
    "scope": ("<i8", 120),  # START_SESSION
    "profile": ("<i8", 120),  # SET_PROFILE
    "match_id": ("<i8", 64),  # BUST_TRADE: of `account`, the buyer, and the owner of `lot`
    "counter_amount_fen": ("<i8", 96),  # BUST_TRADE: what goes back to the seller; `amount_fen` to the buyer
    "display_quantity_kg": ("<i8", 120),
}
_TERMS_BODY: Final = {
    "code": ("S16", 48),
    "tick_fen_per_tonne": ("<i4", 64),
    "step_kg": ("<i4", 68),
    "reference_fen_per_tonne": ("<i8", 72),
    "lower_fen_per_tonne": ("<i8", 80),
    "upper_fen_per_tonne": ("<i8", 88),
    "minimum_kg": ("<i8", 96),
    "maximum_kg": ("<i8", 104),
    "buyer_deposit_bp": ("<i2", 112),
    "seller_deposit_bp": ("<i2", 114),
    "band_bp": ("<i2", 116),
    "fee_fen_per_tonne": ("<i2", 118),
    "mode": ("<i2", 120),
    "collar_bp": ("<i2", 122),  # of market orders; 0: the band is the collar
    "dynamic_band_bp": ("<i2", 124),  # around the last trade; 0: none (semantics E5)
    "volatility_auction_s": ("<i2", 126),  # what a print beyond it opens; 0: it ends the incoming order
}

COMMAND: Final = _layout(_COMMAND_HEAD | _COMMAND_BODY)
INSTRUMENT_TERMS: Final = _layout(_COMMAND_HEAD | _TERMS_BODY)  # a COMMAND of kind DEFINE_INSTRUMENT

_EVENT_HEAD: Final = {
    "sequence": ("<i8", 0),  # of the command that caused it
    "time_ns": ("<i8", 8),
    "codes": ("<u8", 16),  # the eight bytes that follow, as one word
    "version": ("u1", 16),
    "kind": ("u1", 17),  # vocabulary.Event
    "side": ("u1", 18),  # of the order; of the incoming one in a trade
    "order_type": ("u1", 19),
    "time_in_force": ("u1", 20),
    "flags": ("u1", 21),
    "phase": ("u1", 22),
    "reason": ("u1", 23),  # vocabulary.Reason
    "index": ("<i4", 24),  # position among the events of its command, from 0
    "instrument": ("<i4", 28),  # -1 where none is concerned
    "account": ("<i4", 32),  # -1 where none is concerned
    "tag": ("<u8", 40),
    "account_sequence": ("<i8", 48),  # the account's own gap-free count; a rejection does not move it
}
_TRADE: Final = {
    "counter_account": ("<i4", 36),  # the resting order's
    "counter_account_sequence": ("<i8", 56),
    "order_id": ("<i8", 64),
    "counter_order_id": ("<i8", 72),
    "match_id": ("<i8", 80),
    "price_fen_per_tonne": ("<i8", 88),
    "quantity_kg": ("<i8", 96),
    "leaves_kg": ("<i8", 104),
    "counter_leaves_kg": ("<i8", 112),
    "lot": ("<i8", 120),  # the seller's
}
_ORDER: Final = {
    "listing_version": ("<i4", 36),
    "amount_fen": ("<i8", 56),  # sum of the fills' amounts; 0 in CANCELED
    "session": ("<i8", 64),  # SESSION_STARTED, SESSION_ENDED, TIMER_SET
    "due_ns": ("<i8", 112),  # TIMER_SET, TIME_REACHED
    "pick_minimum_kg": ("<i8", 56),  # ORDER, answering QUERY_LISTINGS: the least that a pick takes; of BOOK 0
    "change_kg": ("<i8", 56),  # REPLACED: what the order has left now, less what it had before
    "order_id": ("<i8", 64),
    "client_order_id_0": ("<u8", 72),
    "client_order_id_1": ("<u8", 80),
    "price_fen_per_tonne": ("<i8", 88),
    "quantity_kg": ("<i8", 96),  # of the order; in CANCELED the kilograms that were canceled
    "leaves_kg": ("<i8", 104),  # what rests when the command is done
    "cum_kg": ("<i8", 112),
    "lot": ("<i8", 120),
}
_CASH: Final = {
    "amount_fen": ("<i8", 56),
    "available_fen": ("<i8", 64),
    "held_fen": ("<i8", 72),
    "outbox": ("<i8", 80),
}
_LOT: Final = {
    "free_kg": ("<i8", 64),
    "listed_kg": ("<i8", 72),
    "outbox": ("<i8", 80),
    "quantity_kg": ("<i8", 96),
    "contracted_kg": ("<i8", 112),
    "lot": ("<i8", 120),
}
_LEVEL: Final = {
    "price_fen_per_tonne": ("<i8", 88),
    "quantity_kg": ("<i8", 96),
    "orders": ("<i8", 104),
}
_INSTRUMENT: Final = {
    "lower_fen_per_tonne": ("<i8", 64),
    "upper_fen_per_tonne": ("<i8", 72),
    "last_fen_per_tonne": ("<i8", 80),  # 0 before the first trade
    "price_fen_per_tonne": ("<i8", 88),  # the reference
}

EVENT: Final = _layout(_EVENT_HEAD | _TRADE | _ORDER | _CASH | _LOT | _LEVEL | _INSTRUMENT)
TRADE: Final = _layout(_EVENT_HEAD | _TRADE)
ORDER: Final = _layout(_EVENT_HEAD | _ORDER)
CASH: Final = _layout(_EVENT_HEAD | _CASH)
LOT: Final = _layout(_EVENT_HEAD | _LOT)
LEVEL: Final = _layout(_EVENT_HEAD | _LEVEL)
INSTRUMENT: Final = _layout(_EVENT_HEAD | _INSTRUMENT)


def aligned_zeros(count: int, layout: np.dtype[Any]) -> npt.NDArray[Any]:
    """`count` zero rows on pages of 2 MiB where the system has them, for large tables that are read at
    random.

    The first row starts on a cache line. The memory is touched only where it is used, and it is private: the
    forked process that writes a snapshot keeps the rows of its moment.
    """
    size = count * layout.itemsize
    if size < HUGE_PAGE_BYTES:
        raw = np.zeros(size + CACHE_LINE_BYTES, np.uint8)
        skip = -raw.ctypes.data % CACHE_LINE_BYTES
    else:
        memory = mmap.mmap(-1, size + HUGE_PAGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        raw = np.frombuffer(memory, np.uint8)
        skip = -raw.ctypes.data % HUGE_PAGE_BYTES
    return raw[skip : skip + size].view(layout)


def empty_commands(count: int) -> Records:
    """`count` COMMAND records, all zero but for the version."""
    from engine.vocabulary import RECORD_VERSION

    commands = np.zeros(count, COMMAND)
    commands["version"] = RECORD_VERSION
    return commands


def commands_of(*rows: Mapping[str, Any]) -> Records:
    """COMMAND records from field dictionaries: for tools, tests and operators, not for the hot path."""
    commands = empty_commands(len(rows))
    for i, row in enumerate(rows):
        for name, value in row.items():
            commands[name][i] = value
    return commands


def client_order_id_words(client_order_id: bytes) -> tuple[int, int]:
    """The two u64 that hold 1-16 bytes verbatim, zero-padded (semantics C8)."""
    padded = client_order_id.ljust(CLIENT_ORDER_ID_BYTES, b"\0")
    return int.from_bytes(padded[:8], "little"), int.from_bytes(padded[8:], "little")


def client_order_id_text(word_0: int, word_1: int) -> str:
    """The client order id of two u64 words."""
    return (word_0.to_bytes(8, "little") + word_1.to_bytes(8, "little")).rstrip(b"\0").decode("ascii")


def as_words(records: Records) -> npt.NDArray[np.int64]:
    """The same bytes as an (n, 16) int64 matrix: the fast way to select rows (NumPy copies structs field by
    field).
    """
    words: npt.NDArray[np.int64] = records.view(np.int64).reshape(-1, RECORD_BYTES // 8)
    return words


def select(records: Records, rows: npt.NDArray[Any]) -> Records:
    """The records named by a boolean mask or an index array, copied."""
    chosen: Records = as_words(records)[rows].reshape(-1).view(records.dtype)
    return chosen


def joined(parts: Sequence[Records]) -> Records:
    """Records one after another, copied byte by byte (np.concatenate would repack the fields)."""
    assert parts, "there is a type only where there is a part"
    return np.concatenate([as_words(part) for part in parts]).reshape(-1).view(parts[0].dtype)
