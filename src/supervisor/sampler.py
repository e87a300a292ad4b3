"""What is remembered between two looks at the counters: since when something stands still, and the last ten minutes.

`Sampler.look` is called on a timer and by nobody else, so that how often somebody reads the page changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict

from supervisor.standstill import LastRise, Standstill

POINT_S: Final = 5.0
POINTS: Final = 120
_TAKEN_KEPT: Final = 4096


@dataclass(frozen=True)
class Point:
    """The mean rates of `POINT_S`, and lag and delay at its end. None: not known, or there is no such side."""

    in_per_s: float | None
    out_per_s: float
    lag: int | None
    oldest_in_flight_s: float | None


@dataclass(frozen=True)
class Look:
    """What is looked at. ``lag``: the sum over the partitions where it is known, None where it is of none."""

    inlet: Mapping[str, int]
    outlet: Mapping[str, int]
    lag: int | None
    waits_to_join: bool = False


class Standing(TypedDict):
    """The facts that are about a time and need to be remembered, by their names."""

    stdin_stuck_for_s: float | None
    output_stuck_for_s: float | None
    unassigned_for_s: float | None
    unplaced_for_s: float | None
    stdin_broken_for_s: float | None
    echo_owed_for_s: float | None
    oversize_ago_s: float | None
    unproducible_ago_s: float | None
    progress_ago_s: float | None
    oldest_in_flight_s: float | None


class Sampler:
    """Of one Supervisor."""

    def __init__(self) -> None:
        self._stdin, self._output = Standstill(), Standstill()
        self._unassigned, self._unplaced = Standstill(), Standstill()
        self._stdin_broken, self._echo_owed = Standstill(), Standstill()
        self._oversize, self._unproducible = LastRise(), LastRise()
        self._progress = tuple((key, LastRise()) for key in ("records_read", "acknowledged", "lines_delivered"))
        self._taken: deque[tuple[int, float]] = deque()
        self._gone = 0
        self._in_flight = False
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._begun: tuple[float, int | None, int] | None = None

    def look(self, look: Look, now_s: float) -> None:
        """Take a look at the counters."""
        inlet, outlet = look.inlet, look.outlet
        self._stdin.look(inlet.get("bytes_written", 0), now_s, full=inlet.get("stdin_full", 0) > 0)
        self._output.look(outlet.get("lines_delivered", 0), now_s, full=outlet.get("output_full", 0) > 0)
        alone = inlet.get("assigned_partitions") == 0 and not look.waits_to_join
        self._unassigned.look(0, now_s, full=alone)
        self._unplaced.look(0, now_s, full=inlet.get("unplaced_partitions", 0) > 0)
        self._stdin_broken.look(0, now_s, full=inlet.get("stdin_broken", 0) > 0)
        self._echo_owed.look(0, now_s, full=inlet.get("echo_owed", 0) > 0)
        self._oversize.look(outlet.get("lines_oversize", 0), now_s)
        self._unproducible.look(outlet.get("lines_unproducible", 0), now_s)
        for key, rise in self._progress:
            rise.look(inlet.get(key, 0) if key in inlet else outlet.get(key, 0), now_s)
        self._look_at_age(inlet, now_s)
        self._add_point(look, now_s)

    def _look_at_age(self, inlet: Mapping[str, int], now_s: float) -> None:
        """Remember when records were taken, until as many have gone: they go in about the order they came in."""
        read = inlet.get("records_read", 0)
        self._gone = read - inlet.get("in_flight_records", 0)
        self._in_flight = inlet.get("in_flight_records", 0) > 0
        if self._taken and read < self._taken[-1][0]:  # a new stream counts anew
            self._taken.clear()
        while self._taken and self._taken[0][0] <= self._gone:
            self._taken.popleft()
        is_new = read > (self._taken[-1][0] if self._taken else self._gone)
        if is_new and len(self._taken) < _TAKEN_KEPT:  # more than half an hour of looks: the rest count as the last
            self._taken.append((read, now_s))

    def _add_point(self, look: Look, now_s: float) -> None:
        read = look.inlet.get("records_read")
        delivered = look.outlet.get("lines_delivered", 0)
        if self._begun is None:
            self._begun = now_s, read, delivered
        begun_s, read_before, delivered_before = self._begun
        passed_s = now_s - begun_s
        if passed_s < POINT_S:
            return
        # A counter that fell is that of a new stream, which began at 0.
        came = None if read is None else read - (read_before if read_before and read >= read_before else 0)
        went = delivered - (delivered_before if delivered >= delivered_before else 0)
        oldest_s = self.oldest_in_flight_s(now_s)
        self._points.append(Point(None if came is None else came / passed_s, went / passed_s, look.lag, oldest_s))
        self._begun = now_s, read, delivered

    def points(self) -> tuple[Point, ...]:
        """The last ten minutes, the oldest first."""
        return tuple(self._points)

    def oldest_in_flight_s(self, now_s: float) -> float | None:
        """How long the oldest record in flight has been so."""
        return now_s - self._taken[0][1] if self._in_flight and self._taken else None

    def standing(self, now_s: float) -> Standing:
        """What the looks have found; nothing is changed by it."""
        rises = [ago_s for _, rise in self._progress if (ago_s := rise.at(now_s)) is not None]
        return {
            "stdin_stuck_for_s": self._stdin.at(now_s),
            "output_stuck_for_s": self._output.at(now_s),
            "unassigned_for_s": self._unassigned.at(now_s),
            "unplaced_for_s": self._unplaced.at(now_s),
            "stdin_broken_for_s": self._stdin_broken.at(now_s),
            "echo_owed_for_s": self._echo_owed.at(now_s),
            "oversize_ago_s": self._oversize.at(now_s),
            "unproducible_ago_s": self._unproducible.at(now_s),
            "progress_ago_s": min(rises, default=None),
            "oldest_in_flight_s": self.oldest_in_flight_s(now_s),
        }
