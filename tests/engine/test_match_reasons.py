"""Every reason that a line of `python -m engine match` can cause is caused by one, and said in its words.

The list of those that no line can cause says why: the tool has one instrument, accounts without limits and no
sessions. It may only become shorter.
"""

from io import BytesIO
from typing import Any

import msgspec
import pytest

from engine.match import run
from engine.vocabulary import Reason, SelfTrade, wire_name

Line = dict[str, Any]
BAND_TOP = 1_000


def new(name: str = "x", side: str = "buy", **keys: Any) -> Line:
    return {"op": "new", "id": name, "side": side, "type": "limit", "qty": 5, "price": 100, **keys}


def phase(name: str) -> Line:
    return {"op": "phase", "phase": name}


ASK = new("a", "sell")
CASES: dict[Reason, list[Line]] = {
    Reason.DUPLICATE_CLIENT_ORDER_ID: [new(), new()],
    Reason.INSTRUMENT_CLOSED: [phase("closed"), new()],
    Reason.INSTRUMENT_HALTED: [phase("halted"), new()],
    Reason.CONTINUOUS_PHASE_ONLY: [phase("auction"), new(tif="IOC")],
    Reason.NO_CANCEL_PHASE: [new(), phase("no_cancel"), {"op": "cancel", "id": "x"}],
    Reason.UNSUPPORTED_ORDER_TYPE: [new(type="market", price=0, post_only=True)],
    Reason.INVALID_DISPLAY_QUANTITY: [new(display=6)],
    Reason.INVALID_MINIMUM_QUANTITY: [new(min_qty=5)],
    Reason.INVALID_STOP_PRICE: [new(stop=101)],
    Reason.INVALID_EXPIRY: [new(tif="GTD")],
    Reason.PRICE_EXCEEDS_BAND: [new(price=BAND_TOP + 1)],
    Reason.QUANTITY_BELOW_MINIMUM: [new(qty=0)],
    Reason.EXCEEDS_LIMIT: [new(qty=2**40)],
    Reason.UNKNOWN_ORDER: [{"op": "cancel", "id": "x"}],
    Reason.NO_LIQUIDITY: [new(type="market_to_limit", price=0)],
    Reason.POST_ONLY_WOULD_TRADE: [ASK, new(post_only=True)],
    Reason.LIVE_ORDERS_FULL: [new(qty=2**22, display=1)],  # an iceberg counts by its slices
    Reason.CANCELED_BY_OWNER: [new(), {"op": "cancel", "id": "x"}],
    Reason.IOC_REMAINDER: [new(tif="IOC")],
    Reason.DAY_END: [new(tif="DAY"), phase("closed")],
    Reason.NOT_FEASIBLE: [new(tif="FOK")],
    Reason.SELF_TRADE_PREVENTION: [ASK | {"owner": "o"}, new(owner="o", stp="cancel_newest")],
    Reason.MASS_CANCELED: [new(), {"op": "mass_cancel"}],
    Reason.REPLACED_TO_NOTHING: [new(), {"op": "replace", "id": "x", "leaves": 0}],
}
EXPIRED = [new(tif="GTD", expire_at=50), {"op": "clock", "ts": 50}]  # has a word of its own
NO_SUCH_OP = "the tool has no op for it"
ONE_BOOK = "its one instrument is a BOOK with tick 1 and step 1"
NO_LIMITS = "its accounts have no limits"
NOT_BY_LINE: dict[Reason, str] = {
    **dict.fromkeys(
        (
            Reason.UNSUPPORTED_COMMAND,
            Reason.UNKNOWN_SESSION,
            Reason.ACCOUNT_BLOCKED,
            Reason.FORBIDDEN_BY_PROFILE,
            Reason.INSTRUMENT_EXISTS,
            Reason.INVALID_TERMS,
            Reason.INSTRUMENT_OPEN,
            Reason.UNKNOWN_TRADE,
            Reason.SESSIONS_FULL,
            Reason.LEVELS_FULL,
            Reason.CLOCK_NOT_STEPPED,
            Reason.DISCONNECTED,
            Reason.TIMER_EXPIRED,
            Reason.KILL_SWITCH,
            Reason.BAND_MOVED,
            Reason.AUCTION_PHASE_ONLY,
            Reason.AUCTION_ENDED,
            Reason.AUCTION_STARTED,
        ),
        NO_SUCH_OP,
    ),
    **dict.fromkeys(
        (
            Reason.UNKNOWN_INSTRUMENT,
            Reason.PRICE_OFF_TICK,
            Reason.QUANTITY_OFF_STEP,
            Reason.WHOLE_LOT_ONLY,
            Reason.STALE_VERSION,
            Reason.OWN_LISTING,
            Reason.NOT_LISTED,
            Reason.LOT_OF_OTHER_INSTRUMENT,
            Reason.COLLAR,
            Reason.PICKED,
        ),
        ONE_BOOK,
    ),
    **dict.fromkeys(
        (
            Reason.UNKNOWN_ACCOUNT,
            Reason.ACCOUNT_EXISTS,
            Reason.UNKNOWN_LOT,
            Reason.LOT_EXISTS,
            Reason.INSUFFICIENT_GOODS,
            Reason.INSUFFICIENT_FUNDS,
            Reason.ACCOUNTS_FULL,
            Reason.LOTS_FULL,
        ),
        NO_LIMITS,
    ),
    Reason.SEQUENCE_EXHAUSTED: "nobody has 2**41 lines",
    **dict.fromkeys(
        (Reason.QUEUE_FULL, Reason.SHUTTING_DOWN, Reason.DISK_FULL), "there is no door and no disk"
    ),
    **dict.fromkeys(
        (Reason.MISSING_CLIENT_ORDER_ID, Reason.STALE_REFERENCE, Reason.DAY_FULL, Reason.TOO_LATE),
        "the tool itself maps names to rising references",
    ),
    **dict.fromkeys(
        (
            Reason.UNKNOWN_PHASE,
            Reason.UNKNOWN_SIDE,
            Reason.UNSUPPORTED_TIME_IN_FORCE,
            Reason.UNSUPPORTED_SELF_TRADE_MODE,
        ),
        "a word that it does not know is an error of the line",
    ),
}
NOT_BY_LINE_MAX = 48  # never to be raised


def said(lines: list[Line]) -> list[Line]:
    """What the lines cause, without their numbers."""
    blocks = run(BytesIO(msgspec.json.Encoder().encode_lines(lines)).read, SelfTrade.ALLOW, BAND_TOP)
    return [msgspec.json.decode(line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("reason", CASES, ids=wire_name)
def test_the_last_line_causes_the_reason_and_says_it(reason: Reason) -> None:
    lines = CASES[reason]

    last = [line for line in said(lines) if line["n"] == len(lines)]

    kind = "rejected" if reason < Reason.CANCELED_BY_OWNER else "canceled"
    assert [(line["ev"], line["id"], line["reason"]) for line in last if "reason" in line] == [
        (kind, "x", wire_name(reason))
    ]


def test_an_expiry_has_a_word_of_its_own() -> None:
    assert said(EXPIRED)[-1] == {"n": 2, "ev": "expired", "id": "x", "qty": 5}


def test_no_reason_is_left_out_and_the_list_of_exceptions_does_not_grow() -> None:
    named = [*CASES, Reason.EXPIRED, *NOT_BY_LINE]

    assert sorted(named) == sorted(set(Reason) - {Reason.NONE}), "each once"
    assert len(NOT_BY_LINE) <= NOT_BY_LINE_MAX
