"""Sessions, dead-man timer and kill switch, through the gateway and the real core."""

from typing import Any

import pytest

from engine.records import commands_of
from engine.vocabulary import Command, Event
from gateway import codec, messages
from gateway.errors import Refusal
from gateway.outbox import Outbox
from gateway.session import Session, signed_logon
from tests.gateway.conftest import BUYER, READER, SELLER, members
from tests.gateway.real_core import EIGHT_NS, MILL, REBAR, TRADER, House, heard, tonnes

SECOND_NS = 10**9


class Line:
    """A connection that logs on, by default as the trader: BUYER's key is member 2's."""

    def __init__(self, house: House, name: str = "c9", seed: bytes = BUYER, **options: Any) -> None:
        self.house, self.session = house, Session(name, Outbox(lambda _: None, lambda: 0))
        self.answer = self.ask_raw(signed_logon(seed, self.session.nonce, EIGHT_NS, **options))

    def ask_raw(self, message: messages.Request) -> dict[str, Any]:
        self.house.dispatcher.receive(self.session, codec.encode(message), EIGHT_NS)
        self.house.flush()
        (answer,) = [each for each in heard(self.session.outbox) if each.get("id") == message.id]
        return answer

    def order(self, name: str, price: str = "2300.00", **fields: Any) -> dict[str, Any]:
        terms = {"instrument": REBAR, "side": "buy", "price": price, "quantity": tonnes(1)} | fields
        return self.ask_raw(messages.NewOrder(id="o", client_order_id=name, **terms))

    def leave(self) -> None:
        self.house.dispatcher.leave(self.session)
        self.house.flush()


@pytest.fixture
def floor(house: House) -> House:
    house.dispatcher._directory.merge(members(), ())
    house.dispatcher._directory.current = True
    return house


def ended(house: House) -> list[tuple[str, str]]:
    """(client order id, reason) of the trader's orders that ended, as the private stream tells."""
    told = house.told(TRADER, "private")
    return [(each["client_order_id"], each["reason"]) for each in told if each.get("change") == "canceled"]


def live(house: House) -> int:
    return int(house.exchange.state.head["live_orders"][0])


@pytest.mark.parametrize(("option", "left"), [("off", []), ("session", ["s"]), ("account", ["other", "s"])])
def test_the_end_of_a_connection_cancels_what_was_chosen_at_logon(
    floor: House, option: Any, left: list[str]
) -> None:
    other = Line(floor, "c8")
    other.order("other")
    line = Line(floor, cancel_on_disconnect=option)
    line.order("s")
    line.order("kept", keep_on_disconnect=True)
    assert line.answer["cancel_on_disconnect"] == option
    floor.hear()

    line.leave()

    assert ended(floor) == [(name, "disconnected") for name in left]
    assert live(floor) == 3 - len(left)
    floor.exchange.check_invariants()


def test_an_order_cannot_outlive_its_session(floor: House) -> None:
    line = Line(floor, cancel_on_disconnect="session")
    late = codec.new_order(
        messages.NewOrder(id="l", client_order_id="l", instrument=REBAR, side="buy", price="2300.00",
                          quantity=tonnes(1)), TRADER, 1, line.session.number,
    )  # fmt: skip
    line.leave()

    events = floor.apply(codec.commands_from([late]))

    assert (events["kind"].tolist(), live(floor)) == ([Event.REJECTED], 0)


def test_what_is_read_from_a_connection_that_has_ended_is_passed_over(floor: House) -> None:
    line = Line(floor, cancel_on_disconnect="session")
    line.leave()
    order = messages.NewOrder(id="o", client_order_id="o", instrument=REBAR, side="buy", price="2300.00",
                              quantity=tonnes(1))  # fmt: skip

    floor.dispatcher.receive(line.session, codec.encode(order), EIGHT_NS)

    assert floor.desk.take_commands() == []


def test_a_take_over_cancels_nothing_and_closes_the_old_connection(floor: House) -> None:
    broken: list[tuple[Session, str]] = []
    floor.dispatcher.on_broken = lambda session, code: broken.append((session, code))
    old = Line(floor, cancel_on_disconnect="session")
    old.order("kept")

    new = Line(floor, "c10", take_over=old.answer["session"])
    old.leave()

    assert broken == [(old.session, "taken_over")]
    assert (new.answer["session"], new.answer["cancel_on_disconnect"]) == (old.answer["session"], "session")
    assert live(floor) == 1
    assert new.order("next")["ok"]
    new.leave()
    assert live(floor) == 0


@pytest.mark.parametrize("number", ["4194305", "1"])
def test_a_take_over_of_what_is_not_there_is_refused(floor: House, number: str) -> None:
    answer = Line(floor, take_over=number).answer

    assert (answer["error"]["code"], answer["error"]["path"]) == ("unknown_session", "$.take_over")


def test_a_take_over_of_another_keys_session_is_refused(floor: House) -> None:
    theirs = Line(floor, seed=SELLER).answer["session"]

    answer = Line(floor, "c10", take_over=theirs).answer

    assert answer["error"]["code"] == "unknown_session"


def test_a_session_whose_client_left_before_it_started_ends(floor: House) -> None:
    session = Session("c9", Outbox(lambda _: None, lambda: 0))
    message = signed_logon(BUYER, session.nonce, EIGHT_NS, cancel_on_disconnect="account")
    floor.dispatcher.receive(session, codec.encode(message), EIGHT_NS)
    floor.dispatcher.leave(session)

    floor.flush()
    floor.flush()

    assert not floor.exchange.state.sessions["id"].any()


def test_nothing_is_taken_between_the_logon_and_its_answer(floor: House) -> None:
    session = Session("c9", Outbox(lambda _: None, lambda: 0))
    message = signed_logon(BUYER, session.nonce, EIGHT_NS)
    floor.dispatcher.receive(session, codec.encode(message), EIGHT_NS)

    floor.dispatcher.receive(session, b'{"op": "mass_cancel", "id": "1"}', EIGHT_NS)
    floor.dispatcher.receive(session, codec.encode(message), EIGHT_NS)

    codes = [each["error"]["code"] for each in heard(session.outbox)]
    assert codes == ["logon_required", "already_logged_on"]


def test_a_mass_cancel_of_this_session_leaves_the_others_alone(floor: House) -> None:
    first, second = Line(floor, "c8"), Line(floor)
    first.order("a")
    second.order("b")

    answer = second.ask_raw(messages.MassCancel(id="m", this_session=True))

    assert (answer["canceled"], live(floor)) == (1, 1)
    assert second.ask_raw(messages.MassCancel(id="m"))["canceled"] == 1


def test_a_timer_that_is_not_set_again_cancels_the_sessions_orders(floor: House) -> None:
    line, other = Line(floor), Line(floor, "c8")
    line.order("a")
    line.order("b", keep_on_disconnect=True)
    other.order("c")
    floor.hear()

    answer = line.ask_raw(messages.CancelAllAfter(id="t", expire_at="2015-07-08T08:05:00+08:00"))
    due_ns = EIGHT_NS + 300 * SECOND_NS
    floor.apply(commands_of({"kind": Command.EXPIRE, "due_ns": due_ns}), time_ns=due_ns)

    assert (answer["due_at_ns"], answer["due_at"]) == (due_ns, "2015-07-08T00:05:00.000000Z")
    assert ended(floor) == [("a", "timer_expired"), ("b", "timer_expired")]
    assert line.order("d")["ok"], "the session lives on"


def test_a_timer_can_be_stopped_and_must_lie_ahead(floor: House) -> None:
    line = Line(floor)
    set_ = line.ask_raw(messages.CancelAllAfter(id="t", timeout_ms=60_000))
    stopped = line.ask_raw(messages.CancelAllAfter(id="t", timeout_ms=0))
    past = line.ask_raw(messages.CancelAllAfter(id="t", expire_at="2015-07-08T07:00:00+08:00"))

    assert (set_["ok"], set_["due_at_ns"] > EIGHT_NS) == (True, True)
    assert (stopped["due_at"], stopped["due_at_ns"]) == ("", 0)
    assert (past["error"]["code"], past["error"]["path"]) == ("invalid_expiry", "$.expire_at")


@pytest.mark.parametrize("fields", [{}, {"timeout_ms": 5, "expire_at": "2015-07-08T09:00:00+08:00"}])
def test_a_timer_names_one_time(fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="timer_not_named"):
        codec.cancel_all_after(messages.CancelAllAfter(id="t", **fields), TRADER, 1, 1)


def test_the_kill_switch_cancels_refuses_and_is_released(floor: House) -> None:
    for side in ("sell", "buy"):
        floor.order(MILL, side, "2340.00" if side == "sell" else "2300.00", 1)
    name = floor.order(MILL, "buy", "2300.00", 1)["order_id"]
    floor.hear()

    blocked = floor.ask(0, "block_account", member=MILL)
    refused = floor.order(MILL, "buy", "2300.00", 1)
    cancel = floor.ask(MILL, "cancel_order", order_id=name)
    released = floor.ask(0, "release_account", member=MILL)

    assert (blocked["ok"], blocked["canceled"]) == (True, 3)
    assert refused["error"]["code"] == "account_blocked"
    assert cancel["error"]["code"] == "unknown_order", "cancels are judged, not refused"
    assert (released["ok"], floor.order(MILL, "buy", "2300.00", 1)["ok"]) == (True, True)
    reasons = {each["reason"] for each in floor.told(MILL, "private") if each.get("change") == "canceled"}
    assert reasons == {"kill_switch"}
    floor.assert_books_agree()


def test_the_kill_switch_on_nobody_is_refused_and_a_trader_may_not_pull_it(floor: House) -> None:
    nobody = floor.ask(0, "block_account", member=55)
    trader = floor.ask(TRADER, "block_account", member=MILL)

    assert nobody["error"]["code"] == "unknown_account"
    assert trader["error"]["code"] == "scope_missing"


def test_a_key_that_does_not_trade_has_no_session_and_cannot_ask_for_one(floor: House) -> None:
    before = floor.exchange.sequence

    reader = Line(floor, seed=READER)
    asking = Line(floor, seed=READER, cancel_on_disconnect="account")

    assert (reader.answer["ok"], reader.answer["session"], floor.exchange.sequence) == (True, "", before)
    assert (asking.answer["error"]["code"], asking.answer["error"]["path"]) == (
        "scope_missing", "$.cancel_on_disconnect",
    )  # fmt: skip
