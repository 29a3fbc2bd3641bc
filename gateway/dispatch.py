"""Where a frame goes: each op has the scopes that permit it and one handler.

Law: every request gets exactly one response, and a refused one has no effect. Orders are handled at once,
without a task or a future; whatever must wait for the engine's or settlement's answer is a bounded job
beside.

    frame --decode--> message --scopes--+--> TradingDesk   (orders, operator's commands)
                                        +--> MarketData    (public channels)
                                        +--> a job         (questions, settlement, private stream)
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import structlog
from msgspec import UNSET

from engine import requests
from engine.records import Records
from engine.vocabulary import Command, Mode
from gateway import answers, codec, inquiries, messages
from gateway.directory import Directory
from gateway.errors import TEXTS, Refusal
from gateway.market_data import MarketData
from gateway.notation import parse_id, time_text
from gateway.private_stream import PrivateStreams
from gateway.session import Session
from gateway.trading import TradingDesk, rejection

log = structlog.get_logger(__name__)

DEPTH_PAUSE_SECONDS: Final = 0.01  # between two questions about one book: it is conflated by so much

ANY: Final[frozenset[str]] = frozenset()
TRADE: Final = frozenset({"trade"})
OPERATE: Final = frozenset({"operate"})
OWN: Final = frozenset({"read", "trade", "operate"})


class Engine(Protocol):
    """What the dispatcher asks of the engine besides commands. `query` raises Refusal engine_unavailable."""

    async def query(self, kind: Command, *, account: int = -1, instrument: int = -1) -> Records:
        """EVENT rows of an answer, the END row last."""

    async def resume(
        self, session: Session, resume_from: messages.ResumeFrom | None, request_id: str
    ) -> None:
        """Join the private stream: respond, replay what was missed, continue live."""


class Settlement(Protocol):
    """What the dispatcher asks of settlement. Raises Refusal settlement_unavailable."""

    async def request(self, message: requests.Request) -> requests.Answer:
        """Ask and wait."""


class SessionOver(Exception):
    """The connection must be closed after the response that was sent."""


Handler = Callable[[Session, Any, int], None]


class Dispatcher:
    """The ops of one gateway; it touches no socket."""

    def __init__(
        self,
        desk: TradingDesk,
        engine: Engine,
        settlement: Settlement,
        directory: Directory,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.market = MarketData(self._fetch_depth)
        self.private = PrivateStreams()
        self._desk = desk
        self._engine = engine
        self._settlement = settlement
        self._directory = directory
        self._spawn = spawn
        self.on_broken: Callable[[Session, str], None] = _ignore  # ends one session, with a code
        self._open_to_all: tuple[Handler, ...] = (self._logon, self._ping)  # before logon
        self._handlers: dict[type, tuple[frozenset[str], Handler]] = self._table()

    def _table(self) -> dict[type, tuple[frozenset[str], Handler]]:
        submit = self._desk.submit
        return {
            messages.NewOrder: (TRADE, submit),
            messages.CancelOrder: (TRADE, submit),
            messages.ReplaceOrder: (TRADE, submit),
            messages.MassCancel: (TRADE, submit),
            messages.Pick: (TRADE, submit),
            messages.CancelAllAfter: (TRADE, submit),
            messages.SetPhase: (OPERATE, submit),
            messages.SetReference: (OPERATE, submit),
            messages.RollDay: (OPERATE, submit),
            messages.SetClock: (OPERATE, submit),
            messages.BlockAccount: (OPERATE, submit),
            messages.ReleaseAccount: (OPERATE, submit),
            messages.OpenOrders: (OWN, self._ask),
            messages.Balances: (OWN, self._ask),
            messages.Lots: (OWN | {"warehouse"}, self._ask),
            messages.Listings: (ANY, self._ask),
            messages.Instruments: (ANY, self._ask),
            messages.Contracts: (OWN | {"settle"}, self._settle),
            messages.Entries: (OWN | {"settle"}, self._settle),
            messages.AddMember: (OPERATE, self._settle),
            messages.BustTrade: (OPERATE, self._settle),
            messages.ConfirmBust: (OPERATE, self._settle),
            messages.RejectBust: (OPERATE, self._settle),
            messages.Busts: (OPERATE, self._settle),
            messages.RegisterLot: (frozenset({"operate", "warehouse"}), self._settle),
            messages.Deposit: (frozenset({"settle"}), self._settle),
            messages.Withdraw: (frozenset({"settle"}), self._settle),
            messages.Subscribe: (ANY, self._subscribe),
            messages.Unsubscribe: (ANY, self._unsubscribe),
            messages.Logon: (ANY, self._logon),
            messages.Ping: (ANY, self._ping),
        }

    def receive(self, session: Session, frame: bytes, now_ns: int) -> None:
        """Handle one text frame that came at `now_ns`. Raises SessionOver when the connection must be
        closed."""
        if session.ended:
            return  # the socket is closing; an order would be of no session now, and outlive the connection
        session.heard = True
        message = None
        try:
            if session.member < 0:
                session.count_before_logon(len(frame))
            message = codec.decode_request(frame)
            scopes, handle = self._handlers[type(message)]
            if session.member < 0 and handle not in self._open_to_all:
                raise Refusal("logon_required", "$.op")
            if scopes and session.scopes.isdisjoint(scopes):
                raise Refusal("scope_missing", "$.op")
            handle(session, message, now_ns)
        except Refusal as refusal:
            request_id = codec.request_id_of(frame) if message is None else message.id
            self._refuse(session, refusal, request_id)

    def leave(self, session: Session) -> None:
        """The connection is gone: nothing is sent to it any more, and its session ends (semantics C7)."""
        session.ended = True
        self._desk.end(session)
        self.market.leave(session.outbox)
        self.private.leave(session)

    def _refuse(self, session: Session, refusal: Refusal, request_id: str | None) -> None:
        session.outbox.send(codec.encode(rejection(request_id, refusal)))
        if refusal.code == "too_much_before_logon":
            raise SessionOver(refusal.code)

    def _ping(self, session: Session, message: messages.Ping, now_ns: int) -> None:
        pong = answers.Pong(id=message.id, server_time=time_text(now_ns), server_time_ns=now_ns)
        session.outbox.send(codec.encode(pong))

    def _logon(self, session: Session, message: messages.Logon, now_ns: int) -> None:
        if not self._desk.available:
            raise Refusal("engine_unavailable")
        holder = session.prove(message, self._directory, now_ns)
        if TRADE.isdisjoint(holder.scopes):
            if message.take_over or message.cancel_on_disconnect != "off":
                raise Refusal(
                    "scope_missing", "$.take_over" if message.take_over else "$.cancel_on_disconnect"
                )
            session.outbox.send(codec.encode(session.begin(message, holder, now_ns)))
        elif message.take_over:
            number = parse_id(message.take_over, "$.take_over")
            former = self._desk.holder_of(number, message.key)
            self._desk.hand_over(former, session)
            session.outbox.send(codec.encode(session.begin(message, holder, now_ns, number)))
            self.on_broken(former, "taken_over")
        else:
            self._desk.start(session, message, holder, now_ns)

    def _subscribe(self, session: Session, message: messages.Subscribe, now_ns: int) -> None:
        if not self._desk.available:
            raise Refusal("engine_unavailable")
        if message.channel == "private":
            if session.scopes.isdisjoint(OWN):
                raise Refusal("scope_missing", "$.channel")
            self._later(session, message.id, self._join_private(session, message))
            return
        numbers = _instrument_numbers(message)
        subscribed = answers.Subscribed(
            id=message.id, channel=message.channel, instruments=message.instruments
        )
        session.outbox.send(codec.encode(subscribed))
        for number in numbers:
            self.market.subscribe((message.channel, number), session.outbox)

    def _unsubscribe(self, session: Session, message: messages.Unsubscribe, now_ns: int) -> None:
        if message.channel == "private":
            self.private.leave(session)
        else:
            for number in _instrument_numbers(message):
                self.market.unsubscribe((message.channel, number), session.outbox)
        session.outbox.send(codec.encode(answers.Unsubscribed(id=message.id, channel=message.channel)))

    async def _join_private(self, session: Session, message: messages.Subscribe) -> None:
        await self._engine.resume(session, message.resume_from, message.id)

    def _fetch_depth(self, number: int) -> None:
        self._spawn(self._load_depth(number))

    async def _load_depth(self, number: int) -> None:
        try:
            answer = await self._engine.query(Command.QUERY_DEPTH, instrument=number)
        except Refusal:
            self.market.abandon(number)  # if the engine is gone, the sessions end with the link
        else:
            self.market.load(number, answer)
        await asyncio.sleep(DEPTH_PAUSE_SECONDS)
        self.market.ready(number)

    def _ask(self, session: Session, message: messages.QueryRequest, now_ns: int) -> None:
        self._later(session, message.id, self._answer_question(session, message))

    async def _answer_question(self, session: Session, message: messages.QueryRequest) -> None:
        answer = await self._question(session.member, message)
        session.outbox.send(codec.encode(answer))

    async def _question(self, member: int, message: messages.QueryRequest) -> answers.Response:
        query = self._engine.query
        match message:
            case messages.OpenOrders():
                return inquiries.open_orders(message, await query(Command.QUERY_ORDERS, account=member))
            case messages.Balances():
                return inquiries.balance(message.id, await query(Command.QUERY_BALANCES, account=member))
            case messages.Lots():
                rows = await query(Command.QUERY_LOTS, account=member)
                return inquiries.lots(message, rows, self._directory)
            case messages.Listings():
                number = codec.instrument_number(message.instrument)
                if codec.INSTRUMENTS[number].mode is not Mode.LISTED:  # its orders may hide kilograms
                    raise Refusal("not_listed", "$.instrument")
                rows = await query(Command.QUERY_LISTINGS, instrument=number)
                return inquiries.listings(message, rows, self._directory)
            case messages.Instruments():
                return inquiries.instruments(message.id, await query(Command.QUERY_INSTRUMENTS))

    def _settle(self, session: Session, message: messages.SettlementRequest, now_ns: int) -> None:
        member = session.member
        if isinstance(message, messages.Contracts):
            member = member if message.member is None else message.member
            if member != session.member and "operate" not in session.scopes:
                raise Refusal("scope_missing", "$.member")
        request = inquiries.settlement_request(message, member, session.key)
        self._later(session, message.id, self._answer_settlement(session, message.id, request))

    async def _answer_settlement(self, session: Session, request_id: str, request: requests.Request) -> None:
        if isinstance(request, requests.Entries) and "operate" not in session.scopes:
            await self._require_own_contract(session.member, request.contract)
        answer = await self._settlement.request(request)
        if isinstance(request, requests.AddMember) and answer.member is not None:
            self._know_member(answer.member, request)
        if answer.failure is not None:
            rejected = answers.Rejected(id=request_id, error=_error_of(answer.failure))
            session.outbox.send(codec.encode(rejected))
        else:
            response = inquiries.settlement_answer(request_id, request, answer)
            session.outbox.send(codec.encode(response))

    def _know_member(self, number: int, request: requests.AddMember) -> None:
        """The member may log on here at once, without waiting for the directory's push.

        Settlement says yes only to what stands in the register word for word, so it replaces an older row.
        """
        row = requests.MemberRow(
            member=number, code=request.code, name=request.name, group=request.group, keys=request.keys
        )
        self._directory.merge([row], ())

    async def _require_own_contract(self, member: int, contract: int) -> None:
        request = requests.Contracts(id=0, member=member, after=contract - 1, limit=1)
        answer = await self._settlement.request(request)
        if not answer.contracts or answer.contracts[0].contract != contract:
            raise Refusal("unknown_contract", "$.contract")

    def _later(self, session: Session, request_id: str, job: Coroutine[Any, Any, None]) -> None:
        """Run a job beside; it counts as in flight and responds, whatever happens."""
        try:
            session.admit()
        except Refusal:
            job.close()
            raise
        self._spawn(self._guard(session, request_id, job))

    async def _guard(self, session: Session, request_id: str, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except Refusal as refusal:
            session.outbox.send(codec.encode(rejection(request_id, refusal)))
        except Exception:
            log.exception("a request failed", request_id=request_id)
            session.outbox.send(codec.encode(rejection(request_id, Refusal("internal_error"))))
        finally:
            session.in_flight -= 1


# Settlement speaks in its own units; clients know the fields by these names.
_FIELD_NAMES: Final = {"quantity_kg": "quantity", "amount_fen": "amount"}


def _ignore(session: Session, code: str) -> None:
    """Nobody listens."""


def _error_of(failure: requests.Failure) -> answers.Error:
    """Settlement's failure in its own words, with what the table adds to a code that it knows."""
    known = TEXTS.get(failure.code)
    return answers.Error(
        code=failure.code,
        message=failure.message,
        message_zh=known.chinese if known else failure.message,
        path=f"$.{_FIELD_NAMES.get(failure.field, failure.field)}" if failure.field else "$",
        retry=failure.retry,
        fix=known.fix if known and known.fix else UNSET,
    )


def _instrument_numbers(message: messages.Subscribe | messages.Unsubscribe) -> list[int]:
    if not message.instruments:
        raise Refusal("missing_field", "$.instruments")
    return [
        codec.instrument_number(code, f"$.instruments[{position}]")
        for position, code in enumerate(message.instruments)
    ]
