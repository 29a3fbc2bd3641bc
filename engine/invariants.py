"""What is true of the exchange after every command: checked by walking the arrays slowly and plainly.

Law: this module shares no code with the kernels but the formula of the hold; it is the oracle of every cached
number (best level, level totals, holds, counters).
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from engine import money
from engine.core.layout import LADDERS, State
from engine.records import Records
from engine.vocabulary import ORDER_SLOT_BITS, Mode, Phase, Side, TimeInForce

SLOT_MASK: Final = (1 << ORDER_SLOT_BITS) - 1


def check_invariants(state: State) -> None:
    """Raise AssertionError with what first is not as it must be (semantics A3, A7, G4; law 4, 7)."""
    slots = [slot for ladder in _ladders(state) for slot in _check_ladder(state, ladder)]
    assert len(set(slots)) == len(slots), "an order rests in one place"
    _check_slots(state, slots)
    _check_money(state, slots)
    _check_goods(state, slots)
    _check_sessions(state, slots)
    _check_kept_cancels(state, slots)
    _check_dues(state, slots)
    _check_auctions(state)
    _check_listings(state, slots)
    _check_slices(state, slots)
    _check_uncrossed(state)


def _ladders(state: State) -> list[int]:
    defined = np.flatnonzero(state.instruments["defined"])
    return [LADDERS * int(instrument) + k for instrument in defined for k in range(LADDERS)]


def _check_ladder(state: State, ladder: int) -> Iterator[int]:
    """Yield the slots of a ladder in priority order, checking links, totals, bits and the best level."""
    row, occupied = state.ladders[ladder], []
    stops = bool(ladder & 2)
    for level in range(int(row["levels"]) + stops):
        sentinel = int(row["base"]) + level
        queue = list(_queue(state, sentinel))
        leaves = [int(state.nodes["leaves"][slot]) for slot in queue]
        assert all(kg > 0 for kg in leaves), f"ladder {ladder}: a resting order has something left"
        assert int(state.nodes["leaves"][sentinel]) == sum(leaves), (
            f"ladder {ladder}, level {level}: kilograms"
        )
        assert int(state.nodes["id"][sentinel]) == len(queue), f"ladder {ladder}, level {level}: orders"
        hidden = sum(int(state.specials["hidden"][slot]) for slot in queue)
        assert int(state.veiled[sentinel - int(state.head["orders_max"][0]) - 1]) == hidden, (
            "veiled kilograms"
        )
        if stops:
            way = -1 if ladder & 1 else 1
            ranks = [way * int(state.specials["stop"][slot]) for slot in queue]
            assert ranks == sorted(ranks), f"ladder {ladder}, level {level}: nearest stop first"
        elif queue:
            price = int(row["origin"]) + level * int(row["stride"])
            assert {int(state.orders["price"][slot]) for slot in queue} == {price}, (
                "orders stand at their price"
            )
        if level == int(row["levels"]):
            yield from queue
            continue
        marked = _bit(state, int(row["tier_0"]), level)
        assert marked == bool(queue), f"ladder {ladder}, level {level}: bit of tier 0"
        if queue:
            occupied.append(level)
        yield from queue
    best = occupied[0] if occupied else int(row["levels"])
    assert int(row["best"]) == best, f"ladder {ladder}: best level"
    if not stops:
        _check_tiers(state, ladder, occupied)


def _queue(state: State, sentinel: int) -> Iterator[int]:
    previous, slot = sentinel, int(state.nodes["next"][sentinel])
    while slot != sentinel:
        assert int(state.nodes["previous"][slot]) == previous, f"slot {slot}: links agree both ways"
        assert int(state.nodes["level"][slot]) == sentinel, f"slot {slot}: knows its level"
        yield slot
        previous, slot = slot, int(state.nodes["next"][slot])
    assert int(state.nodes["previous"][sentinel]) == previous, f"sentinel {sentinel}: the circle is closed"


def _bit(state: State, first_word: int, bit: int) -> bool:
    return bool(int(state.bits[first_word + (bit >> 6)]) >> (bit & 63) & 1)


def _check_tiers(state: State, ladder: int, occupied: list[int]) -> None:
    row = state.ladders[ladder]
    words = {level >> 6 for level in occupied}
    for word in range((int(row["levels"]) + 63) >> 6):
        assert _bit(state, int(row["tier_1"]), word) == (word in words), f"ladder {ladder}: bit of tier 1"
    groups = {word >> 6 for word in words}
    for group in range(((int(row["levels"]) + 63) >> 6) + 63 >> 6):
        assert _bit(state, int(row["tier_2"]), group) == (group in groups), f"ladder {ladder}: bit of tier 2"


def _check_slots(state: State, slots: list[int]) -> None:
    """Live and freed slots are all that were ever used, and freed ones are zero but for their link."""
    head, nodes = state.head, state.nodes
    freed = _chain(int(head["free_slot"][0]), nodes)
    assert len(slots) == int(head["live_orders"][0]), "live orders are counted"
    assert sorted(slots + freed) == list(range(1, int(head["slots_used"][0]) + 1)), (
        "no slot is lost or double"
    )
    for name in ("previous", "leaves", "level", "account", "id"):
        assert not nodes[name][freed].any(), f"freed slots are zero: {name}"
    assert not any(state.specials[name][freed].any() for name in state.specials.dtype.names or ())
    names = [name for name in state.orders.dtype.names or () if not name.startswith("reserved")]
    assert not any(state.orders[name][freed].any() for name in names), "freed slots are zero"
    for slot in slots:
        assert int(nodes["id"][slot]) & SLOT_MASK == slot, "an order id names its slot"
    owners = {slot: 0x80 | int(nodes["account"][slot]) & 0x7F for slot in slots}
    found = {int(slot): int(state.owners[slot]) for slot in np.flatnonzero(state.owners)}
    assert found == owners, "a byte for each order says whose it may be"


def _chain(first: int, rows: Records) -> list[int]:
    """The freed rows, from the first on by their links; 0 ends the chain."""
    found = []
    while first != 0:
        found.append(first)
        first = int(rows["next"][first])
    return found


def _check_money(state: State, slots: list[int]) -> None:
    """The sum of an account's holds is the formula over its live orders, and nobody owes (semantics G4)."""
    held: dict[int, int] = {}
    for slot in slots:
        account, hold = int(state.nodes["account"][slot]), _hold(state, slot)
        assert int(state.orders["hold"][slot]) == hold, f"slot {slot}: hold {hold}"
        held[account] = held.get(account, 0) + hold
    accounts = state.accounts
    for account in range(int(state.head["accounts_used"][0])):
        assert int(accounts["held"][account]) == held.get(account, 0), f"account {account}: sum of holds"
        assert int(accounts["available"][account]) >= 0, f"account {account}: available"
        live = sum(1 for slot in slots if int(state.nodes["account"][slot]) == account)
        assert int(accounts["live_orders"][account]) == live, f"account {account}: live orders"


def _hold(state: State, slot: int) -> int:
    """Semantics G3, for one resting order."""
    ladder = int(state.nodes["account"][int(state.nodes["level"][slot])])
    terms, side, price = state.instruments[ladder >> 2], ladder & 1, int(state.orders["price"][slot])
    at = price if side == Side.BUY else int(terms["upper"])
    points = int(terms["buyer_deposit"] if side == Side.BUY else terms["seller_deposit"])
    leaves = int(state.nodes["leaves"][slot]) + int(state.specials["hidden"][slot])
    step, fee = int(terms["step"]), int(terms["fee"])
    return int(money.hold_fen(at, leaves, step, points, fee))


def _check_goods(state: State, slots: list[int]) -> None:
    """A lot's kilograms are free, listed or contracted; listed ones are the leaves of its live sells (G4)."""
    listed: dict[int, int] = {}
    for slot in slots:
        lot = int(state.orders["lot"][slot])
        leaves = int(state.nodes["leaves"][slot]) + int(state.specials["hidden"][slot])
        listed[lot] = listed.get(lot, 0) + leaves
    for lot in range(1, int(state.head["lots_used"][0])):
        row = state.lots[lot]
        parts = [int(row[name]) for name in ("free", "listed", "contracted")]
        assert min(parts) >= 0, f"lot {lot}: no negative kilograms"
        assert sum(parts) == int(row["registered"]), f"lot {lot}: free + listed + contracted = registered"
        assert parts[1] == listed.get(lot, 0), f"lot {lot}: listed kilograms are those of its live orders"


def _check_sessions(state: State, slots: list[int]) -> None:
    """Live and freed sessions are all that were ever used; orders name live ones of their account (C7)."""
    head, sessions = state.head, state.sessions
    freed = _chain(int(head["free_session"][0]), sessions)
    used = range(1, int(head["sessions_used"][0]) + 1)
    live = [session for session in used if int(sessions["id"][session]) != 0]
    assert sorted(live + freed) == list(used), "no session is lost or double"
    for name in ("id", "account", "scope", "due_ns"):
        assert not sessions[name][freed].any(), f"freed sessions are zero: {name}"
    for session in live:
        assert int(sessions["id"][session]) & SLOT_MASK == session, "a session's id names its slot"
        assert int(state.accounts["open"][sessions["account"][session]]) == 1, "a session is an account's"
        due = int(sessions["due_ns"][session])
        assert due == 0 or 0 < int(head["next_expiry_ns"][0]) <= due, "a timer is not forgotten"
    for slot in slots:
        session = int(state.orders["session"][slot])
        assert session == 0 or session in live, f"slot {slot}: its session lives"
        owner = int(sessions["account"][session])
        assert session == 0 or owner == int(state.nodes["account"][slot]), f"slot {slot}: its account's"


def _check_kept_cancels(state: State, slots: list[int]) -> None:
    """Cancels are kept in no_cancel only; a blocked account has no order besides (semantics C6, E1)."""
    for slot in slots:
        instrument = int(state.nodes["account"][int(state.nodes["level"][slot])]) >> 2
        condemned = int(state.orders["condemned"][slot]) != 0
        if condemned:
            assert int(state.instruments["phase"][instrument]) == Phase.NO_CANCEL, f"slot {slot}: kept cancel"
            assert int(state.instruments["kept_cancels"][instrument]) == 1, "kept cancels are not forgotten"
        blocked = int(state.accounts["blocked"][int(state.nodes["account"][slot])])
        assert condemned or not blocked, f"slot {slot}: a blocked account has no order"


def _check_dues(state: State, slots: list[int]) -> None:
    """Every live good-till-date order has one row of the dues, none is due before its parent (B5)."""
    used, dues = int(state.head["dues_used"][0]), state.dues
    rows = [(int(row["due_ns"]), int(row["order_id"])) for row in dues[:used]]
    assert all(rows[(at - 1) >> 1][0] <= rows[at][0] for at in range(1, used)), "the earliest due is first"
    assert not any(dues[name][used:].any() for name in dues.dtype.names or ()), "rows not in use are zero"
    waiting = sorted(
        (int(state.specials["expire_ns"][slot]), int(state.nodes["id"][slot]))
        for slot in slots
        if state.orders["time_in_force"][slot] == TimeInForce.GTD
    )
    live = {order_id for _, order_id in waiting}
    assert sorted(row for row in rows if row[1] in live) == waiting, "every expiry is remembered once"


def _check_auctions(state: State) -> None:
    """A volatility auction is an auction, and its end is not forgotten (semantics E5)."""
    for instrument in np.flatnonzero(state.instruments["auction_until"]):
        assert int(state.instruments["phase"][instrument]) == Phase.AUCTION, "a volatility auction is one"
        until, due = int(state.instruments["auction_until"][instrument]), int(state.head["next_expiry_ns"][0])
        assert 0 < due <= until, f"instrument {instrument}: the end of its auction is not forgotten"


def _check_listings(state: State, slots: list[int]) -> None:
    """What a listing has left is at least its minimum, and it was not touched if it has none (semantics
    F2).
    """
    for slot in slots:
        instrument = int(state.nodes["account"][int(state.nodes["level"][slot])]) >> 2
        if int(state.instruments["mode"][instrument]) == Mode.LISTED:
            minimum, leaves = int(state.specials["minimum"][slot]), int(state.nodes["leaves"][slot])
            assert 0 <= minimum <= leaves, f"slot {slot}: the minimum can be picked"
            assert minimum or not int(state.orders["cum"][slot]), f"slot {slot}: a whole lot is not divided"


def _check_slices(state: State, slots: list[int]) -> None:
    """The slices that icebergs and waiting stops have still to show are counted, and bounded (semantics
    G5).
    """
    slices = 0
    for slot in slots:
        display, hidden = (int(state.specials[name][slot]) for name in ("display", "hidden"))
        waits = int(state.nodes["account"][int(state.nodes["level"][slot])]) & 2
        if display:
            slices += -(-(int(state.nodes["leaves"][slot]) - display if waits else hidden) // display)
    assert int(state.head["slices"][0]) == slices, "slices are counted"
    assert 2 * len(slots) + slices <= 2 * int(state.head["orders_max"][0]), "the event buffer holds them"


def _check_uncrossed(state: State) -> None:
    """Semantics A3: a BOOK instrument is neither crossed nor locked in the continuous phase."""
    for instrument in np.flatnonzero(state.instruments["defined"]):
        if int(state.instruments["mode"][instrument]) == Mode.LISTED:
            continue
        if int(state.instruments["phase"][instrument]) != Phase.CONTINUOUS:
            continue
        bid, ask = state.ladders[LADDERS * int(instrument)], state.ladders[LADDERS * int(instrument) + 1]
        if int(bid["best"]) < int(bid["levels"]) and int(ask["best"]) < int(ask["levels"]):
            bid_price = int(bid["origin"]) + int(bid["best"]) * int(bid["stride"])
            ask_price = int(ask["origin"]) + int(ask["best"]) * int(ask["stride"])
            assert bid_price < ask_price, f"instrument {instrument}: bid {bid_price} meets ask {ask_price}"
