"""Who ends an account's orders finds all of them and nobody else's, also where accounts share a byte."""

from itertools import chain

import pytest

from engine.core.book import OTHERS
from engine.core.layout import OWNERS_AT_ONCE
from engine.exchange import Exchange
from engine.records import commands_of
from engine.vocabulary import Command, Event
from tests.engine.builders import LOWER, SMALL, STEP_KG, Venue, order_id_of

ONE, TWIN = 1, 1 + OTHERS + 1  # the same last seven bits
NOBODY, ANY_SIDE = -1, 255


@pytest.fixture
def venue() -> Venue:
    venue = Venue(Exchange(SMALL._replace(accounts=TWIN + 1)))
    for account in (ONE, TWIN):
        venue.account(account)
    return venue


def entered(venue: Venue, *accounts: int) -> list[int]:
    """Ids of buys that rest, one of each account."""
    return [order_id_of(venue.buy(account, LOWER, STEP_KG)) for account in accounts]


def canceled(venue: Venue, account: int) -> list[int]:
    """Ids that a mass cancel ends."""
    everything = {"account": account, "instrument": NOBODY, "side": ANY_SIDE}
    events = venue.command(kind=Command.MASS_CANCEL, **everything)
    venue.exchange.check_invariants()
    return [int(event["order_id"]) for event in events if event["kind"] == Event.CANCELED]


@pytest.mark.parametrize("each", [1, OWNERS_AT_ONCE, 3 * OWNERS_AT_ONCE])
def test_accounts_that_share_a_byte_are_told_apart(venue: Venue, each: int) -> None:
    ids = entered(venue, *[ONE, TWIN] * each)

    assert canceled(venue, ONE) == ids[::2]
    assert canceled(venue, TWIN) == ids[1::2]


def test_orders_far_apart_are_found(venue: Venue) -> None:
    """One before, one behind a stretch of slots that hold nobody's orders, or somebody else's."""
    first, *_ = entered(venue, ONE, *[TWIN] * 4 * OWNERS_AT_ONCE)
    last = entered(venue, ONE)[0]

    assert canceled(venue, ONE) == [first, last]

    venue.command(kind=Command.MASS_CANCEL, account=TWIN, instrument=NOBODY, side=ANY_SIDE)
    again = entered(venue, *chain.from_iterable([TWIN, ONE] for _ in range(OWNERS_AT_ONCE)))
    assert canceled(venue, ONE) == again[1::2]


def test_questions_tell_them_apart_too(venue: Venue) -> None:
    ids = entered(venue, ONE, TWIN, ONE)

    rows = venue.exchange.answer(commands_of({"kind": Command.QUERY_ORDERS, "account": ONE}))

    assert rows["order_id"].tolist() == [*ids[::2], 0], "the last row says END"
