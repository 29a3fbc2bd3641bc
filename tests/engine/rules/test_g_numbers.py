"""Section G of engine/RULES.md: numbers, holds to the fen, limits."""

import pytest

from engine import money
from engine.vocabulary import AMOUNT_MAX_FEN, PRICE_MAX_FEN_PER_TONNE, QUANTITY_MAX_KG, Command
from tests.engine.rules.floor import RICH_FEN, RICH_KG, Floor

STEP_KG = 10
DEPOSIT = {"buyer_deposit_bp": 1_000, "seller_deposit_bp": 1_000, "step_kg": STEP_KG, "minimum_kg": STEP_KG}
STEEL = {"tick_fen_per_tonne": 100, "reference_fen_per_tonne": 226_000}
STEEL |= {"lower_fen_per_tonne": 214_700, "upper_fen_per_tonne": 237_300}


def spent(floor: Floor, account: int) -> int:
    """What an account paid so far, and that it holds nothing."""
    available, held = floor.money(account)
    assert held == 0
    return RICH_FEN - available


def test_g1_trap_no_overflow_at_the_permitted_maxima() -> None:
    """semantics G1: the dearest price, the largest quantity, a deposit of 100 %."""
    top = PRICE_MAX_FEN_PER_TONNE
    prices = {
        "lower_fen_per_tonne": top,
        "upper_fen_per_tonne": top,
        "reference_fen_per_tonne": top,
        "band_bp": 0,
    }
    floor = Floor(**prices, maximum_kg=QUANTITY_MAX_KG, step_kg=25 * 10**7, minimum_kg=25 * 10**7)
    for account in (7, 8):
        floor.account(account, fen=AMOUNT_MAX_FEN)
    floor.lot(30, 7, QUANTITY_MAX_KG, 0)
    order = {"kind": Command.NEW_ORDER, "price_fen_per_tonne": top, "client_order_id_0": 1}

    floor.command(**order, account=7, side=1, quantity_kg=QUANTITY_MAX_KG, lot=30)
    events = floor.command(**order, account=8, quantity_kg=QUANTITY_MAX_KG)

    amount = top * QUANTITY_MAX_KG // 1_000
    assert int(events["amount_fen"][0]) == amount
    assert floor.money(8) == (AMOUNT_MAX_FEN - amount - QUANTITY_MAX_KG * 50 // 1_000, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"A buy {QUANTITY_MAX_KG + 1} @ 2270", "exceeds_limit"),
        (f"A buy {2**62} @ 2270", "exceeds_limit"),
        (f"A buy 1 @ {2**62}", "price_exceeds_band"),
        (f"A buy 1 @ {-(2**62)}", "price_exceeds_band"),
        (f"A buy 1 stop {PRICE_MAX_FEN_PER_TONNE + 1}", "invalid_stop_price"),
    ],
)
def test_g1_what_is_beyond_the_maxima_is_refused(floor: Floor, line: str, reason: str) -> None:
    """semantics G1."""
    assert floor.says(line) == [f"rejected {reason}"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A buy 20 @ 2271", "price_off_tick"),
        ("A buy 25 @ 2270", "quantity_off_step"),
        ("A buy 10 @ 2270", "quantity_below_minimum"),
        ("A buy 310 @ 2270", "exceeds_limit"),
        ("A buy 20 stop 2271", "invalid_stop_price"),
    ],
)
def test_g2_prices_stand_on_the_tick_and_quantities_on_the_step(line: str, reason: str) -> None:
    """semantics G2."""
    floor = Floor(tick_fen_per_tonne=5, step_kg=10, minimum_kg=20, maximum_kg=300)

    assert floor.says(line) == [f"rejected {reason}"]
    assert floor.says("A buy 20 @ 2270") == ["accepted, rests 20"]


def test_g3_golden_number_e1() -> None:
    """semantics G3, domain E1: 12 bundles at 2,260.00 against a limit of 2,270.00, deposit 10 %."""
    floor = Floor(**STEEL, **DEPOSIT | {"step_kg": 2_490, "minimum_kg": 2_490})
    floor.says("A sell 29880 @ 226000 as ask")
    assert floor.money(1)[1] == 709_053 + 1_494 + 36  # a tenth of 2,373.00 x 29.88 t, fee, reserve

    floor.says("B buy 29880 @ 227000 as bid")

    assert (spent(floor, 1), spent(floor, 2)) == (675_288 + 1_494, 675_288 + 1_494)


def test_g3_golden_number_e4() -> None:
    """semantics G3, domain E4: 100 t at 2,270, filled at 2,260, 2,265 and 2,270."""
    floor = Floor(**STEEL, **DEPOSIT)
    reserve, fee = money.RESERVE_FEN_PER_STEP, 50
    floor.says("A sell 29880 @ 226000", "C sell 50000 @ 226500")

    floor.says("B buy 100000 @ 227000 as bid")

    paid = 675_288 + 1_494 + 1_132_500 + 2_500
    assert floor.money(2) == (
        RICH_FEN - paid - 456_724 - 1_006 - 2_012 * reserve,
        456_724 + 1_006 + 2_012 * reserve,
    )
    floor.says("A sell 20120 @ 227000")
    assert spent(floor, 2) == paid + 456_724 + 1_006
    assert fee * 20_120 // 1_000 == 1_006


def test_g3_trap_price_improvement_is_released(floor: Floor) -> None:
    """semantics G3."""
    floor.says("A sell 1000 @ 2270 as ask", "B buy 1000 @ 2400 as bid")

    assert spent(floor, 2) == 2_270 + 50


def test_g3_trap_an_ioc_remainder_holds_nothing(floor: Floor) -> None:
    """semantics G3."""
    floor.says("A sell 1000 @ 2270 as ask", "B buy 5000 @ 2270 ioc as bid", "B sell 9 @ 2400 ioc as none")

    assert spent(floor, 2) == 2_270 + 50
    assert floor.goods(2) == (RICH_KG, 0, 0)


@pytest.mark.parametrize("mode", ["cancel_newest", "cancel_oldest", "cancel_both", "decrement"])
def test_g3_trap_prevention_releases_money_and_goods(floor: Floor, mode: str) -> None:
    """semantics G3, D1."""
    floor.says(
        "E sell 1000 @ 2270 as own", f"D buy 1000 @ 2270 {mode} as taker", "D mass_cancel", "E mass_cancel"
    )

    assert (spent(floor, 4), spent(floor, 5)) == (0, 0)
    assert floor.goods(5) == (RICH_KG, 0, 0)


def test_g3_trap_an_expiry_releases_money_and_goods(floor: Floor) -> None:
    """semantics G3, B5."""
    floor.says("A sell 1000 @ 2290 gtd until 90000", "B buy 1000 @ 2260 gtd until 90000", "time 90000")

    assert (spent(floor, 1), spent(floor, 2), floor.goods(1)) == (0, 0, (RICH_KG, 0, 0))


def test_g3_trap_an_uncross_returns_both_sides_improvement(floor: Floor) -> None:
    """semantics G3, E3."""
    floor.says("phase auction", "A sell 1000 @ 2260 as ask", "B buy 1000 @ 2400 as bid", "phase continuous")

    assert (spent(floor, 1), spent(floor, 2)) == (50, 2_270 + 50)


def test_g3_each_fill_reckons_the_hold_anew(floor: Floor) -> None:
    """semantics G3: fills of 1 kg each cost a fen of fee; the reserve covers the roundings."""
    floor.says("B buy 1000 @ 2270 as bid")

    for filled in range(1, 6):
        floor.says("A sell 1 @ 2270")
        assert floor.money(2)[1] == int(money.hold_fen(2270, 1000 - filled, 1, 10_000, 50))
        assert RICH_FEN - sum(floor.money(2)) == filled * (2 + 1)


def test_g4_holds_are_the_formula_over_live_orders_and_listed_are_their_leaves(floor: Floor) -> None:
    """semantics G4."""
    floor.says("B buy 100 @ 2270 as b1", "B buy 200 @ 2260 display 50 as b2", "B buy 300 stop 2400 as b3")
    floor.says("A sell 70 @ 2300 as s1", "A sell 90 @ 2310 display 30 as s2", "C sell 150 @ 2265 as taker")

    holds = [money.hold_fen(2260, 200, 1, 10_000, 50), money.hold_fen(2500, 300, 1, 10_000, 50)]
    assert floor.money(2)[1] == sum(int(hold) for hold in holds)
    assert floor.goods(1) == (RICH_KG - 160, 160, 0)


def test_g5_live_orders_are_capped_and_cancels_go_on(floor: Floor) -> None:
    """semantics G5."""
    floor.says("A buy 1 @ 2260 as bid")
    orders_max = int(floor.exchange.state.head["orders_max"][0])
    floor.exchange.state.head["orders_max"][0] = 1
    full = floor.says("A buy 1 @ 2260 as late")
    floor.exchange.state.head["orders_max"][0] = orders_max

    assert full == ["rejected live_orders_full"]
    assert floor.says("A cancel bid") == ["bid canceled 1 canceled_by_owner"]
