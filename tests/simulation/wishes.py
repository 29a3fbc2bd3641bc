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
SELL_SHARES: Final = {COIL: 0.75, REBAR: 0.5}
PARTS_SHARE: Final = 0.4  # of the coils that may be bought in parts
COIL_KG: Final = 27_850
MODES: Final = ("cancel_newest", "cancel_oldest", "cancel_both", "decrement", "allow")
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
    code = COIL if dice.random() < COIL_SHARE else REBAR
    mine = [lot for lot in lots if lot[0] == code]
    sell = bool(mine) and dice.random() < SELL_SHARES[code]
    _, lot, kg = dice.choice(mine) if sell else (code, "", 0)
    fields = {"instrument": code, "side": "sell" if sell else "buy", "lot": lot}
    if code == COIL:
        fields |= {"price": price(dice, COIL)} | (offer(dice, kg) if sell else bid(dice))
    else:
        (kind,) = dice.choices(tuple(KINDS), tuple(KINDS.values()))
        fields |= {"quantity": steps(dice, 1, STEPS_MAX), "self_trade_mode": dice.choice(MODES)} | kind(dice)
    return lasting(dice, soon) | fields


def offer(dice: Random, kg: int) -> Fields:
    """A listed sell of all that a lot has, whole or in parts."""
    minimum = (
        {"min_quantity": tonnes(dice.randrange(kg // 4, kg // 2))} if dice.random() < PARTS_SHARE else {}
    )
    return {"quantity": tonnes(kg)} | minimum


def part(dice: Random, least: int, most: int) -> str:
    """So much of a listed sell that what it leaves suits the seller too, or all of it."""
    return tonnes(
        dice.randrange(least, most - least + 1) if dice.random() < 0.5 and 2 * least <= most else most
    )


def bid(dice: Random) -> Fields:
    """A listed buy of one coil: exactly as heavy as they are, or up to so heavy."""
    more = dice.choice((0, 0, 2_000))
    return {"quantity": tonnes(COIL_KG + more)} | ({"min_quantity": tonnes(COIL_KG - more)} if more else {})


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


def all_or_nothing(dice: Random) -> Fields:
    """A limit that is filled at once, or not at all."""
    return {"price": price(dice), "time_in_force": "fok", "expire_at": ""}


def at_least(dice: Random) -> Fields:
    """A limit that gets so much at once, or nothing."""
    fields = {"min_quantity": steps(dice, 2, 4), "quantity": steps(dice, 4, 2 * STEPS_MAX)}
    return immediate(dice) | fields


def passive(dice: Random) -> Fields:
    """A limit that only rests."""
    return {"price": price(dice), "post_only": True}


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


def to_limit(dice: Random) -> Fields:
    """At the best that others offer, and there with the rest."""
    return {"type": "market_to_limit"}


def stop(dice: Random) -> Fields:
    """Waits for a price, then goes to market."""
    return {"type": "stop", "stop_price": price(dice)}


def stop_limit(dice: Random) -> Fields:
    """Waits for a price, then is a limit; now and then an iceberg."""
    fields = {"type": "stop_limit", "stop_price": price(dice), "price": price(dice)}
    return fields | ({"display_quantity": tonnes(STEP_KG)} if dice.random() < 0.3 else {})


# Kinds of orders of rebar, and how many of each are wished for among a hundred.
KINDS: Final[dict[Callable[[Random], Fields], int]] = {
    plain: 30,
    iceberg: 18,
    stop: 9,
    stop_limit: 9,
    market: 9,
    to_limit: 4,
    immediate: 4,
    all_or_nothing: 5,
    at_least: 4,
    passive: 4,
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
