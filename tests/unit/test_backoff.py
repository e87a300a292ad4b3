"""Delays between restarts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.backoff import Backoff


def test_sequence() -> None:
    """At once, then 1, 2, 4 … seconds up to the cap; a reset begins anew."""
    backoff = Backoff(30.0, jitter=lambda: 1.0)
    assert [backoff.failed() for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert (backoff.failures, backoff.failed()) == (0, 0.0)


def test_crash_loop_from_the_third_failure() -> None:
    """Two failures may happen to anybody; the third in a row is a crash loop until a reset."""
    backoff = Backoff(30.0)
    seen = []
    for _ in range(4):
        backoff.failed()
        seen.append(backoff.crash_loop)
    backoff.reset()
    assert ([*seen, backoff.crash_loop]) == [False, False, True, True, False]


@given(st.floats(0.1, 1e6), st.floats(0, 1, exclude_max=True), st.integers(1, 3000))
def test_bounds(cap_s: float, jitter: float, failures: int) -> None:
    """A delay is between three quarters of its nominal value and the cap, however long it goes on."""
    backoff = Backoff(cap_s, jitter=lambda: jitter)
    for _ in range(failures):
        delay_s = backoff.failed()
    nominal_s = min(cap_s, 2.0 ** min(failures - 2, 60)) if failures > 1 else 0.0
    assert 0.75 * nominal_s <= delay_s <= cap_s
