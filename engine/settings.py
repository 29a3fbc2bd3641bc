"""What the environment says to the engine.

SettingsError    a variable asks for what there is not; the message says which one and what it may be
"""

import os
from pathlib import Path
from typing import Final

from engine.calendar import Calendar, load_calendar
from engine.command_log import SEGMENT_BYTES
from engine.event_log import RESERVE_BYTES
from engine.instruments import Instrument, load_instruments
from engine.retention import EVENTS_KEPT
from engine.snapshot_taker import SNAPSHOT_COMMANDS
from engine.vocabulary import SEQUENCE_MAX

MIB: Final = 1 << 20
SEGMENT_MIB_MAX: Final = 1 << 10


class SettingsError(Exception):
    """The environment asks for what there is not; the message says which variable and what it may be."""


class Settings:
    """What the environment says: LECONG_CLOCK wall|stepped, LECONG_CALENDAR open|manual or a calendar's file
    (engine/calendar.py), LECONG_LOG_SEGMENT_MIB, LECONG_SNAPSHOT_COMMANDS (between two snapshots; 0: only
    when asked), LECONG_EVENTS_KEPT (the events of so many last commands stay at least).
    """

    def __init__(self) -> None:
        """Read the environment. Raises SettingsError, CalendarError."""
        self.stepped = _choice("LECONG_CLOCK", "wall", "stepped") == "stepped"
        self.products = load_instruments()
        self.always_open, self.calendar = _calendar(self.products)
        mib = _number("LECONG_LOG_SEGMENT_MIB", SEGMENT_BYTES // MIB, 1, SEGMENT_MIB_MAX)
        self.segment_bytes = mib * MIB
        self.snapshot_commands = _number("LECONG_SNAPSHOT_COMMANDS", SNAPSHOT_COMMANDS, 0, SEQUENCE_MAX)
        self.events_kept = _number("LECONG_EVENTS_KEPT", EVENTS_KEPT, 0, SEQUENCE_MAX)
        self.reserve_bytes = RESERVE_BYTES


def _calendar(products: tuple[Instrument, ...]) -> tuple[bool, Calendar | None]:
    """Whether everything is always open, and the calendar that LECONG_CALENDAR names, if it names one."""
    value = os.environ.get("LECONG_CALENDAR") or "open"
    if value in ("open", "manual"):
        return value == "open", None
    if not Path(value).is_file():
        raise SettingsError(
            f"LECONG_CALENDAR is {value!r}; it must be open, manual, or the file of a calendar, as "
            "engine/calendar_foshan.toml"
        )
    return False, load_calendar(Path(value), products)


def _choice(variable: str, *values: str) -> str:
    """The value of an environment variable, the first of `values` by default."""
    value = os.environ.get(variable) or values[0]
    if value not in values:
        raise SettingsError(f"{variable} is {value!r}; it must be {' or '.join(values)}")
    return value


def _number(variable: str, default: int, lowest: int, highest: int) -> int:
    """The value of an environment variable that is a whole number."""
    text = os.environ.get(variable) or str(default)
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise SettingsError(f"{variable} is {text!r}; it must be a whole number from {lowest} to {highest}")
    return int(text)
