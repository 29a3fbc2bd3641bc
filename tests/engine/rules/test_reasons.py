"""Every reason of the vocabulary is provoked through the core; a refusal changes nothing (semantics A4)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from engine.records import INSTRUMENT_TERMS
from engine.vocabulary import Command, Event, Flag, Mode, Profile, Reason, wire_name
from tests.engine.builders import SMALL, terms
from tests.engine.rules.floor import Floor

LISTED_KG = 27_850
ORDER = {"kind": Command.NEW_ORDER, "account": 1, "quantity_kg": 4, "price_fen_per_tonne": 2270}
KEYED = ORDER | {"client_order_id_0": 99}


@dataclass
class Case:
    """What was said before, and the command that is refused."""

    command: str | dict[str, int]
    before: list[str] = field(default_factory=list)
    head: dict[str, int] = field(default_factory=dict)  # what only months of trading would bring about


CASES = {
    Reason.UNSUPPORTED_COMMAND: Case({"kind": 99}),
    Reason.UNKNOWN_ACCOUNT: Case(KEYED | {"account": 60}),
    Reason.ACCOUNT_EXISTS: Case({"kind": Command.OPEN_ACCOUNT, "account": 1}),
    Reason.UNKNOWN_SESSION: Case("A buy 1 @ 2260 in nowhere"),
    Reason.ACCOUNT_BLOCKED: Case("A buy 1 @ 2260", ["A block"]),
    Reason.MISSING_CLIENT_ORDER_ID: Case(ORDER),
    Reason.DUPLICATE_CLIENT_ORDER_ID: Case("A buy 2 @ 2260 key k", ["A buy 1 @ 2260 key k"]),
    Reason.STALE_REFERENCE: Case(ORDER | {"flags": int(Flag.BY_REFERENCE), "client_order_id_0": 0}),
    Reason.DAY_FULL: Case("A buy 1 @ 2260", head={"day_entries": SMALL.day}),
    Reason.FORBIDDEN_BY_PROFILE: Case("phase auction", head={"profile": Profile.CN_SPOT}),
    Reason.UNKNOWN_INSTRUMENT: Case("A buy 1 @ 2260 instrument 7"),
    Reason.INSTRUMENT_CLOSED: Case("A buy 1 @ 2260", ["phase closed"]),
    Reason.INSTRUMENT_HALTED: Case("A buy 1 @ 2260", ["phase halted"]),
    Reason.INSTRUMENT_OPEN: Case("reference 2270"),
    Reason.UNKNOWN_PHASE: Case({"kind": Command.SET_PHASE, "phase": 99}),
    Reason.CONTINUOUS_PHASE_ONLY: Case("A buy 1 @ 2260 ioc", ["phase pre_open"]),
    Reason.AUCTION_PHASE_ONLY: Case("A buy 1 @ 2260 at_open"),
    Reason.NO_CANCEL_PHASE: Case("A buy 1 @ 2260", ["phase no_cancel"]),
    Reason.UNKNOWN_SIDE: Case(KEYED | {"side": 2}),
    Reason.UNSUPPORTED_ORDER_TYPE: Case(KEYED | {"order_type": 9}),
    Reason.UNSUPPORTED_TIME_IN_FORCE: Case(KEYED | {"time_in_force": 9}),
    Reason.NOT_LISTED: Case("B pick bid 4", ["A buy 4 @ 2260 as bid"]),
    Reason.UNSUPPORTED_SELF_TRADE_MODE: Case(KEYED | {"self_trade_mode": 5}),
    Reason.INVALID_DISPLAY_QUANTITY: Case("A buy 4 @ 2260 display 6"),
    Reason.INVALID_MINIMUM_QUANTITY: Case("A buy 4 @ 2260 min 4"),
    Reason.INVALID_STOP_PRICE: Case("A buy 4 stop -1"),
    Reason.INVALID_EXPIRY: Case("A buy 4 @ 2260 gtd until 1"),
    Reason.PRICE_OFF_TICK: Case("A buy 4 @ 2261"),
    Reason.PRICE_EXCEEDS_BAND: Case("A buy 4 @ 2600"),
    Reason.QUANTITY_OFF_STEP: Case("A buy 5 @ 2260"),
    Reason.QUANTITY_BELOW_MINIMUM: Case("A buy 0 @ 2260"),
    Reason.EXCEEDS_LIMIT: Case("A buy 2000000 @ 2260"),
    Reason.WHOLE_LOT_ONLY: Case("A sell 9 @ 2270 instrument 1 lot 20"),
    Reason.UNKNOWN_ORDER: Case("A cancel nothing"),
    Reason.TOO_LATE: Case("A cancel_key k", ["A buy 4 @ 2260 key k as bid", "A cancel bid"]),
    Reason.STALE_VERSION: Case(
        f"B pick coil {LISTED_KG} version 7", [f"A sell {LISTED_KG} @ 2270 instrument 1 lot 20 as coil"]
    ),
    Reason.OWN_LISTING: Case(
        f"E pick coil {LISTED_KG}", [f"D sell {LISTED_KG} @ 2270 instrument 1 lot 21 as coil"]
    ),
    Reason.UNKNOWN_TRADE: Case(
        {"kind": Command.BUST_TRADE, "account": 2, "lot": 1, "quantity_kg": 4, "match_id": 1},
    ),
    Reason.NO_LIQUIDITY: Case("A buy 4 market_to_limit"),
    Reason.POST_ONLY_WOULD_TRADE: Case("B buy 4 @ 2270 post_only", ["A sell 4 @ 2270"]),
    Reason.UNKNOWN_LOT: Case("A sell 4 @ 2270 lot 99"),
    Reason.LOT_EXISTS: Case({"kind": Command.REGISTER_LOT, "account": 1, "lot": 1, "quantity_kg": 4}),
    Reason.LOT_OF_OTHER_INSTRUMENT: Case("A sell 4 @ 2270 lot 20"),
    Reason.INSUFFICIENT_GOODS: Case({"kind": Command.WITHDRAW_LOT, "lot": 20, "quantity_kg": LISTED_KG + 1}),
    Reason.INSUFFICIENT_FUNDS: Case({"kind": Command.WITHDRAW, "account": 1, "amount_fen": 10**16}),
    Reason.LIVE_ORDERS_FULL: Case("A buy 4 @ 2260", head={"orders_max": 0}),
    Reason.SESSIONS_FULL: Case("A start none", head={"sessions_max": 0}),
    Reason.ACCOUNTS_FULL: Case({"kind": Command.OPEN_ACCOUNT, "account": 64}),
    Reason.LOTS_FULL: Case({"kind": Command.REGISTER_LOT, "account": 1, "lot": 256, "quantity_kg": 4}),
    Reason.CLOCK_NOT_STEPPED: Case({"kind": Command.SET_CLOCK, "due_ns": 5}),
}
TERMS = {
    Reason.INSTRUMENT_EXISTS: terms(0, Mode.BOOK),
    Reason.INVALID_TERMS: terms(2, Mode.BOOK, tick_fen_per_tonne=0),
    Reason.LEVELS_FULL: terms(2, Mode.BOOK, tick_fen_per_tonne=1, lower_fen_per_tonne=1),
}
NOT_THE_CORES = {  # the sequencer's and the door's (semantics G5)
    Reason.SEQUENCE_EXHAUSTED,
    Reason.QUEUE_FULL,
    Reason.SHUTTING_DOWN,
    Reason.DISK_FULL,
}
ENDS = {  # how an order ends otherwise: what is said, and the line that says so
    Reason.CANCELED_BY_OWNER: (["A buy 4 @ 2260 as o", "A cancel o"], "o canceled 4 canceled_by_owner"),
    Reason.IOC_REMAINDER: (["A buy 4 @ 2260 ioc as o"], "o canceled 4 ioc_remainder"),
    Reason.DAY_END: (["A buy 4 @ 2260 as o", "phase closed"], "o canceled 4 day_end"),
    Reason.COLLAR: (
        ["A sell 4 @ 2270", "A sell 4 @ 2400", "B buy 8 market as o"],
        "o canceled 4 collar",
    ),
    Reason.NOT_FEASIBLE: (["A buy 4 @ 2260 fok as o"], "o canceled 4 not_feasible"),
    Reason.SELF_TRADE_PREVENTION: (
        ["D sell 4 @ 2270", "E buy 4 @ 2270 as o"],
        "o canceled 4 self_trade_prevention",
    ),
    Reason.EXPIRED: (["A buy 4 @ 2260 gtd until 90000 as o", "time 90000"], "o canceled 4 expired"),
    Reason.AUCTION_ENDED: (
        ["phase auction", "A buy 4 @ 2260 at_open as o", "phase continuous"],
        "o canceled 4 auction_ended",
    ),
    Reason.AUCTION_STARTED: (
        ["A buy 4 @ 2260 continuous_only as o", "phase auction"],
        "o canceled 4 auction_started",
    ),
    Reason.MASS_CANCELED: (["A buy 4 @ 2260 as o", "A mass_cancel"], "o canceled 4 mass_canceled"),
    Reason.REPLACED_TO_NOTHING: (
        ["A buy 4 @ 2260 as o", "A replace o leaves 0"],
        "o canceled 4 replaced_to_nothing",
    ),
    Reason.BAND_MOVED: (
        ["A buy 4 @ 2060 gtc as o", "phase closed", "reference 2400"],
        "o canceled 4 band_moved",
    ),
    Reason.DISCONNECTED: (
        ["A start session as s", "A buy 4 @ 2260 in s as o", "A end s"],
        "o canceled 4 disconnected",
    ),
    Reason.TIMER_EXPIRED: (
        ["A start none as s", "A buy 4 @ 2260 in s as o", "A timer s until 90000", "time 90000"],
        "o canceled 4 timer_expired",
    ),
    Reason.KILL_SWITCH: (["A buy 4 @ 2260 as o", "A block"], "o canceled 4 kill_switch"),
    Reason.PICKED: (
        ["C buy 28000 @ 2270 instrument 1 min 27000 as o", f"A pick o {LISTED_KG} lot 20"],
        "o canceled 150 picked",
    ),
}


@pytest.fixture
def hall() -> Floor:
    """A floor with step and tick 2, a collar, a coil of A's (lot 20) and one of D's (21)."""
    floor = Floor(tick_fen_per_tonne=2, step_kg=2, minimum_kg=2, collar_bp=100)
    floor.lot(20, 1, LISTED_KG, 1)
    floor.lot(21, 4, LISTED_KG, 1)
    return floor


def unchanged(floor: Floor) -> list[bytes]:
    """Every array of the state, without what a refused command may move: sequence, clock, idempotency."""
    state = floor.exchange.state
    head, accounts = state.head.copy(), state.accounts.copy()
    for name in ("sequence", "time_ns", "day_entries", "outbox"):
        head[name] = 0
    accounts["reference"] = 0
    left_out = ("head", "accounts", "day", "scratch")
    rest = [np.ascontiguousarray(getattr(state, name)) for name in state._fields if name not in left_out]
    return [head.tobytes(), accounts.tobytes(), *(array.tobytes() for array in rest)]


def refused(floor: Floor, command: str | dict[str, int]) -> Any:
    if isinstance(command, dict):
        return floor.command(**command)
    words = command.split()
    return floor.cancel_by_key(1, words[2]) if words[1] == "cancel_key" else floor.judge(command)


@pytest.mark.parametrize("reason", CASES, ids=wire_name)
def test_a_refused_command_says_why_and_changes_nothing(hall: Floor, reason: Reason) -> None:
    """semantics A4."""
    case = CASES[reason]
    hall.says(*case.before)
    for name, value in case.head.items():
        hall.exchange.state.head[name] = value
    before = unchanged(hall)

    events = refused(hall, case.command)

    assert [(Event(int(row["kind"])), Reason(int(row["reason"]))) for row in events] == [
        (Event.REJECTED, reason)
    ]
    assert unchanged(hall) == before


@pytest.mark.parametrize("reason", TERMS, ids=wire_name)
def test_refused_terms_say_why_and_change_nothing(hall: Floor, reason: Reason) -> None:
    """semantics A4, G1."""
    before = unchanged(hall)

    events = hall.send_records(TERMS[reason].copy())

    assert TERMS[reason].view(INSTRUMENT_TERMS)["kind"][0] == Command.DEFINE_INSTRUMENT
    assert [Reason(int(row["reason"])) for row in events] == [reason]
    assert unchanged(hall) == before


@pytest.mark.parametrize("reason", ENDS, ids=wire_name)
def test_an_order_ends_for_each_reason(hall: Floor, reason: Reason) -> None:
    """semantics B, C, D, E."""
    lines, said = ENDS[reason]

    assert said in hall.says(*lines)
    hall.exchange.check_invariants()


def test_sessions_are_bounded(hall: Floor) -> None:
    """semantics G5: a named maximum, and a reason beyond it."""
    said = ["session_started"]
    for number in range(1 << 17):
        if said == ["session_started"]:
            said = hall.says(f"A start none as s{number}")

    assert said == ["rejected sessions_full"]


def test_every_reason_of_the_vocabulary_has_its_case() -> None:
    """semantics A4: none is forgotten."""
    told = {*CASES, *TERMS, *ENDS, *NOT_THE_CORES, Reason.NONE}

    assert set(Reason) - told == set()
