"""Every reason that a person can cause through a session is caused here, and told with the code that FIX has.

The list of those that cannot be caused so says why. It may only become shorter.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.records import commands_of
from engine.vocabulary import SEQUENCE_MAX, Command, Profile, Reason, Scope, wire_name
from gateway import codec
from tests.engine.fakes import MemoryDisk, Shard
from tests.gateway.real_core import (
    COIL,
    EIGHT_NS,
    MILL,
    POOR,
    REBAR,
    SISTER,
    TRADER,
    House,
    codec_reference,
    codec_step,
    tonnes,
)

OPERATOR, STRANGER = 0, 9
COIL_LOT, COIL_TONNES = 20, "27.850"
Answer = dict[str, Any]
Case = tuple[str, Callable[[House], Answer]]  # what FIX says, and what is done


def buy(house: House, **changed: Any) -> Answer:
    terms: dict[str, Any] = {"side": "buy", "price": "2330.00", "bundles": 2}
    return house.order(TRADER, **terms | changed)


def phase(house: House, name: str, instrument: str = REBAR) -> Answer:
    return house.ask(OPERATOR, "set_phase", phase=name, instrument=instrument)


def buy_in(name: str, **changed: Any) -> Callable[[House], Answer]:
    def act(house: House) -> Answer:
        phase(house, name)
        return buy(house, **changed)

    return act


def poked(field: str, value: int, act: Callable[[House], Answer]) -> Callable[[House], Answer]:
    """What only months of trading would bring about is written into the head of the state."""

    def doing(house: House) -> Answer:
        house.exchange.state.head[field][0] = value
        return act(house)

    return doing


def by_stranger(house: House) -> Answer:
    """A member whose account settlement has not yet opened in the engine."""
    house.sessions[STRANGER], house.pushes[STRANGER] = house._session(STRANGER), []
    return house.order(STRANGER, "buy", "2330.00", 1)


def by_blocked(house: House) -> Answer:
    house.apply(commands_of({"kind": Command.BLOCK_ACCOUNT, "account": TRADER}))
    return buy(house)


def twice(house: House) -> Answer:
    buy(house, client_order_id="once")
    return buy(house, client_order_id="once", price="2331.00")


def reference(price: str, *, closed: bool) -> Callable[[House], Answer]:
    def act(house: House) -> Answer:
        if closed:
            phase(house, "closed")
        return house.ask(OPERATOR, "set_reference", instrument=REBAR, price=price)

    return act


def listing(house: House, **changed: Any) -> Answer:
    house.settle(
        kind=Command.REGISTER_LOT,
        lot=COIL_LOT,
        account=MILL,
        quantity_kg=27_850,
        instrument=codec.INSTRUMENT_NUMBERS[COIL],
    )
    terms: dict[str, Any] = {"side": "sell", "price": "2090.00", "bundles": 0, "instrument": COIL}
    phase(house, "continuous", COIL)
    return house.order(MILL, **terms | {"lot": str(COIL_LOT), "quantity": COIL_TONNES} | changed)


def pick(house: House, member: int, placed: Answer, **changed: Any) -> Answer:
    terms = {"client_order_id": "p", "order_id": placed["order_id"], "quantity": COIL_TONNES, "version": 1}
    return house.ask(member, "pick", **terms | changed)


def canceled_late(house: House) -> Answer:
    buy(house, client_order_id="k")
    house.ask(TRADER, "cancel_order", client_order_id="k")
    return house.ask(TRADER, "cancel_order", client_order_id="k")


def into_an_offer(house: House) -> Answer:
    house.order(MILL, "sell", "2330.00", 2)
    return buy(house, post_only=True)


def lot_of_other(house: House) -> Answer:
    code = "RB14-9-SG"
    terms = {"instrument": code, "quantity": codec_step(code), "price": codec_reference(code)}
    return buy(house, side="sell", lot=str(TRADER), **terms)


def under_cn_spot(house: House) -> Answer:
    house.exchange.state.head["profile"][0] = Profile.CN_SPOT
    return phase(house, "auction")


REJECTED: dict[Reason, Case] = {
    Reason.UNKNOWN_ACCOUNT: ("103=15", by_stranger),
    Reason.ACCOUNT_BLOCKED: ("103=0", by_blocked),
    Reason.DUPLICATE_CLIENT_ORDER_ID: ("103=6", twice),
    Reason.DAY_FULL: ("103=3", poked("day_entries", 1 << 10, buy)),
    Reason.FORBIDDEN_BY_PROFILE: ("103=11", under_cn_spot),
    Reason.UNKNOWN_INSTRUMENT: ("103=1", lambda house: buy(house, instrument="RB0")),
    Reason.INVALID_TERMS: ("103=99", reference("0.00", closed=True)),
    Reason.INSTRUMENT_CLOSED: ("103=2", buy_in("closed")),
    Reason.INSTRUMENT_HALTED: ("103=2", buy_in("halted")),
    Reason.INSTRUMENT_OPEN: ("103=99", reference("2400.00", closed=False)),
    Reason.CONTINUOUS_PHASE_ONLY: ("103=2", buy_in("auction", time_in_force="fok")),
    Reason.AUCTION_PHASE_ONLY: ("103=4", lambda house: buy(house, time_in_force="at_open")),
    Reason.NO_CANCEL_PHASE: ("102=2", buy_in("no_cancel")),
    Reason.UNSUPPORTED_ORDER_TYPE: (
        "103=11",
        lambda house: buy(house, type="market", price=None, post_only=True),
    ),
    Reason.UNSUPPORTED_TIME_IN_FORCE: ("103=11", lambda house: listing(house, time_in_force="ioc")),
    Reason.NOT_LISTED: ("103=11", lambda house: pick(house, MILL, buy(house))),
    Reason.INVALID_DISPLAY_QUANTITY: ("103=13", lambda house: buy(house, display_quantity="1.000")),
    Reason.INVALID_MINIMUM_QUANTITY: ("103=13", lambda house: buy(house, min_quantity=tonnes(1))),
    Reason.INVALID_STOP_PRICE: ("103=11", lambda house: buy(house, stop_price="2330.00")),
    Reason.INVALID_EXPIRY: ("103=11", lambda house: buy(house, time_in_force="gtd")),
    Reason.PRICE_OFF_TICK: ("103=18", lambda house: buy(house, price="2330.50")),
    Reason.PRICE_EXCEEDS_BAND: ("103=16", lambda house: buy(house, price="9000.00")),
    Reason.QUANTITY_OFF_STEP: ("103=13", lambda house: buy(house, quantity="1.000")),
    Reason.QUANTITY_BELOW_MINIMUM: ("103=13", lambda house: buy(house, quantity="0.000")),
    Reason.EXCEEDS_LIMIT: ("103=3", lambda house: buy(house, quantity=tonnes(10_000))),
    Reason.WHOLE_LOT_ONLY: ("103=13", lambda house: listing(house, quantity="1.000")),
    Reason.UNKNOWN_ORDER: ("102=1", lambda house: house.ask(TRADER, "cancel_order", order_id="77")),
    Reason.TOO_LATE: ("102=0", canceled_late),
    Reason.STALE_VERSION: ("103=8", lambda house: pick(house, TRADER, listing(house), version=7)),
    Reason.OWN_LISTING: ("103=99", lambda house: pick(house, SISTER, listing(house))),
    Reason.NO_LIQUIDITY: ("103=99", lambda house: buy(house, type="market_to_limit", price=None)),
    Reason.POST_ONLY_WOULD_TRADE: ("103=99", into_an_offer),
    Reason.UNKNOWN_LOT: ("103=99", lambda house: buy(house, side="sell", lot=str(MILL))),
    Reason.LOT_OF_OTHER_INSTRUMENT: ("103=99", lot_of_other),
    Reason.INSUFFICIENT_GOODS: (
        "103=3",
        lambda house: buy(house, side="sell", lot=str(TRADER), quantity=tonnes(1001)),
    ),
    Reason.INSUFFICIENT_FUNDS: ("103=3", lambda house: house.order(POOR, "buy", "2330.00", 1)),
    Reason.LIVE_ORDERS_FULL: ("103=3", poked("orders_max", 0, buy)),
    Reason.LEVELS_FULL: ("103=99", reference("99000.00", closed=True)),
    Reason.CLOCK_NOT_STEPPED: (
        "103=99",
        lambda house: house.ask(OPERATOR, "set_clock", time_ns=2 * EIGHT_NS),
    ),
}
NOT_BY_SESSION: dict[Reason, str] = {
    Reason.UNSUPPORTED_COMMAND: "no op packs a command of an unknown kind",
    Reason.ACCOUNT_EXISTS: "settlement opens accounts, and numbers them itself",
    Reason.UNKNOWN_SESSION: "the gateway names the session, not the client",
    Reason.MISSING_CLIENT_ORDER_ID: "the gateway refuses it first: invalid_client_order_id",
    Reason.STALE_REFERENCE: "JSON has client order ids only; references are the binary protocol's",
    Reason.INSTRUMENT_EXISTS: "instruments are defined by the engine's start, from instruments.csv",
    Reason.UNKNOWN_PHASE: "the gateway refuses it first: invalid_value",
    Reason.UNKNOWN_SIDE: "the gateway refuses it first: invalid_value",
    Reason.UNSUPPORTED_SELF_TRADE_MODE: "the gateway refuses it first: invalid_value",
    Reason.UNKNOWN_TRADE: "settlement busts trades, of contracts that it has",
    Reason.LOT_EXISTS: "settlement registers lots, and numbers them itself",
    Reason.ACCOUNTS_FULL: "settlement opens accounts",
    Reason.LOTS_FULL: "settlement registers lots",
    Reason.SESSIONS_FULL: "the gateway's own maximum of connections comes first",
}
NOT_BY_SESSION_MAX = 14  # never to be raised
DOOR: dict[Reason, str] = {
    Reason.QUEUE_FULL: "380=4",
    Reason.SHUTTING_DOWN: "380=4",
    Reason.DISK_FULL: "380=4",
    Reason.SEQUENCE_EXHAUSTED: "103=99",
}


def canceled(house: House) -> None:
    house.ask(TRADER, "cancel_order", order_id=buy(house)["order_id"])


def at_close(house: House) -> None:
    buy(house)
    phase(house, "closed")


def beyond_collar(house: House) -> None:
    house.exchange.state.instruments["collar"][0] = 100
    for price in ("2330.00", "2420.00"):
        house.order(MILL, "sell", price, 1)
    buy(house, type="market", price=None)


def at_its_time(house: House) -> None:
    buy(house, time_in_force="gtd", expire_at="2015-07-08T15:00:00+08:00")
    due_ns = EIGHT_NS + 7 * 3600 * 10**9
    house.apply(commands_of({"kind": Command.EXPIRE, "due_ns": due_ns}))


def around_an_auction(house: House) -> None:
    phase(house, "auction")
    buy(house, time_in_force="at_open")
    phase(house, "continuous")


def before_an_auction(house: House) -> None:
    buy(house, time_in_force="continuous_only")
    phase(house, "auction")


def en_masse(house: House) -> None:
    buy(house)
    house.ask(TRADER, "mass_cancel")


def to_nothing(house: House) -> None:
    house.ask(TRADER, "replace_order", order_id=buy(house)["order_id"], quantity="0")


def out_of_band(house: House) -> None:
    buy(house, price="2230.00", time_in_force="gtc")
    reference("2500.00", closed=True)(house)


def own_met(house: House) -> None:
    house.order(MILL, "sell", "2330.00", 2)
    house.order(SISTER, "buy", "2330.00", 2)


def at_the_sessions_end(house: House) -> None:
    start = {"kind": Command.START_SESSION, "account": TRADER, "scope": Scope.ACCOUNT}
    house.apply(commands_of(start))
    session = int(house.exchange.state.sessions["id"][1])
    buy(house)
    house.apply(commands_of({"kind": Command.END_SESSION, "account": TRADER, "session": session}))


def at_the_timers_end(house: House) -> None:
    start = {"kind": Command.START_SESSION, "account": TRADER, "scope": Scope.NONE}
    house.apply(commands_of(start))
    house.sessions[TRADER].number = int(house.exchange.state.sessions["id"][1])
    buy(house)
    house.ask(TRADER, "cancel_all_after", expire_at="2015-07-08T15:00:00+08:00")
    due_ns = EIGHT_NS + 7 * 3600 * 10**9
    house.apply(commands_of({"kind": Command.EXPIRE, "due_ns": due_ns}))


def by_the_switch(house: House) -> None:
    buy(house)
    by_blocked(house)


def bid_done(house: House) -> None:
    listed = listing(house)
    house.ask(MILL, "cancel_order", order_id=listed["order_id"])
    bid = buy(house, instrument=COIL, price="2090.00", quantity="28.000", min_quantity="27.000")
    pick(house, MILL, bid, quantity="", lot=str(COIL_LOT))


ENDED: dict[Reason, tuple[str, Callable[[House], object]]] = {
    Reason.CANCELED_BY_OWNER: ("150=4", canceled),
    Reason.IOC_REMAINDER: ("150=4", lambda house: buy(house, time_in_force="ioc")),
    Reason.DAY_END: ("150=C", at_close),
    Reason.COLLAR: ("150=4", beyond_collar),
    Reason.NOT_FEASIBLE: ("150=4", lambda house: buy(house, time_in_force="fok")),
    Reason.SELF_TRADE_PREVENTION: ("150=4", own_met),
    Reason.EXPIRED: ("150=C", at_its_time),
    Reason.AUCTION_ENDED: ("150=C", around_an_auction),
    Reason.AUCTION_STARTED: ("150=4", before_an_auction),
    Reason.MASS_CANCELED: ("150=4", en_masse),
    Reason.REPLACED_TO_NOTHING: ("150=4", to_nothing),
    Reason.BAND_MOVED: ("150=4", out_of_band),
    Reason.DISCONNECTED: ("150=4", at_the_sessions_end),
    Reason.TIMER_EXPIRED: ("150=4", at_the_timers_end),
    Reason.KILL_SWITCH: ("150=4", by_the_switch),
    Reason.PICKED: ("150=4", bid_done),
}


@pytest.mark.parametrize("reason", REJECTED, ids=wire_name)
def test_a_request_is_refused_by_this_reason(house: House, reason: Reason) -> None:
    fix, act = REJECTED[reason]

    answer = act(house)

    assert (answer["ok"], answer["error"]["code"]) == (False, wire_name(reason))
    assert answer["error"]["fix"] == fix


@pytest.mark.parametrize("reason", DOOR, ids=wire_name)
async def test_the_engines_door_refuses_by_this_reason(
    house: House, reason: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """semantics G5: before sequencing; the client order id is not consumed."""
    shard = Shard(MemoryDisk(), tmp_path)
    if reason is Reason.SHUTTING_DOWN:
        shard.sequencer.stop()
    elif reason is Reason.SEQUENCE_EXHAUSTED:
        shard.sequencer.sequence = SEQUENCE_MAX
    elif reason is Reason.DISK_FULL:
        monkeypatch.setattr(shard.log, "nearly_full", lambda: True)
    else:
        for count in (512, 1):
            while shard.sequencer.submit(commands_of(*[{"kind": Command.EXPIRE}] * count)) is None:
                pass

    def at_the_door(commands: Any) -> None:
        refused = shard.sequencer.submit(commands)
        assert refused is not None
        house.desk.refuse(refused)

    monkeypatch.setattr(house, "apply", at_the_door)
    answer = buy(house)
    shard.log.close()
    shard.events.close()

    assert (answer["error"]["code"], answer["error"]["fix"]) == (wire_name(reason), DOOR[reason])
    assert "sequence" not in answer


@pytest.mark.parametrize("reason", ENDED, ids=wire_name)
def test_an_order_ends_by_this_reason_and_its_owner_is_told(house: House, reason: Reason) -> None:
    fix, act = ENDED[reason]

    act(house)

    told = []
    for member in (TRADER, SISTER):
        house.ask(member, "ping")
        told += house.told(member, "private")
    assert (wire_name(reason), fix) in [(each.get("reason"), each.get("fix")) for each in told]
    house.exchange.check_invariants()


def test_no_reason_is_left_out_and_the_list_of_exceptions_does_not_grow() -> None:
    named = [*REJECTED, *NOT_BY_SESSION, *DOOR, *ENDED]

    assert sorted(named) == sorted(set(Reason) - {Reason.NONE}), "each once"
    assert len(NOT_BY_SESSION) <= NOT_BY_SESSION_MAX
    assert all(len(why) > 20 for why in NOT_BY_SESSION.values())
