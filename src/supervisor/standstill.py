"""Since when a full queue stands still (moving slowly is work, standing is a fault), and when a counter rose."""

from __future__ import annotations


class Standstill:
    """Told now and then how far the way out of a queue has got, and whether the queue is full."""

    def __init__(self) -> None:
        self._moved: int | None = None
        self._since_s = 0.0

    def for_s(self, moved: int, now_s: float, *, full: bool) -> float | None:
        """Return how long it has been full without moving; None while it is not full or moves."""
        self.look(moved, now_s, full=full)
        return self.at(now_s)

    def look(self, moved: int, now_s: float, *, full: bool) -> None:
        """Take a look; what is remembered changes by this alone."""
        if not full:
            self._moved = None
        elif moved != self._moved:
            self._moved = moved
            self._since_s = now_s

    def at(self, now_s: float) -> float | None:
        """Return the same as the last look found it; nothing is changed by it."""
        return now_s - self._since_s if self._moved is not None and now_s > self._since_s else None


class LastRise:
    """Told a counter now and then; remembers when it was seen to have risen."""

    def __init__(self) -> None:
        self._count = 0
        self._at_s: float | None = None

    def ago_s(self, count: int, now_s: float) -> float | None:
        """Return how long ago it rose; None if it never did."""
        self.look(count, now_s)
        return self.at(now_s)

    def look(self, count: int, now_s: float) -> None:
        """Take a look; a counter that fell, as that of a new stream does, counts on from where it is."""
        if count > self._count:
            self._at_s = now_s
        self._count = count

    def at(self, now_s: float) -> float | None:
        """Return the same as the last look found it; nothing is changed by it."""
        return None if self._at_s is None else now_s - self._at_s
