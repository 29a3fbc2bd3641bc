"""What the core cannot do yet of the rules: tests of it are expected to fail, flows leave it out.

Take a name out of MISSING when the core has the rule: a test that passes in spite of its name here fails the
suite, and the flows of test_against_reference draw what is no longer named. This module goes when none is.
"""

from typing import Any

import pytest

from engine.vocabulary import Command

MISSING: set[Any] = {
    Command.START_SESSION,
    Command.END_SESSION,
    Command.CANCEL_ALL_AFTER,
    Command.BLOCK_ACCOUNT,
    Command.RELEASE_ACCOUNT,
    Command.BUST_TRADE,
    Command.SET_PROFILE,
    "bids",  # F2: bids and minimum fills of LISTED instruments
    "settlement price",  # E5, E7: the roll of the day sets references; C8: keeps the ids of what lives
    "dynamic band",  # E5
    "precedence",  # A4: display and minimum quantity are judged after the numbers
    "quiet rejections",  # E1: an indicative price follows accepted changes only
    "collared stops",  # B2, B4: a stop reached at entry is a market order with its collar
    "kept stop place",  # C2: a stop that names its own stop price again
    "replace below minimum",  # C3, G2
    "at_open after a halt",  # B5, E2
    "surplus side",  # E4: the side at a price between two surpluses of one size
}


def not_yet(feature: Any) -> pytest.MarkDecorator:
    """A test of a rule that the core may not have yet; it must fail while the rule is named in MISSING."""
    return pytest.mark.xfail(feature in MISSING, strict=True, reason=f"core: not yet ({feature})")
