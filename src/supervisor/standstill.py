"""Since when a full queue stands still (moving slowly is work, standing is a fault), and when a counter rose."""

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


class LastRise:
    """Told a counter now and then; remembers when it was seen to have risen."""

    def __init__(self) -> None:
        self._count = 0
        self._at_s: float | None = None

    def ago_s(self, count: int, now_s: float) -> float | None:
        """Return how long ago it rose; None if it never did."""
        if count > self._count:
            self._count = count
            self._at_s = now_s
        return None if self._at_s is None else now_s - self._at_s
