"""The ledger and the rules of acknowledgement in a small world, whatever the order of events.

Each machine plays one mode: the group gives and takes partitions, the Calculator reads, prints and dies, records are
put aside, lines and letters are delivered or not. At every step the ledger agrees with its plain reference, and the
promises of the mode hold in the world: nothing is committed that was not done, nothing behind a dead record before its
letter is there, nothing is done twice where that is promised, STDIN is whole records in order, and nothing is held at
the end.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.unit.ledger_guarantees import AtMostOnce, ExactlyOnce
from tests.unit.ledger_machine import Demand, Line, Marker


class ExactlyOnceLine(ExactlyOnce):
    """With one line for each."""

    ack_mode = "line"
    print_unasked = Line.print_unasked


class ExactlyOnceMarker(ExactlyOnce):
    """With markers; so that lines can be counted, the Calculator prints one for each."""

    ack_mode = "marker"
    mark = Marker.mark
    after_the_last = Marker.after_the_last

    @rule(count=st.integers(1, 4))
    def handle(self, count: int, lines: int = 1) -> None:
        """One line for each; one that was begun is that one."""
        super().handle(count, 1)


SETTINGS = settings(max_examples=60, stateful_step_count=50, deadline=None)
for machine in (Demand, Line, Marker, AtMostOnce, ExactlyOnceLine, ExactlyOnceMarker):
    machine.TestCase.settings = SETTINGS

test_demand = Demand.TestCase
test_line = Line.TestCase
test_marker = Marker.TestCase
test_at_most_once = AtMostOnce.TestCase
test_exactly_once_line = ExactlyOnceLine.TestCase
test_exactly_once_marker = ExactlyOnceMarker.TestCase
