"""Clerks: jobs in order, beside the loop, and no error lost."""

import asyncio
import threading

import pytest

from engine.clerk import Job, ThreadClerk


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
