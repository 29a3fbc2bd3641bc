"""Answers of the engine and of settlement in the words of clients: rows in, responses out, no I/O.

Law: every number of an engine answer is as of exactly its END row's sequence.
"""

from typing import Any, Final

import numpy as np

from engine import requests
from engine.records import CASH, INSTRUMENT, LOT, ORDER, Records, select
from engine.vocabulary import Event, Mode, Phase, wire_name
from gateway import answers, codec, messages
from gateway.directory import Directory
from gateway.errors import Refusal
from gateway.notation import money_text, parse_amount, parse_id, parse_quantity, time_text, tonnes_text

_ORDERS: Final = codec.record_struct(ORDER, *codec.ORDER_FIELDS).iter_unpack
_LOTS: Final = codec.record_struct(LOT, *codec.LOT_FIELDS).iter_unpack
_BALANCES: Final = codec.record_struct(CASH, *codec.CASH_FIELDS).iter_unpack
_INSTRUMENTS: Final = codec.record_struct(
    INSTRUMENT, "phase", "instrument", "lower_fen_per_tonne", "upper_fen_per_tonne", "last_fen_per_tonne",
    "price_fen_per_tonne",
).iter_unpack  # fmt: skip
_PHASE_NAMES: Final[dict[int, Any]] = {int(phase): wire_name(phase) for phase in Phase}
_MODE_NAMES: Final[dict[Mode, Any]] = {mode: wire_name(mode) for mode in Mode}


def sequence_of(answer: Records) -> int:
    """The durable sequence that an answer describes: its END row's."""
    assert answer["kind"][-1] == Event.END
    return int(answer["sequence"][-1])


def _rows(answer: Records, kind: Event) -> bytes:
    return codec.rows_of(select(answer, np.asarray(answer["kind"] == kind)))


def _page(rows: Records, start: int, limit: int) -> tuple[bytes, bool]:
    """At most `limit` rows from `start` on, and whether more follow."""
    return codec.rows_of(rows[start : start + limit]), start + limit < len(rows)


def open_orders(message: messages.OpenOrders, answer: Records) -> answers.OpenOrdersAnswer:
    """QUERY_ORDERS of the member; their ids rise, so the page is those above `after`. Raises Refusal."""
    found = select(answer, np.asarray(answer["kind"] == Event.ORDER)).view(ORDER)
    start = np.searchsorted(found["order_id"], parse_id(message.after, "$.after"), side="right")
    rows, more = _page(found, int(start), message.limit)
    orders = [_open_order(row) for row in _ORDERS(rows)]
    return answers.OpenOrdersAnswer(id=message.id, sequence=sequence_of(answer), orders=orders, more=more)


def _open_order(row: tuple[Any, ...]) -> answers.OpenOrder:
    (_, _, _, side, order_type, time_in_force, _, _, _, instrument, _, version, _, _, _, order_id,
     client_order_id, price, quantity_kg, leaves_kg, cum_kg, lot) = row  # fmt: skip
    return answers.OpenOrder(
        order_id=str(order_id),
        client_order_id=codec.client_order_id_text(client_order_id),
        instrument=codec.INSTRUMENT_CODES[instrument],
        side=codec.SIDES[side],
        type=codec.ORDER_TYPE_NAMES[order_type],
        time_in_force=codec.TIME_IN_FORCE_NAMES[time_in_force],
        price=money_text(price),
        quantity=tonnes_text(quantity_kg),
        leaves=tonnes_text(leaves_kg),
        cum=tonnes_text(cum_kg),
        lot=str(lot) if lot else "",
        version=version,
    )


_NO_BALANCE: Final = (0,) * len(codec.CASH_FIELDS)  # an account that the engine has not opened


def account_position(answer: Records) -> tuple[int, int]:
    """(account_sequence, sequence) of a QUERY_BALANCES answer; an account that the engine does not know is
    at 0."""
    rows = list(_BALANCES(_rows(answer, Event.BALANCE)))
    return (rows[0][4] if rows else 0), sequence_of(answer)


def balance(request_id: str, answer: Records) -> answers.BalanceAnswer:
    """QUERY_BALANCES of the member."""
    rows = list(_BALANCES(_rows(answer, Event.BALANCE)))
    _, _, _, _, account_sequence, _, available_fen, held_fen = rows[0] if rows else _NO_BALANCE
    return answers.BalanceAnswer(
        id=request_id,
        sequence=sequence_of(answer),
        account_sequence=account_sequence,
        available=money_text(available_fen),
        held=money_text(held_fen),
    )


def lots(message: messages.Lots, answer: Records, directory: Directory) -> answers.LotsAnswer:
    """QUERY_LOTS of the member, with the register's words; lots rise as orders do. Raises Refusal."""
    found = select(answer, np.asarray(answer["kind"] == Event.LOT)).view(LOT)
    start = np.searchsorted(found["lot"], parse_id(message.after, "$.after"), side="right")
    rows, more = _page(found, int(start), message.limit)
    states = []
    for _, _, _, instrument, _, _, free_kg, listed_kg, quantity_kg, contracted_kg, lot in _LOTS(rows):
        known = directory.lots.get(lot)
        states.append(
            answers.LotState(
                lot=str(lot),
                instrument=codec.INSTRUMENT_CODES[instrument],
                free=tonnes_text(free_kg),
                listed=tonnes_text(listed_kg),
                contracted=tonnes_text(contracted_kg),
                quantity=tonnes_text(quantity_kg),
                receipt=known.receipt if known else "",
                warehouse=known.warehouse if known else "",
                units=known.units if known else 0,
            )
        )
    return answers.LotsAnswer(id=message.id, sequence=sequence_of(answer), lots=states, more=more)


def listings(message: messages.Listings, answer: Records, directory: Directory) -> answers.ListingsAnswer:
    """QUERY_LISTINGS of an instrument, in the engine's order, behind the order `after`. Raises Refusal."""
    live = select(answer, np.asarray(answer["kind"] == Event.ORDER)).view(ORDER)
    after, start = parse_id(message.after, "$.after"), 0
    if after:
        places = np.flatnonzero(live["order_id"] == after)
        if not len(places):  # its place in the queue is not known any more
            raise Refusal("after_ended", "$.after")
        start = int(places[0]) + 1
    rows, more = _page(live, start, message.limit)
    found = []
    for row in _ORDERS(rows):
        known = directory.lots.get(row[21])
        found.append(
            answers.Listing(
                order_id=str(row[15]),
                version=row[11],
                side=codec.SIDES[row[3]],
                price=money_text(row[17]),
                leaves=tonnes_text(row[19]),
                minimum=tonnes_text(row[14]),
                member=row[10],
                lot=str(row[21]) if row[21] else "",
                warehouse=known.warehouse if known else "",
                units=known.units if known else 0,
            )
        )
    return answers.ListingsAnswer(
        id=message.id,
        sequence=sequence_of(answer),
        instrument=message.instrument,
        listings=found,
        more=more,
    )


def instruments(request_id: str, answer: Records) -> answers.InstrumentsAnswer:
    """QUERY_INSTRUMENTS, with the words of instruments.csv."""
    states = [_instrument(row) for row in _INSTRUMENTS(_rows(answer, Event.INSTRUMENT))]
    return answers.InstrumentsAnswer(id=request_id, sequence=sequence_of(answer), instruments=states)


def _instrument(row: tuple[Any, ...]) -> answers.InstrumentState:
    phase, number, lower, upper, last, reference = row
    terms = codec.INSTRUMENTS[number]
    return answers.InstrumentState(
        instrument=terms.code,
        product=terms.product_en,
        product_zh=terms.product_zh,
        grade=terms.grade,
        spec=terms.spec,
        mill=terms.mill,
        mode=_MODE_NAMES[terms.mode],
        unit=terms.unit,
        unit_weight=tonnes_text(terms.unit_weight_kg),
        tick=money_text(terms.tick_fen_per_tonne),
        step=tonnes_text(terms.step_kg),
        minimum=tonnes_text(terms.minimum_kg),
        phase=_PHASE_NAMES[phase],
        reference=money_text(reference),
        lower=money_text(lower),
        upper=money_text(upper),
        last=money_text(last) if last else None,
    )


def settlement_request(message: messages.SettlementRequest, member: int, key: str) -> requests.Request:
    """What settlement is asked for a client's message; its id is given by the link, `key` is who asks."""
    match message:
        case messages.AddMember():
            keys = tuple(requests.Key(key.public_key, key.scopes) for key in message.keys)
            return requests.AddMember(
                id=0, code=message.code, name=message.name, group=message.group, keys=keys
            )
        case messages.RegisterLot():
            quantity_kg = parse_quantity(message.quantity)
            fields = {name: getattr(message, name) for name in _LOT_FIELDS}
            return requests.RegisterLot(id=0, quantity_kg=quantity_kg, **fields)
        case messages.Deposit():
            amount_fen = parse_amount(message.amount)
            return requests.Deposit(
                id=0, member=message.member, amount_fen=amount_fen, reference=message.reference
            )
        case messages.Withdraw():
            amount_fen = parse_amount(message.amount)
            return requests.Withdraw(
                id=0, member=message.member, amount_fen=amount_fen, reference=message.reference
            )
        case messages.Contracts():
            after = parse_id(message.after, "$.after")
            limit = message.limit + 1  # one more than is shown tells whether there are more
            return requests.Contracts(id=0, member=member, after=after, limit=limit)
        case messages.Entries():
            return requests.Entries(id=0, contract=parse_id(message.contract, "$.contract"))
        case messages.Busts():
            return requests.Busts(id=0, after=parse_id(message.after, "$.after"), limit=message.limit + 1)
    contract = parse_id(message.contract, "$.contract")
    match message:
        case messages.BustTrade():
            return requests.ProposeBust(id=0, contract=contract, key=key, reason=message.reason)
        case messages.ConfirmBust():
            return requests.ConfirmBust(id=0, contract=contract, key=key)
        case messages.RejectBust():
            return requests.RejectBust(id=0, contract=contract, key=key)


_LOT_FIELDS: Final = tuple(
    set(messages.RegisterLot.__struct_fields__) - {"id", "quantity"}  # the others have the same name and unit
)


def settlement_answer(
    request_id: str, request: requests.Request, answer: requests.Answer
) -> answers.Response:
    """What a client hears of settlement's answer to `request`."""
    if answer.member is not None:
        return answers.MemberAdded(id=request_id, member=answer.member)
    if answer.lot is not None:
        return answers.LotRegistered(id=request_id, lot=str(answer.lot))
    if answer.sequence is not None:
        return answers.MoneyMoved(id=request_id, sequence=answer.sequence)
    if isinstance(request, requests.Contracts):
        shown, found = request.limit - 1, answer.contracts or ()
        contracts = [_contract(row) for row in found[:shown]]
        return answers.ContractsAnswer(id=request_id, contracts=contracts, more=len(found) > shown)
    if isinstance(request, requests.Busts):
        shown, rows = request.limit - 1, answer.busts or ()
        return answers.BustsAnswer(
            id=request_id, busts=[_bust(row) for row in rows[:shown]], more=len(rows) > shown
        )
    if answer.busts is not None:
        return answers.BustNoted(id=request_id, bust=_bust(answer.busts[0]))
    assert answer.entries is not None
    return answers.EntriesAnswer(id=request_id, entries=[_entry(row) for row in answer.entries])


def _contract(row: requests.ContractRow) -> answers.Contract:
    return answers.Contract(
        contract=str(row.contract),
        instrument=row.instrument,
        buyer=row.buyer,
        seller=row.seller,
        lot=str(row.lot),
        price=money_text(row.price_fen_per_tonne),
        quantity=tonnes_text(row.quantity_kg),
        amount=money_text(row.amount_fen),
        state=row.state,
        traded_at=time_text(row.traded_ns),
        traded_at_ns=row.traded_ns,
    )


def _bust(row: requests.BustRow) -> answers.Bust:
    return answers.Bust(
        proposal=str(row.proposal),
        contract=str(row.contract),
        state=row.state,
        reason=row.reason,
        proposer=row.proposer,
        decider=row.decider,
    )


def _entry(row: requests.EntryRow) -> answers.Entry:
    money = row.unit == "fen"
    return answers.Entry(
        entry=str(row.entry),
        posting=row.posting,
        unit="CNY" if money else "t",
        debit=row.debit,
        credit=row.credit,
        amount=money_text(row.amount) if money else tonnes_text(row.amount),
        sequence=row.sequence,
    )
