"""Older records: a command log of one record version is read by the next.

Law: what was logged is never rewritten. A block says in its header which version its records have; an older
one is converted in memory when it is read, step by step, each step from a version to the next.

To raise RECORD_VERSION: add the size of the old record to SIZES and the step to STEPS, and keep both.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from engine.records import COMMAND, RECORD_BYTES, Records
from engine.vocabulary import RECORD_VERSION

Step = Callable[[bytes], bytes]

SIZES: Final[dict[int, int]] = {RECORD_VERSION: RECORD_BYTES}  # bytes of a COMMAND record, by version
STEPS: Final[dict[int, Step]] = {}  # records of a version as records of the next, by version


def bytes_of_version(version: int) -> int:
    """Bytes of a COMMAND record of `version`, 0 for one that never was."""
    return SIZES.get(version, 0)


def converted(records: bytes, version: int) -> Records:
    """Records of `version` as COMMAND records of today (read-only)."""
    while version < RECORD_VERSION:
        records, version = STEPS[version](records), version + 1
    return np.frombuffer(records, COMMAND)
