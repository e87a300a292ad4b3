"""JSON string escape with repair, and the dataframe around it."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import _framing
from tests.unit import oracle
from tests.unit.kernel_inputs import ILL_FORMED, SPECIAL, WELL_FORMED, Fenced, every_isa, lines


@every_isa
@given(data=lines)
def test_escape_agrees_with_the_standard_encoder(isa: str, data: bytes) -> None:
    """json_escape is decode(replace) and json.dumps; the count is that of the replaced maximal subparts."""
    assert _framing.json_escape(data, isa) == (oracle.json_escape(data), oracle.repaired_count(data))


@every_isa
@given(data=st.binary(max_size=300))
def test_escape_of_any_bytes(isa: str, data: bytes) -> None:
    """Bytes without any structure."""
    assert _framing.json_escape(data, isa) == (oracle.json_escape(data), oracle.repaired_count(data))


@every_isa
def test_escape_of_every_pair_of_bytes(isa: str) -> None:
    """All two-byte strings, alone."""
    for pair in map(bytes, itertools.product(range(256), repeat=2)):
        assert _framing.json_escape(pair, isa) == (oracle.json_escape(pair), oracle.repaired_count(pair)), pair


@every_isa
def test_escape_of_everything_at_every_place(isa: str) -> None:
    """Each special byte and sequence across every block edge, with ASCII or not around it, before a fence."""
    room = Fenced(512)
    for piece in (*SPECIAL, *(c.encode() for c in WELL_FORMED), *ILL_FORMED):
        for filler in (b"x", "ж".encode()):
            for before, after in itertools.product((*range(34), 61, 62, 63, 64), (0, 1, 31)):
                data = filler * before + piece + filler * after
                want = oracle.json_escape(data), oracle.repaired_count(data)
                assert _framing.json_escape(room.at_end(data), isa) == want, data


@every_isa
def test_escape_of_all_special_lines(isa: str) -> None:
    """The worst case: every byte becomes six."""
    for n in range(150):
        assert _framing.json_escape(b"\x01" * n, isa) == (b"\\u0001" * n, 0)
        assert _framing.json_escape(b'"' * n, isa) == (b'\\"' * n, 0)
        assert _framing.json_escape(b"\xff" * n, isa) == ("\ufffd".encode() * n, n)


@every_isa
@given(data=lines, times=st.integers(1, 40))
def test_size_of_a_long_line_is_foretold(isa: str, data: bytes, times: int) -> None:
    """json_escaped_size works in pieces: sequences across its cuts count once (the wrapper compares the sizes)."""
    assert _framing.json_escape(data * times, isa)[0] == oracle.json_escape(data * times)


@every_isa
def test_size_at_every_cut(isa: str) -> None:
    """Each sequence, good and bad, on every side of the cut at 512 bytes."""
    for piece in (*(c.encode() for c in WELL_FORMED), *ILL_FORMED, b"\x80" * 9):
        for before in range(500, 514):
            data = b"x" * before + piece + b"y" * 20
            assert _framing.json_escape(data, isa)[0] == oracle.json_escape(data), data


@every_isa
@given(line=lines, wsp=lines, ts_ms=st.integers(-(2**63), 2**63 - 1))
def test_raw_envelope(isa: str, line: bytes, wsp: bytes, ts_ms: int) -> None:
    """Any line, workspace uid and time stamp: the very bytes of the dataframe, and a standard parser takes them."""
    frame, repaired = _framing.envelope_raw(line, wsp, ts_ms, isa)
    assert frame == oracle.envelope_raw(line, wsp, ts_ms)
    assert repaired == oracle.repaired_count(line)
    assert b"\n" not in frame
    decoded = json.loads(frame)
    assert decoded == {"wsp": wsp.decode("utf-8", "replace"), "ts": ts_ms, "raw": line.decode("utf-8", "replace")}


@every_isa
@pytest.mark.parametrize("digits", range(1, 20))
def test_time_stamps_of_every_length(isa: str, digits: int) -> None:
    """From one digit to nineteen, and their negatives."""
    for ts_ms in (10 ** (digits - 1), min(10**digits - 1, 2**63 - 1)):
        assert _framing.envelope_raw(b"", b"w", ts_ms, isa)[0] == b'{"wsp":"w","ts":%d,"raw":""}' % ts_ms
        assert _framing.envelope_parsed(b"1", b"w", -ts_ms, isa) == b'{"wsp":"w","ts":%d,"parsed":1}' % -ts_ms


@every_isa
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), wsp=lines)
def test_parsed_envelope(isa: str, value: object, wsp: bytes) -> None:
    """The line is embedded byte for byte."""
    line = (json.dumps(value) + " \r").encode()
    assert _framing.envelope_parsed(line, wsp, 1700000000000, isa) == oracle.envelope_parsed(line, wsp, 1700000000000)


def test_an_unknown_level_is_refused() -> None:
    """A level that is not to be had is an error, not the nearest one."""
    with pytest.raises(ValueError, match="avx1024"):
        _framing.json_escape(b"", "avx1024")
