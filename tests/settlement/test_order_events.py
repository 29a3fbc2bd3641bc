"""The books follow the real core: after every kind of order event the ledger says what the engine says."""

import random
from typing import Any

import numpy as np
import pytest

from engine.records import LOT, Records, joined
from engine.vocabulary import (
    Command,
    Event,
    Flag,
    OrderType,
    Phase,
    ReplaceFlag,
    SelfTrade,
    Side,
    TimeInForce,
)
from settlement.clearing import CHAIN_START, Batch, Position, clear
from settlement.continuity import Continuity
from settlement.fills import Terms
from settlement.ledger import KIND_BITS, Goods, Money, account, account_name
from tests.engine.builders import REBAR, STEP_KG, UPPER, Venue, order_id_of

MILL, TRADER, SISTER = 1, 2, 3  # the sister is of the mill's group
LOT_KG, PRICE = 1000 * STEP_KG, 226_000
TERMS = Terms(np.array([10_000, 10_000]), np.array([0, 0]), np.array([50, 50]))


class Day:
    """A venue with two lots, and every event since the beginning."""

    def __init__(self) -> None:
        self.venue = Venue()
        self.seen: list[Records] = []
        send = self.venue.send

        def noted(*commands: Records) -> Records:
            events = send(*commands)
            self.seen.append(events)
            return events

        self.venue.send = noted  # type: ignore[method-assign]
        self.venue.account(MILL, group=9)
        self.venue.account(TRADER)
        self.venue.account(SISTER, group=9)
        self.lots = {owner: self.venue.lot(owner, owner, LOT_KG) for owner in (MILL, TRADER, SISTER)}

    def sell(self, owner: int, price: int, bundles: int, **more: Any) -> Records:
        return self.venue.sell(owner, price, bundles * STEP_KG, self.lots[owner], **more)

    def buy(self, owner: int, price: int, bundles: int, **more: Any) -> Records:
        return self.venue.buy(owner, price, bundles * STEP_KG, **more)

    def batch(self) -> Batch:
        events = joined(self.seen)
        Continuity().check(events)
        return clear(events, Position(0, 0, CHAIN_START), 1, TERMS)

    def assert_books_agree(self) -> None:
        """Goods of each lot and TRADING of each member, from the entries and from the engine."""
        batch = self.batch()
        goods = dict(zip(*(column.tolist() for column in batch.goods_deltas), strict=True))
        money = dict(zip(*(column.tolist() for column in batch.money_deltas), strict=True))
        for row in self.venue.ask(Command.QUERY_LOTS).view(LOT)[:-1]:
            lot = int(row["lot"])
            kept = [goods.get(account(lot, kind), 0) for kind in (Goods.FREE, Goods.LISTED, Goods.CONTRACT)]
            assert kept == [row["free_kg"], row["listed_kg"], row["contracted_kg"]], lot
        for member in (MILL, TRADER, SISTER):
            assert money[account(member, Money.TRADING)] == sum(self.venue.money(member)), member
        self.venue.exchange.check_invariants()


def last_goods(day: Day) -> tuple[str, str, int]:
    row = day.batch().goods[-1]
    names = (account_name(int(row[side]), Goods) for side in ("debit", "credit"))
    return *names, int(row["quantity_kg"]) // STEP_KG  # type: ignore[return-value]


@pytest.mark.parametrize("seller_comes_in", [True, False])
def test_a_prevention_frees_the_sellers_kilograms_whoever_came_in(seller_comes_in: bool) -> None:
    day, mode = Day(), {"self_trade_mode": SelfTrade.DECREMENT}
    if seller_comes_in:
        day.buy(SISTER, PRICE, 3)
        day.sell(MILL, PRICE, 5, **mode)
    else:
        day.sell(MILL, PRICE, 5)
        day.buy(SISTER, PRICE, 3, **mode)

    assert (day.seen[-1]["kind"] == Event.PREVENTED).any()
    assert last_goods(day) == ("LISTED:1", "FREE:1", 3)
    day.assert_books_agree()


def test_a_replaced_sell_lists_more_and_gives_back() -> None:
    day = Day()
    order_id = order_id_of(day.sell(MILL, PRICE, 5))

    day.venue.command(kind=Command.REPLACE_ORDER, account=MILL, order_id=order_id, quantity_kg=9 * STEP_KG)
    more = last_goods(day)
    day.venue.command(kind=Command.REPLACE_ORDER, account=MILL, order_id=order_id, quantity_kg=2 * STEP_KG)
    less = last_goods(day)
    day.venue.command(
        kind=Command.REPLACE_ORDER, account=MILL, order_id=order_id, flags=ReplaceFlag.BY_LEAVES
    )

    assert (more, less) == (("FREE:1", "LISTED:1", 4), ("LISTED:1", "FREE:1", 7))
    assert last_goods(day) == ("LISTED:1", "FREE:1", 2)
    day.assert_books_agree()


def test_a_replaced_buy_moves_no_goods() -> None:
    day = Day()
    order_id = order_id_of(day.buy(TRADER, PRICE, 5))
    before = len(day.batch().goods)

    day.venue.command(kind=Command.REPLACE_ORDER, account=TRADER, order_id=order_id, quantity_kg=STEP_KG)

    assert len(day.batch().goods) == before
    day.assert_books_agree()


def test_the_trades_of_an_uncross_name_the_buyer_and_the_seller() -> None:
    day = Day()
    day.venue.phase(Phase.AUCTION)
    bid = order_id_of(day.buy(TRADER, PRICE + 200, 4))
    offer = order_id_of(day.sell(MILL, PRICE, 3, display_quantity_kg=STEP_KG))

    day.venue.phase(Phase.CONTINUOUS)

    (contract,) = day.batch().contracts
    named = [int(contract[name]) for name in ("buyer", "seller", "lot", "buyer_order", "seller_order")]
    assert named == [TRADER, MILL, day.lots[MILL], bid, offer]
    assert contract["quantity_kg"] == 3 * STEP_KG
    day.assert_books_agree()


def test_mass_cancel_and_expiry_free_what_was_listed() -> None:
    day = Day()
    day.sell(MILL, PRICE, 3, display_quantity_kg=STEP_KG)
    day.sell(MILL, PRICE, 4, order_type=OrderType.STOP, stop_fen_per_tonne=PRICE)
    day.sell(TRADER, PRICE, 5, time_in_force=TimeInForce.GTD, due_ns=day.venue.time_ns + 10_000)

    day.venue.command(kind=Command.MASS_CANCEL, account=MILL, instrument=-1, side=255)
    day.venue.command(kind=Command.EXPIRE, account=-1, instrument=-1, due_ns=day.venue.time_ns + 20_000)

    assert [day.venue.goods(day.lots[owner])[1] for owner in (MILL, TRADER)] == [0, 0]
    day.assert_books_agree()


@pytest.mark.parametrize("seed", range(6))
def test_the_books_agree_after_any_day_of_all_order_types(seed: int) -> None:
    day, choose = Day(), random.Random(seed)
    for _ in range(400):
        step(day, choose)

    day.assert_books_agree()
    kinds = set(joined(day.seen)["kind"].tolist())
    assert kinds >= {Event.REPLACED, Event.PREVENTED, Event.TRIGGERED, Event.REFRESHED, Event.UNCROSSED}
    assert {row["debit"] >> KIND_BITS for row in day.batch().goods} >= set(day.lots.values())


def step(day: Day, choose: random.Random) -> None:
    """One command at random; many are rejected, which moves nothing."""
    owner, price = choose.choice((MILL, TRADER, SISTER)), PRICE + 100 * choose.randint(-6, 6)
    live = day.venue.ask(Command.QUERY_ORDERS)[:-1]
    what = choose.random()
    if what < 0.68 or not len(live):
        place(day, choose, owner, price)
    elif what < 0.86:
        order = live[choose.randrange(len(live))]
        fields = {"kind": Command.REPLACE_ORDER, "account": order["account"], "order_id": order["order_id"]}
        day.venue.command(
            **fields,
            price_fen_per_tonne=choose.choice((0, price)),
            quantity_kg=STEP_KG * choose.randint(0, 12),
            flags=choose.choice((0, ReplaceFlag.BY_LEAVES)),
        )
    elif what < 0.92:
        order = live[choose.randrange(len(live))]
        day.venue.cancel(int(order["account"]), int(order["order_id"]))
    elif what < 0.94:
        day.venue.command(kind=Command.MASS_CANCEL, account=owner, instrument=-1, side=choose.choice((0, 1)))
    else:
        day.venue.phase(choose.choice((Phase.PRE_OPEN, Phase.AUCTION, Phase.CONTINUOUS)), REBAR)
        day.venue.phase(Phase.CONTINUOUS, REBAR)


def place(day: Day, choose: random.Random, owner: int, price: int) -> None:
    """A new order of any type, time in force and prevention mode."""
    bundles, kind = choose.randint(1, 10), choose.choice((*OrderType, OrderType.LIMIT, OrderType.LIMIT))
    fields: dict[str, Any] = {"order_type": kind, "self_trade_mode": choose.choice(tuple(SelfTrade))}
    fields["time_in_force"] = choose.choice((TimeInForce.DAY,) * 4 + (TimeInForce.IOC, TimeInForce.FOK))
    if kind in (OrderType.STOP, OrderType.STOP_LIMIT):
        fields["stop_fen_per_tonne"] = price
        fields["time_in_force"] = TimeInForce.DAY
    if kind == OrderType.LIMIT and fields["time_in_force"] == TimeInForce.DAY:
        fields["display_quantity_kg"] = choose.choice((0, STEP_KG))
        fields["flags"] = choose.choice((0, 0, 0, Flag.POST_ONLY))
    if choose.choice(tuple(Side)) == Side.BUY:
        day.buy(owner, min(price, UPPER), bundles, **fields)
    else:
        day.sell(owner, price, bundles, **fields)
