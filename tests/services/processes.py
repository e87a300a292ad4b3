"""Processes as /proc shows them, whoever started them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], object], what: str, deadline_s: float = 15.0) -> None:
    """Wait until the condition is true; AssertionError with ``what`` if it never is."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """The children of all threads of a process; none of one that is gone."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, file.read_text().split())
        except OSError:  # the thread ended meanwhile
            continue
    return found


def field(pid: int, name: str) -> str:
    """A field of /proc/PID/status; empty if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "")


def mask(pid: int, name: str) -> set[int]:
    """The signals in a mask of /proc/PID/status: SigBlk of the first thread, SigIgn, SigCgt, of a process."""
    bits = int(field(pid, name) or "0", 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that waits for its parent has."""
    return field(pid, "State")[:1] in {"", "Z", "X"}
