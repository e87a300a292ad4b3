"""What a set of processes and everything below them used, from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class _Stat(NamedTuple):
    parent: int
    cpu_s: float


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds, user and system, of the process trees; those that ended are in it, waited for or not."""
    stats = _all()
    return sum(stats[pid].cpu_s for pid in _trees(roots, stats))


def machine_cpu_s() -> float:
    """CPU seconds that the whole machine has used; idle time and time stolen by a hypervisor's others are not in it."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) * _TICK_S


def peaks_bytes(roots: Iterable[int]) -> dict[int, int]:
    """Peak resident set of each process alive in the trees."""
    return {pid: _peak_bytes(pid) for pid in _trees(roots, _all())}


def _trees(roots: Iterable[int], stats: dict[int, _Stat]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in stats]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting.extend(children.get(pid, ()))
    return found


def _all() -> dict[int, _Stat]:
    found: dict[int, _Stat] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                # After the name, which may hold anything: state, ppid, …; utime, stime, cutime, cstime are 11 to 14.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks = sum(int(field) for field in fields[11:15])
                found[int(entry.name)] = _Stat(int(fields[1]), ticks * _TICK_S)
    return found


def _peak_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
