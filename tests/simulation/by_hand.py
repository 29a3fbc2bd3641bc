"""Faults put in by hand: what a test of the simulator needs to show that it finds them."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from engine.core.layout import State
from engine.exchange import Exchange
from engine.records import Records, joined
from tests.simulation.faults import Strike
from tests.simulation.report import Report
from tests.simulation.world import Stage, simulate

Break = Callable[[pytest.MonkeyPatch], None]
Fault = tuple[Break, range, set[str]]  # what is put in, the seeds that find it, by one of these laws


def all_found(faults: tuple[Fault, ...]) -> Callable[..., None]:
    """A test, once for each fault and by its name: with it put in, a seed of it breaks one of its laws."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("put_in", "seeds", "laws"), faults, ids=[put_in.__name__ for put_in, _, _ in faults]
    )
    def found(put_in: Break, seeds: range, laws: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
        put_in(monkeypatch)

        with Stage() as folder:
            failure = first_failure(simulate(seed, folder) for seed in seeds)

        assert failure is not None, f"{seeds} do not find it"
        assert failure["law"] in laws, failure

    return found


def found_by(strikes: Iterable[Strike], seed: int, **wish: Any) -> dict[str, Any]:
    """The first failure of a seed with one of these strikes; there must be one."""
    with Stage() as folder:
        failure = first_failure(simulate(seed, folder, strike=strike, **wish) for strike in strikes)
    assert failure is not None, "no strike finds it"
    return failure


def first_failure(reports: Iterable[Report]) -> dict[str, Any] | None:
    """The first failure of the first report that has one."""
    failure = next((report.failures[0] for report in reports if report.failures), None)
    print(failure and (failure["seed"], failure["law"], failure["message"][:300]))
    return failure


def change_commands(patch: pytest.MonkeyPatch, change: Callable[[Records], None]) -> None:
    """The core judges other commands than the log has, in the engine as in every replay."""
    whole = Exchange.apply

    def apply(self: Exchange, commands: Records, buffer: int = 0) -> Records:
        changed = commands.copy()
        change(changed)
        return whole(self, changed, buffer)

    patch.setattr(Exchange, "apply", apply)


def before_each_command(patch: pytest.MonkeyPatch, change: Callable[[State], None]) -> None:
    """`change` sees the state before each command, in the engine as in every replay."""
    whole = Exchange.apply

    def apply(self: Exchange, commands: Records, buffer: int = 0) -> Records:
        parts = [whole(self, commands[:0], buffer).copy()]
        for at in range(len(commands)):
            change(self.state)
            parts.append(whole(self, commands[at : at + 1], buffer).copy())
        return joined(parts)

    patch.setattr(Exchange, "apply", apply)
