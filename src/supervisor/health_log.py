"""What the log tells of the two checks: each change of a status, and of what is wrong while the status stays.

A trouble is one line when it begins, as loud as the check is, one when it is over, and one now and then between.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from supervisor.health import CRITICAL, PASSING, WARNING, CheckReport

log = structlog.get_logger("supervisor.health")

INTERVAL_S: Final = 10.0
"""Between two lines about one check whose status stays the same."""

REMIND_S: Final = 300.0
"""How often a trouble that goes on is said again."""

_LEVELS: Final = {PASSING: logging.INFO, WARNING: logging.WARNING, CRITICAL: logging.ERROR}


@dataclass(frozen=True)
class _Told:
    status: str
    words: str
    at_s: float


class HealthLog:
    """Sentences that differ in numbers alone, counts and times, are the same to it."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def look(self, reports: Mapping[str, CheckReport]) -> None:
        """Compare with what was told; a first report is taken for told, if it is not critical."""
        now_s = time.monotonic()
        for name, report in reports.items():
            words = re.sub(r"\d+", "0", report.output)
            told = self._told.get(name)
            if told is None and report.status != CRITICAL:
                self._told[name] = _Told(report.status, words, now_s - INTERVAL_S)
            elif told is None or _is_news(told, report.status, words, now_s - told.at_s):
                log.log(_LEVELS[report.status], "health", check=name, status=report.status, output=report.output)
                self._told[name] = _Told(report.status, words, now_s)


def _is_news(told: _Told, status: str, words: str, since_s: float) -> bool:
    if told.status != status:
        return True
    return since_s >= INTERVAL_S if told.words != words else status != PASSING and since_s >= REMIND_S
