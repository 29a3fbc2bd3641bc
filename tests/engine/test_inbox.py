"""The inbox: every command once, in order of arrival, in memory that nobody else has."""

import numpy as np
import pytest

from engine.inbox import BATCH_COMMANDS, Inbox
from engine.records import COMMAND, Records
from engine.vocabulary import RECORD_VERSION, Command


def tagged(first: int, count: int) -> Records:
    commands = np.zeros(count, COMMAND)
    commands["tag"] = np.arange(first, first + count)
    return commands


@pytest.mark.parametrize("sizes", [(1,), (3, 0, 5), (BATCH_COMMANDS,), (4000, 100, 9000, 1)])
def test_commands_come_out_in_order_and_fill_every_batch_but_the_last(sizes: tuple[int, ...]) -> None:
    inbox, sent = Inbox(), 0
    for size in sizes:
        inbox.put(tagged(sent, size))
        sent += size

    batches = []
    while inbox.waiting:
        batches.append(inbox.take().commands)

    assert np.concatenate([batch["tag"] for batch in batches]).tolist() == list(range(sent))
    assert all(len(batch) == BATCH_COMMANDS for batch in batches[:-1])


def test_batch_that_was_taken_keeps_its_commands_until_it_is_given_back() -> None:
    inbox = Inbox()
    inbox.put(tagged(0, 10))
    taken = inbox.take()

    inbox.put(tagged(100, 10))

    assert taken.commands["tag"].tolist() == list(range(10))
    inbox.give_back(taken)
    inbox.put(tagged(200, BATCH_COMMANDS))
    assert inbox.take().commands["tag"].tolist() == [*range(100, 110), *range(200, 4286)]
    assert inbox.take() is taken


def test_stamps_reach_the_commands_of_a_batch_and_no_others() -> None:
    inbox = Inbox()
    inbox.put(tagged(0, 3))
    batch = inbox.take()

    batch.number(7)
    batch.date(99)

    commands = batch.commands
    assert commands["sequence"].tolist() == [7, 8, 9]
    assert commands["time_ns"].tolist() == [99] * 3
    assert commands["version"].tolist() == [RECORD_VERSION] * 3


@pytest.mark.parametrize(
    ("second", "batches"), [(Command.DEPOSIT, [[0, 1]]), (Command.SET_CLOCK, [[0], [1]])]
)
def test_two_commands_share_a_batch_unless_the_second_is_a_step_of_the_clock(
    second: Command, batches: list[list[int]]
) -> None:
    inbox, commands = Inbox(), tagged(0, 2)
    commands["kind"][1] = second
    inbox.put(commands)

    assert [inbox.take().commands["tag"].tolist() for _ in batches] == batches


def test_step_of_the_clock_begins_a_batch() -> None:
    """semantics E6: a batch has one time."""
    inbox, commands = Inbox(), tagged(0, 6)
    commands["kind"][[2, 3, 5]], commands["due_ns"][2] = Command.SET_CLOCK, 77
    inbox.put(commands)

    taken, asked = [], []
    while inbox.waiting:
        asked.append(inbox.step_ns)
        taken.append(inbox.take().commands["tag"].tolist())

    assert taken == [[0, 1], [2], [3, 4], [5]]
    assert asked == [None, 77, 0, 0]
    assert inbox.step_ns is None
