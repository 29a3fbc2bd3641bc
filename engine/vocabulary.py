"""The words of the exchange: every code that stands in a record, with its one meaning.

Law: a code never changes its meaning; what is retired leaves a gap. The wire name of a code is its name in
lower case (`Reason.PRICE_OFF_TICK` is "price_off_tick"), spelled as FIX spells it where FIX has the word.
"""

from enum import IntEnum, IntFlag
from typing import Final

RECORD_VERSION: Final = 1

# Permitted maxima (semantics G1). With them price x quantity x basis points stays below 2**63:
# 10**8 fen/t x 5 x 10**9 kg / 1000 = 5 x 10**14 fen; x 10**4 basis points = 5 x 10**18 < 9.22 x 10**18.
PRICE_MAX_FEN_PER_TONNE: Final = 100_000_000
QUANTITY_MAX_KG: Final = 5_000_000_000
AMOUNT_MAX_FEN: Final = 10**17  # one deposit, and the balance of one account
BASIS_POINTS: Final = 10_000

ORDER_SLOT_BITS: Final = 22  # order id = command sequence << 22 | slot
SEQUENCE_MAX: Final = 2**41 - 1  # so that an order id stays below 2**63; settlement.ledger's is narrower


class Command(IntEnum):
    """What a COMMAND record asks for. Below 128: logged and judged. From 128: a question, answered and not
    logged.
    """

    NEW_ORDER = 1
    CANCEL_ORDER = 2
    REPLACE_ORDER = 3
    MASS_CANCEL = 4
    PICK = 5
    EXPIRE = 6  # the sequencer's: what is due at or before `due_ns` happens (semantics E6)
    START_SESSION = 7  # of `account`, with its `scope` of cancel-on-disconnect (semantics C7)
    END_SESSION = 8
    CANCEL_ALL_AFTER = 9  # the session's dead-man timer runs out at `due_ns`; 0 stops it
    OPEN_ACCOUNT = 16
    DEPOSIT = 17
    WITHDRAW = 18
    REGISTER_LOT = 19
    WITHDRAW_LOT = 20
    BUST_TRADE = 21  # settlement reverses a trade: money and goods go back (semantics E8)
    DEFINE_INSTRUMENT = 32
    SET_PHASE = 33
    SET_REFERENCE = 34
    ROLL_DAY = 35
    SET_CLOCK = 36
    BLOCK_ACCOUNT = 37  # the kill switch: cancel all, then refuse new orders (semantics C6)
    RELEASE_ACCOUNT = 38
    SET_PROFILE = 39  # of the venue, before any instrument (semantics F3)
    QUERY_ORDERS = 128  # the live orders of `account`, or of everybody (account -1)
    QUERY_BALANCES = 129  # of `account`, or of everybody (-1)
    QUERY_LOTS = 130  # of `account`, or of everybody (-1)
    QUERY_LISTINGS = 131  # the live orders of `instrument`, best price first, oldest first
    QUERY_DEPTH = 132  # the price levels of `instrument`, bids then asks, best first
    QUERY_INSTRUMENTS = 133  # every instrument with phase, band and last price


class Event(IntEnum):
    """What an EVENT record states. From 128: a row of an answer to a question; it is in no log."""

    ACCEPTED = 1
    REJECTED = 2
    TRADE = 3
    CANCELED = 4
    REPLACED = 5
    TRIGGERED = 6  # a stop became an incoming order
    PREVENTED = 7  # decrement: both orders lost the quantity, nothing traded
    REFRESHED = 8  # an iceberg shows its next slice at the end of the queue
    UNCROSSED = 9  # an auction ended at one price
    INDICATIVE = 10  # what the auction would do now
    ORDERS_CANCELED = 11  # a mass cancel is done; `quantity_kg` counts orders
    TIME_REACHED = 12  # what was due up to this time has happened
    SESSION_STARTED = 13
    SESSION_ENDED = 14  # `quantity_kg` counts the orders that it canceled
    TIMER_SET = 15  # a dead-man timer
    ACCOUNT_OPENED = 16
    DEPOSITED = 17
    WITHDRAWN = 18
    LOT_REGISTERED = 19
    LOT_WITHDRAWN = 20
    TRADE_BUSTED = 22  # a trade was reversed
    REPEATED = 21  # a command of settlement whose outbox number was applied before: nothing happened (law 8)
    INSTRUMENT_DEFINED = 32
    PHASE_CHANGED = 33
    REFERENCE_SET = 34
    DAY_ROLLED = 35
    CLOCK_SET = 36
    ACCOUNT_BLOCKED = 37  # `quantity_kg` counts the orders that it canceled
    ACCOUNT_RELEASED = 38
    PROFILE_SET = 39
    ORDER = 128
    BALANCE = 129
    LOT = 130
    LEVEL = 132
    INSTRUMENT = 133
    REFUSED = 254  # at the door, before sequencing (semantics G5): no sequence, nothing consumed
    END = 255  # the last row of every answer; its `sequence` is the state's


class Side(IntEnum):
    """Side of an order."""

    BUY = 0
    SELL = 1


class OrderType(IntEnum):
    """Semantics B1."""

    LIMIT = 0  # FIX 40=2
    MARKET = 1
    STOP = 3
    STOP_LIMIT = 4
    MARKET_TO_LIMIT = 11  # FIX 40=K


class TimeInForce(IntEnum):
    """Semantics B5; the codes are those of FIX 59 where it has one."""

    DAY = 0
    GTC = 1
    AT_OPEN = 2
    IOC = 3
    FOK = 4
    GTD = 6
    CONTINUOUS_ONLY = 20


class Phase(IntEnum):
    """Semantics E1."""

    CLOSED = 0
    HALTED = 1
    CONTINUOUS = 2
    PRE_OPEN = 3
    AUCTION = 4
    NO_CANCEL = 5


class SelfTrade(IntEnum):
    """What happens when an order would meet one of its own company group (semantics D1)."""

    CANCEL_NEWEST = 0
    CANCEL_OLDEST = 1
    CANCEL_BOTH = 2
    DECREMENT = 3
    ALLOW = 4


class Mode(IntEnum):
    """Kind of instrument, semantics section F."""

    BOOK = 0
    LISTED = 1


class Profile(IntEnum):
    """What the venue may do, semantics F3."""

    EXCHANGE = 0
    CN_SPOT = 1  # only picks execute


class Scope(IntEnum):
    """Which orders a session's end cancels, chosen at its start (semantics C7)."""

    NONE = 0
    SESSION = 1
    ACCOUNT = 2


class Flag(IntFlag):
    """Bits of the `flags` byte of both records."""

    BY_REFERENCE = 1  # the client order id is a u64 that only rises per account, not 16 bytes of text
    DUPLICATE = 2  # event: the first outcome of a repeated command (semantics C8)
    BY_CLIENT_ORDER_ID = 4  # cancel, replace: the order is named by client order id, not by order id
    POST_ONLY = 8
    KEEP_ON_DISCONNECT = 16  # new order: its session's end does not cancel it (semantics C7)
    KEPT_PLACE = 32  # event: a replaced order kept its place in the queue
    SELF_TRADE = 64  # event: both parties are of one company group (surveillance)
    IN_AUCTION = 128  # event: an uncross made it


class ReplaceFlag(IntFlag):
    """Bits of the `flags` byte of a replace besides BY_CLIENT_ORDER_ID."""

    BY_LEAVES = 128  # the quantity is the new live quantity, not the new total


class Reason(IntEnum):
    """Why a command was rejected or an order ended, in order of precedence: the first that applies is the
    answer.
    """

    NONE = 0
    # the command
    UNSUPPORTED_COMMAND = 1
    UNKNOWN_ACCOUNT = 2
    ACCOUNT_EXISTS = 3
    UNKNOWN_SESSION = 4  # ended, or never started
    ACCOUNT_BLOCKED = 5
    # idempotency (semantics C8)
    MISSING_CLIENT_ORDER_ID = 9
    DUPLICATE_CLIENT_ORDER_ID = 10
    STALE_REFERENCE = 11
    DAY_FULL = 12
    # venue
    FORBIDDEN_BY_PROFILE = 15
    # instrument and phase
    UNKNOWN_INSTRUMENT = 20
    INSTRUMENT_EXISTS = 21
    INVALID_TERMS = 22
    INSTRUMENT_CLOSED = 23
    INSTRUMENT_HALTED = 24
    INSTRUMENT_OPEN = 25
    UNKNOWN_PHASE = 26
    CONTINUOUS_PHASE_ONLY = 27
    AUCTION_PHASE_ONLY = 28
    NO_CANCEL_PHASE = 29
    # form of the order
    UNKNOWN_SIDE = 30
    UNSUPPORTED_ORDER_TYPE = 31
    UNSUPPORTED_TIME_IN_FORCE = 32
    NOT_LISTED = 33  # 34 was the opposite, until bids could be picked; it is not given out again
    UNSUPPORTED_SELF_TRADE_MODE = 35
    INVALID_DISPLAY_QUANTITY = 36
    INVALID_MINIMUM_QUANTITY = 37
    INVALID_STOP_PRICE = 38
    INVALID_EXPIRY = 39
    # numbers (semantics G1, G2)
    PRICE_OFF_TICK = 40
    PRICE_EXCEEDS_BAND = 41
    QUANTITY_OFF_STEP = 42
    QUANTITY_BELOW_MINIMUM = 43
    EXCEEDS_LIMIT = 44
    WHOLE_LOT_ONLY = 45
    # the order or listing meant
    UNKNOWN_ORDER = 50
    TOO_LATE = 51
    STALE_VERSION = 52
    OWN_LISTING = 53
    UNKNOWN_TRADE = 54
    # the market as it is
    NO_LIQUIDITY = 55
    POST_ONLY_WOULD_TRADE = 56
    # goods and money (law 7)
    UNKNOWN_LOT = 60
    LOT_EXISTS = 61
    LOT_OF_OTHER_INSTRUMENT = 62
    INSUFFICIENT_GOODS = 63
    INSUFFICIENT_FUNDS = 64
    # capacity (semantics G5)
    LIVE_ORDERS_FULL = 70
    ACCOUNTS_FULL = 71
    LOTS_FULL = 72
    LEVELS_FULL = 73
    SEQUENCE_EXHAUSTED = 74
    SESSIONS_FULL = 75
    # clock
    CLOCK_NOT_STEPPED = 80
    # at the door
    QUEUE_FULL = 90
    SHUTTING_DOWN = 91
    DISK_FULL = 92
    # ends of an order that are not rejections
    CANCELED_BY_OWNER = 100
    IOC_REMAINDER = 101
    DAY_END = 102
    COLLAR = 103
    NOT_FEASIBLE = 104  # fok, or an ioc below its minimum quantity
    SELF_TRADE_PREVENTION = 105
    EXPIRED = 106
    AUCTION_ENDED = 107
    AUCTION_STARTED = 108
    MASS_CANCELED = 109
    REPLACED_TO_NOTHING = 110
    BAND_MOVED = 111
    DISCONNECTED = 112  # the session ended
    TIMER_EXPIRED = 113
    KILL_SWITCH = 114
    PICKED = 115  # what a bid wanted beyond the lot that it got


def wire_name(code: IntEnum) -> str:
    """The name by which clients know a code: `Reason.PRICE_OFF_TICK` -> "price_off_tick"."""
    return code.name.lower()
