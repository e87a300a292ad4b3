"""UTF-8 check, and the repair inside json_escape."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from supervisor import _framing
from tests.unit import oracle
from tests.unit.kernel_inputs import ILL_FORMED, WELL_FORMED, Fenced, every_isa, lines


@every_isa
@given(data=st.one_of(lines, st.text(max_size=200).map(lambda s: s.encode("utf-8", "surrogatepass"))))
def test_agrees_with_the_decoder(isa: str, data: bytes) -> None:
    """What bytes.decode takes is valid, and nothing else."""
    assert _framing.utf8_valid(data, isa) == oracle.utf8_valid(data)


@every_isa
def test_every_sequence_at_every_place(isa: str) -> None:
    """Each kind of sequence, good and bad, across every block edge and at the end of readable memory."""
    room = Fenced(256)
    for piece in (*(c.encode() for c in WELL_FORMED), *ILL_FORMED):
        good = oracle.utf8_valid(piece)
        for before, after in itertools.product((*range(66), 94, 95, 96), (0, 1, 2, 33)):
            data = b"x" * before + piece + b"x" * after
            assert _framing.utf8_valid(room.at_end(data), isa) == good, data


@every_isa
def test_every_pair_of_bytes(isa: str) -> None:
    """All two-byte strings: alone, behind ASCII, and across the edge of a block."""
    for first, second in itertools.product(range(256), repeat=2):
        pair = bytes((first, second))
        assert _framing.utf8_valid(pair, isa) == oracle.utf8_valid(pair), pair
        if first >= 0x80:
            assert _framing.utf8_valid(b"x" * 31 + pair, isa) == oracle.utf8_valid(pair), pair


@every_isa
def test_three_and_four_byte_sequences(isa: str) -> None:
    """Every lead with every kind of second byte; the rest are continuations or just beside them."""
    edges = (0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xE0, 0xFF)
    for lead in range(0xC0, 0x100):
        for rest in itertools.product(edges, repeat=2):
            for tail in (b"", b"\x80", b"\x80\x80", b"\xbf\x41"):
                data = b"x" * 30 + bytes((lead, *rest)) + tail
                assert _framing.utf8_valid(data, isa) == oracle.utf8_valid(data), data
                escaped, repaired = _framing.json_escape(data, isa)
                assert escaped == oracle.json_escape(data), data
                assert repaired == oracle.repaired_count(data), data
