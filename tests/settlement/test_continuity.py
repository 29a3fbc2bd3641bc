"""A command that got lost between engine and settlement is noticed by its accounts' counts."""

from typing import Any

import numpy as np
import pytest

from engine.records import TRADE, as_words
from engine.vocabulary import Event
from settlement.clearing import ClearingFault
from settlement.continuity import Continuity
from tests.fakes import Tape

FILL = {"seller": 1, "lot": 1, "price": 1, "quantity_kg": 1}


def day() -> Any:
    """Six commands: two accounts, money, three purchases of 2 from 1, one of account 900."""
    tape = Tape()
    tape.deposited(2, 100, 1)
    for _ in range(3):
        tape.buy(2, 0, FILL)
    tape.buy(900, 0, FILL)
    tape.deposited(2, 100, 2)
    return tape.take()


def without(events: Any, sequence: int) -> Any:
    return as_words(events)[events["sequence"] != sequence].reshape(-1).view(events.dtype)


def test_a_whole_stream_passes_in_one_piece_or_in_many() -> None:
    events = day()
    Continuity().check(events)

    continuity = Continuity()
    for sequence in range(1, 7):
        continuity.check(events[events["sequence"] == sequence])


@pytest.mark.parametrize("lost", [2, 3, 4])
def test_a_lost_command_is_noticed(lost: int) -> None:
    with pytest.raises(ClearingFault, match="one is missing or repeated"):
        Continuity().check(without(day(), lost))


def test_a_command_lost_between_two_batches_is_noticed() -> None:
    events = day()
    continuity = Continuity()
    continuity.check(events[events["sequence"] <= 2])

    with pytest.raises(ClearingFault, match="account 1 goes from event 1 to 3"):
        continuity.check(events[events["sequence"] >= 4])


def test_an_event_that_comes_twice_is_noticed() -> None:
    events = day()
    twice = np.concatenate([as_words(events), as_words(events)[-1:]]).reshape(-1).view(events.dtype)

    with pytest.raises(ClearingFault, match="one is missing or repeated"):
        Continuity().check(twice)


def test_the_first_event_seen_of_an_account_may_have_any_number() -> None:
    Continuity().check(without(day(), 1))


def test_both_parties_of_a_prevention_are_counted() -> None:
    tape = Tape()
    pair = {"kind": Event.PREVENTED, "account": 1, "counter_account": 2, "quantity_kg": 10}
    for _ in range(3):
        tape.command((TRADE, pair))

    Continuity().check(tape.take())
