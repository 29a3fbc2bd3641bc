"""Whether a state can be the exchange's: checked over whole arrays at once, quickly enough for a snapshot.

    sizes ─▶ instruments, ladders ─▶ links ─▶ totals of levels, accounts and lots ─▶ bits, sessions, the day

Law: no index that a kernel follows leads out of its array, every circle and every stack closes, every cached
number is the sum that it stands for. A state that breaks this is never written as a snapshot and never begun
with: kernels do not check what they follow. The plain twin is engine/invariants.py; what that refuses, this
refuses.

    claims.UnsoundError    the state contradicts itself; the text says where first
"""

from typing import Final, NamedTuple

import numpy as np

from engine import money
from engine.claims import Integers, Truths, claim, claim_all, claim_tiles, ends, sums, wide
from engine.core.book import OTHERS, SOMEBODY
from engine.core.layout import DUES_PER_ORDER, LADDERS, State, owners_for
from engine.vocabulary import (
    ORDER_SLOT_BITS,
    PRICE_MAX_FEN_PER_TONNE,
    Mode,
    Phase,
    Profile,
    Side,
    TimeInForce,
)

STOPS: Final = 2  # bit of a ladder's number: stops wait in it
LEVEL_BITS: Final = 6  # of a word of the bitmaps
COUNTERS: Final = {  # of head, each with what it may reach
    "slots_used": "orders_max",
    "levels_used": "levels_max",
    "words_used": "words_max",
    "instruments_used": "instruments_max",
    "accounts_used": "accounts_max",
    "lots_used": "lots_max",
    "sessions_used": "sessions_max",
    "day_entries": "day_max",
    "dues_used": "dues_max",
    "live_orders": "slots_used",
    "free_slot": "slots_used",
    "free_session": "sessions_used",
    "profile": "profile_max",
}


class Resting(NamedTuple):
    """The live orders, one row each."""

    slots: Integers
    sentinels: Integers  # node index of the level
    ladders: Integers
    accounts: Integers
    lots: Integers
    leaves_kg: Integers  # shown
    hidden_kg: Integers
    next: Integers  # node index

    def offsets(self, state: State) -> Integers:
        """Of the level in its ladder."""
        return self.sentinels - wide(state.ladders["base"])[self.ladders]


def check_sound(state: State) -> None:
    """Raise UnsoundError with what first is not as it must be (semantics A3, A7, G4; laws 4, 7)."""
    check_sizes(state)
    _check_instruments(state)
    _check_ladders(state)
    _check_freed(state)
    resting = _resting(state)
    for check in (_check_links, _check_owners, _check_levels, _check_queues, _check_money, _check_goods):
        check(state, resting)
    _check_sessions(state, resting)
    _check_endings(state, resting)
    _check_dues(state, resting)
    _check_slices(state, resting)
    _check_uncrossed(state)
    if (entries := _head(state, "day_entries")) != 0:
        claim(int(np.count_nonzero(state.day["account"])) == entries, "the day's entries are counted")


def check_sizes(state: State) -> None:
    """Raise UnsoundError unless the head fits the arrays: what else is read depends on it."""
    orders = len(state.orders) - 1
    sizes = {
        "orders_max": orders,
        "levels_max": len(state.nodes) - 1 - orders,
        "instruments_max": len(state.instruments),
        "accounts_max": len(state.accounts),
        "lots_max": len(state.lots),
        "day_max": len(state.day),
        "sessions_max": len(state.sessions) - 1,
    }
    for name, size in sizes.items():
        claim(_head(state, name) == size, f"head: {name} is {_head(state, name)}, the array says {size}")
    sizes |= {"words_max": len(state.bits), "dues_max": DUES_PER_ORDER * orders, "profile_max": max(Profile)}
    claim(len(state.dues) == sizes["dues_max"], "dues: so many rows for each order")
    claim(len(state.owners) == owners_for(orders), "owners: a byte for each slot")
    for name, bound in COUNTERS.items():
        most = sizes[bound] if bound in sizes else _head(state, bound)
        claim(0 <= _head(state, name) <= most, f"head: {name} is {_head(state, name)}, at most {most}")
    for name in ("sequence", "time_ns", "outbox", "slices", "next_expiry_ns"):
        claim(_head(state, name) >= 0, f"head: {name} is {_head(state, name)}")
    claim(_head(state, "events") == _head(state, "first_event") == 0, "head: no command is at hand")


def _check_instruments(state: State) -> None:
    """The terms are such that were admitted."""
    numbers = _defined(state)
    claim(not len(numbers) or numbers[-1] < _head(state, "instruments_used"), "instruments are counted")
    rows = state.instruments[numbers]
    span, tick, step = rows["upper"] - rows["lower"], rows["tick"], rows["step"]
    good = (rows["defined"] == 1) & np.isin(rows["mode"], list(Mode)) & np.isin(rows["phase"], list(Phase))
    good &= (tick > 0) & (step > 0) & (rows["minimum"] > 0) & np.isin(rows["kept_cancels"], (0, 1))
    good &= (rows["lower"] > 0) & (span >= 0) & (rows["upper"] <= int(PRICE_MAX_FEN_PER_TONNE))
    good &= span % np.maximum(tick, 1) == 0
    claim_all(good, numbers, "instrument {}: its terms can be")


def _check_ladders(state: State) -> None:
    """Ladders span their bands, and own their sentinels and words alone."""
    numbers = _ladder_numbers(state)
    rows, owner = state.ladders[numbers], state.instruments[numbers >> 2]
    from_below = (numbers & 1 == Side.SELL) ^ (numbers & STOPS != 0)
    levels, capacity, tick = wide(rows["levels"]), wide(rows["capacity"]), owner["tick"]
    good = levels == (owner["upper"] - owner["lower"]) // tick + 1
    good &= (levels < capacity) & (rows["best"] >= 0) & (rows["best"] <= levels)
    good &= rows["origin"] == np.where(from_below, owner["lower"], owner["upper"])
    good &= rows["stride"] == np.where(from_below, tick, -tick)
    words_0 = capacity + 63 >> LEVEL_BITS
    words_1 = words_0 + 63 >> LEVEL_BITS
    words_2 = words_1 + 63 >> LEVEL_BITS
    good &= (rows["tier_1"] - rows["tier_0"] == words_0) & (rows["tier_2"] - rows["tier_1"] == words_1)
    good &= rows["words_2"] == words_2
    claim_all(good, numbers, "ladder {}: it spans its band")
    first = _head(state, "orders_max") + 1
    claim_tiles(wide(rows["base"]), capacity, first, first + _head(state, "levels_used"), "sentinels")
    words = words_0 + words_1 + words_2
    claim_tiles(wide(rows["tier_0"]), words, 0, _head(state, "words_used"), "words")
    sentinels = np.concatenate([np.arange(0), *map(np.arange, rows["base"], rows["base"] + capacity)])
    own = (state.nodes["level"][sentinels] == sentinels) & (
        state.nodes["account"][sentinels] == np.repeat(numbers, capacity)
    )
    claim_all(own, sentinels, "sentinel {}: it knows itself and its ladder")


def _resting(state: State) -> Resting:
    """The live orders; every index of theirs is in range."""
    first = _head(state, "orders_max") + 1
    ids = state.nodes["id"][: _head(state, "slots_used") + 1]
    slots = np.flatnonzero(ids)
    claim(len(slots) == _head(state, "live_orders"), "live orders are counted")
    nodes, cold, mask = state.nodes, state.orders, (1 << int(ORDER_SLOT_BITS)) - 1
    ids = ids[slots]
    claim_all((ids > 0) & (ids & mask == slots), slots, "slot {}: its order id names it")
    claim_all(ids >> int(ORDER_SLOT_BITS) <= _head(state, "sequence"), slots, "slot {}: its order was sent")
    sentinels, accounts = wide(nodes["level"][slots]), wide(nodes["account"][slots])
    lots, sessions = wide(cold["lot"][slots]), cold["session"][slots]
    good = (sentinels >= first) & (sentinels < first + _head(state, "levels_used"))
    good &= (accounts > 0) & (accounts < _head(state, "accounts_used"))
    good &= (lots >= 0) & (lots < max(1, _head(state, "lots_used")))
    good &= (sessions >= 0) & (sessions <= _head(state, "sessions_used"))
    claim_all(good, slots, "slot {}: what it names is there")
    leaves, hidden = nodes["leaves"][slots], state.specials["hidden"][slots]
    claim_all((leaves > 0) & (hidden >= 0), slots, "slot {}: it has something left")
    ladders, following = wide(nodes["account"][sentinels]), wide(nodes["next"][slots])
    return Resting(slots, sentinels, ladders, accounts, lots, leaves, hidden, following)


def _check_links(state: State, resting: Resting) -> None:
    """Links agree both ways, and from every order one comes to the sentinel of its level."""
    used, first = _head(state, "slots_used"), _head(state, "orders_max") + 1
    end = first + _head(state, "levels_used")
    here = np.concatenate([resting.slots, np.arange(first, end)])
    place = np.full(used + 1 + end - first, -1)  # in `here`, by slot, then by sentinel
    compact = np.where(here < first, here, here - first + used + 1)
    place[compact] = np.arange(len(here))

    def followed(name: str) -> Integers:
        there = wide(state.nodes[name][here])
        good = ((there > 0) & (there <= used)) | ((there >= first) & (there < end))
        claim_all(good, here, "node {}: its " + name + " is a node")
        found = place[np.where(there < first, there, there - first + used + 1)]
        claim_all(found >= 0, here, "node {}: its " + name + " is alive")
        return found

    following, preceding, own = followed("next"), followed("previous"), np.arange(len(here))
    claim_all(preceding[following] == own, here, "node {}: links agree both ways")
    claim_all(following[preceding] == own, here, "node {}: links agree both ways")
    count = len(resting.slots)
    following[count:] = own[count:]
    reached = ends(following)[:count]
    claim_all(
        here[reached] == resting.sentinels, resting.slots, "slot {}: it stands in the queue of its level"
    )


def _check_freed(state: State) -> None:
    """Freed slots and sessions are one stack each, and zero but for their link (law 4)."""
    used = _head(state, "slots_used")
    freed = np.flatnonzero(state.nodes["id"][: used + 1] == 0)[1:]
    _check_stack(wide(state.nodes["next"][: used + 1]), freed, _head(state, "free_slot"), "slot")
    dirty = [state.nodes[name][freed] != 0 for name in ("previous", "leaves", "level", "account")]
    for table in (state.orders, state.specials):
        dirty.append(table.view(np.int64).reshape(len(table), -1)[freed].any(axis=1))
    claim_all(~np.any(dirty, axis=0), freed, "slot {}: freed and zero")
    used = _head(state, "sessions_used")
    freed = np.flatnonzero(state.sessions["id"][: used + 1] == 0)[1:]
    _check_stack(state.sessions["next"][: used + 1], freed, _head(state, "free_session"), "session")
    dirty = [state.sessions[name][freed] != 0 for name in ("account", "scope", "due_ns")]
    claim_all(~np.any(dirty, axis=0), freed, "session {}: freed and zero")


def _check_stack(following: Integers, freed: Integers, top: int, what: str) -> None:
    """From the top of a stack every freed row is met once, then comes 0."""
    named = np.append(following[freed], top)
    claim_all((named >= 0) & (named < len(following)), np.append(freed, 0), what + " {}: the stack goes on")
    claim(np.array_equal(np.sort(named), np.append(0, freed)), f"the stack of freed {what}s has each once")
    jump = np.zeros(len(following), np.int64)
    jump[freed] = following[freed]
    claim(not ends(jump).any(), f"the stack of freed {what}s ends")


def _check_owners(state: State, resting: Resting) -> None:
    """A byte of every slot says whose order may be in it: who ends an account's orders looks nowhere else."""
    said = np.zeros(len(state.owners), np.uint8)
    said[resting.slots] = SOMEBODY | resting.accounts & OTHERS
    claim_all(state.owners == said, np.arange(len(said)), "slot {}: whose it may be")


def _check_levels(state: State, resting: Resting) -> None:
    """Levels know their kilograms and orders; bits and best levels say which hold orders (semantics A1)."""
    first, count = _head(state, "orders_max") + 1, _head(state, "levels_used")
    at = resting.sentinels - first
    nodes, sentinels = state.nodes[first : first + count], np.arange(first, first + count)
    claim_all(nodes["leaves"] == sums(at, resting.leaves_kg, count), sentinels, "level {}: its kilograms")
    claim_all(nodes["id"] == np.bincount(at, minlength=count), sentinels, "level {}: its orders")
    hidden = sums(at, resting.hidden_kg, count)
    claim_all(state.veiled[:count] == hidden, sentinels, "level {}: its veiled kilograms")
    offsets, stops = resting.offsets(state), (resting.ladders & STOPS != 0)
    levels = wide(state.ladders["levels"])
    good = (offsets >= 0) & (offsets < levels[resting.ladders] + stops)
    claim_all(good, resting.slots, "slot {}: its level is of the band")
    best = levels.copy()
    np.minimum.at(best, resting.ladders, offsets)
    numbers = _ladder_numbers(state)
    claim_all(state.ladders["best"][numbers] == best[numbers], numbers, "ladder {}: its best level")
    bits = np.zeros(_head(state, "words_used"), np.uint64)
    for tier in ("tier_0", "tier_1", "tier_2"):
        words = wide(state.ladders[tier])[resting.ladders] + (offsets >> LEVEL_BITS)
        np.bitwise_or.at(bits, words, np.left_shift(np.uint64(1), (offsets & 63).astype(np.uint64)))
        offsets = offsets >> LEVEL_BITS
    claim_all(
        state.bits[: len(bits)] == bits, np.arange(len(bits)), "word {} of the bits: levels with orders"
    )


def _check_queues(state: State, resting: Resting) -> None:
    """Orders stand at their price; stops nearest first (semantics A1, B4)."""
    stops, ladders = resting.ladders & STOPS != 0, resting.ladders
    price = state.ladders["origin"][ladders] + resting.offsets(state) * state.ladders["stride"][ladders]
    good = stops | (state.orders["price"][resting.slots] == price)
    claim_all(good, resting.slots, "slot {}: it stands at its price")
    waits = stops & (resting.next <= _head(state, "orders_max"))
    slots, younger = resting.slots[waits], resting.next[waits]
    way = np.where(ladders[waits] & 1, -1, 1)
    stop = state.specials["stop"]
    claim_all(way * stop[slots] <= way * stop[younger], slots, "slot {}: the nearest stop is first")


def _check_money(state: State, resting: Resting) -> None:
    """Holds are the formula's, an account's their sum, and nobody owes (semantics G3, G4)."""
    terms, of, buys = state.instruments, resting.ladders >> 2, resting.ladders & 1 == Side.BUY
    price = np.where(buys, state.orders["price"][resting.slots], terms["upper"][of])
    points = wide(np.where(buys, terms["buyer_deposit"][of], terms["seller_deposit"][of]))
    left_kg, fee = resting.leaves_kg + resting.hidden_kg, wide(terms["fee"][of])
    holds = money.hold_fen(price, left_kg, terms["step"][of], points, fee)
    claim_all(state.orders["hold"][resting.slots] == holds, resting.slots, "slot {}: its hold")
    count = _head(state, "accounts_used")
    rows, numbers = state.accounts[:count], np.arange(count)
    claim_all(
        rows["held"] == sums(resting.accounts, holds, count), numbers, "account {}: the sum of its holds"
    )
    claim_all(rows["available"] >= 0, numbers, "account {}: it owes nothing")
    live = np.bincount(resting.accounts, minlength=count)
    claim_all(rows["live_orders"] == live, numbers, "account {}: its live orders")
    claim_all(
        np.isin(rows["open"], (0, 1)) & np.isin(rows["blocked"], (0, 1)), numbers, "account {}: open or not"
    )


def _check_goods(state: State, resting: Resting) -> None:
    """A lot's kilograms are free, listed or contracted; listed ones those of its live orders (G4)."""
    count = _head(state, "lots_used")
    rows, numbers = state.lots[1:count], np.arange(1, count)
    listed = sums(resting.lots, resting.leaves_kg + resting.hidden_kg, max(1, count))[1:]
    good = (rows["free"] >= 0) & (rows["listed"] == listed) & (rows["contracted"] >= 0)
    good &= rows["free"] + rows["listed"] + rows["contracted"] == rows["registered"]
    claim_all(good, numbers, "lot {}: its kilograms")
    good = (rows["account"] >= 0) & (rows["account"] < max(1, _head(state, "accounts_used")))
    good &= (rows["instrument"] >= 0) & (rows["instrument"] < max(1, _head(state, "instruments_used")))
    claim_all(good, numbers, "lot {}: whose it is, and of what")


def _check_sessions(state: State, resting: Resting) -> None:
    """Sessions are accounts', orders name live ones of their own account, no timer is forgotten (C7)."""
    rows = state.sessions[: _head(state, "sessions_used") + 1]
    live = np.flatnonzero(rows["id"])
    mask, accounts, due = (1 << int(ORDER_SLOT_BITS)) - 1, rows["account"][live], rows["due_ns"][live]
    good = (rows["id"][live] & mask == live) & (accounts > 0) & (accounts < _head(state, "accounts_used"))
    claim_all(good, live, "session {}: its id names it")
    claim_all(state.accounts["open"][accounts] == 1, live, "session {}: it is an account's")
    claim_all((due == 0) | _is_remembered(state, due), live, "session {}: its timer is not forgotten")
    named = state.orders["session"][resting.slots]
    own = (rows["id"][named] != 0) & (rows["account"][named] == resting.accounts)
    claim_all((named == 0) | own, resting.slots, "slot {}: its session lives, and is its account's")


def _check_endings(state: State, resting: Resting) -> None:
    """Kept cancels, the kill switch, auctions and listings (semantics C6, E1, E5, F2)."""
    terms, of = state.instruments, resting.ladders >> 2
    condemned = state.orders["condemned"][resting.slots] != 0
    keeps = (terms["phase"] == Phase.NO_CANCEL) & (terms["kept_cancels"] == 1)
    good = ~condemned | keeps[of]
    claim_all(good, resting.slots, "slot {}: its cancel is kept in no_cancel only")
    good = condemned | (state.accounts["blocked"][resting.accounts] == 0)
    claim_all(good, resting.slots, "slot {}: a blocked account has no order")
    minimum, cum = state.specials["minimum"][resting.slots], state.orders["cum"][resting.slots]
    good = (minimum >= 0) & (minimum <= resting.leaves_kg) & ((minimum > 0) | (cum == 0))
    claim_all(good | (terms["mode"][of] != Mode.LISTED), resting.slots, "slot {}: its minimum can be picked")
    running = np.flatnonzero(state.instruments["auction_until"])
    until = state.instruments["auction_until"][running]
    good = (state.instruments["phase"][running] == Phase.AUCTION) & _is_remembered(state, until)
    claim_all(good, running, "instrument {}: its volatility auction is one, and ends")


def _check_dues(state: State, resting: Resting) -> None:
    """Every live good-till-date order has one row of the dues, and the earliest is first (B5)."""
    rows, mask = state.dues[: _head(state, "dues_used")], (1 << int(ORDER_SLOT_BITS)) - 1
    numbers = np.arange(1, len(rows))
    earlier = rows["due_ns"][numbers - 1 >> 1] <= rows["due_ns"][1:]
    claim_all(earlier, numbers, "due {}: its parent is not due later")
    slots = np.minimum(rows["order_id"] & mask, _head(state, "slots_used"))
    live = (rows["order_id"] != 0) & (state.nodes["id"][slots] == rows["order_id"])
    waiting = resting.slots[state.orders["time_in_force"][resting.slots] == TimeInForce.GTD]
    claim(np.array_equal(np.sort(slots[live]), waiting), "every expiry is remembered once")
    good = ~live | (state.specials["expire_ns"][slots] == rows["due_ns"])
    claim_all(good & (rows["due_ns"] > 0), np.arange(len(rows)), "due {}: its order's time")
    claim(
        not len(waiting) or bool(_is_remembered(state, rows["due_ns"][:1])[0]), "expiries are not forgotten"
    )
    unused = state.dues[len(rows) :].view(np.int64)
    claim(not unused.any(), "rows of the dues not in use are zero")


def _check_slices(state: State, resting: Resting) -> None:
    """What icebergs and waiting stops have still to show is counted, and bounded (semantics G5)."""
    display = state.specials["display"][resting.slots]
    waits = resting.ladders & STOPS != 0
    to_show = np.where(waits, resting.leaves_kg - display, resting.hidden_kg)
    slices = int((-(-to_show // np.maximum(display, 1)))[display > 0].sum())
    claim(_head(state, "slices") == slices, "slices are counted")
    most = 2 * _head(state, "orders_max")
    claim(2 * len(resting.slots) + slices <= most, "the event buffer holds them")


def _check_uncrossed(state: State) -> None:
    """A BOOK instrument is neither crossed nor locked in the continuous phase (semantics A3)."""
    numbers = _defined(state)
    rows = state.instruments[numbers]
    numbers = numbers[(rows["mode"] == Mode.BOOK) & (rows["phase"] == Phase.CONTINUOUS)]
    bids, asks = state.ladders[LADDERS * numbers], state.ladders[LADDERS * numbers + 1]
    both = (bids["best"] < bids["levels"]) & (asks["best"] < asks["levels"])
    bid, ask = (side["origin"] + side["best"] * side["stride"] for side in (bids, asks))
    claim_all(~both | (bid < ask), numbers, "instrument {}: bids stand below asks")


def _is_remembered(state: State, due_ns: Integers) -> Truths:
    """Whether the next expiry comes no later (semantics E6)."""
    at_ns = _head(state, "next_expiry_ns")
    remembered: Truths = (at_ns > 0) & (at_ns <= due_ns)
    return remembered


def _defined(state: State) -> Integers:
    return np.flatnonzero(state.instruments["defined"])


def _ladder_numbers(state: State) -> Integers:
    return (LADDERS * _defined(state)[:, None] + np.arange(LADDERS)).reshape(-1)


def _head(state: State, name: str) -> int:
    return int(state.head[name][0])
