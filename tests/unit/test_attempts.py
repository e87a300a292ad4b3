"""What stands beside a committed offset: attempts at the first record; of anybody else's metadata, nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._framing import attempts_metadata, attempts_of

MOST = 10**9 - 1


@given(offset=st.integers(0, 10**18 - 1), attempts=st.integers(1, MOST))
def test_what_is_noted_is_read_again(offset: int, attempts: int) -> None:
    """In few bytes: a broker may allow few."""
    metadata = attempts_metadata(offset, attempts)
    assert attempts_of(metadata) == (offset, attempts)
    assert len(metadata) < 64


def test_it_can_be_read_by_people() -> None:
    """With the version first."""
    assert attempts_metadata(17, 2) == b"supervisor-attempts 1 17 2"


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"2026-11-27T05:26:28Z",
        b"supervisor-attempts 2 17 2",
        b"supervisor-attempts 1 17",
        b"supervisor-attempts 1 17 0",
        b"supervisor-attempts 1 17 -1",
        b"supervisor-attempts 1 -17 2",
        b"supervisor-attempts 1 17 2 ",
        b"supervisor-attempts 1 17 2\n",
        b"supervisor-attempts 1  17 2",
        b"supervisor-attempts 1 017 2",
        b"supervisor-attempts 1 +17 2",
        b"supervisor-attempts 1 17 2 more",
        b"supervisor-attempts 1 17 2\0",
        b"supervisor-attempts 1 9999999999999999999999 2",
        b"supervisor-attempts 1 17 99999999999",
        b"supervisor-attempts 1 17 2" + b"0" * 4096,
        b"\xff" * 40,
    ],
)
def test_what_somebody_else_wrote_says_nothing(metadata: bytes) -> None:
    """Another program, another version, or nearly ours."""
    assert attempts_of(metadata) is None


@given(st.binary(max_size=80))
def test_any_bytes(metadata: bytes) -> None:
    """Are ours to the byte, or nobody's."""
    found = attempts_of(metadata)
    assert found is None or attempts_metadata(*found) == metadata
