"""What a look costs: in proportion to the threads that count, whatever else runs on the machine."""

from __future__ import annotations

import ctypes
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.probe.calculator import Calculator, wait_for
from tests.probe.driver import Note, Probe, Verdict
from tests.probe.programs import Program

CROWD = 2000
LOOK_US, READER_US = 150, 60  # three and more times what it takes on a machine at rest
IDLE = (Verdict.IDLE, Note.NONE)


def cpu_us(ask: Callable[[], object], times: int = 400) -> float:
    """The least CPU time of one call, over batches."""
    least = float("inf")
    for _ in range(10):
        begun = time.thread_time_ns()
        for _ in range(times // 10):
            ask()
        least = min(least, (time.thread_time_ns() - begun) / (times // 10) / 1000)
    return least


def test_beside_two_thousand_sleeping_processes(library: ctypes.CDLL, built: Path) -> None:
    """Those that are older are never read; each that is started later is read once."""
    crowd = Program("", ["{crowd.c}", str(CROWD)]).prepared(built)
    with Calculator(library, ["cat"]) as alone:
        wait_for(lambda: alone.look() == IDLE, "idle")
        assert alone.probe is not None
        before_us = cpu_us(alone.probe.look)
        with subprocess.Popen(crowd, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleepers:
            assert sleepers.stdin is not None
            assert sleepers.stdout is not None
            assert sleepers.stdout.read(1) == b"\n"
            wait_for(lambda: alone.look() == IDLE, "idle beside what was started later")
            with Calculator(library, ["cat"]) as calculator:
                wait_for(lambda: calculator.look() == IDLE, "idle")
                assert calculator.probe is not None
                look_us, reader_us = cpu_us(calculator.probe.look), cpu_us(calculator.probe.reader)
                print(f"a look {look_us:.1f} us (alone {before_us:.1f} us), reader {reader_us:.1f} us")
                assert look_us < LOOK_US
                assert reader_us < READER_US
                assert calculator.probe.scans == 0
                assert set(calculator.probe.processes()) == {calculator.process.pid}
            sleepers.stdin.close()
        assert set(alone.probe.processes()) == {alone.process.pid}


def test_a_busy_thread_is_seen_in_one_read(library: ctypes.CDLL) -> None:
    with Calculator(library, ["sh", "-c", "read -r x; while :; do :; done"]) as calculator:
        wait_for(lambda: calculator.look() == IDLE, "idle")
        assert calculator.probe is not None
        calculator.send()
        wait_for(calculator.has_taken_all, "the line to be taken")
        probe: Probe = calculator.probe
        wait_for(lambda: probe.look() == Verdict.WORK, "work")
        look_us = cpu_us(probe.look)
        print(f"a look at work {look_us:.1f} us")
        assert look_us < LOOK_US / 5
