"""Framing alone: lines to dataframes on one core, in GB of lines a second, beside orjson doing the same."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import orjson

from bench import text
from supervisor import _framing

_CHUNK_BYTES = 1 << 20
_WSP = "2c1f9d0e-6f0b-4f6e-9a53-0d6f4b7c8a11"
_TS_MS = 1_700_000_000_000


class Row(NamedTuple):
    """Medians, GB/s in."""

    what: str
    scalar: float
    best: float
    python_orjson: float


def run(rounds: int) -> tuple[str, list[Row]]:
    """(name of the processor's best level, the rows), ``rounds`` timings each."""
    best = _framing.best_isa()
    return best, [_row(what, made, best, rounds, is_json=is_json) for what, made, is_json in _inputs()]


def _inputs() -> list[tuple[str, list[bytes], bool]]:
    inputs = []
    for size in (100, 1_000, 10_000):
        varied = text.lines(size, _CHUNK_BYTES // size)
        ascii_only = [line.decode("ascii", "ignore").replace('"', "").encode() for line in varied]
        inputs.append((f"ASCII text, {size} B", ascii_only, False))
        inputs.append((f"varied text, {size} B", varied, False))
    cyrillic = [("абвгд " * 90)[:500].encode() for _ in range(_CHUNK_BYTES // 920)]
    inputs.append(("Cyrillic, 1 kB", cyrillic, False))
    documents = [
        json.dumps(
            {"id": number, "name": line.decode(), "tags": ["a", "b", None], "value": number / 7, "ok": True}
        ).encode()
        for number, line in enumerate(text.lines(200, _CHUNK_BYTES // 300))
    ]
    inputs.append(("JSON documents embedded, 0.3 kB", documents, True))
    return inputs


def _row(what: str, made: list[bytes], best: str, rounds: int, *, is_json: bool) -> Row:
    chunk = b"".join(line + b"\n" for line in made)

    def kernel(isa: str) -> Callable[[], object]:
        return lambda: _framing.frame_bench(chunk, isa, is_json, 1)

    def python() -> None:
        for line in made:
            if is_json:
                orjson.loads(line)  # an embedded line has to be a JSON value, and nothing else tells
                orjson.dumps({"wsp": _WSP, "ts": _TS_MS, "parsed": orjson.Fragment(line)})
            else:
                orjson.dumps({"wsp": _WSP, "ts": _TS_MS, "raw": line.decode("utf-8", "replace")})

    return Row(what, *(_gb_per_s(len(chunk), work, rounds) for work in (kernel("scalar"), kernel(best), python)))


def _gb_per_s(size: int, work: Callable[[], object], rounds: int) -> float:
    work()
    rates = []
    for _ in range(rounds):
        begun_s = time.perf_counter()
        passes = 0
        while time.perf_counter() - begun_s < 0.05:
            work()
            passes += 1
        rates.append(size * passes / (time.perf_counter() - begun_s) / 1e9)
    return statistics.median(rates)
