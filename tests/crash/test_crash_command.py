"""What the simulator found counts in the table of `make crash-test`, and decides its exit status."""

import json
import signal
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

import tests.crash.__main__ as crash
from tests.crash.tally import Tally

SOUND = {"crashes_injected": 7, "acknowledged": 90, "acknowledgements_checked": 90, "failures": []}


@pytest.fixture(autouse=True)
def _handler_of_sigterm() -> Iterator[None]:
    """The command sets one; the test's process keeps its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def failed(law: str) -> str:
    failure = {"seed": 3, "law": law, "message": "gone", "replay": "python -m tests.simulation --seed 3"}
    return json.dumps(SOUND | {"failures": [failure]})


def test_counts_of_the_simulator_are_counts_of_the_table() -> None:
    tally = crash.simulated(0, json.dumps(SOUND))

    assert tally == Tally(crashes=7, acknowledged=90)


@pytest.mark.parametrize(("law", "column"), [("loss", "losses"), ("double", "doubles"), ("books", "others")])
def test_broken_law_of_the_simulator_stands_in_its_column(law: str, column: str) -> None:
    tally = crash.simulated(1, failed(law))

    counts = {name: getattr(tally, name) for name in ("losses", "doubles", "others")}
    assert counts == {"losses": 0, "doubles": 0, "others": 0} | {column: 1}
    assert "--seed 3" in tally.findings[0]


def test_what_no_seed_had_is_a_finding_that_nothing_replays() -> None:
    failure = {"law": "coverage", "message": "not one of the seeds had stop orders triggered"}

    tally = crash.simulated(1, json.dumps(SOUND | {"failures": [failure]}))

    assert tally.findings == ["coverage: not one of the seeds had stop orders triggered"]


async def test_every_program_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = list[tuple[str, ...]]()

    async def simulated(seconds: float, *wish: str) -> Tally:
        wishes.append(wish)
        return crash.simulated(0, json.dumps(SOUND))

    monkeypatch.setattr(crash, "_simulated", simulated)
    tally = await crash.sweeps(8)

    programs = ("engine", "settlement", "gateway-1", "gateway-2")
    assert wishes == [("--sweep", program, "--seed", "8") for program in programs]
    assert tally == Tally(crashes=4 * 7, acknowledged=4 * 90)


@pytest.mark.parametrize(
    ("status", "said"),
    [(1, "Traceback …"), (1, json.dumps(SOUND)), (0, json.dumps(SOUND | {"acknowledgements_checked": 89}))],
)
def test_simulator_that_breaks_off_or_looks_for_too_few_is_a_finding(status: int, said: str) -> None:
    assert not crash.simulated(status, said).holds


@pytest.mark.parametrize(
    ("law", "status", "losses"), [(None, 0, 0), ("loss", crash.WRONG, 1), ("books", crash.WRONG, 0)]
)
def test_one_table_is_printed_and_its_losses_are_the_exit_status(
    law: str | None, status: int, losses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def simulations(seeds: int) -> Tally:
        return crash.simulated(int(law is not None), failed(law) if law else json.dumps(SOUND))

    monkeypatch.setattr(crash, "simulations", simulations)
    ended = CliRunner().invoke(crash.main, ["--only", "simulation"])

    assert ended.exit_code == status, ended.output
    (row,) = (line.split() for line in ended.stdout.splitlines() if line.split()[:1] == ["all"])
    assert row == ["all", "7", "90", str(losses), "0", str(int(law == "books"))]
