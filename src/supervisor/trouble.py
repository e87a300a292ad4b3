"""Something that is wrong, as the checks tell it."""

from __future__ import annotations

import time
from typing import NamedTuple


class Trouble(NamedTuple):
    """What it is, and since when, by the monotonic clock."""

    what: str
    since_s: float

    @classmethod
    def now(cls, what: str) -> Trouble:
        """Return one that begins now."""
        return cls(what, time.monotonic())
