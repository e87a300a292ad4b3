"""Newline search."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor import _framing
from tests.unit.kernel_inputs import Fenced, every_isa

_text = st.lists(st.one_of(st.just(b"\n"), st.integers(0, 140).map(lambda n: b"x" * n)), max_size=20).map(b"".join)


@every_isa
@given(data=_text)
def test_finds_the_first_newline(isa: str, data: bytes) -> None:
    """find_newline is bytes.find."""
    assert _framing.find_newline(data, isa) == data.find(b"\n")


@every_isa
def test_every_length_and_position(isa: str) -> None:
    """One newline at each place of each length up to three blocks, at the end of readable memory."""
    room = Fenced(200)
    for length in range(200):
        assert _framing.find_newline(room.at_end(b"x" * length), isa) == -1
        for at in {*range(min(length, 5)), *range(max(length - 40, 0), length)}:
            data = room.at_end(b"x" * at + b"\n" + b"x" * (length - at - 1))
            assert _framing.find_newline(data, isa) == at
