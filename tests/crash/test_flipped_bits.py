"""One flipped bit anywhere in a log of three blocks, on a real disk: what recovery says.

in the middle   a valid block follows: refused by name and place, no byte is changed
in the tail     no block follows: cut like a torn one. The log alone cannot tell rot from a crash; the
                engine can, where events.log still holds what the cut block caused: it refuses to start
in padding      never read: nothing is lost, nothing is said
"""

from pathlib import Path

import numpy as np
import pytest

from engine.command_log import (
    BLOCK_ALIGNMENT,
    HEADER,
    HEADER_BYTES,
    CommandLog,
    CorruptLogError,
    segment_name,
)
from engine.disk import PosixDisk
from engine.event_log import EventLog
from engine.exchange import Exchange
from engine.records import RECORD_BYTES, Records, joined
from engine.service import replay
from tests.crash.log_writer import numbered
from tests.engine.fakes import SMALL, events_of

COMMANDS, SEGMENT = 5, 1 << 16
PAYLOAD_BYTES = COMMANDS * RECORD_BYTES
assert HEADER.names is not None
assert HEADER.fields is not None
FIELDS = {name: HEADER.fields[name][1] for name in HEADER.names}
PLACES = FIELDS | {"first record": HEADER_BYTES, "last record": HEADER_BYTES + PAYLOAD_BYTES - 1}
PADDING = {"first padding": HEADER_BYTES + PAYLOAD_BYTES, "last padding": BLOCK_ALIGNMENT - 1}
MIDDLE, TAIL = 1, 2  # numbers of blocks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of three blocks."""
    log = CommandLog(PosixDisk(tmp_path / "commands"), SEGMENT)
    log.resume(1)
    for first in (1, 1 + COMMANDS, 1 + 2 * COMMANDS):
        log.append(numbered(first, COMMANDS))
    log.close()
    return tmp_path


def flip(folder: Path, block: int, offset: int, bit: int) -> bytes:
    """Flip one bit; the whole segment as it is now."""
    path = folder / "commands" / segment_name(1)
    raw = bytearray(path.read_bytes())
    raw[block * BLOCK_ALIGNMENT + offset] ^= 1 << bit
    path.write_bytes(raw)
    return bytes(raw)


def read(folder: Path) -> Records:
    return joined(list(CommandLog(PosixDisk(folder / "commands"), SEGMENT).recover()))


@pytest.mark.parametrize("bit", [0, 7])
@pytest.mark.parametrize("place", PLACES)
def test_in_the_middle_it_is_refused_by_place_and_nothing_is_changed(
    folder: Path, place: str, bit: int
) -> None:
    flipped = flip(folder, MIDDLE, PLACES[place], bit)

    with pytest.raises(CorruptLogError, match=r"00000001\.log, offset 4096: an invalid block"):
        read(folder)

    assert (folder / "commands" / segment_name(1)).read_bytes() == flipped


@pytest.mark.parametrize("bit", [0, 7])
@pytest.mark.parametrize("place", PLACES)
def test_in_the_tail_the_last_block_is_cut_and_the_log_goes_on(folder: Path, place: str, bit: int) -> None:
    flip(folder, TAIL, PLACES[place], bit)

    log = CommandLog(PosixDisk(folder / "commands"), SEGMENT)
    assert sum(len(block) for block in log.recover()) == 2 * COMMANDS
    log.resume(2)
    log.append(numbered(1 + 2 * COMMANDS, 1))
    log.close()

    assert read(folder)["sequence"].tolist() == list(range(1, 2 * COMMANDS + 2))


@pytest.mark.parametrize("place", PLACES)
def test_in_the_tail_the_engine_refuses_while_the_event_log_knows_more(folder: Path, place: str) -> None:
    events = EventLog(folder / "events.log", reserve_bytes=1 << 16)
    events.append(events_of(*((number, 1) for number in range(1, 3 * COMMANDS + 1))))
    events.close()
    flip(folder, TAIL, PLACES[place], 0)

    log, again = CommandLog(PosixDisk(folder / "commands"), SEGMENT), EventLog(folder / "events.log")
    with pytest.raises(CorruptLogError, match=r"events\.log holds command 15, the command log ends at 10"):
        replay(log, Exchange(SMALL), again)
    again.close()


@pytest.mark.parametrize("block", [MIDDLE, TAIL])
@pytest.mark.parametrize("place", PADDING)
def test_in_the_padding_nothing_is_lost(folder: Path, place: str, block: int) -> None:
    flip(folder, block, PADDING[place], 3)

    assert np.array_equal(read(folder)["sequence"], np.arange(1, 3 * COMMANDS + 1))


def test_behind_the_last_block_it_is_wiped_before_the_next_block(folder: Path) -> None:
    flip(folder, TAIL + 1, 100, 5)

    log = CommandLog(PosixDisk(folder / "commands"), SEGMENT)
    assert sum(len(block) for block in log.recover()) == 3 * COMMANDS
    log.resume(2)
    log.close()

    assert not any((folder / "commands" / segment_name(1)).read_bytes()[3 * BLOCK_ALIGNMENT :])
