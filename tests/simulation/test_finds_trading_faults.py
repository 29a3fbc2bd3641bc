"""The simulator can fail, third part: auctions, busts, icebergs, stops, replacements, company groups."""

from typing import Any

import numpy as np
import pytest

import gateway.trading
import settlement.busts
from engine.core.layout import State
from engine.records import Records, select
from engine.snapshot import Snapshots
from engine.vocabulary import Command, Flag, OrderType, SelfTrade, Side, TimeInForce
from gateway.answers import OrderReplaced
from settlement.fills import Fills, Terms
from settlement.ledger import Entries, Posting
from tests.simulation.by_hand import Fault, all_found, before_each_command, change_commands, found_by
from tests.simulation.faults import Strike

NOBODYS = -1  # a group that prevents nothing
FAR_FEN: dict[int, int] = {Side.BUY: 99_999_900, Side.SELL: 100}  # a stop price that nothing reaches


def give_a_busts_fees_back_twice(patch: pytest.MonkeyPatch) -> None:
    once = Fills.money_back

    def twice(self: Fills) -> Entries:
        entries = once(self)
        return entries._replace(amount=entries.amount * np.where(entries.posting == Posting.R2, 2, 1))

    patch.setattr(Fills, "money_back", twice)


def leave_a_busts_goods_in_their_contract(patch: pytest.MonkeyPatch) -> None:
    once = Fills.goods_back
    patch.setattr(Fills, "goods_back", lambda self: Entries(*(column[:0] for column in once(self))))


def do_not_post_what_an_auction_traded(patch: pytest.MonkeyPatch) -> None:
    every = Fills.of

    def without_auctions(trades: Records, terms: Terms) -> Fills:
        return every(select(trades, trades["flags"] & Flag.IN_AUCTION == 0), terms)

    patch.setattr(Fills, "of", without_auctions)


def let_one_person_bust(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settlement.busts, "_check_second", lambda known, key: None)


def lose_hidden_kilograms_in_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    load = Snapshots.load

    def lossy(self: Snapshots, slot: int, state: State) -> None:
        load(self, slot, state)
        state.specials["hidden"], state.veiled[:] = 0, 0

    patch.setattr(Snapshots, "load", lossy)


def forget_the_last_price(patch: pytest.MonkeyPatch) -> None:
    def forget(state: State) -> None:
        state.instruments["last"] = 0

    before_each_command(patch, forget)


def let_stops_wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    def move_away(state: State) -> None:
        kinds, sides = state.orders["order_type"], state.orders["side"]
        for kind in (OrderType.STOP, OrderType.STOP_LIMIT):
            for side, far in FAR_FEN.items():
                state.specials["stop"][(kinds == kind) & (sides == side)] = far

    before_each_command(patch, move_away)


def forget_the_company_groups(patch: pytest.MonkeyPatch) -> None:
    def forget(commands: Records) -> None:
        commands["group"][commands["kind"] == Command.OPEN_ACCOUNT] = NOBODYS

    change_commands(patch, forget)


def cancel_one_where_both_are_to_go(patch: pytest.MonkeyPatch) -> None:
    def spare(commands: Records) -> None:
        modes = commands["self_trade_mode"]
        modes[modes == SelfTrade.CANCEL_BOTH] = SelfTrade.CANCEL_OLDEST

    change_commands(patch, spare)


def fill_a_part_of_what_wants_all_or_nothing(patch: pytest.MonkeyPatch) -> None:
    def in_part(commands: Records) -> None:
        commands["time_in_force"][commands["time_in_force"] == TimeInForce.FOK] = TimeInForce.IOC

    change_commands(patch, in_part)


def answer_a_replace_with_what_was_asked(patch: pytest.MonkeyPatch) -> None:
    respond = gateway.trading._response

    def asked(row: Any, message: Any, received_ns: int) -> Any:
        answer = respond(row, message, received_ns)
        if isinstance(answer, OrderReplaced):
            answer.leaves = answer.quantity
        return answer

    patch.setattr(gateway.trading, "_response", asked)


FAULTS: tuple[Fault, ...] = (
    (give_a_busts_fees_back_twice, range(40), {"books", "conservation"}),
    (leave_a_busts_goods_in_their_contract, range(40), {"books", "conservation", "program"}),
    (do_not_post_what_an_auction_traded, range(40), {"books"}),
    (let_one_person_bust, range(40), {"protocol", "books"}),
    (forget_the_last_price, range(40), {"orders"}),
    (let_stops_wait_for_ever, range(40), {"orders"}),
    (answer_a_replace_with_what_was_asked, range(40), {"loss"}),
    (forget_the_company_groups, range(40), {"orders"}),
    (cancel_one_where_both_are_to_go, range(5, 45), {"orders"}),
    (fill_a_part_of_what_wants_all_or_nothing, range(40), {"orders"}),
)


test_fault_put_in_by_hand_is_found = all_found(FAULTS)


# SIGKILL while icebergs rest: seldom by chance, so all along the trading of one seed.
STRIKES = [Strike("engine", step, "kill") for step in range(450, 800, 30)]


@pytest.mark.slow
def test_hidden_kilograms_that_a_snapshot_loses_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    lose_hidden_kilograms_in_a_snapshot(monkeypatch)

    found = found_by(STRIKES, 21)

    assert found["law"] == "replay", found
