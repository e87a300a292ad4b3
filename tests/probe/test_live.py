"""Programs of many kinds, run: idle when they wait for a record, and never while they work on one."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

import pytest

from tests.probe.calculator import Calculator, wait_for
from tests.probe.driver import Verdict
from tests.probe.programs import PROGRAMS, Program

RECORDS = 2


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_idle_at_rest_and_at_work_never(program: Program, library: ctypes.CDLL, built: Path) -> None:
    if program.missing:
        pytest.skip(f"not run: no {', '.join(program.missing)}")
    with Calculator(library, program.prepared(built)) as calculator:
        assert calculator.probe is not None
        wait_for(lambda: program.is_idle(calculator.look()), f"{program.idle} before the first record")
        calculator.probe.first_record()
        allowed = {Verdict.WORK, Verdict.ELSEWHERE} | ({Verdict.MAYBE_IDLE} if program.may_look_idle else set())
        for _ in range(RECORDS):
            calculator.send()
            looks = 0
            while True:
                taken = calculator.has_taken_all()  # the Supervisor looks only then
                verdict = calculator.look()
                if calculator.has_answered():
                    break
                if taken:
                    looks += 1
                    assert verdict[0] in allowed, f"{verdict}, {calculator.probe.processes()}"
                time.sleep(0.001)
            assert looks > 3
            calculator.take_answer()
            wait_for(lambda: program.is_idle(calculator.look()), f"{program.idle} after a record")
