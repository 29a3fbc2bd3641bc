"""What the core can do today of the rules that it is still getting; this module ends when it can do all."""

from typing import Any

import pytest

from engine.exchange import Exchange, stamped
from engine.records import commands_of
from engine.vocabulary import Command, Reason
from tests.engine.fakes import SMALL


def _is_known(kind: Command) -> bool:
    exchange = Exchange(SMALL)
    events = exchange.apply(stamped(commands_of({"kind": kind}), 1, 1))
    return Reason(int(events["reason"][0])) is not Reason.UNSUPPORTED_COMMAND


SUPPORTED: set[Any] = {kind for kind in Command if kind < Command.QUERY_ORDERS and _is_known(kind)}
SUPPORTED |= {"kept stop place", "replace below minimum", "quiet rejections", "collared stops"}
SUPPORTED |= {"settlement price", "bids"}
SUPPORTED |= {"at_open after a halt", "surplus side"}
SUPPORTED.add("dynamic band")


def not_yet(feature: Any) -> pytest.MarkDecorator:
    """A test of a rule that the core does not have yet; it must pass as soon as the core has it."""
    return pytest.mark.xfail(feature not in SUPPORTED, strict=True, reason=f"core: not yet ({feature})")
