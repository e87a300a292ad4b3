"""What the log says of a rebalance."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from supervisor.rebalances import Rebalances, ranges


def test_a_rebalance_says_what_it_did() -> None:
    """Once, when the numbers agree with their count; a rebalance that changes nothing is said too."""
    seen = Rebalances("events")
    with capture_logs() as logs:
        seen.look({0, 1}, 2)  # nothing was told
        seen.notice()
        seen.look(set(), 3)  # the numbers are old
        seen.look({0, 1, 2}, 3)
        seen.look({0, 1, 2}, 3)
        seen.notice()
        seen.look({1, 2, 7}, 3)
        seen.notice()
        seen.look({1, 2, 7}, 3)
        seen.notice()
        seen.look(set(), 0)
    assert [(line["gained"], line["lost"], line["owned"]) for line in logs] == [
        ("0-2", "none", "0-2"),
        ("7", "0", "1-2, 7"),
        ("none", "none", "1-2, 7"),
        ("none", "1-2, 7", "none"),
    ]
    assert {(line["event"], line["topic"], line["log_level"]) for line in logs} == {
        ("rebalance of the consumer group", "events", "info")
    }


@pytest.mark.parametrize(
    ("numbers", "text"), [(set(), "none"), ({3}, "3"), ({5, 3, 4}, "3-5"), ({0, 2, 3, 9}, "0, 2-3, 9")]
)
def test_numbers_are_written_in_order(numbers: set[int], text: str) -> None:
    """Neighbours together, and never more than a line."""
    assert ranges(numbers) == text
    assert len(ranges(range(0, 6000, 2))) == 400
