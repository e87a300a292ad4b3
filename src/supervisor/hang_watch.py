"""CALCULATOR_TIMEOUT: a Calculator that has records to answer and neither reads nor prints.

One that waits for somebody else does not hang: for its lines to be taken, or for the stream to go on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import structlog

from supervisor.standstill import Standstill

log = structlog.get_logger("supervisor.hang")


class HangWatch:
    """Of one run after the other."""

    def __init__(self) -> None:
        self._standstill = Standstill()

    def hangs(self, inlet: Mapping[str, int], outlet: Mapping[str, int], *, flowing: bool, timeout_s: float) -> bool:
        """Look at the counters of both ends, now and then; True once for each time that it hangs."""
        has_work = inlet["unanswered"] > 0 and flowing and not outlet["output_full"] and outlet["undelivered"] == 0
        moved = inlet["bytes_written"] - inlet["stdin_unread_bytes"] + outlet["bytes_read"]
        stood_s = self._standstill.for_s(moved, time.monotonic(), full=has_work)
        if stood_s is None or stood_s < timeout_s:
            return False
        log.error(
            "the Calculator hangs: it has records to answer and neither reads nor prints",
            for_s=round(stood_s, 1),
            calculator_timeout_s=timeout_s,
            unanswered=inlet["unanswered"],
        )
        self._standstill = Standstill()
        return True
