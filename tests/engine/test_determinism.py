"""The same log gives the same events and the same state: today, compiled or interpreted, on any processor."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.command_log import CommandLog
from engine.disk import PosixDisk
from engine.exchange import Exchange
from engine.recovery import gathered
from engine.state_hash import state_hash
from engine.vocabulary import Event
from tests.engine import golden
from tests.engine.builders import SMALL


def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(golden.EXPECTED.read_text())
    return found


def judged_with(**environment: str) -> dict[str, Any]:
    """What another process makes of the golden log."""
    command = [sys.executable, "-m", "tests.engine.golden"]
    ended = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=600, check=True
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_golden_log_gives_the_events_and_the_state_that_it_always_gave() -> None:
    """When this fails: see tests/engine/golden/__init__.py."""
    assert golden.judged() == expected()


@pytest.mark.slow
def test_interpreted_it_gives_the_same() -> None:
    assert judged_with(NUMBA_DISABLE_JIT="1") == expected()


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.timeout(600)
def test_compiled_for_any_processor_it_gives_the_same() -> None:
    assert judged_with(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == expected()


def test_golden_log_is_worth_its_name(tmp_path: Path) -> None:
    """It trades, rejects, cancels and repeats, whatever batches it is judged in."""
    import gzip

    (tmp_path / "00000001.log").write_bytes(gzip.decompress(golden.LOG.read_bytes()))
    whole, halves = Exchange(SMALL), Exchange(SMALL)
    kinds: Counter[str] = Counter()
    for batch in gathered(CommandLog(PosixDisk(tmp_path)).recover()):
        for command in range(0, len(batch), 7):
            kinds.update(Event(int(k)).name for k in halves.apply(batch[command : command + 7])["kind"])
        whole.apply(batch)

    assert state_hash(whole.state) == state_hash(halves.state)
    assert min(kinds[name] for name in ("ACCEPTED", "TRADE", "CANCELED", "REJECTED", "DEPOSITED")) >= 20
    assert kinds["PHASE_CHANGED"] >= 5
