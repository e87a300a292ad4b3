"""Whether the Calculator finds a UTF-8 locale: without one some programs write ``?`` for what is beyond ASCII."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_DECIDING: Final = (b"LC_ALL", b"LC_CTYPE", b"LANG")
"""In the order in which they count, as POSIX has it; an empty one is as good as none."""

_MUSL_LOADERS: Final = "ld-musl-*"


def warning(environ: Sequence[bytes], libraries: Path = Path("/lib")) -> str | None:
    """Say what is missing in an environment, entries ``NAME=value``; None if nothing is.

    Where nothing is set, musl means UTF-8; ``libraries`` is where its loader would be.
    """
    given: dict[bytes, bytes] = {}
    for entry in environ:
        name, _, value = entry.partition(b"=")
        given.setdefault(name, value)  # of doubles the first counts, as for getenv
    deciding = next((name for name in _DECIDING if given.get(name)), None)
    if deciding is None and any(libraries.glob(_MUSL_LOADERS)):
        return None
    if deciding is not None and re.search(rb"\.utf-?8(?![0-9a-z])", given[deciding], re.IGNORECASE):
        return None
    met = "none of LC_ALL, LC_CTYPE and LANG is set"
    if deciding is not None:
        met = f"{deciding.decode()} is {given[deciding].decode('utf-8', 'backslashreplace')!r}"
    return (
        f"the Calculator's environment has no UTF-8 locale: {met}; some programs, Java first of all, read and write ? "
        "for every character beyond ASCII then; set LANG=C.UTF-8 if its lines have any"
    )
