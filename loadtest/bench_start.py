"""How long `python -m engine` takes from its call to serving, warm, beside a bare `import numba`.

Law: both are real processes, started in turns; the engine's kernels are in the cache and its log is the one
that the start before left.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from loadtest.exchange import ROOT

ROUNDS: Final = 7
MARK_S: Final = 1.5  # at most, above the bare import
STARTS_S: Final = 300.0  # a cold start compiles
READY: Final = "ready"


class StartError(Exception):
    """The engine did not serve; the text says what it said."""


def measure(folder: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of both and their difference, in seconds. Raises StartError."""
    folder.mkdir(parents=True, exist_ok=True)
    start_engine(folder)  # warm from here on
    pairs = [(import_numba(), start_engine(folder)) for _ in range(rounds)]
    bare, engine = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "above_import_s": round(engine - bare, 3),
        "mark_s": MARK_S,
        "engine_s": round(engine, 3),
        "import_numba_s": round(bare, 3),
        "each_above_import_s": [round(ours - peer, 3) for peer, ours in pairs],
        "configuration": f"median of {rounds} rounds in turns, kernels from the cache",
    }


def import_numba() -> float:
    """Seconds of a process that imports numba and ends at once."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numba, os; os._exit(0)"], check=True, cwd=ROOT)
    return time.perf_counter() - started


def start_engine(folder: Path) -> float:
    """Seconds from the call until the engine says that it serves; it is stopped then."""
    environment = os.environ | {"LECONG_DATA": str(folder.resolve())}
    command = [sys.executable, "-m", "engine", "serve"]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None, "it is a pipe"
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith(READY):
                return time.perf_counter() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STARTS_S)
    raise StartError("the engine did not start: " + " ".join(said).strip())


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    return [
        f"warm start of the engine: {result['above_import_s']} s above a bare import of numba (mark: at most "
        f"{MARK_S}; {result['engine_s']} and {result['import_numba_s']} s)"
    ]
