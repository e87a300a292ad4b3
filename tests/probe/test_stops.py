"""Tasks that are stopped or traced on their way out of a call still show the call: they are at work all the same."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import signal
import sys
import time

from tests.probe.calculator import SOON_S, Calculator, stat_fields, wait_for
from tests.probe.driver import Verdict

STOPS = 1000
MET_AT_LEAST = 20
WITHIN_NS = 20_000
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
ECHO = [sys.executable, "-c", "import os\nwhile line := os.read(0, 100): os.write(1, line)"]


def is_idle(calculator: Calculator) -> bool:
    return calculator.look()[0] == Verdict.IDLE


def test_stopped_at_random_moments(library: ctypes.CDLL) -> None:
    """It has taken the record and not answered it: then it is never idle, wherever it was stopped."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    met = 0
    with Calculator(library, ECHO) as calculator:
        wait_for(lambda: is_idle(calculator), "idle")
        pid = calculator.process.pid
        end = time.monotonic() + SOON_S
        for stop in itertools.count():
            calculator.send()
            until = time.perf_counter_ns() + chance.choice([0, chance.randrange(WITHIN_NS)])
            while time.perf_counter_ns() < until:
                pass
            os.kill(pid, signal.SIGSTOP)
            if chance.random() < 0.7:
                while stat_fields(pid)[0] not in "Tt":
                    assert time.monotonic() < end
            taken = calculator.has_taken_all()
            verdict = calculator.look()
            if taken and not calculator.has_answered():
                met += 1
                assert verdict[0] == Verdict.WORK, f"stop {stop}: {verdict}"
            os.kill(pid, signal.SIGCONT)
            calculator.take_answer()
            if time.monotonic() > end or (stop >= STOPS and met >= MET_AT_LEAST):
                break
        wait_for(lambda: is_idle(calculator), "idle at the end")
    assert met >= MET_AT_LEAST


def test_traced(library: ctypes.CDLL) -> None:
    """A tracer may hold it for as long as it likes."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    with Calculator(library, ECHO) as calculator:
        wait_for(lambda: is_idle(calculator), "idle")
        pid = calculator.process.pid
        assert libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0
        assert libc.ptrace(PTRACE_INTERRUPT, pid, None, None) == 0
        os.waitpid(pid, WALL)
        assert stat_fields(pid)[0] == "t"
        assert calculator.look()[0] == Verdict.WORK
        assert libc.ptrace(PTRACE_DETACH, pid, None, None) == 0
        wait_for(lambda: is_idle(calculator), "idle again")


def test_a_poll_goes_on_after_a_stop(library: ctypes.CDLL) -> None:
    """It is called restart_syscall then."""
    body = "import select, os\np = select.poll(); p.register(0, 1)\nwhile p.poll(): os.write(1, os.read(0, 100))"
    with Calculator(library, [sys.executable, "-c", body]) as calculator:
        wait_for(lambda: is_idle(calculator), "idle")
        pid = calculator.process.pid
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: stat_fields(pid)[0] == "T", "stopped")
        assert calculator.look()[0] == Verdict.WORK
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: is_idle(calculator), "idle after the stop")
