"""What the kernels must compute, in plain Python: slow, and short enough to be believed."""

from __future__ import annotations

import json
import math
from typing import Any

INVALID, VALID, NULL = 0, 1, 2
MAX_DEPTH = 511  # the envelope is one level more


def utf8_valid(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def repaired_count(data: bytes) -> int:
    """How many maximal subparts bytes.decode replaces (a U+FFFD that the data itself holds is not one)."""
    return data.decode("utf-8", "replace").count("\ufffd") - data.count("\ufffd".encode())


def json_escape(data: bytes) -> bytes:
    return json.dumps(data.decode("utf-8", "replace"), ensure_ascii=False)[1:-1].encode()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _depth(text: str) -> int:
    """Deepest nesting of a text that is known to be JSON."""
    deepest = depth = 0
    in_string = escaped = False
    for c in text:
        if in_string:
            in_string = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c == '"':
            in_string, escaped = True, False
        elif c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "]}":
            depth -= 1
    return deepest


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(digits)
    return value


def json_check(line: bytes) -> int:
    """What json.loads makes of it, less what it accepts beyond RFC 8259 and what our peers could not take."""
    if b"\n" in line:
        return INVALID
    try:
        text = line.decode("utf-8")
        # pairs instead of dicts: a key that comes twice would hide the first value from the check for surrogates
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_finite,
            object_pairs_hook=list,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return INVALID
    if _depth(text) > MAX_DEPTH:
        return INVALID
    return NULL if value is None else VALID


def envelope_raw(line: bytes, wsp: bytes, ts_ms: int) -> bytes:
    return b'{"wsp":"%b","ts":%d,"raw":"%b"}' % (json_escape(wsp), ts_ms, json_escape(line))


def envelope_parsed(line: bytes, wsp: bytes, ts_ms: int) -> bytes:
    return b'{"wsp":"%b","ts":%d,"parsed":%b}' % (json_escape(wsp), ts_ms, line)
