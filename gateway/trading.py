"""The trading desk: commands out, acknowledgements in.

Law: the response to a command is its first event (of a mass cancel the last, which counts what it canceled),
which the engine releases only when the command is durable; the gateway answers nothing by itself. The tag
that the engine echoes (link number << 48 | request number) finds the waiting request. Per order this costs
one decode, one pack, one dictionary entry and one encode.

A key that trades gets a session in the engine at logon; its number goes with every order, and ends with the
connection (semantics C7), unless another logon of the key has taken it over.
"""

from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.frames import LINK_SHIFT, LINKS_MAX
from engine.records import EVENT, ORDER, Records
from engine.vocabulary import Event, Flag
from gateway import answers, codec, messages
from gateway.directory import Holder
from gateway.errors import Refusal, reason_code, reason_path, text_of
from gateway.notation import average_price_text, money_text, time_text, tonnes_text
from gateway.session import IN_FLIGHT_MAX, Session

WRITTEN_ERRORS_MAX: Final = 1024  # more than there are reasons and fields that one can be about
_ACCEPTED, _REJECTED, _CANCELED = int(Event.ACCEPTED), int(Event.REJECTED), int(Event.CANCELED)
_REPLACED, _ORDERS_CANCELED = int(Event.REPLACED), int(Event.ORDERS_CANCELED)
_TIMER_SET, _ACCOUNT_BLOCKED = int(Event.TIMER_SET), int(Event.ACCOUNT_BLOCKED)
_COUNTING: Final = (
    messages.MassCancel,
    messages.BlockAccount,
)  # answered by the event that counts the cancels
_DUPLICATE, _KEPT_PLACE = int(Flag.DUPLICATE), int(Flag.KEPT_PLACE)
_REFUSED_ROWS: Final = codec.record_struct(EVENT, "reason", "tag").iter_unpack
# In the row of a session `order_id` is the session, and of a timer `cum_kg` its time (engine/records.py).
_ANSWER_FIELDS: Final = (
    "sequence", "time_ns", "kind", "flags", "reason", "listing_version", "tag", "amount_fen", "order_id",
    "client_order_id_0",
    "price_fen_per_tonne", "quantity_kg", "leaves_kg", "cum_kg",
)  # fmt: skip
_ANSWER_ROWS: Final = codec.record_struct(ORDER, *_ANSWER_FIELDS).iter_unpack
_ENCODERS: Final[dict[type, Any]] = {
    messages.NewOrder: codec.new_order,
    messages.CancelOrder: codec.cancel_order,
    messages.ReplaceOrder: codec.replace_order,
    messages.MassCancel: codec.mass_cancel,
    messages.Pick: codec.pick,
    messages.CancelAllAfter: codec.cancel_all_after,
    messages.SetPhase: codec.set_phase,
    messages.SetReference: codec.set_reference,
    messages.RollDay: codec.roll_day,
    messages.SetClock: codec.set_clock,
    messages.BlockAccount: codec.block_account,
    messages.ReleaseAccount: codec.release_account,
}
_Waiting = tuple[Session, messages.CommandRequest | messages.Logon, int]


class TradingDesk:
    """Requests that became commands and wait for their event; bounded by IN_FLIGHT_MAX per session."""

    def __init__(self) -> None:
        self.number = 0  # of the link to the engine, which gave it: no other live link has it
        self.available = False  # whether the engine is reachable
        self._next = 0
        self._waiting: dict[int, _Waiting] = {}
        self._commands: list[bytes] = []
        self._sessions: dict[int, Session] = {}  # by the engine's number

    def open(self, number: int) -> None:
        """The engine is there, behind the link `number`."""
        assert 0 < number <= LINKS_MAX
        self.number, self._next, self.available = number, number << LINK_SHIFT, True

    def submit(self, session: Session, message: messages.CommandRequest, received_ns: int) -> None:
        """Turn a request into a command of the next batch. Raises Refusal without any effect."""
        if not self.available:
            raise Refusal("engine_unavailable")
        if session.in_flight >= IN_FLIGHT_MAX:
            raise Refusal("too_many_in_flight")
        tag = self._next
        command = _ENCODERS[type(message)](message, session.member, tag, session.number)
        session.in_flight += 1
        self._next = tag + 1
        self._waiting[tag] = (session, message, received_ns)
        self._commands.append(command)

    def start(self, session: Session, message: messages.Logon, holder: Holder, received_ns: int) -> None:
        """Have the engine start a session; the logon is answered when it has."""
        tag = self._next
        self._next = tag + 1
        session.starting, session.on_disconnect = holder, message.cancel_on_disconnect
        session.in_flight += 1
        self._waiting[tag] = (session, message, received_ns)
        member = holder.member.member
        self._commands.append(codec.start_session(member, message.cancel_on_disconnect, tag))

    def end(self, session: Session) -> None:
        """The connection is gone, and the engine's session with it. Where the link to the engine is gone too,
        the engine has ended the session by itself."""
        number, session.number = session.number, 0
        if self._sessions.pop(number, None) is not None:
            self._end_in_engine(session.member, number)

    def _end_in_engine(self, member: int, number: int) -> None:
        tag = self._next
        self._next = tag + 1
        self._commands.append(codec.end_session(member, tag, number))

    def holder_of(self, number: int, key: str) -> Session:
        """The connection that holds the session `number`, of the same key. Raises Refusal unknown_session."""
        session = self._sessions.get(number)
        if session is None or session.key != key.lower():
            raise Refusal("unknown_session", "$.take_over")
        return session

    def hand_over(self, former: Session, session: Session) -> None:
        """The session goes on under another connection: the engine need not know, and nothing is canceled."""
        number, former.number = former.number, 0
        self._sessions[number] = session
        session.on_disconnect = former.on_disconnect

    def take_commands(self) -> list[bytes]:
        """The packed commands since the last call, for one frame to the engine."""
        commands, self._commands = self._commands, []
        return commands

    def answer(self, rows: bytes) -> None:
        """Answer the requests whose telling event is among these rows."""
        waiting = self._waiting
        for row in _ANSWER_ROWS(rows):
            found = waiting.pop(row[6], None)
            if found is not None:
                session, message, received_ns = found
                if row[2] == _CANCELED and isinstance(message, _COUNTING):
                    waiting[row[6]] = found  # the count comes behind the cancels
                    continue
                session.in_flight -= 1
                if isinstance(message, messages.Logon):
                    self._started(row, session, message, received_ns)
                    continue
                session.outbox.send(codec.encode(_response(row, message, received_ns)))

    def _started(
        self, row: tuple[Any, ...], session: Session, message: messages.Logon, received_ns: int
    ) -> None:
        """The engine has started a session, or refused; the connection may be gone meanwhile."""
        holder, session.starting = session.starting, None
        assert holder is not None, "the logon was proven"
        if row[2] == _REJECTED:
            refused = _rejected(message, row[0], row[1], row[4], row[3], received_ns)
            session.outbox.send(codec.encode(refused))
        elif session.ended:
            self._end_in_engine(holder.member.member, row[8])
        else:
            self._sessions[row[8]] = session
            session.outbox.send(codec.encode(session.begin(message, holder, received_ns, row[8])))

    def refuse(self, rows: Records) -> None:
        """Answer the requests that the engine turned away at its door: not sequenced, nothing consumed
        (G5)."""
        for reason, tag in _REFUSED_ROWS(codec.rows_of(rows)):
            found = self._waiting.pop(tag, None)
            if found is not None:
                session, message, _ = found
                session.in_flight -= 1
                session.starting = None
                session.outbox.send(codec.encode(rejection(message.id, Refusal(reason_code(reason)))))

    def forget(self) -> None:
        """The command link is lost: nobody knows what became of the waiting requests, their sessions end."""
        self.available = False
        self._waiting.clear()
        self._commands.clear()
        self._sessions.clear()

    def tells(self, batch: Records) -> npt.NDArray[np.bool_]:
        """Which events of a batch may answer a request of this gateway."""
        kind = batch["kind"]
        telling = (batch["index"] == 0) | (kind == _ORDERS_CANCELED) | (kind == _ACCOUNT_BLOCKED)
        return np.asarray((batch["tag"] >> LINK_SHIFT == self.number) & telling)

    @property
    def waiting(self) -> int:
        """How many requests wait for their event."""
        return len(self._waiting)


def rejection(request_id: str | None, refusal: Refusal) -> answers.Rejected:
    """The response to a request that the gateway refuses."""
    return answers.Rejected(id=request_id, error=error_of(refusal.code, refusal.path, refusal.detail))


def error_of(code: str, path: str = "$", detail: str = "") -> answers.Error:
    """The error object of a code."""
    text = text_of(code, detail)
    return answers.Error(
        code=code,
        message=text.english,
        message_zh=text.chinese,
        path=path,
        retry=text.retry,
        fix=text.fix or msgspec.UNSET,
    )


@lru_cache(WRITTEN_ERRORS_MAX)
def _written_error(reason: int, path: str) -> msgspec.Raw:
    """The JSON of the error object of the engine's reason: most of a rejection's bytes, always the same."""
    return msgspec.Raw(codec.encode(error_of(reason_code(reason), path)))


def _response(
    row: tuple[Any, ...], message: messages.CommandRequest, received_ns: int
) -> answers.CommandAnswer:
    (sequence, time_ns, kind, flags, reason, version, _, amount_fen, order_id, client_order_id, price,
     quantity_kg, leaves_kg, cum_kg) = row  # fmt: skip
    if kind == _REJECTED:
        return _rejected(message, sequence, time_ns, reason, flags, received_ns)
    if kind == _ACCEPTED:
        return answers.OrderAccepted(
            id=message.id,
            order_id=str(order_id),
            client_order_id=message.client_order_id,  # type: ignore[union-attr]
            sequence=sequence,
            price=money_text(price),
            quantity=tonnes_text(quantity_kg),
            leaves=tonnes_text(leaves_kg),
            cum=tonnes_text(cum_kg),
            amount=money_text(amount_fen),
            average_price=average_price_text(amount_fen, cum_kg),
            received_at=time_text(received_ns),
            received_at_ns=received_ns,
            sequenced_at=time_text(time_ns),
            sequenced_at_ns=time_ns,
            duplicate=flags & _DUPLICATE != 0,
        )
    stamps = {
        "sequence": sequence,
        "received_at": time_text(received_ns),
        "received_at_ns": received_ns,
        "sequenced_at": time_text(time_ns),
        "sequenced_at_ns": time_ns,
    }
    if kind == _REPLACED:
        return answers.OrderReplaced(
            id=message.id,
            order_id=str(order_id),
            client_order_id=codec.client_order_id_text(client_order_id),
            version=version,
            kept_place=flags & _KEPT_PLACE != 0,
            price=money_text(price),
            quantity=tonnes_text(quantity_kg),
            leaves=tonnes_text(leaves_kg),
            cum=tonnes_text(cum_kg),
            **stamps,
        )
    if kind == _ORDERS_CANCELED:
        return answers.MassCanceled(id=message.id, canceled=quantity_kg, **stamps)
    if kind == _ACCOUNT_BLOCKED:
        return answers.AccountBlocked(id=message.id, canceled=quantity_kg, **stamps)
    if kind == _TIMER_SET:  # its due_ns stands where others have cum_kg
        return answers.TimerSet(
            id=message.id, due_at=time_text(cum_kg) if cum_kg else "", due_at_ns=cum_kg, **stamps
        )
    if kind == _CANCELED and type(message) in (messages.CancelOrder, messages.ReplaceOrder):
        return answers.OrderCanceled(
            id=message.id,
            order_id=str(order_id),
            client_order_id=codec.client_order_id_text(client_order_id),
            canceled=tonnes_text(quantity_kg),
            cum=tonnes_text(cum_kg),
            **stamps,
        )
    return answers.Done(id=message.id, **stamps)


def _rejected(
    message: messages.CommandRequest | messages.Logon,
    sequence: int,
    time_ns: int,
    reason: int,
    flags: int,
    received_ns: int,
) -> answers.Rejected:
    path = reason_path(reason, _FIELDS[type(message)])
    if path == "$.order_id" and not getattr(message, "order_id", ""):
        path = "$.client_order_id"
    elif path == "$.quantity" and isinstance(message, messages.ReplaceOrder) and message.leaves:
        path = "$.leaves"
    elif path == "$.quantity" and isinstance(message, messages.Pick) and message.lot:
        path = "$.lot"  # whose kilograms they are
    answer = answers.Rejected(
        id=message.id,
        error=_written_error(reason, path),
        sequence=sequence,
        received_at=time_text(received_ns),
        received_at_ns=received_ns,
        sequenced_at=time_text(time_ns),
        sequenced_at_ns=time_ns,
    )
    if "client_order_id" in _FIELDS[type(message)]:
        answer.client_order_id = message.client_order_id  # type: ignore[union-attr]
        answer.duplicate = flags & _DUPLICATE != 0
    return answer


_FIELDS: Final = {
    kind: kind.__struct_fields__  # type: ignore[attr-defined]
    for kind in (*_ENCODERS, messages.Logon)
}
