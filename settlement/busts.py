"""Busts: a trade is reversed when one operator has proposed it and another confirms (semantics E8, domain 2).

    propose ─▶ row PROPOSED ─▶ confirm, by another key ─▶ row ORDERED + BUST_TRADE in the outbox, at once
                  └▶ reject ─▶ DROPPED        ─▶ engine ─▶ its event ─▶ BUSTED, with the entries (store.py)
                                                      └▶ it refuses ─▶ REFUSED, and may be proposed anew

Law: a proposal is a row of the books before it is answered, so no crash loses it or lets one person do both.
A person is a key with scope operate. The amounts that go back are those of the contract's row.
"""

from enum import IntEnum
from typing import Any, Final

from engine.records import Records, commands_of
from engine.requests import Answer, BustRow, Busts, ConfirmBust, ProposeBust, RejectBust
from engine.vocabulary import Command, wire_name
from settlement import outbox as engine_outbox
from settlement.contracts import BUSTABLE, State
from settlement.outbox import Outbox
from settlement.queries import QUERIES
from settlement.register import ANSWER_S, Refusal, check_text, until_applied
from settlement.store import Connection

REASON_MAX: Final = 200
ROWS_MAX: Final = 1001  # a page of the gateway, and the row that tells whether there are more


class BustState(IntEnum):
    """Where a proposal stands; numbers are stored."""

    PROPOSED = 0
    ORDERED = 1
    BUSTED = 2
    REFUSED = 3
    DROPPED = 4


class BustDesk:
    """Proposals, confirmations, rejections; one request at a time writes, in the order of outbox numbers."""

    def __init__(self, connection: Connection, outbox: Outbox, answer_s: float = ANSWER_S) -> None:
        """Write through `connection`; what the engine does goes through `outbox`, within `answer_s`."""
        self._connection = connection
        self._outbox = outbox
        self._answer_s = answer_s

    async def propose(self, request: ProposeBust) -> Answer:
        """The first of two persons. A repeat by the same person, with the same reason, changes nothing.

        Raises Refusal, StoreError.
        """
        check_text("reason", request.reason, REASON_MAX)
        async with self._connection.transaction() as connection:
            await connection.fetchval(QUERIES["last_outbox_number"])
            await _check_operator(connection, request.key)
            _check_bustable(await connection.fetchrow(QUERIES["contract_terms"], request.contract))
            known = await connection.fetchrow(QUERIES["find_bust"], request.contract)
            if known is None:
                number = await connection.fetchval(QUERIES["next_bust"])
                await connection.execute(
                    QUERIES["add_bust"], number, request.contract, request.key, request.reason
                )
                known = await connection.fetchrow(QUERIES["find_bust"], request.contract)
            elif (known["proposer"], known["reason"]) != (request.key, request.reason):
                raise Refusal("bust_proposed", "it is proposed already; confirm or reject that", "contract")
        return Answer(id=request.id, busts=(_row(known),))

    async def confirm(self, request: ConfirmBust) -> Answer:
        """The second person: the engine reverses the trade. Repeatable. Raises Refusal, StoreError."""
        async with self._connection.transaction() as connection:
            await connection.fetchval(QUERIES["last_outbox_number"])
            await _check_operator(connection, request.key)
            contract = await connection.fetchrow(QUERIES["contract_terms"], request.contract)
            known = await connection.fetchrow(QUERIES["find_bust"], request.contract)
            if known is not None and known["decider"] == request.key:  # a repeat learns the outcome
                number = known["outbox"]
            else:
                _check_bustable(contract)
                _check_second(known, request.key)
                number = await engine_outbox.add(connection, _command(contract))
                state = int(BustState.ORDERED)
                await connection.execute(
                    QUERIES["decide_bust"], known["proposal"], state, request.key, number
                )
        answered = await until_applied(self._outbox, number, self._answer_s)
        return Answer(id=request.id, sequence=answered.sequence)

    async def reject(self, request: RejectBust) -> Answer:
        """Either person, or a third: the proposal is dropped. Raises Refusal, StoreError."""
        async with self._connection.transaction() as connection:
            await connection.fetchval(QUERIES["last_outbox_number"])
            await _check_operator(connection, request.key)
            known = await connection.fetchrow(QUERIES["find_bust"], request.contract)
            if known is None or known["state"] != BustState.PROPOSED:
                raise Refusal("bust_not_proposed", "no proposal waits for this contract", "contract")
            dropped = int(BustState.DROPPED)
            await connection.execute(QUERIES["decide_bust"], known["proposal"], dropped, request.key, None)
        row = dict(known) | {"state": dropped, "decider": request.key}
        return Answer(id=request.id, busts=(_row(row),))

    async def proposals(self, request: Busts) -> Answer:
        """Proposals of every state after a number, oldest first. Raises StoreError."""
        limit = max(1, min(request.limit, ROWS_MAX))
        async with self._connection.transaction(readonly=True) as connection:
            rows = await connection.fetch(QUERIES["busts"], request.after, limit)
        return Answer(id=request.id, busts=tuple(_row(row) for row in rows))


async def _check_operator(connection: Any, key: str) -> None:
    """Raise Refusal unless the key is an operator's: asked here again, whatever a gateway believed."""
    rows = await connection.fetch(QUERIES["find_keys"], [key])
    if not rows or "operate" not in rows[0]["scopes"]:
        raise Refusal("scope_missing", "this takes a key with scope operate")


def _check_bustable(contract: Any) -> None:
    """Raise Refusal unless the contract exists and nothing was delivered on it (semantics E8)."""
    if contract is None:
        raise Refusal("unknown_contract", "no contract has this id", "contract")
    if contract["state"] == State.BUSTED:
        raise Refusal("already_busted", "the trade was reversed already", "contract")
    if contract["state"] != BUSTABLE:
        raise Refusal("contract_settled", "goods were released on it: it cannot be reversed", "contract")


def _check_second(known: Any, key: str) -> None:
    """Raise Refusal unless a proposal waits that somebody else has made (domain 2: two persons)."""
    if known is None:
        raise Refusal("bust_not_proposed", "no proposal waits for this contract", "contract")
    if known["proposer"] == key:
        raise Refusal("same_person", "another operator than the proposer must confirm")
    if known["state"] != BustState.PROPOSED:
        raise Refusal("bust_proposed", "another operator has confirmed it; it is on its way", "contract")


def _command(contract: Any) -> Records:
    """BUST_TRADE: to each side what its fill took; the deposit of a paid contract went into its amount."""
    return commands_of(
        {
            "kind": Command.BUST_TRADE,
            "account": contract["buyer"],
            "instrument": contract["instrument"],
            "lot": contract["lot"],
            "match_id": contract["contract"],
            "price_fen_per_tonne": contract["price_fen_per_tonne"],
            "quantity_kg": contract["quantity_kg"],
            "amount_fen": contract["amount_fen"] + contract["buyer_fee_fen"],
            "counter_amount_fen": contract["seller_deposit_fen"] + contract["seller_fee_fen"],
        }
    )


def _row(row: Any) -> BustRow:
    return BustRow(
        proposal=row["proposal"],
        contract=row["contract"],
        state=wire_name(BustState(row["state"])),
        reason=row["reason"],
        proposer=row["proposer"],
        decider=row["decider"],
    )
