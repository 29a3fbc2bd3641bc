"""The quick check of the state: silent on what the core makes, loud on every damage, as its plain twin is."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.claims import UnsoundError
from engine.core.layout import State
from engine.exchange import Exchange
from engine.invariants import check_invariants
from engine.soundness import check_sound
from engine.state_hash import used_parts
from engine.vocabulary import Command, OrderType, Phase, Scope, TimeInForce
from tests.engine.builders import COIL, REBAR, STEP_KG, Venue, order_id_of
from tests.engine.flows import pool
from tests.engine.pair import Pair

HOUR_NS = 3_600 * 10**9
FLOWS = 3
COMMANDS = 80
FLIPS = 80  # of each flow


def busy() -> Exchange:
    """An exchange with something in every table: orders, a queue, icebergs, stops, a session, freed rows."""
    venue = Venue()
    buyer, seller = venue.account(1), venue.account(2)
    venue.lot(3, seller, 100 * STEP_KG)
    venue.lot(4, seller, 5_000, COIL)
    sessions = [venue.command(kind=Command.START_SESSION, account=1, scope=Scope.SESSION) for _ in range(3)]
    ids = [int(events["order_id"][0]) for events in sessions]
    for session in ids[1:]:
        venue.command(kind=Command.END_SESSION, account=1, session=session)
    venue.command(kind=Command.CANCEL_ALL_AFTER, account=1, session=ids[0], due_ns=venue.time_ns + HOUR_NS)
    for price in (220_000, 219_000, 220_000):
        venue.buy(buyer, price, 2 * STEP_KG, session=ids[0])
    venue.sell(seller, 221_000, 6 * STEP_KG, 3, display_quantity_kg=STEP_KG)
    venue.sell(seller, 2_400, 5_000, 4, instrument=COIL, price_fen_per_tonne=221_000)
    for stop in (222_000, 222_000):
        kind = {"order_type": OrderType.STOP_LIMIT, "stop_fen_per_tonne": stop}
        venue.buy(buyer, 223_000, STEP_KG, **kind)
    for hours in (3, 2):
        times = {"time_in_force": TimeInForce.GTD, "due_ns": venue.time_ns + hours * HOUR_NS}
        venue.buy(buyer, 217_000, STEP_KG, **times)
    ended = [order_id_of(venue.buy(buyer, 218_000, STEP_KG)) for _ in range(3)]
    for order_id in ended:
        venue.cancel(buyer, order_id)
    venue.buy(buyer, 221_000, STEP_KG)
    check_invariants(venue.exchange.state)
    check_sound(venue.exchange.state)
    return venue.exchange


def live(state: State) -> int:
    """The slot of the first order."""
    return int(np.flatnonzero(state.nodes["id"][: int(state.head["slots_used"][0]) + 1])[0])


def added(table: str, field: str, row: Callable[[State], int], by: int) -> Callable[[State], None]:
    """Damage: a field of a row is changed by so much."""

    def damage(state: State) -> None:
        array: Any = getattr(state, table)
        column = array[field] if field else array
        column[row(state)] += by

    return damage


def one(state: State) -> int:
    return 1


def zero(state: State) -> int:
    return 0


def behind_the_dues(state: State) -> int:
    return int(state.head["dues_used"][0])


def freed(state: State) -> int:
    return int(state.head["free_slot"][0])


def its_level(state: State) -> int:
    return int(state.nodes["level"][live(state)])


def circle_of_its_own(state: State) -> None:
    """The first order leaves the queue for a circle without a sentinel; all sums stay."""
    nodes, slot = state.nodes, live(state)
    before, behind = int(nodes["previous"][slot]), int(nodes["next"][slot])
    nodes["next"][before], nodes["previous"][behind] = behind, before
    nodes["next"][slot] = nodes["previous"][slot] = slot


def stack_that_bites_its_tail(state: State) -> None:
    top = freed(state)
    state.nodes["next"][state.nodes["next"][top]] = top


def stops_in_the_wrong_order(state: State) -> None:
    state.specials["stop"][np.flatnonzero(state.specials["stop"])[0]] += 100


def unknown_phase(state: State) -> None:
    state.instruments["phase"][COIL] = 77


DAMAGES: dict[str, tuple[Callable[[State], None], str]] = {
    "more slots than there are": (added("head", "slots_used", zero, 1 << 40), "slots_used"),
    "another size": (added("head", "orders_max", zero, -1), "orders_max"),
    "a command at hand": (added("head", "events", zero, 1), "no command"),
    "a live order is forgotten": (added("head", "live_orders", zero, -1), "live orders"),
    "a step of nothing": (added("instruments", "step", zero, -STEP_KG), "its terms"),
    "a phase that there is not": (unknown_phase, "its terms"),
    "another origin": (added("ladders", "origin", zero, 100), "spans its band"),
    "a base beyond the table": (added("ladders", "base", zero, 1 << 40), "share no sentinels"),
    "words of another ladder": (added("ladders", "tier_0", one, -1), "spans its band"),
    "a sentinel of another ladder": (added("nodes", "account", its_level, 1), "its ladder"),
    "an id of another slot": (added("nodes", "id", live, 1), "its order id"),
    "an account that there is not": (added("nodes", "account", live, 1 << 20), "what it names"),
    "a level beyond the table": (added("nodes", "level", live, 1 << 24), "what it names"),
    "a lot that there is not": (added("orders", "lot", live, 1 << 24), "what it names"),
    "a session that there is not": (added("orders", "session", live, 1 << 24), "what it names"),
    "nothing left": (added("nodes", "leaves", live, -2 * STEP_KG), "something left"),
    "a link out of the table": (added("nodes", "next", live, 1 << 26), "its next is a node"),
    "a negative link": (added("nodes", "previous", live, -(1 << 26)), "its previous is a node"),
    "a link to a freed slot": (lambda s: s.nodes["next"].put(live(s), freed(s)), "its next is alive"),
    "a link past the neighbour": (added("nodes", "next", its_level, 1), "links agree both ways"),
    "a circle of its own": (circle_of_its_own, "the queue of its level"),
    "a stack that goes round": (stack_that_bites_its_tail, "the stack of freed slots"),
    "a freed slot is lost": (lambda s: s.head["free_slot"].put(0, 0), "the stack of freed slots"),
    "a freed slot that is not zero": (added("orders", "cum", freed, 1), "freed and zero"),
    "a freed session is lost": (lambda s: s.head["free_session"].put(0, 0), "the stack of freed sessions"),
    "an order whose owner is forgotten": (added("owners", "", live, 1), "slot .*: whose it may be"),
    "a freed slot with an owner": (added("owners", "", freed, 1), "slot .*: whose it may be"),
    "an owner behind the last slot": (lambda s: s.owners.put(-1, 0x81), "slot .*: whose it may be"),
    "a level's kilograms": (added("nodes", "leaves", its_level, 1), "its kilograms"),
    "a level's orders": (added("nodes", "id", its_level, 1), "its orders"),
    "veiled kilograms": (added("veiled", "", zero, 1), "its veiled"),
    "the best level": (added("ladders", "best", zero, 1), "its best level"),
    "a bit of no order": (added("bits", "", zero, 1), "levels with orders"),
    "another price": (added("orders", "price", live, 100), "stands at its price"),
    "stops the wrong way round": (stops_in_the_wrong_order, "the nearest stop"),
    "another hold": (added("orders", "hold", live, 1), "its hold"),
    "an account's holds": (added("accounts", "held", one, 1), "sum of its holds"),
    "a debt": (lambda s: s.accounts["available"].put(1, -1), "owes nothing"),
    "an account's orders": (added("accounts", "live_orders", one, 1), "its live orders"),
    "free kilograms": (added("lots", "free", lambda s: 3, 1), "lot 3: its kilograms"),
    "a lot of nobody known": (added("lots", "account", lambda s: 3, 1 << 20), "whose it is"),
    "another session's account": (added("sessions", "account", one, 1), "its account's"),
    "a timer that nobody waits for": (added("sessions", "due_ns", one, -HOUR_NS), "not forgotten"),
    "an order that is condemned": (added("orders", "condemned", live, 1), "no_cancel only"),
    "an order of a blocked account": (added("accounts", "blocked", one, 1), "blocked account"),
    "slices": (added("head", "slices", zero, 1), "slices"),
    "an expiry of nobody": (added("dues", "order_id", zero, 1 << 22), "remembered once"),
    "an expiry that is lost": (added("head", "dues_used", zero, -1), "remembered once"),
    "the latest expiry first": (added("dues", "due_ns", zero, 2 * HOUR_NS), "its parent is not due later"),
    "an expiry behind the last": (added("dues", "order_id", behind_the_dues, 1 << 22), "not in use are zero"),
    "a time behind the last": (added("dues", "due_ns", behind_the_dues, HOUR_NS), "not in use are zero"),
    "another expiry": (added("dues", "due_ns", zero, -1), "its order's time"),
    "an expiry that nobody waits for": (added("head", "next_expiry_ns", zero, 2 * HOUR_NS), "not forgotten"),
    "more expiries than there can be": (added("head", "dues_used", zero, 1 << 40), "dues_used"),
    "the day's entries": (added("head", "day_entries", zero, 1), "the day's entries"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_named(damage: Callable[[State], None], said: str) -> None:
    state = busy().state

    damage(state)

    with pytest.raises(UnsoundError, match=said):
        check_sound(state)


def test_orders_that_meet_are_found() -> None:
    """In the auction they may; the phase alone makes it wrong."""
    venue = Venue()
    venue.phase(Phase.AUCTION, REBAR)
    buyer, seller = venue.account(1), venue.account(2)
    venue.lot(3, seller, 100 * STEP_KG)
    venue.buy(buyer, 221_000, STEP_KG)
    venue.sell(seller, 220_000, STEP_KG, 3)
    check_sound(venue.exchange.state)

    venue.exchange.state.instruments["phase"][REBAR] = Phase.CONTINUOUS

    with pytest.raises(UnsoundError, match="bids stand below asks"):
        check_sound(venue.exchange.state)


def flipped(state: State, dice: random.Random) -> Callable[[], None]:
    """Change one bit of what is in use; return what puts it back."""
    parts = [part for part in used_parts(state) if len(part)]
    part = dice.choice(parts)
    at, bit = dice.randrange(len(part)), 1 << dice.randrange(8)
    part[at] ^= bit

    def put_back() -> None:
        part[at] ^= bit

    return put_back


@pytest.mark.parametrize("number", range(FLOWS))
def test_what_the_plain_twin_refuses_this_refuses(number: int) -> None:
    """The twin is asked where this one is content: on a broken circle it would walk for ever."""
    pair, dice = Pair(), random.Random(number)
    for ask in dice.choices(pool(number), k=COMMANDS):
        pair.play(ask)
    state, refused = pair.core.state, 0

    for _ in range(FLIPS):
        put_back = flipped(state, dice)
        try:
            check_sound(state)
        except UnsoundError:
            refused += 1
        else:
            check_invariants(state)
        put_back()

    check_sound(state)
    assert FLIPS // 10 < refused < FLIPS
