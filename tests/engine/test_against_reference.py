"""The compiled core against its naive twin, command by command, with every invariant checked after each."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.records import ORDER, TRADE, Records
from engine.vocabulary import Event, Mode, Phase, Reason, Side, TimeInForce
from tests.engine.builders import LOWER, REBAR, STEP_KG, TICK, UPPER, Venue, fields_of
from tests.engine.reference_book import Facts, Order, ReferenceBook

ACCOUNTS = (1, 2, 3)
MONEY_FEN = 60_000_000  # so that funds run out now and then
GOODS_KG = 12 * STEP_KG

prices = st.sampled_from([*range(225_700, 226_400, TICK), 226_050, LOWER - TICK, LOWER, UPPER, UPPER + TICK])
quantities = st.sampled_from([STEP_KG, 2 * STEP_KG, 3 * STEP_KG, 5 * STEP_KG, 40 * STEP_KG, STEP_KG + 1, 0])
new_orders = st.tuples(
    st.just("new"),
    st.sampled_from(ACCOUNTS),
    st.sampled_from(list(Side)),
    prices,
    quantities,
    st.sampled_from([TimeInForce.DAY, TimeInForce.DAY, TimeInForce.DAY, TimeInForce.IOC]),
    st.sampled_from([1, 2, 3, 1, 2, 3, 9]),
)
cancels = st.tuples(st.just("cancel"), st.integers(0, 40))
phases = st.tuples(st.just("phase"), st.sampled_from([Phase.CLOSED, Phase.HALTED, Phase.CONTINUOUS]))
flows = st.lists(st.one_of(new_orders, new_orders, new_orders, cancels, phases), max_size=40)


class Pair:
    """The core and its twin side by side; `keys` names the orders of both."""

    def __init__(self) -> None:
        self.venue = Venue()
        for account in ACCOUNTS:
            self.venue.account(account, fen=MONEY_FEN)
            self.venue.lot(account, account, GOODS_KG)
        lots = {account: (account, GOODS_KG) for account in ACCOUNTS}
        self.twin = ReferenceBook(fields_of(Mode.BOOK), dict.fromkeys(ACCOUNTS, MONEY_FEN), lots)
        self.ids: dict[str, tuple[int, int]] = {}  # key -> (account, order id)
        self.names: dict[int, str] = {}

    def new(self, account: int, side: Side, price: int, kg: int, tif: TimeInForce, lot: int) -> None:
        key, lot = f"k{self.venue.orders}", lot if side is Side.SELL else 0
        events = self.venue.order(account, side, price, kg, key=key, time_in_force=tif, lot=lot)
        if int(events["kind"][0]) == Event.ACCEPTED:
            self.names[int(events["order_id"][0])] = key
            self.ids[key] = (account, int(events["order_id"][0]))
        assert self.facts(events) == self.twin.new(Order(key, account, side, price, kg, lot), tif)

    def cancel(self, number: int) -> None:
        account, order_id = self.ids.get(f"k{number}", (1, 12345))
        events = self.venue.cancel(account, order_id)
        assert self.facts(events) == self.twin.cancel(f"k{number}")

    def phase(self, phase: Phase) -> None:
        expected = self.twin.close() if phase is Phase.CLOSED else []
        self.twin.phase = phase
        assert self.facts(self.venue.phase(phase, REBAR)[:-1]) == expected

    def facts(self, events: Records) -> Facts:
        pairs = zip(events.view(ORDER), events.view(TRADE), strict=True)
        return [self.fact(order, trade) for order, trade in pairs]

    def fact(self, order: Records, trade: Records) -> tuple[object, ...]:
        kind = Event(int(order["kind"]))
        if kind is Event.ACCEPTED:
            return "accepted", int(order["leaves_kg"]), int(order["cum_kg"])
        if kind is Event.REJECTED:
            return "rejected", Reason(int(order["reason"]))
        if kind is Event.CANCELED:
            key = self.names[int(order["order_id"])]
            return "canceled", key, int(order["quantity_kg"]), Reason(int(order["reason"]))
        maker, taker = self.names[int(trade["counter_order_id"])], self.names[int(trade["order_id"])]
        return "trade", maker, taker, int(trade["price_fen_per_tonne"]), int(trade["quantity_kg"])

    def check(self) -> None:
        self.venue.exchange.check_invariants()
        for account in ACCOUNTS:
            assert self.venue.money(account)[0] == self.twin.available[account]
            assert self.venue.goods(account)[0] == self.twin.lots[account][1]
        twin = [order for side in self.twin.sides for queue in side.values() for order in queue]
        assert self.venue.resting() == [(o.side.name.lower(), o.price, o.leaves) for o in twin]


@settings(max_examples=150, deadline=None)
@given(flows)
def test_core_and_reference_book_agree_on_every_event_and_balance(flow: list[tuple[object, ...]]) -> None:
    pair = Pair()

    for step, *arguments in flow:
        getattr(pair, str(step))(*arguments)
        pair.check()
