"""Intended times stand fast; what is late is due at once."""

from loadtest.pacer import NS_PER_S, OpenLoop, Stretch

START_NS = 5 * NS_PER_S


def test_intended_times_are_even_and_do_not_drift() -> None:
    loop = OpenLoop(START_NS, 3, 1000.0)

    assert [loop.intended_ns(number) - START_NS for number in (0, 1, 3)] == [0, 333_333_333, NS_PER_S]
    assert loop.intended_ns(3000) - START_NS == 1000 * NS_PER_S


def test_nothing_is_due_before_the_start_and_the_first_at_the_start() -> None:
    loop = OpenLoop(START_NS, 100, 1.0)

    assert loop.due(0, START_NS - 1) == 0
    assert loop.due(0, START_NS) == 1


def test_what_was_missed_is_due_at_once_but_never_more_than_the_whole() -> None:
    loop = OpenLoop(START_NS, 100, 1.0)

    assert loop.due(1, START_NS + NS_PER_S // 2) == 50
    assert loop.due(51, START_NS + 60 * NS_PER_S) == 49
    assert loop.count == 100


def test_everything_due_is_intended_by_now() -> None:
    loop = OpenLoop(START_NS, 7, 10.0)
    for now_ns in range(START_NS, START_NS + 10 * NS_PER_S, 123_456_789):
        due = loop.due(0, now_ns)
        assert loop.intended_ns(due - 1) <= now_ns
        assert due == loop.count or loop.intended_ns(due) > now_ns


def test_a_stretch_spreads_its_steps_and_does_not_wait_when_late() -> None:
    stretch = Stretch(start_s=100.0, seconds=60.0, steps=30)

    assert stretch.wait_s(15, 100.0) == 30.0
    assert stretch.wait_s(15, 131.0) == 0.0


def test_a_stretch_of_no_seconds_never_waits() -> None:
    assert Stretch(100.0, 0.0, 30).wait_s(29, 100.0) == 0.0
    assert Stretch(100.0, 0.0, 0).wait_s(0, 100.0) == 0.0
