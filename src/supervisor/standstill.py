"""Since when something that is full has not moved: a queue that empties slowly is work, one that stands is a fault."""

from __future__ import annotations


class Standstill:
    """Told now and then how far the way out of a queue has got, and whether the queue is full."""

    def __init__(self) -> None:
        self._moved: int | None = None
        self._since_s = 0.0

    def for_s(self, moved: int, now_s: float, *, full: bool) -> float | None:
        """Return how long it has been full without moving; None while it is not full or moves."""
        if not full:
            self._moved = None
        elif moved != self._moved:
            self._moved = moved
            self._since_s = now_s
        elif now_s > self._since_s:
            return now_s - self._since_s
        return None
