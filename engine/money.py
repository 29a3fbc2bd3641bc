"""The arithmetic of steel: amounts, deposits, fees, holds (semantics G3, domain section 5).

Every function is pure integer arithmetic that reads the same for Python ints, int64 arrays and numba kernels,
so that the core that takes a hold and the ledger that books it cannot disagree. Units: fen, kilograms, fen
per tonne, basis points.
"""

from typing import TypeVar

from engine.vocabulary import BASIS_POINTS

Integer = TypeVar("Integer")  # int, np.int64 or an int64 array

RESERVE_FEN_PER_STEP = 3  # rounding up each fill costs up to 3 fen (semantics G3)


def floored(number, divisor):  # type: ignore[no-untyped-def]
    """number // divisor, of a number that is not negative: kernels divide without looking at its sign."""
    return number // divisor


def amount_fen(price_fen_per_tonne, quantity_kg):  # type: ignore[no-untyped-def]
    """Price x weight, half-up to the fen (domain 5): 2,260.00/t x 29,880 kg = 67,528.80."""
    return floored(price_fen_per_tonne * quantity_kg + 500, 1000)


def deposit_fen(amount, basis_points):  # type: ignore[no-untyped-def]
    """The deposit on an amount, rounded up to the fen (semantics G3)."""
    return floored(amount * basis_points + BASIS_POINTS - 1, BASIS_POINTS)


def fee_fen(quantity_kg, fee_fen_per_tonne):  # type: ignore[no-untyped-def]
    """The platform's fee on a fill, half-up, at least 1 fen; 0 for no kilograms or a free venue (domain 2,
    5).
    """
    fee = floored(quantity_kg * fee_fen_per_tonne + 500, 1000)
    return fee + (fee < 1) * (quantity_kg > 0) * (fee_fen_per_tonne > 0)


def reserve_fen(quantity_kg, step_kg):  # type: ignore[no-untyped-def]
    """What rounding every fill up can cost at most (semantics G3)."""
    return RESERVE_FEN_PER_STEP * (quantity_kg // step_kg)


def hold_fen(price_fen_per_tonne, quantity_kg, step_kg, basis_points, fee_fen_per_tonne):  # type: ignore[no-untyped-def]
    """The money held for live kilograms: deposit + fee + reserve at the order's limit (semantics G3).

    hold(L) >= charge(q) + hold(L - q) for every split, where charge is deposit and fee of a fill of q.
    """
    deposit = deposit_fen(amount_fen(price_fen_per_tonne, quantity_kg), basis_points)
    return deposit + fee_fen(quantity_kg, fee_fen_per_tonne) + reserve_fen(quantity_kg, step_kg)


def net_of_vat_fen(gross_fen, rate_percent):  # type: ignore[no-untyped-def]
    """The part of a gross amount that is not VAT, half-up (domain 5); the tax is gross minus this."""
    return (gross_fen * 200 + 100 + rate_percent) // (2 * (100 + rate_percent))
