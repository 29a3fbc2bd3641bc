"""The clock port: a wall clock that does not obey, a stepped one that only goes forward."""

import time

from engine.clock import SteppedClock, WallClock


def test_wall_clock_tells_the_machines_time() -> None:
    before = time.time_ns()

    now = WallClock().now_ns()

    assert before <= now <= time.time_ns()


def test_wall_clock_does_not_obey() -> None:
    clock = WallClock()

    clock.step_to(1)

    assert clock.now_ns() > 1


def test_stepped_clock_stands_still_until_it_is_moved() -> None:
    clock = SteppedClock(5)

    assert [clock.now_ns(), clock.now_ns()] == [5, 5]
    clock.step_to(9)
    assert clock.now_ns() == 9


def test_stepped_clock_never_goes_back() -> None:
    clock = SteppedClock(5)

    clock.step_to(4)

    assert clock.now_ns() == 5
