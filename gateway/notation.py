"""How numbers are written to people: decimals as strings, times as RFC 3339, exactly and without floats
(law 6).

"2260.00"    CNY per tonne, or CNY      <->  226000 fen
"29.880"     tonnes                     <->  29880 kilograms
"2015-07-08T01:00:00.000000Z"           <-   1436317200000000000 ns
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from engine.vocabulary import AMOUNT_MAX_FEN, PRICE_MAX_FEN_PER_TONNE, QUANTITY_MAX_KG
from gateway.errors import Refusal

FEN_DIGITS: Final = 2
KG_DIGITS: Final = 3
INTEGER_MAX: Final = 2**63 - 1
TEXT_CHARACTERS_MAX: Final = 24  # longer than any permitted number
CACHE_ENTRIES_MAX: Final = 4096  # prices and quantities repeat; each cache is bounded by this
NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def parse_decimal(text: str, digits: int, path: str, maximum: int) -> int:
    """The integer of a decimal string with up to `digits` decimals: "2260.5", 2 -> 226050.

    Raises Refusal `invalid_decimal` for anything but digits and one point (no sign, exponent, space or
    underscore) and `exceeds_limit` above `maximum` (semantics G1).
    """
    whole, point, fraction = text.partition(".")
    if (
        not text.isascii()
        or len(text) > TEXT_CHARACTERS_MAX
        or not whole.isdigit()
        or len(fraction) > digits
        or (point and not fraction.isdigit())
    ):
        raise Refusal("invalid_decimal", path)
    value = int(whole + fraction.ljust(digits, "0"))
    if value > maximum:
        raise Refusal("exceeds_limit", path)
    return value


@lru_cache(CACHE_ENTRIES_MAX)
def parse_price(text: str, path: str = "$.price") -> int:
    """Fen per tonne of a price in CNY per tonne."""
    return parse_decimal(text, FEN_DIGITS, path, PRICE_MAX_FEN_PER_TONNE)


@lru_cache(CACHE_ENTRIES_MAX)
def parse_quantity(text: str, path: str = "$.quantity") -> int:
    """Kilograms of a quantity in tonnes."""
    return parse_decimal(text, KG_DIGITS, path, QUANTITY_MAX_KG)


def parse_time(text: str, path: str) -> int:
    """Unix nanoseconds of an RFC 3339 time with its offset, to the microsecond.

    Raises Refusal `invalid_time` for anything else and for times before 1970 or beyond 2**63 ns.
    """
    try:
        moment = datetime.fromisoformat(text)
        time_ns = (moment - _EPOCH) // _MICROSECOND * 1000  # a time without an offset cannot be subtracted
    except (ValueError, TypeError, OverflowError):
        raise Refusal("invalid_time", path) from None
    if not 0 < time_ns <= INTEGER_MAX:
        raise Refusal("invalid_time", path)
    return time_ns


def parse_amount(text: str) -> int:
    """Fen of an amount in CNY."""
    return parse_decimal(text, FEN_DIGITS, "$.amount", AMOUNT_MAX_FEN)


def parse_id(text: str, path: str) -> int:
    """The integer of an id, which travels as a decimal string because 2**53 is too small for it."""
    if not (text.isascii() and text.isdigit() and len(text) <= TEXT_CHARACTERS_MAX):
        raise Refusal("invalid_id", path)
    value = int(text)
    if value > INTEGER_MAX:
        raise Refusal("invalid_id", path)
    return value


@lru_cache(CACHE_ENTRIES_MAX)
def money_text(fen: int) -> str:
    """CNY (or CNY per tonne) of fen: 6752880 -> "67528.80"."""
    sign, fen = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{fen // 100}.{fen % 100:02d}"


@lru_cache(CACHE_ENTRIES_MAX)
def tonnes_text(kg: int) -> str:
    """Tonnes of kilograms: 29880 -> "29.880"."""
    return f"{kg // 1000}.{kg % 1000:03d}"


def average_price_text(amount_fen: int, cum_kg: int) -> str | None:
    """Average price of the fills in CNY per tonne, half-up to the fen; None before the first fill."""
    if cum_kg == 0:
        return None
    return money_text((amount_fen * 2000 + cum_kg) // (2 * cum_kg))


@lru_cache(16)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(64)
def time_text(time_ns: int) -> str:
    """RFC 3339 in UTC with microseconds (cut, not rounded) of Unix nanoseconds."""
    second, rest_ns = divmod(time_ns, NS_PER_S)
    return f"{_second_text(second)}.{rest_ns // 1000:06d}Z"
