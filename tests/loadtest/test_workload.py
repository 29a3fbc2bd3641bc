"""The load's stream: seeded, on tick and step, half of it selling, with cancels of its own orders."""

from itertools import islice

from loadtest.crowd import PRODUCTS
from loadtest.workload import AROUND_TICKS, Cancel, Order, sells, stream

INSTRUMENTS = [PRODUCTS["RB20-12-SG"], PRODUCTS["RB25-12-SG"]]


def first(count: int, seed: int = 8) -> list[Order | Cancel]:
    return list(islice(stream(seed, 10, INSTRUMENTS), count))


def test_the_same_seed_gives_the_same_stream() -> None:
    assert first(2000) == first(2000)
    assert first(2000) != first(2000, seed=9)


def test_sessions_take_turns_and_numbers_rise() -> None:
    messages = first(2000)

    assert [message.number for message in messages] == list(range(2000))
    assert [message.session for message in messages] == [number % 10 for number in range(2000)]


def test_orders_stand_on_tick_and_step_around_the_reference() -> None:
    for order in (each for each in first(2000) if isinstance(each, Order)):
        product = order.instrument
        away = order.price_fen_per_tonne - product.reference_fen_per_tonne
        assert away % product.tick_fen_per_tonne == 0
        assert abs(away) <= AROUND_TICKS * product.tick_fen_per_tonne
        assert order.quantity_kg > 0
        assert order.quantity_kg % product.step_kg == 0


def test_a_session_cancels_its_own_resting_orders_and_each_once() -> None:
    messages = first(5000)
    canceled = [each for each in messages if isinstance(each, Cancel)]

    assert canceled
    assert len({each.order for each in canceled}) == len(canceled)
    for cancel in canceled:
        meant = messages[cancel.order]
        assert isinstance(meant, Order)
        assert (meant.session, meant.immediate) == (cancel.session, False)


def test_half_of_the_sessions_sell() -> None:
    assert [sells(session) for session in range(4)] == [True, False, True, False]
