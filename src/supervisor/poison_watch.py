"""Looks after each failed run for a record that is why, and sees to what is to be done with it."""

from __future__ import annotations

import structlog

from supervisor._framing import Inlet
from supervisor.calculator import ExitStatus
from supervisor.poison import Inquest, Suspect, Verdict
from supervisor.settings import Settings
from supervisor.trouble import Trouble

log = structlog.get_logger("supervisor.poison")


class PoisonWatch:
    """Of the records of one inlet."""

    def __init__(self) -> None:
        self._inquest = Inquest()
        self.trouble: Trouble | None = None
        """What record ends the Calculator and is tried again alone, while there is nowhere else for it to go."""

    def supervisor_ended(
        self, inlet_notice: str, topic: str | None, place: str, attempts: int, settings: Settings
    ) -> None:
        """Earlier Supervisors ended with a record each time, and nobody was left to say so but the committed offset."""
        where = {"topic": topic, "place": place, "attempts": attempts}
        if inlet_notice == "survived-poison":
            log.error("the record ends the Supervisor with the Calculator and becomes a dead letter",
                      dead_letter_stream=settings.dead_letter_stream, **where)  # fmt: skip
            return
        log.warning("the Supervisor ended before the record was answered: it is written alone now, and those behind it",
                    **where)  # fmt: skip
        if attempts > settings.poison_max_attempts and self.trouble is None:
            self.trouble = Trouble.now(f"{topic}, {place}")

    def run_failed(self, inlet: Inlet, topic: str | None, status: ExitStatus, settings: Settings) -> None:
        """Find out whether a record is why: have it written alone, or put it aside when it is found guilty."""
        found = inlet.suspect()
        suspect = Suspect(*found) if found is not None else None
        alone = inlet.snapshot()["written_alone"] > 0
        verdict = self._inquest.failed(suspect, alone=alone, max_attempts=settings.poison_max_attempts)
        if verdict is Verdict.NOTHING or suspect is None:
            return
        attempts = self._inquest.attempts
        place = {"topic": topic, "partition": suspect.partition, "offset": suspect.offset}
        if verdict is Verdict.ISOLATE:
            log.warning("a record may be what ends the Calculator: what it had read is written alone now, one by one",
                        attempts=attempts, exit=str(status), **place)  # fmt: skip
            inlet.isolate()
        elif settings.dead_letter_stream is not None:
            log.error("the record ends the Calculator and becomes a dead letter", attempts=attempts, exit=str(status),
                      dead_letter_stream=settings.dead_letter_stream, **place)  # fmt: skip
            why = f"the Calculator ended with {status} when it got this record alone, after {attempts - 1} failures"
            inlet.bury(suspect.partition, suspect.offset, why)
            self.trouble = None
        else:
            if self.trouble is None:
                self.trouble = Trouble.now(f"{topic}, {suspect}")
            log.error("the record ends the Calculator: it is tried again alone, nothing behind it is written",
                      attempts=attempts, exit=str(status), remedy="set DEAD_LETTER_STREAM, or mend the Calculator",
                      **place)  # fmt: skip
