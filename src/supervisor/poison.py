"""Poison: a record that ends the Calculator each time it gets it. Pure: who is suspected, and what is to be done.

Which record it was is not known at first: a Calculator reads ahead. So when the same record was the first unanswered
one through POISON_MAX_ATTEMPTS failures, everything that the last run had read is written alone, record by record, and
the one that is on its own when the Calculator fails again is found guilty.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suspect:
    """The first record that a failed run had read of and not answered."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """Name its place."""
        return f"partition {self.partition}, offset {self.offset}"


class Verdict(enum.Enum):
    """What a failure of the Calculator asks for."""

    NOTHING = "nothing"
    ISOLATE = "isolate"
    GUILTY = "guilty"


class Inquest:
    """Counts the failures in a row that begin with the same record."""

    def __init__(self) -> None:
        self.attempts = 0
        self.suspect: Suspect | None = None

    def failed(self, suspect: Suspect | None, *, alone: bool, max_attempts: int) -> Verdict:
        """Count a failure; None if that run had read nothing that it had not answered: its start failed.

        ``alone``: records were being written alone.
        """
        if suspect is None:
            return Verdict.NOTHING
        self.attempts = self.attempts + 1 if suspect == self.suspect else 1
        self.suspect = suspect
        if alone:
            return Verdict.GUILTY
        return Verdict.ISOLATE if self.attempts >= max_attempts else Verdict.NOTHING
