"""What the traders want of the market: orders of every kind, and changes to them, drawn from the dice.

Law: a wish is a request's fields and nothing else; whether the market can fulfil it is not asked here.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.simulation.programs import COIL, REBAR

STEP_KG: Final = 2490
STEPS_MAX: Final = 6
SLICES_MAX: Final = 5  # of an iceberg, about
TICK: Final = 100
PRICES: Final = (225_000, 227_000)
COIL_PRICES: Final = (205_000, 213_000)
GTD_SHARE: Final = 0.25
COIL_SHARE: Final = 0.15  # of the orders that list a coil
SELL_SHARE: Final = 0.5  # of the others
Fields = dict[str, Any]
Lot = tuple[str, str, int]  # instrument, lot, kilograms


def tonnes(kg: int) -> str:
    """Kilograms as clients write them."""
    return f"{kg // 1000}.{kg % 1000:03}"


def money(fen: int) -> str:
    """Fen as clients write them."""
    return f"{fen // 100}.{fen % 100:02}"


def order(dice: Random, lots: list[Lot], soon: Callable[[], str]) -> Fields:
    """A new order: a buy of rebar, or a sell from a lot; one that ends does so at `soon()`."""
    wanted = COIL if dice.random() < COIL_SHARE else REBAR
    mine = [lot for lot in lots if lot[0] == wanted]
    sell = bool(mine) and (wanted == COIL or dice.random() < SELL_SHARE)
    code, lot, kg = dice.choice(mine) if sell else (REBAR, "", 0)
    fields = {"instrument": code, "side": "sell" if sell else "buy", "lot": lot}
    if code == COIL:
        fields |= {"quantity": tonnes(kg), "price": price(dice, COIL)}
    else:
        (kind,) = dice.choices(tuple(KINDS), tuple(KINDS.values()))
        fields |= {"quantity": steps(dice, 1, STEPS_MAX)} | kind(dice)
    return lasting(dice, soon) | fields


def lasting(dice: Random, soon: Callable[[], str]) -> Fields:
    """How long an order is to live."""
    if dice.random() < GTD_SHARE:
        return {"time_in_force": "gtd", "expire_at": soon()}
    return {"time_in_force": dice.choice(("day", "gtc"))}


def price(dice: Random, code: str = REBAR) -> str:
    """A price at which others trade too."""
    return money(dice.randrange(*(COIL_PRICES if code == COIL else PRICES), TICK))


def steps(dice: Random, least: int, most: int) -> str:
    """From `least` to below `most` bundles."""
    return tonnes(dice.randrange(least, most) * STEP_KG)


def plain(dice: Random) -> Fields:
    """A limit."""
    return {"price": price(dice)}


def immediate(dice: Random) -> Fields:
    """A limit that never rests."""
    return {"price": price(dice), "time_in_force": "ioc", "expire_at": ""}


def of_one_phase(dice: Random) -> Fields:
    """A limit for the call auction alone, or for continuous trading alone."""
    force = dice.choice(("at_open", "continuous_only"))
    return {"price": price(dice), "time_in_force": force, "expire_at": ""}


def iceberg(dice: Random) -> Fields:
    """A limit that shows a slice at a time."""
    shown = dice.randrange(1, 3)
    return {
        "price": price(dice),
        "quantity": steps(dice, shown + 1, shown * SLICES_MAX + 1),
        "display_quantity": tonnes(shown * STEP_KG),
    }


def market(dice: Random) -> Fields:
    """At what others offer."""
    return {"type": "market", "time_in_force": "day", "expire_at": ""}


def stop(dice: Random) -> Fields:
    """Waits for a price, then goes to market."""
    return {"type": "stop", "stop_price": price(dice)}


def stop_limit(dice: Random) -> Fields:
    """Waits for a price, then is a limit; now and then an iceberg."""
    fields = {"type": "stop_limit", "stop_price": price(dice), "price": price(dice)}
    return fields | ({"display_quantity": tonnes(STEP_KG)} if dice.random() < 0.3 else {})


# Kinds of orders of rebar, and how many of each are wished for among a hundred.
KINDS: Final[dict[Callable[[Random], Fields], int]] = {
    plain: 38,
    iceberg: 20,
    stop: 10,
    stop_limit: 10,
    market: 12,
    immediate: 6,
    of_one_phase: 4,
}


def change(dice: Random, key: str, of: Fields) -> Fields:
    """Another price, another total or both for an order; of a waiting stop perhaps another stop price.

    The total and not what is left, so that a repeat does no harm.
    """
    fields, code = {"client_order_id": key}, of["instrument"]
    if "price" in of and dice.random() < 0.6:
        fields["price"] = price(dice, code)
    if "stop_price" in of and dice.random() < 0.5:
        fields["stop_price"] = price(dice)
    if code == COIL:
        return fields | {"price": price(dice, code)}
    if len(fields) == 1 or dice.random() < 0.5:
        fields["quantity"] = steps(dice, 1, STEPS_MAX * 2)
    return fields
