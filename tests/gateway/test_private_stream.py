"""Each account hears of what concerns it, each event once and in order, or the session ends."""

from typing import Any

from engine.vocabulary import Event, Reason, Side
from gateway.codec import rows_of
from gateway.outbox import Outbox
from gateway.private_stream import HELD_EVENTS_MAX, PrivateStreams, changes
from gateway.session import Session
from tests.gateway.fake_engine import events_of


def session(member: int) -> Session:
    one = Session("c1", Outbox(lambda _: None, lambda: 0))
    one.member = member
    return one


def cash(account: int, account_sequence: int, **more: Any) -> dict[str, Any]:
    return {"kind": Event.DEPOSITED, "account": account, "account_sequence": account_sequence} | more


def trade(**more: Any) -> dict[str, Any]:
    return {
        "kind": Event.TRADE, "instrument": 0, "side": Side.BUY, "account": 2, "counter_account": 1,
        "order_id": 20,
        "account_sequence": 5, "counter_account_sequence": 8, "counter_order_id": 10, "match_id": 30,
        "price_fen_per_tonne": 226_000, "quantity_kg": 29_880, "leaves_kg": 0,
        "counter_leaves_kg": 7, "lot": 3,
    } | more  # fmt: skip


def test_a_trade_concerns_both_parties_each_from_its_own_side() -> None:
    (taker_account, taker_sequence, taker), (maker_account, maker_sequence, maker) = changes(
        rows_of(events_of(trade()))
    )

    assert (taker_account, taker_sequence, maker_account, maker_sequence) == (2, 5, 1, 8)
    golden = ("67528.80", "14.94")  # domain E1
    for fill, side, role, order_id, leaves in (
        (taker, "buy", "taker", "20", "0.000"),
        (maker, "sell", "maker", "10", "0.007"),
    ):
        assert (fill.side, fill.role, fill.order_id, fill.leaves) == (side, role, order_id, leaves)  # type: ignore[attr-defined]
        assert (fill.amount, fill.fee) == golden  # type: ignore[attr-defined]


def test_a_trade_of_an_account_with_itself_is_told_in_its_own_order() -> None:
    rows = rows_of(events_of(trade(counter_account=2, account_sequence=6, counter_account_sequence=5)))

    assert [(account, sequence) for account, sequence, _ in changes(rows)] == [(2, 5), (2, 6)]


def test_rejections_and_market_events_concern_nobody() -> None:
    rows = events_of(
        {"kind": Event.REJECTED, "account": 2, "reason": Reason.INSUFFICIENT_FUNDS},
        {"kind": Event.PHASE_CHANGED},
    )

    assert list(changes(rows_of(rows))) == []


def test_the_status_of_an_order_follows_from_its_quantities() -> None:
    def status(kind: Event, **quantities: int) -> str:
        row = {"kind": kind, "account": 1, "instrument": 0, "quantity_kg": 10} | quantities
        ((_, _, event),) = changes(rows_of(events_of(row)))
        return event.status  # type: ignore[attr-defined, no-any-return]

    assert status(Event.ACCEPTED, leaves_kg=10) == "new"
    assert status(Event.ACCEPTED, leaves_kg=6, cum_kg=4) == "partially_filled"
    assert status(Event.ACCEPTED, cum_kg=10) == "filled"
    assert status(Event.CANCELED, reason=Reason.DAY_END) == "canceled"


def test_only_served_accounts_are_selected_from_a_batch() -> None:
    streams = PrivateStreams()
    streams.join(session(1))

    batch = events_of(
        cash(1, 1), cash(2, 1), trade(), trade(counter_account=3),
        {"kind": Event.ACCEPTED, "account": 2, "listing_version": 1}, {"kind": Event.CLOCK_SET},
        cash(2**31 - 1, 1),
    )  # fmt: skip

    assert streams.concerned(batch).tolist() == [True, False, True, False, False, False, False]


def test_live_events_wait_for_the_replay_and_none_comes_twice() -> None:
    streams = PrivateStreams()
    stream = streams.join(session(1))
    live = events_of(cash(1, 3), cash(1, 4))

    assert streams.apply(rows_of(live)) == []
    assert stream.session.outbox.take() == b""
    stream.last = 1
    for account_sequence in (2, 3):
        assert stream.replay(account_sequence, b"<%d>" % account_sequence)
    assert stream.go_live()

    assert stream.last == 4
    assert stream.session.outbox.take().count(b'"account_sequence":4') == 1


def test_a_gap_ends_the_session() -> None:
    streams = PrivateStreams()
    stream = streams.join(session(1))
    assert stream.go_live()

    assert streams.apply(rows_of(events_of(cash(1, 2)))) == [stream.session]


def test_what_is_held_back_is_bounded() -> None:
    stream = PrivateStreams().join(session(1))

    assert all(stream.offer(at, b"") for at in range(1, HELD_EVENTS_MAX + 1))
    assert not stream.offer(HELD_EVENTS_MAX + 1, b"")


def test_a_second_join_replaces_the_first_and_leaving_ends_the_service() -> None:
    streams, one = PrivateStreams(), session(1)
    streams.join(one)
    streams.join(one).go_live()

    streams.apply(rows_of(events_of(cash(1, 1))))
    assert one.outbox.take().count(b"deposited") == 1

    streams.leave(one)
    assert not streams.serving
    assert not streams.concerned(events_of(cash(1, 2))).any()
