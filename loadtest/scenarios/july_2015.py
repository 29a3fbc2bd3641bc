"""The market of July 2015: eleven futures closes, and what they mean for forty spot products in South China.

Law: everything here is a function of the public closes and of instruments.csv; no random number, no clock.

    futures close (rebar: long products, coil: flat) ── basis, pass-through, steps of 10 CNY/t ──▶ quote

Basis: instruments.csv gives each product's South-China price of July 2015 (px_2015_07); against the reference
close, that of the launch on 8 July, the difference is the product's basis: freight from the northern mills,
grade, size, coating. RB20-12-SG: 2260 - 1891 = 369 CNY/t. Spot moves less than futures (domain 7: 0.5-0.7 of
their sigma), and less down than up, because a seller who bought dearer waits: 0.7 of a rise, 0.5 of a fall.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from functools import cache
from typing import Final

from engine.instruments import BAND_BP, FEN_PER_CNY, Instrument, static_band
from engine.vocabulary import BASIS_POINTS

BEIJING: Final = timezone(timedelta(hours=8), "Beijing")
VAT_PERCENT: Final = 17  # domain 5: until 30 April 2018
QUOTE_STEP_FEN: Final = 10 * FEN_PER_CNY  # domain 7
PASS_UP_BP: Final = 7_000
PASS_DOWN_BP: Final = 5_000
NS_PER_S: Final = 1_000_000_000

# SHFE, 6-20 July 2015, CNY/t (domain 7).
CLOSES: Final = (
    (date(2015, 7, 6), 2027, 2109),
    (date(2015, 7, 7), 1957, 2041),
    (date(2015, 7, 8), 1891, 1973),
    (date(2015, 7, 9), 2004, 2063),
    (date(2015, 7, 10), 2007, 2065),
    (date(2015, 7, 13), 2008, 2030),
    (date(2015, 7, 14), 2007, 2032),
    (date(2015, 7, 15), 1990, 2015),
    (date(2015, 7, 16), 2005, 2022),
    (date(2015, 7, 17), 2006, 2030),
    (date(2015, 7, 20), 2112, 2100),
)
DATES: Final = tuple(day for day, _, _ in CLOSES)
LAUNCH: Final = 2  # index of 8 July
TRADING_DAYS: Final = DATES[LAUNCH : LAUNCH + 8]  # the first eight days of the platform

# Rolled from billet, and so priced off rebar; all else (pipes too: bent from strip) off coil.
LONG_PRODUCTS: Final = ("RB", "PL", "WR", "HN", "HW", "CH", "AN", "IB")


def is_long(instrument: Instrument) -> bool:
    """Whether a product follows the rebar series."""
    return instrument.code.startswith(LONG_PRODUCTS)


@cache
def quotes(instrument: Instrument) -> tuple[int, ...]:
    """The spot quote at each of the eleven closes, in fen per tonne; px_2015_07 on 8 July exactly.

    Each day's move is the pass-through part of the futures' move, rounded to 10 CNY/t, and never leaves the
    band around the day before (domain 2).
    """
    closes = [rebar if is_long(instrument) else coil for _, rebar, coil in CLOSES]
    path = {LAUNCH: instrument.reference_fen_per_tonne}
    for day in range(LAUNCH + 1, len(closes)):
        path[day] = _within_band(path[day - 1] + _spot_move(closes[day] - closes[day - 1]), path[day - 1])
    for day in range(LAUNCH - 1, -1, -1):
        path[day] = path[day + 1] - _spot_move(closes[day + 1] - closes[day])
    return tuple(path[day] for day in range(len(closes)))


def _spot_move(futures_cny: int) -> int:
    """The move of a spot quote (fen) that follows a move of the futures (CNY), towards zero on the step."""
    pass_bp = PASS_UP_BP if futures_cny > 0 else PASS_DOWN_BP
    steps = abs(futures_cny) * FEN_PER_CNY * pass_bp // (BASIS_POINTS * QUOTE_STEP_FEN)
    return (steps if futures_cny > 0 else -steps) * QUOTE_STEP_FEN


def _within_band(quote_fen: int, reference_fen: int) -> int:
    lower, upper = static_band(reference_fen, BAND_BP, QUOTE_STEP_FEN)
    return min(max(quote_fen, lower), upper)


def reference(instrument: Instrument, day: int) -> int:
    """The reference of trading day `day` (0 = 8 July): the quote at the close before."""
    return quotes(instrument)[LAUNCH + day - 1]


def quote_at(instrument: Instrument, day: int, part: int, parts: int) -> int:
    """The quote after `part` of `parts` of a trading day: from the close before to its own, in steps."""
    opening, closing = quotes(instrument)[LAUNCH + day - 1 : LAUNCH + day + 1]
    steps = (closing - opening) // QUOTE_STEP_FEN
    moved = abs(steps) * part // parts
    return opening + (moved if steps > 0 else -moved) * QUOTE_STEP_FEN


def beijing_ns(day: int, at: time) -> int:
    """Unix nanoseconds of a time of trading day `day`, Beijing (UTC+8, no DST)."""
    moment = datetime.combine(TRADING_DAYS[day], at, BEIJING)
    return int(moment.timestamp()) * NS_PER_S


def moments(day: int, count: int) -> Sequence[int]:
    """`count` instants spread over the continuous hours 09:00-11:30 and 13:30-16:00 (domain 2), in ns."""
    morning, afternoon = beijing_ns(day, time(9)), beijing_ns(day, time(13, 30))
    half_s = 150 * 60
    found = []
    for k in range(count):
        second = (2 * half_s - 600) * (k + 1) // (count + 1)
        start, rest = (morning, second) if second < half_s else (afternoon, second - half_s)
        found.append(start + rest * NS_PER_S)
    return found
