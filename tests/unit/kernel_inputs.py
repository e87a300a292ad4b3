"""Inputs that are hard on vector code, and memory that ends where the input ends."""

from __future__ import annotations

import ctypes
import mmap
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from supervisor import _framing

# A machine that is busy with brokers, or an address checker, makes no example wrong.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

LEVELS = ("scalar", "sse2", "ssse3", "avx2")


def _has(isa: str) -> bool:
    try:
        _framing.find_newline(b"", isa)
    except ValueError:
        return False
    return True


every_isa = pytest.mark.parametrize(
    "isa", [pytest.param(isa, marks=pytest.mark.skipif(not _has(isa), reason=f"no {isa} here")) for isa in LEVELS]
)

# Each is well-formed alone; some are kept in pieces by a cut of the text around them.
WELL_FORMED = (
    "a",
    "\x7f",
    "\x80",
    "ж",
    "\u07ff",
    "\u0800",
    "€",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\U00010000",
    "😀",
    "\U0010ffff",
)
# One of each way to be ill-formed: lone continuation, cut sequences, overlong, surrogate, too large, impossible byte.
ILL_FORMED = (
    b"\x80", b"\xbf", b"\xc2", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98", b"\xc0\x80", b"\xc1\xbf",
    b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff",
    b"\xe2\x28\xa1", b"\xf0\x28\x8c\xbc",
)  # fmt: skip
SPECIAL = tuple(bytes([c]) for c in (*range(0x20), 0x22, 0x5C))

# Lengths around the 16, 32 and 64 bytes that vector code works in.
RUN_LENGTHS = st.sampled_from(
    [0, 1, 2, 3, 7, 8, 13, 14, 15, 16, 17, 29, 30, 31, 32, 33, 47, 48, 62, 63, 64, 65, 95, 96, 127]
)

_pieces = st.one_of(
    st.builds(
        lambda n, c: c * n, RUN_LENGTHS, st.sampled_from([b"x", b" ", "ж".encode(), "€".encode(), "😀".encode()])
    ),
    st.sampled_from([c.encode() for c in WELL_FORMED]),
    st.sampled_from(ILL_FORMED),
    st.sampled_from(SPECIAL),
    st.binary(max_size=5),
    st.text(max_size=5).map(lambda s: s.encode("utf-8", "surrogatepass")),
)
lines = st.lists(_pieces, max_size=12).map(b"".join)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One byte changed, taken away or put in."""
    at = chance.randrange(len(data) + 1)
    byte = bytes([chance.choice(b'"\\{}[]:,0123456789.eE+-tfnu \t\r\n\x00\x1f\x7f\x80\xbf\xc2\xe2\xed\xf0\xff')])
    return data[:at] + chance.choice([byte, b"", byte]) + data[at + chance.randrange(2) :]


class Fenced:
    """Room whose last byte is followed by a page that cannot be touched, so that reading on is a crash."""

    def __init__(self, size: int) -> None:
        pages = -(-size // mmap.PAGESIZE)
        self._map = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
        self._end = pages * mmap.PAGESIZE
        self._keep = ctypes.c_char.from_buffer(self._map, self._end)
        libc = ctypes.CDLL(None, use_errno=True)
        fence = ctypes.c_void_p(ctypes.addressof(self._keep))
        if libc.mprotect(fence, ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def at_end(self, data: bytes) -> memoryview:
        """The data, placed so that the fence follows."""
        start = self._end - len(data)
        self._map[start : self._end] = data
        return memoryview(self._map)[start : self._end]
