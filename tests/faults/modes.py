"""What DESIGN.md, section 4, promises for each mode, as a table: a new mode is a new row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

AT_LEAST_ONCE = {"PROCESSING_GUARANTEE": "at-least-once"}
AT_MOST_ONCE = {"PROCESSING_GUARANTEE": "at-most-once"}
EXACTLY_ONCE = {"PROCESSING_GUARANTEE": "exactly-once"}


@dataclass(frozen=True)
class Mode:
    """A mode and its promise. The outgoing topics are always read with ``read_committed``.

    ``window_records`` is MAX_IN_FLIGHT_RECORDS, the most that one instance has in its hands.

    ``loses``: a blow that takes away what an instance has in its hands may lose that window; else nothing is ever lost.
    ``doubles_replayed``: a blow may double what was not committed, because it is handled again.
    ``doubles_resent``: what a producer with a fatal error had sent may be there twice, though it was handled once.
    ``ordered``: with one outgoing partition, the first appearances of the records of each incoming partition are in
    the order of their offsets, over every blow, several replicas and zombies included: whoever handles a partition
    begins at a committed offset, and all before it is delivered. Not so where a commit comes before delivery.
    In every mode the lines of one run of the Calculator are in the order written within each outgoing partition.
    """

    name: str
    environment: Mapping[str, str]
    program: str
    window_records: int
    loses: bool = False
    doubles_replayed: bool = False
    doubles_resent: bool = False
    ordered: bool = True


MODES = {
    mode.name: mode
    for mode in (
        Mode(
            "at-least-once/demand",
            AT_LEAST_ONCE | {"ACK_MODE": "demand"},
            "one-answer",
            5000,
            doubles_replayed=True,
            doubles_resent=True,
        ),
        Mode(
            "at-least-once/line",
            AT_LEAST_ONCE | {"ACK_MODE": "line"},
            "one-answer",
            5000,
            doubles_replayed=True,
            doubles_resent=True,
        ),
        Mode(
            "at-least-once/marker",
            AT_LEAST_ONCE | {"ACK_MODE": "marker"},
            "fan-out",
            5000,
            doubles_replayed=True,
            doubles_resent=True,
        ),
        Mode("exactly-once/line", EXACTLY_ONCE | {"ACK_MODE": "line"}, "one-answer", 5000),
        Mode("exactly-once/marker", EXACTLY_ONCE | {"ACK_MODE": "marker"}, "fan-out", 5000),
        Mode("at-most-once", AT_MOST_ONCE | {"ACK_MODE": "demand"}, "one-answer", 500, loses=True, ordered=False),
    )
}
