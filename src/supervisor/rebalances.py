"""What a rebalance did, for the log: the partitions gained, lost and owned, by number."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

import structlog

log = structlog.get_logger("supervisor.rebalances")

_MOST_CHARACTERS: Final = 400


class Rebalances:
    """Of one consumer. Its notices say that there was one; which partitions are owned then is seen a moment later."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._owned: AbstractSet[int] = frozenset()
        self._met = False

    def notice(self) -> None:
        """Partitions were assigned or given up."""
        self._met = True

    def look(self, owned: AbstractSet[int], assigned: int) -> None:
        """Log what was met since the last look, once the numbers (``owned``) agree with their count (``assigned``)."""
        if not self._met or len(owned) != assigned:
            return
        self._met = False
        gained, lost, self._owned = owned - self._owned, self._owned - owned, owned
        log.info(
            "rebalance of the consumer group",
            topic=self._topic,
            gained=ranges(gained),
            lost=ranges(lost),
            owned=ranges(owned),
            partitions=assigned,
        )


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers in order, neighbours as ``3-7``; ``none`` if there are none."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    text = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in found) or "none"
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
