"""The private stream: everything that concerns an account, in the order of its own gap-free account sequence.

Law: account_sequence rises by one from event to event. A stream takes exactly last + 1; what it has is a
repeat, what lies further ahead is a gap, and a gap ends the session rather than being skipped.

    event log --replay--> stream (holding live events back) --> up to date: the held ones, then live
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from engine.instruments import FEE_FEN_PER_TONNE
from engine.money import amount_fen, fee_fen
from engine.records import CASH, LOT, ORDER, RECORD_BYTES, TRADE, Records
from engine.vocabulary import Event, Flag, Reason, Side, wire_name
from gateway import codec, pushes
from gateway.errors import reason_code
from gateway.fix_codes import fix_code
from gateway.notation import money_text, time_text, tonnes_text
from gateway.outbox import text_frame
from gateway.session import Session

HELD_EVENTS_MAX: Final = 10_000  # of one stream while it catches up
ACCOUNTS_MAX: Final = 1 << 20  # account numbers below this can be served
_KIND_OFFSET: Final = int(ORDER.fields["kind"][1])  # type: ignore[index]
_CHANGES: Final[dict[int, Any]] = {
    int(kind): wire_name(kind)
    for kind in (Event.ACCEPTED, Event.REPLACED, Event.TRIGGERED, Event.REFRESHED, Event.CANCELED)
}
_CASH_KINDS: Final = {int(Event.ACCOUNT_OPENED), int(Event.DEPOSITED), int(Event.WITHDRAWN)}
_LOT_KINDS: Final = {int(Event.LOT_REGISTERED), int(Event.LOT_WITHDRAWN)}
_TRADE, _PREVENTED = int(Event.TRADE), int(Event.PREVENTED)
_BUSTED: Final = int(Event.TRADE_BUSTED)
_PAIRS: Final = (_TRADE, _PREVENTED, _BUSTED)  # the kinds that concern two accounts
_CANCELED, _REFRESHED = int(Event.CANCELED), int(Event.REFRESHED)
_IN_AUCTION: Final = int(Flag.IN_AUCTION)
_EVENT_NAMES: Final = {int(kind): wire_name(kind) for kind in Event}
_FIX_CODES: Final = {int(reason): fix_code(reason) for reason in Reason if reason is not Reason.NONE}
_order: Final = codec.record_struct(ORDER, *codec.ORDER_FIELDS).unpack_from
_trade: Final = codec.record_struct(TRADE, *codec.TRADE_FIELDS).unpack_from
_cash: Final = codec.record_struct(CASH, *codec.CASH_FIELDS).unpack_from
_lot: Final = codec.record_struct(LOT, *codec.LOT_FIELDS).unpack_from

Change = tuple[int, int, pushes.PrivateEvent]  # account, account_sequence, event


def changes(rows: bytes) -> Iterator[Change]:
    """What EVENT rows mean to the accounts concerned: a trade or a prevention concerns both parties, a
    rejection nobody."""
    for offset in range(0, len(rows), RECORD_BYTES):
        kind = rows[offset + _KIND_OFFSET]
        if kind in _PAIRS:
            yield from _pair(_trade(rows, offset))
        elif kind in _CHANGES:
            yield _order_change(_order(rows, offset))
        elif kind in _CASH_KINDS:
            yield _cash_change(_cash(rows, offset))
        elif kind in _LOT_KINDS:
            yield _lot_change(_lot(rows, offset))


def _order_change(row: tuple[Any, ...]) -> Change:
    (sequence, time_ns, kind, side, order_type, time_in_force, _, reason, _, instrument, account, version, _,
     account_sequence, _, order_id, client_order_id, price, quantity_kg, leaves_kg, cum_kg,
     lot) = row  # fmt: skip
    return account, account_sequence, pushes.OrderEvent(
        member=account,
        account_sequence=account_sequence,
        sequence=sequence,
        time=time_text(time_ns),
        time_ns=time_ns,
        change=_CHANGES[kind],
        status=_status(kind, quantity_kg, cum_kg),
        order_id=str(order_id),
        client_order_id=codec.client_order_id_text(client_order_id),
        version=version,
        instrument=codec.INSTRUMENT_CODES[instrument],
        side=codec.SIDES[side],
        type=codec.ORDER_TYPE_NAMES[order_type],
        time_in_force=codec.TIME_IN_FORCE_NAMES[time_in_force],
        price=money_text(price),
        quantity=tonnes_text(quantity_kg),
        leaves=tonnes_text(leaves_kg),
        cum=tonnes_text(cum_kg),
        lot=str(lot) if lot else "",
        reason=reason_code(reason) if reason else "",
        fix=_FIX_CODES.get(reason, UNSET),
    )  # fmt: skip


def _status(kind: int, quantity_kg: int, cum_kg: int) -> Any:
    if kind == _CANCELED:
        return "canceled"
    if cum_kg == 0:
        return "new"
    if kind == _REFRESHED:  # its quantity is the slice's
        return "partially_filled"
    return "filled" if cum_kg == quantity_kg else "partially_filled"


_Role = Literal["maker", "taker", "auction"]
_Party = tuple[int, int, int, int, int, _Role]  # account, its sequence, order id, leaves, side, role
_Met = dict[str, Any]  # the fields of an event that are the same for both parties


def _pair(row: tuple[Any, ...]) -> list[Change]:
    """What two orders met for, once from each side: the incoming one's, then the resting one's; of a bust the
    buyer's, then the seller's."""
    (sequence, time_ns, kind, side, flags, instrument, account, counter_account, account_sequence,
     counter_sequence, order_id, counter_order_id, match_id, price, quantity_kg, leaves_kg, counter_leaves_kg,
     lot) = row  # fmt: skip
    auction = flags & _IN_AUCTION
    one: _Party = (
        account, account_sequence, order_id, leaves_kg, side, "auction" if auction else "taker",
    )  # fmt: skip
    other: _Party = (
        counter_account, counter_sequence, counter_order_id, counter_leaves_kg, 1 - side,
        "auction" if auction else "maker",
    )  # fmt: skip
    met = {
        "sequence": sequence,
        "time": time_text(time_ns),
        "time_ns": time_ns,
        "instrument": codec.INSTRUMENT_CODES[instrument],
        "price": money_text(price),
        "quantity": tonnes_text(quantity_kg),
    }
    if kind != _PREVENTED:
        met["match_id"] = str(match_id)
        met["amount"] = money_text(int(amount_fen(price, quantity_kg)))
        met["fee"] = money_text(int(fee_fen(quantity_kg, FEE_FEN_PER_TONNE)))
    tell, lot_text = _TELLERS[kind], str(lot) if lot else ""
    both = [
        (account, account_sequence, tell(met, one, other, lot_text)),
        (counter_account, counter_sequence, tell(met, other, one, lot_text)),
    ]
    return sorted(both, key=_by_account_sequence) if account == counter_account else both


def _by_account_sequence(change: Change) -> int:
    return change[1]


def _fill(met: _Met, party: _Party, counterparty: _Party, lot: str) -> pushes.FillEvent:
    account, account_sequence, order_id, leaves_kg, side, role = party
    return pushes.FillEvent(
        **met,
        member=account,
        account_sequence=account_sequence,
        order_id=str(order_id),
        side=codec.SIDES[side],
        role=role,
        leaves=tonnes_text(leaves_kg),
        lot=lot,
        counterparty=counterparty[0],
    )


def _bust(met: _Met, party: _Party, counterparty: _Party, lot: str) -> pushes.BustEvent:
    account, account_sequence, _, _, side, _ = party
    return pushes.BustEvent(
        **met,
        member=account,
        account_sequence=account_sequence,
        side=codec.SIDES[side],
        lot=lot,
        counterparty=counterparty[0],
    )


def _prevention(met: _Met, party: _Party, counterparty: _Party, lot: str) -> pushes.PreventedEvent:
    account, account_sequence, order_id, leaves_kg, side, _ = party
    return pushes.PreventedEvent(
        **met,
        member=account,
        account_sequence=account_sequence,
        order_id=str(order_id),
        counter_order_id=str(counterparty[2]),
        side=codec.SIDES[side],
        leaves=tonnes_text(leaves_kg),
        lot=lot if side == Side.SELL else "",
    )


_TELLERS: Final = {_TRADE: _fill, _PREVENTED: _prevention, _BUSTED: _bust}


def _cash_change(row: tuple[Any, ...]) -> Change:
    sequence, time_ns, kind, account, account_sequence, amount, available_fen, held_fen = row
    return account, account_sequence, pushes.CashEvent(
        member=account,
        account_sequence=account_sequence,
        sequence=sequence,
        time=time_text(time_ns),
        time_ns=time_ns,
        kind=_EVENT_NAMES[kind],
        amount=money_text(amount),
        available=money_text(available_fen),
        held=money_text(held_fen),
    )  # fmt: skip


def _lot_change(row: tuple[Any, ...]) -> Change:
    (sequence, time_ns, kind, instrument, account, account_sequence, free_kg, listed_kg, quantity_kg,
     contracted_kg, lot) = row  # fmt: skip
    return account, account_sequence, pushes.LotEvent(
        member=account,
        account_sequence=account_sequence,
        sequence=sequence,
        time=time_text(time_ns),
        time_ns=time_ns,
        kind=_EVENT_NAMES[kind],
        lot=str(lot),
        instrument=codec.INSTRUMENT_CODES[instrument],
        quantity=tonnes_text(quantity_kg),
        free=tonnes_text(free_kg),
        listed=tonnes_text(listed_kg),
        contracted=tonnes_text(contracted_kg),
    )  # fmt: skip


class PrivateStream:
    """One session's stream of its account: replayed, then live, each event once."""

    __slots__ = ("_held", "account", "last", "overflowed", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.account = session.member
        self.last = 0  # account_sequence of the last event sent
        self.overflowed = False
        self._held: list[tuple[int, bytes]] | None = []  # None once live

    def offer(self, account_sequence: int, frame: bytes) -> bool:
        """A live event; False when it shows a gap or there is no room to hold it back."""
        if self._held is not None:
            if len(self._held) >= HELD_EVENTS_MAX:
                self.overflowed = True
                return False
            self._held.append((account_sequence, frame))
            return True
        return self.replay(account_sequence, frame)

    def replay(self, account_sequence: int, frame: bytes) -> bool:
        """Send the event if it is the next, pass over it if it was sent; False on a gap."""
        if account_sequence == self.last + 1:
            self.last = account_sequence
            self.session.outbox.send_frame(frame)
            return True
        return account_sequence <= self.last

    def go_live(self) -> bool:
        """Send what was held back and continue live; False on a gap."""
        held, self._held = self._held or [], None
        return all(self.replay(account_sequence, frame) for account_sequence, frame in held)


class PrivateStreams:
    """The streams by account, and the mask by which a whole batch of events is filtered at once."""

    def __init__(self) -> None:
        self._served: npt.NDArray[np.bool_] = np.zeros(ACCOUNTS_MAX + 1, np.bool_)  # the last: account -1
        self._streams: dict[int, list[PrivateStream]] = {}

    @property
    def serving(self) -> bool:
        """Whether there is any stream."""
        return bool(self._streams)

    def join(self, session: Session) -> PrivateStream:
        """A stream that holds live events back until `go_live`; it replaces the session's former one."""
        self.leave(session)
        stream = PrivateStream(session)
        assert 0 <= stream.account < ACCOUNTS_MAX
        self._streams.setdefault(stream.account, []).append(stream)
        self._served[stream.account] = True
        return stream

    def leave(self, session: Session) -> None:
        """Remove a session's stream, if it has one."""
        streams = self._streams.get(session.member, [])
        streams[:] = [stream for stream in streams if stream.session is not session]
        if not streams and session.member in self._streams:
            del self._streams[session.member]
            self._served[session.member] = False

    def concerned(self, events: Records) -> npt.NDArray[np.bool_]:
        """Which of a batch of events concern an account with a stream: its own, and a trade's resting
        side."""
        account = np.minimum(events["account"], ACCOUNTS_MAX)
        paired = np.isin(events["kind"], _PAIRS)
        counter = np.where(paired, np.minimum(events["counter_account"], ACCOUNTS_MAX), -1)
        return np.asarray(self._served[account] | self._served[counter])

    def apply(self, rows: bytes) -> list[Session]:
        """Hand live events to their streams; returns the sessions that must end because of a gap or
        overflow."""
        broken: list[Session] = []
        for account, account_sequence, event in changes(rows):
            streams = self._streams.get(account)
            if streams:
                frame = text_frame(codec.encode(event))
                broken += [each.session for each in streams if not each.offer(account_sequence, frame)]
        return broken
