"""What the log tells of the two checks: each change of a status, and of what is wrong while the status stays."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Final

import structlog

from supervisor.health import CheckReport

log = structlog.get_logger("supervisor.health")

INTERVAL_S: Final = 10.0
"""Between two lines about one check whose status stays the same."""


class HealthLog:
    """Sentences that differ in numbers alone, counts and times, are the same to it."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, str, float]] = {}

    def look(self, reports: Mapping[str, CheckReport]) -> None:
        """Compare with what was told; the first reports are taken for told."""
        now_s = time.monotonic()
        told = {name: (report.status, re.sub(r"\d+", "0", report.output), now_s) for name, report in reports.items()}
        if not self._told:
            self._told = {name: (status, words, now_s - INTERVAL_S) for name, (status, words, _) in told.items()}
            return
        before = dict(self._told)
        status_changed = any(told[name][0] != before[name][0] for name in reports)
        for name, report in reports.items():
            _, words, at_s = before[name]
            if status_changed or (told[name][1] != words and now_s - at_s >= INTERVAL_S):
                log.info("health", check=name, status=report.status, output=report.output)
                self._told[name] = told[name]
