"""`python -m loadtest bench`: the three ratios that the project watches, with what they were measured on.

    core_flash1_normal   the core beside the yardstick        bench_core.py        mark 1.5
    gateway_json         the gateway beside a bare echo       bench_gateway.py     mark 0.8
    settlement_fills     settlement beside a binary COPY      bench_settlement.py  mark 0.6

Law: what could not be measured is null with its reason; nothing is estimated.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loadtest import bench_core, bench_gateway, bench_settlement
from loadtest.exchange import ROOT

MARKS: Final = {"core_flash1_normal": 1.5, "gateway_json": 0.8, "settlement_fills": 0.6}
RESULTS: Final = Path(__file__).with_name("RESULTS.md")

Measure = Callable[[], dict[str, Any]]


def benches(data: Path, port: int) -> dict[str, Measure]:
    """The benchmarks by the name of their ratio."""
    return {
        "core_flash1_normal": bench_core.measure,
        "gateway_json": lambda: bench_gateway.measure(data, port),
        "settlement_fills": lambda: bench_settlement.measure(data),
    }


def run(measures: dict[str, Measure], say: Callable[[str], None]) -> dict[str, Any]:
    """Measure one after the other; the object that --json prints."""
    found: dict[str, dict[str, Any]] = {}
    for name, measure in measures.items():
        say(f"measuring {name} …")
        with redirect_stdout(sys.stderr):  # what PostgreSQL's launcher prints is no part of the result
            found[name] = measure()
    return {
        "ratios": {name: figures["ratio"] for name, figures in found.items()},
        "marks": MARKS,
        "figures": found,
        "machine": machine(),
        "commit": commit(),
        "at": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def machine() -> str:
    """The kind of machine, without its name."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = f"{platform.system()}, Python {platform.python_version()}"
    return f"{model}, {cores} cores, {memory_gib:.0f} GiB, {python}"


def commit() -> str:
    """The commit that runs, with a mark when the tree differs from it."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people: each ratio beside its mark, then its figures."""
    text = [f"{result['at']} · commit {result['commit']} · {result['machine']}", ""]
    for name, ratio in result["ratios"].items():
        figures = result["figures"][name]
        if ratio is None:
            text.append(f"{name}: null ({figures['reason']})")
            continue
        text.append(f"{name}: {ratio} (mark {MARKS[name]})")
        text += [f"    {key}: {value}" for key, value in figures.items() if key != "ratio"]
    return text


def append(text: list[str], path: Path = RESULTS) -> None:
    """Add a result's lines at the end of the results page."""
    heading, _, *body = text
    with path.open("a", encoding="utf-8") as page:
        page.write(f"\n## {heading}\n\n```\n" + "\n".join(body) + "\n```\n")
