"""Clerks: jobs in order, beside the loop, and no error lost."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from engine.clerk import AHEAD_BATCHES, Job, ThreadClerk, read_ahead
from engine.records import Records
from tests.engine.fakes import deposits


async def test_jobs_are_done_in_order_on_another_thread_and_told_on_the_loop() -> None:
    clerk, done, told = ThreadClerk("clerk"), list[tuple[int, bool]](), asyncio.Event()
    here = threading.get_ident()

    for number in range(5):
        clerk.give(Job(lambda n: done.append((n, threading.get_ident() == here)), number, lambda: None))
    last = Job(done.append, (5, False), told.set)
    clerk.give(last)
    await asyncio.wait_for(told.wait(), 10)

    assert done == [(number, False) for number in range(6)]
    assert last.done
    last.check()
    clerk.close()


async def test_what_a_job_raises_is_kept_for_who_gave_it() -> None:
    clerk, told = ThreadClerk("clerk"), asyncio.Event()

    def fail(number: int) -> None:
        raise OSError(number, "Input/output error")

    failed = Job(fail, 5, lambda: None)
    clerk.give(failed)
    clerk.give(Job(lambda _: None, None, told.set))
    await asyncio.wait_for(told.wait(), 10)

    with pytest.raises(OSError, match="Input/output"):
        failed.check()
    clerk.close()


async def test_close_returns_when_all_is_done() -> None:
    clerk, gate, done = ThreadClerk("clerk"), threading.Event(), list[int]()
    clerk.give(Job(lambda _: gate.wait(10), None, lambda: None))
    clerk.give(Job(done.append, 1, lambda: None))

    gate.set()
    clerk.close()

    assert done == [1]


def test_clerk_without_work_closes() -> None:
    ThreadClerk("clerk").close()


def test_batches_read_ahead_come_in_order_from_one_other_thread() -> None:
    readers = set[int]()

    def read() -> Iterator[Records]:
        for number in range(3 * AHEAD_BATCHES):
            readers.add(threading.get_ident())
            yield deposits(1, 1 + number)

    came = [int(batch["sequence"][0]) for batch in read_ahead(read())]

    assert came == list(range(1, 1 + 3 * AHEAD_BATCHES))
    assert len(readers) == 1
    assert threading.get_ident() not in readers


def test_what_reading_raises_comes_behind_the_batches_before_it() -> None:
    def read() -> Iterator[Records]:
        yield deposits(1)
        yield deposits(1, 2)
        raise OSError(5, "Input/output error")

    batches = read_ahead(read())

    assert [int(next(batches)["sequence"][0]) for _ in range(2)] == [1, 2]
    with pytest.raises(OSError, match="Input/output"):
        next(batches)


def test_who_reads_ahead_stops_when_nobody_asks_any_more() -> None:
    read = list[int]()
    threads = threading.active_count()

    def endless() -> Iterator[Records]:
        while True:
            read.append(1)
            yield deposits(1)

    batches = read_ahead(endless())
    next(batches)
    batches.close()  # type: ignore[attr-defined]

    assert threading.active_count() == threads
    assert AHEAD_BATCHES <= len(read) <= AHEAD_BATCHES + 1
