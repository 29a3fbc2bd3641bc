"""The plan of the launch: pure, seeded, complete, and always 822 tonnes."""

from dataclasses import replace

import pytest

from engine.instruments import BAND_BP, load_instruments, static_band
from engine.vocabulary import Mode
from loadtest.scenarios.goods import COIL_MAX_KG, buyers, producers
from loadtest.scenarios.launch import COIL_KG, TRUCK_KG, WINDOW_KG, Bid, Offer, Plan, Purchase, plan

SEEDS = range(200)
PRODUCTS = load_instruments()


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [plan(seed) for seed in SEEDS]


def test_every_seed_sells_822_tonnes(plans: list[Plan]) -> None:
    assert {(each.sold_kg + 500) // 1000 for each in plans} == {822}
    assert all(WINDOW_KG[0] <= each.sold_kg <= WINDOW_KG[1] for each in plans)


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(8) == plan(8)
    assert plan(8) != replace(plan(9), seed=8)


def test_at_least_25_purchases_and_two_on_every_day(plans: list[Plan]) -> None:
    for each in plans:
        assert len(list(each.purchases())) >= 25
        assert len(each.days) == 8
        assert all(len(day.moments) >= 3 for day in each.days)  # the opening and two purchases


def test_the_last_purchase_is_the_smallest_unit_that_fits(plans: list[Plan]) -> None:
    for each in plans:
        *_, last = each.purchases()
        before_kg = each.sold_kg - last.quantity_kg
        assert last.lot < 0
        assert last.quantity_kg == min(
            product.unit_weight_kg
            for product in PRODUCTS
            if product.mode is Mode.BOOK
            and WINDOW_KG[0] <= before_kg + product.unit_weight_kg <= WINDOW_KG[1]
        )


def test_trucks_are_30_to_35_tonnes_of_whole_bundles_and_coils_20_to_28(plans: list[Plan]) -> None:
    for each in plans:
        *body, _, _ = each.purchases()
        for purchase in body:
            least, most = COIL_KG if purchase.lot >= 0 else TRUCK_KG
            assert least <= purchase.quantity_kg <= most
            assert purchase.quantity_kg % PRODUCTS[purchase.instrument].step_kg == 0


def test_twelve_producers_list_all_forty_products_and_all_sixty_buyers_act(plans: list[Plan]) -> None:
    for each in plans:
        actions = [action for day in each.days for moment in day.moments for action in moment.actions]
        listed = {each.lots[action.lot].instrument for action in actions if isinstance(action, Offer)}
        sellers = {each.lots[action.lot].seller for action in actions if isinstance(action, Offer)}
        acting = {action.buyer for action in actions if isinstance(action, Bid | Purchase)}
        assert listed == set(range(40))
        assert sellers == set(range(len(producers())))
        assert acting == set(range(len(buyers()))) == set(range(60))


def test_no_client_order_id_stands_twice_in_a_day(plans: list[Plan]) -> None:
    for day in (day for each in plans for day in each.days):
        ids = [action.client_order_id for moment in day.moments for action in moment.actions]
        assert len(ids) == len(set(ids))
        assert all(1 <= len(each) <= 16 for each in ids)


def test_every_price_is_on_tick_and_inside_the_days_band(plans: list[Plan]) -> None:
    for each in plans:
        for day in each.days:
            for action in (action for moment in day.moments for action in moment.actions):
                number = each.lots[action.lot].instrument if isinstance(action, Offer) else action.instrument
                tick = PRODUCTS[number].tick_fen_per_tonne
                lower, upper = static_band(day.references[number], BAND_BP, tick)
                assert lower <= action.price_fen_per_tonne <= upper
                assert action.price_fen_per_tonne % tick == 0


def test_no_bid_meets_an_offer_of_its_day(plans: list[Plan]) -> None:
    for each in plans:
        for day in each.days:
            actions = [action for moment in day.moments for action in moment.actions]
            cheapest: dict[int, int] = {}
            for action in actions:
                if isinstance(action, Offer):
                    number = each.lots[action.lot].instrument
                    price = action.price_fen_per_tonne
                    cheapest[number] = min(price, cheapest.get(number, price))
            for action in actions:
                if isinstance(action, Bid):
                    assert action.price_fen_per_tonne < cheapest[action.instrument]


def test_registered_goods_obey_the_register(plans: list[Plan]) -> None:
    for each in plans[:20]:
        assert len({lot.receipt for lot in each.lots}) == len(each.lots)
        for lot in each.lots:
            product = PRODUCTS[lot.instrument]
            if product.mode is Mode.BOOK:
                assert lot.quantity_kg == lot.units * product.unit_weight_kg
            else:
                assert lot.units == 1
                assert lot.quantity_kg <= COIL_MAX_KG


def test_nothing_is_bought_that_was_not_listed(plans: list[Plan]) -> None:
    for each in plans:
        for day in each.days:
            listed: set[int] = set()
            for action in (action for moment in day.moments for action in moment.actions):
                if isinstance(action, Offer):
                    listed.add(action.lot)
                elif isinstance(action, Purchase) and action.lot >= 0:
                    assert action.lot in listed
                    listed.remove(action.lot)
