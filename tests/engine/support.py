"""What the core cannot do yet of the rules: tests of it are expected to fail, flows leave it out.

Take a name out of MISSING when the core has the rule: a test that passes in spite of its name here fails the
suite, and the flows of test_against_reference draw what is no longer named. This module goes when none is.
"""

from typing import Any

import pytest

MISSING: set[Any] = set()


def not_yet(feature: Any) -> pytest.MarkDecorator:
    """A test of a rule that the core may not have yet; it must fail while the rule is named in MISSING."""
    return pytest.mark.xfail(feature in MISSING, strict=True, reason=f"core: not yet ({feature})")
