"""JSON check: the verdict on a line under OUTPUT_JSON."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import _framing
from tests.unit import oracle
from tests.unit.kernel_inputs import ILL_FORMED, WELL_FORMED, every_isa, lines, mutated

_text = st.text(st.characters(codec="utf-8"), max_size=40)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_layouts = st.sampled_from([{}, {"separators": (",", ":")}, {"separators": (" ,\t", "\r: ")}, {"ensure_ascii": False}])
_documents = st.builds(lambda value, layout: json.dumps(value, **layout).encode(), _values, _layouts)
_tokens = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b'"a"',
        b'"\\n"',
        b"0",
        b"-1.5e+3",
        b"01",
        b"true",
        b"null",
        b" ",
        b"\t",
        b"\r",
    ]
)


@every_isa
@given(document=_documents)
def test_documents_are_valid(isa: str, document: bytes) -> None:
    """What json.dumps writes is valid; null alone is told apart."""
    assert _framing.json_check(document, isa) == (oracle.NULL if document == b"null" else oracle.VALID)


@every_isa
@given(document=_documents, seed=st.integers(0, 2**32))
def test_mutated_documents(isa: str, document: bytes, seed: int) -> None:
    """One or two bytes changed: valid or not as the oracle says."""
    chance = random.Random(seed)
    for _ in range(20):
        line = mutated(document, chance)
        assert _framing.json_check(line, isa) == oracle.json_check(line), line
        line = mutated(line, chance)
        assert _framing.json_check(line, isa) == oracle.json_check(line), line


@every_isa
@given(line=st.lists(_tokens, max_size=10).map(b"".join))
def test_soups_of_tokens(isa: str, line: bytes) -> None:
    """Tokens in any order."""
    assert _framing.json_check(line, isa) == oracle.json_check(line)


@every_isa
@given(inside=lines)
def test_strings_of_anything(isa: str, inside: bytes) -> None:
    """Any bytes between quotes, as a value and as a key."""
    for line in (b'"%b"' % inside, b'{"%b":1}' % inside):
        assert _framing.json_check(line, isa) == oracle.json_check(line), line


@every_isa
def test_sequences_in_strings_at_every_place(isa: str) -> None:
    """Each kind of sequence, good and bad, at every offset of the blocks of a string."""
    for piece in (*(c.encode() for c in WELL_FORMED), *ILL_FORMED):
        good = oracle.VALID if oracle.utf8_valid(piece) else oracle.INVALID
        for before, after in itertools.product((*range(35), 62, 63, 64, 65), (0, 1, 40)):
            line = b'["' + b"x" * before + piece + b"y" * after + b'"]'
            assert _framing.json_check(line, isa) == good, line


@every_isa
def test_escapes_in_strings(isa: str) -> None:
    """Every byte behind a backslash; every byte, bare, in a string and outside of one."""
    for byte, before in itertools.product(range(256), (0, 14, 15, 30, 31)):
        for line in (b'"%b\\%b"' % (b"x" * before, bytes([byte])), b'"%b"' % bytes([byte]), bytes([byte])):
            assert _framing.json_check(line, isa) == oracle.json_check(line), line


_UNITS = [
    b"\\u0041",
    b"\\ud7ff",
    b"\\uD800",
    b"\\udBff",
    b"\\uDc00",
    b"\\udfff",
    b"\\ue000",
    b"\\u12g4",
    b"\\u123",
    b"x",
    b"\\n",
]


@every_isa
def test_surrogates(isa: str) -> None:
    """A pair is one character; half of one, in any place, is refused."""
    for units in itertools.product(_UNITS, repeat=3):
        line = b'"' + b"".join(units) + b'"'
        assert _framing.json_check(line, isa) == oracle.json_check(line), line


@every_isa
def test_numbers(isa: str) -> None:
    """The number grammar: all strings of up to five of its signs."""
    for length in range(1, 6):
        for signs in itertools.product(b"-+.eE0" if length == 5 else b"-+.eE07", repeat=length):
            line = bytes(signs)
            assert _framing.json_check(line, isa) == oracle.json_check(line), line


@every_isa
@pytest.mark.parametrize(
    "literal", [b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity", b"nan", b"None", b"True"]
)
def test_literals(isa: str, literal: bytes) -> None:
    """The three words and nothing that looks like them; cut, with space around, with more behind."""
    cuts = [literal[:n] for n in range(len(literal))]
    for line in (*cuts, literal, literal + b"x", b" \t\r" + literal + b" \t\r", b"[" + literal + b"]", literal + b" 1"):
        assert _framing.json_check(line, isa) == oracle.json_check(line), line


@every_isa
def test_null_is_told_apart_only_alone(isa: str) -> None:
    """A null with space around it is null; a null inside a value is not."""
    assert _framing.json_check(b" null\r", isa) == oracle.NULL
    assert _framing.json_check(b"[null]", isa) == oracle.VALID
    assert _framing.json_check(b'{"a":null}', isa) == oracle.VALID
    assert _framing.json_check(b'"null"', isa) == oracle.VALID


@every_isa
@pytest.mark.parametrize(
    "line", [b"", b" ", b"\r", b"1\n", b"[1,\n2]", b"\xef\xbb\xbf1", b"1\x00", b"\x00", b"[1]\x00"]
)
def test_lines_that_are_no_value(isa: str, line: bytes) -> None:
    """Nothing, space, a newline within, a byte order mark, zero bytes."""
    assert _framing.json_check(line, isa) == oracle.INVALID


@every_isa
@pytest.mark.parametrize("more", [b"1", b'"a":1', b' "a" : 1', b"", b"{}", b"]", b"}"])
def test_one_value_and_no_second(isa: str, more: bytes) -> None:
    """Behind the value of a line nothing follows: no comma, no member, no other value."""
    for value in (b"1", b'"a"', b"[]", b'{"a":1}', b"null"):
        assert _framing.json_check(value + b"," + more, isa) == oracle.INVALID
        assert _framing.json_check(value + b" ," + more, isa) == oracle.INVALID
        assert _framing.json_check(value + b":" + more, isa) == oracle.INVALID


@every_isa
def test_depth(isa: str) -> None:
    """511 levels and the envelope's, of lists, objects and both in turns; far beyond, the answer is still just no."""
    shapes = ((b"[", b"]", b"1"), (b'{"a":', b"}", b"1"), (b'[{"a":', b"}]", b""), (b"[ [", b"] ]", b""))
    for opening, closing, core in shapes:
        levels = len([c for c in opening if c in b"[{"])
        for depth in (1, 2, 63, 64, 65, 127, 128, 129, 510, 511, 512, 513, 1024):
            line = opening * (depth // levels) + (core or b"[]") + closing * (depth // levels)
            deep = depth // levels * levels + (0 if core else 1)
            want = oracle.VALID if deep <= oracle.MAX_DEPTH else oracle.INVALID
            assert _framing.json_check(line, isa) == want, (opening, depth)
    assert _framing.json_check(b"[" * 100_000, isa) == oracle.INVALID
    assert _framing.json_check(b"[" * 511, isa) == oracle.INVALID
    assert _framing.json_check(b"[[]" + b"]" * 3, isa) == oracle.INVALID


@every_isa
def test_brackets_have_to_match(isa: str) -> None:
    """All strings of up to seven brackets and commas around ones."""
    for length in range(1, 8):
        for signs in itertools.product(b"[]{}" if length > 5 else b"[]{},1", repeat=length):
            line = bytes(signs)
            assert _framing.json_check(line, isa) == oracle.json_check(line), line


LARGEST = "17976931348623157" + "0" * 292  # the largest double
TOO_LARGE = "17976931348623159" + "0" * 292


@every_isa
@given(
    whole=st.one_of(st.just("0"), st.integers(1).map(str), st.integers(290, 330).map(lambda n: "9" * n)),
    fraction=st.sampled_from(["", ".0", ".5", "." + "0" * 100 + "1", "." + "9" * 400]),
    exponent=st.one_of(st.just(""), st.integers(-700, 700).map("e{:+d}".format), st.sampled_from(["E308", "e0309"])),
)
def test_numbers_about_the_largest_double(isa: str, whole: str, fraction: str, exponent: str) -> None:
    """Alone, negative, in a list and as a member."""
    number = f"{whole}{fraction}{exponent}"
    for line in (number, f"-{number}", f"[{number},1]", f'{{"a": {number} }}'):
        assert _framing.json_check(line.encode(), isa) == oracle.json_check(line.encode()), line


@every_isa
@pytest.mark.parametrize(
    ("number", "fits"),
    [
        (LARGEST, True),
        (TOO_LARGE, False),
        (f"{LARGEST}.9", True),
        ("1.7976931348623157e308", True),
        ("1.7976931348623159e308", False),
        ("1" * 309, True),
        ("1" * 310, False),
        ("1" * 4301, False),
        ("1e400", False),
        ("1E+309", False),
        ("0e400", True),
        ("0.000e99999999999999999999", True),
        ("0." + "0" * 400 + "1e400", True),
        ("1" * 400 + "e-200", True),
        ("1" * 400 + "e-9", False),
        ("1e-400", True),
        ("1e99999999999999999999999999", False),
        ("1e-99999999999999999999999999", True),
        ("0." + "1" * 9000, True),
    ],
)
def test_a_number_that_overflows_a_double_is_refused(isa: str, number: str, fits: bool) -> None:
    """Strict readers stop at it, others make it infinite."""
    for line in (number, f"-{number}", f"[{number}]"):
        assert _framing.json_check(line.encode(), isa) == (oracle.VALID if fits else oracle.INVALID)
