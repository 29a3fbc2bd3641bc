"""The table of sales: exact sums, half-up averages, VAT contract by contract, days in Beijing."""

from engine.requests import ContractRow
from loadtest.books import Books, fingerprint, sales, sales_rows
from settlement.reads import BalanceRow

DAY_NS = 86_400 * 10**9
MORNING_NS = 1_436_317_200_000_000_000  # 8 July 2015, 09:00 in Beijing


def contract(
    number: int, kg: int, fen: int, code: str = "RB20-12-SG", at_ns: int = MORNING_NS
) -> ContractRow:
    return ContractRow(
        contract=number,
        instrument=code,
        buyer=2,
        seller=1,
        lot=1,
        price_fen_per_tonne=226_000,
        quantity_kg=kg,
        amount_fen=fen,
        state="paid",
        traded_ns=at_ns,
    )


def test_golden_sale_has_the_vat_of_domain_e1() -> None:
    sold = sales([contract(1, 29_880, 6_752_880)])

    assert sold.vat_fen == 981_188
    assert sold.average_fen_per_tonne == 226_000


def test_an_average_is_rounded_half_up_from_exact_sums() -> None:
    sold = sales([contract(1, 1_000, 200_000), contract(2, 1_000, 200_001)])

    assert sold.average_fen_per_tonne == 200_001


def test_rows_are_by_day_and_product_and_end_with_the_sum() -> None:
    rows = sales_rows(
        [
            contract(1, 822_000, 100, "HC5.75-LG"),
            contract(2, 499, 100),
            contract(3, 1, 100, at_ns=MORNING_NS + DAY_NS - 10 * 3600 * 10**9),  # 23:00 in Beijing
        ]
    )

    assert [row[:3] for row in rows] == [
        ("", "RB20-12-SG", "0.500"),
        ("", "HC5.75-LG", "822.000"),
        ("Wed 08 Jul 2015", "all", "822.500"),
        ("together", "823 t", "822.500"),
    ]


def test_the_fingerprint_knows_a_changed_fen() -> None:
    one, other = sales_rows([contract(1, 1_000, 200)]), sales_rows([contract(1, 1_000, 201)])

    assert fingerprint(one) == fingerprint(list(one)) != fingerprint(other)


def test_the_trial_balance_is_the_sum_of_all_accounts() -> None:
    books = Books((), {}, {}, (BalanceRow("BANK", 500, 0), BalanceRow("TRADING", 0, 499)))

    assert books.trial_fen == -1
