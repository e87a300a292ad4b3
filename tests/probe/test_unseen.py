"""Programs whose threads cannot be looked at: never idle, and what anybody can see still shows work."""

from __future__ import annotations

import ctypes
import os
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.probe.calculator import Calculator, wait_for
from tests.probe.driver import Note, Probe, Reader, Verdict
from tests.probe.programs import SOURCES, Program

NOBODY, ANOTHER = 65534, 65533
UNSEEN_ONE = (Verdict.UNSEEN, Note.UNSEEN_ONE)


def without_privileges(check: Callable[[], None]) -> None:
    """Run ``check`` in a fork that may not trace whomever it likes."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            check()
            status = 0
        except BaseException:  # noqa: BLE001  (what is left of it is printed)
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def opened(path: Path) -> Path:
    """Others than root may run what is in it."""
    for directory in (path, *path.parents):
        if directory == Path("/tmp"):
            break
        if directory.stat().st_uid == os.geteuid():
            directory.chmod(0o755)
    return path


def unseen_while_idle_and_work_while_busy(calculator: Calculator, library: ctypes.CDLL) -> None:
    probe = Probe(library, calculator.process.pid, calculator.inodes)
    seen: set[tuple[Verdict, Note]] = set()

    def unseen() -> bool:
        seen.add((probe.look(), probe.note))
        return UNSEEN_ONE in seen

    wait_for(unseen, "a look that sees nothing")
    probe.first_record()
    calculator.send()
    worked = 0
    while not calculator.has_answered():
        verdict = probe.look()
        if not calculator.has_answered():
            assert verdict in {Verdict.WORK, Verdict.UNSEEN}
            worked += verdict == Verdict.WORK
    assert worked > 10
    seen.clear()
    wait_for(unseen, "a look that sees nothing, after the record")
    assert not {verdict for verdict, _ in seen} & {Verdict.IDLE, Verdict.MAYBE_IDLE}
    assert probe.reader() == Reader.UNSEEN_ONE


def test_a_program_that_may_not_be_traced(library: ctypes.CDLL, built: Path) -> None:
    """PR_SET_DUMPABLE=0."""
    command = Program("", ["{hides_itself.c}", "busy"]).prepared(opened(built))
    uid = NOBODY if os.geteuid() == 0 else None
    with Calculator(None, command, uid=uid) as calculator:
        without_privileges(lambda: unseen_while_idle_and_work_while_busy(calculator, library))


def test_another_user(library: ctypes.CDLL, built: Path) -> None:
    """As below sudo, or with a Supervisor that gave up its capabilities."""
    if os.geteuid() != 0:
        pytest.skip("not run: only root can start a program as another user")
    command = Program("", ["{hides_itself.c}", "busy"]).prepared(opened(built))
    with Calculator(None, command, uid=ANOTHER) as calculator:
        without_privileges(lambda: unseen_while_idle_and_work_while_busy(calculator, library))


def test_root_sees_what_may_not_be_traced(library: ctypes.CDLL, built: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: not root")
    command = Program("", ["{hides_itself.c}"]).prepared(built)
    with Calculator(library, command) as calculator:
        wait_for(lambda: calculator.look() == (Verdict.IDLE, Note.NONE), "idle")


def test_a_32_bit_program(library: ctypes.CDLL, tmp_path: Path) -> None:
    """One that is run; made-up trees have the rest."""
    target = tmp_path / "reads32"
    flags = ["-m32", "-nostdlib", "-static", "-ffreestanding", "-O1", "-std=gnu11"]
    built = subprocess.run(["cc", *flags, "-o", target, SOURCES / "reads32.c"], capture_output=True, check=False)
    if built.returncode != 0 or subprocess.run([target], stdin=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("not run: no 32-bit programs here")
    with Calculator(library, [target]) as calculator:
        wait_for(lambda: calculator.look() == UNSEEN_ONE, "a look that sees nothing")
        assert calculator.probe is not None
        assert calculator.probe.reader() == Reader.ONE  # its descriptors can be seen
        calculator.send()
        wait_for(calculator.has_answered, "an answer")
        assert calculator.look()[0] in {Verdict.UNSEEN, Verdict.WORK}
