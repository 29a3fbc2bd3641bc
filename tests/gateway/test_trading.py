"""The desk answers the first event of its own commands, once, and nothing else."""

from typing import Any

import pytest

from engine.frames import LINK_SHIFT
from engine.vocabulary import Event, Flag, Reason
from gateway import messages
from gateway.codec import commands_from, rows_of
from gateway.errors import Refusal
from gateway.outbox import Outbox
from gateway.session import IN_FLIGHT_MAX, Session
from gateway.trading import TradingDesk
from tests.gateway.fake_engine import events_of
from tests.gateway.real_core import heard

ORDER = messages.NewOrder(
    id="r1", client_order_id="o1", instrument="RB12-9-SG", side="buy", price="2330.00", quantity="2.501"
)


def opened() -> tuple[TradingDesk, Session]:
    desk, session = TradingDesk(), Session("c1", Outbox(lambda _: None, lambda: 0))
    desk.open(7)
    session.member = 2
    return desk, session


def test_a_command_carries_the_gateways_number_and_its_first_event_is_the_answer() -> None:
    desk, session = opened()
    desk.submit(session, ORDER, 5)
    tag = int(commands_from(desk.take_commands())["tag"][0])
    accepted = {"kind": Event.ACCEPTED, "tag": tag, "sequence": 9, "quantity_kg": 2501, "leaves_kg": 2501}

    desk.answer(rows_of(events_of(accepted, {"kind": Event.TRADE, "tag": tag, "index": 1}, accepted)))

    assert tag >> LINK_SHIFT == 7
    assert [(each["id"], each["sequence"], each["received_at_ns"]) for each in heard(session.outbox)] == [
        ("r1", 9, 5)
    ]
    assert (session.in_flight, desk.waiting, desk.take_commands()) == (0, 0, [])


def test_events_of_another_gateways_commands_are_nobodys_answer() -> None:
    desk, session = opened()
    desk.submit(session, ORDER, 5)

    desk.answer(
        rows_of(events_of({"kind": Event.ACCEPTED, "tag": 8 << LINK_SHIFT}, {"kind": Event.DEPOSITED}))
    )

    assert (heard(session.outbox), desk.waiting) == ([], 1)


def test_a_repeated_rejection_is_marked_as_a_duplicate() -> None:
    desk, session = opened()
    desk.submit(session, ORDER, 5)
    rejected = {"kind": Event.REJECTED, "tag": 7 << LINK_SHIFT, "reason": Reason.INSUFFICIENT_FUNDS}

    desk.answer(rows_of(events_of(rejected | {"flags": Flag.DUPLICATE})))

    (answer,) = heard(session.outbox)
    assert (answer["error"]["code"], answer["duplicate"]) == ("insufficient_funds", True)


def test_a_refused_request_leaves_no_trace() -> None:
    desk, session = opened()
    session.in_flight = IN_FLIGHT_MAX
    with pytest.raises(Refusal, match="too_many_in_flight"):
        desk.submit(session, ORDER, 5)
    session.in_flight = 0
    with pytest.raises(Refusal, match="invalid_decimal"):
        desk.submit(session, messages.NewOrder(**{**_fields(ORDER), "price": "x"}), 5)
    desk.forget()
    with pytest.raises(Refusal, match="engine_unavailable"):
        desk.submit(session, ORDER, 5)

    assert (session.in_flight, desk.waiting, desk.take_commands()) == (0, 0, [])


def _fields(message: messages.NewOrder) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}
