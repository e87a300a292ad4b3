"""Counters that the log tells of when they rise: at once the first time, then not more often than people can read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import structlog

log = structlog.get_logger("supervisor.complaints")

INTERVAL_S: Final = 30.0

_LINES: Final = "lines"
EVENTS: Final = {
    "values_changed": (
        "values with newlines inside, or like a marker, were written with spaces instead (INPUT_NEWLINES)",
        "values",
    ),
    "lines_with_nul": ("lines with a NUL character were sent, with it as \\u0000", _LINES),
    "lines_not_json": ("lines that are no JSON value were sent as raw", _LINES),
    "lines_lost": ("lines lost: the broker may have them, and at-most-once sends none again", _LINES),
    "dead_letters_delivered": ("dead letters delivered", "records"),
    "lines_repaired": ("lines with bytes that are no UTF-8 were repaired", _LINES),
}
"""By the counter of one side or the other: what is said, and what is counted."""


class Complaints:
    """Of one inlet or outlet."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, float]] = {}

    def look(self, counters: Mapping[str, int]) -> None:
        """Log what rose since it was said the last time."""
        now_s = time.monotonic()
        for counter, (event, unit) in EVENTS.items():
            said, at_s = self._said.get(counter, (0, 0.0))
            if counters.get(counter, 0) > said and (said == 0 or now_s - at_s >= INTERVAL_S):
                log.warning(event, **{unit: counters[counter] - said}, total=counters[counter])
                self._said[counter] = (counters[counter], now_s)
