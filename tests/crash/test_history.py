"""A memory of what was heard finds what is missing, doubled, moved or foreign."""

import random

import numpy as np
import pytest

from engine.records import EVENT, Records
from tests.crash.history import History
from tests.crash.tally import Tally


def heard(*pairs: tuple[int, int]) -> Records:
    """Events of commands (tag, sequence)."""
    events = np.zeros(len(pairs), EVENT)
    events["tag"], events["sequence"] = zip(*pairs, strict=True)
    return events


@pytest.fixture
def history() -> History:
    """Two commands sent and heard as 11 and 12, then two more sent, of which one was refused."""
    history, chance = History(), random.Random(8)
    history.orders(2, chance)
    history.hear(heard((1, 11), (2, 12)))
    history.orders(2, chance)
    history.refuse(heard((4, 0)))
    return history


def checked(history: History, *pairs: tuple[int, int]) -> Tally:
    tags, sequences = np.array(pairs, np.int64).reshape(-1, 2).T
    return history.check(tags, sequences)


def test_what_was_heard_and_an_unanswered_one_fit(history: History) -> None:
    assert checked(history, (0, 1), (1, 11), (2, 12)).holds
    assert checked(history, (1, 11), (2, 12), (3, 13)).holds


@pytest.mark.parametrize(
    ("pairs", "losses", "doubles", "others"),
    [
        (((1, 11),), 1, 0, 0),
        ((), 2, 0, 0),
        (((1, 11), (2, 12), (3, 13), (3, 14)), 0, 1, 0),
        (((1, 11), (2, 13)), 0, 0, 1),
        (((1, 11), (2, 12), (4, 13)), 0, 0, 1),
        (((1, 11), (2, 12), (9, 13)), 0, 0, 1),
        (((3, 10), (1, 11), (2, 12)), 0, 0, 1),
    ],
    ids=["lost", "all lost", "doubled", "moved", "refused but there", "foreign", "before its cause"],
)
def test_what_does_not_fit_is_counted(
    history: History, pairs: tuple[tuple[int, int], ...], losses: int, doubles: int, others: int
) -> None:
    tally = checked(history, *pairs)

    assert (tally.losses, tally.doubles, tally.others) == (losses, doubles, others)
    assert not tally.holds


def test_an_event_told_differently_after_a_restart_is_found(history: History) -> None:
    found = heard((1, 11), (2, 12))
    found["account"][1] = 5

    assert checked(history, (1, 11), (2, 12)).holds
    assert history.check_events(found).findings == [
        "an event that was heard is told differently after the restart"
    ]
