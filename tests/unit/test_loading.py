"""A run that loads: what ends it, with real processes and a clock that is set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from supervisor.loading import BUSY_S, POLLS_S, Activity, Loading, activity_of


class World:
    """A clock, and what a process seems to have done."""

    now_s = 1000.0
    cpu_s = 0.0
    switches = 0

    def clock(self) -> float:
        """The time now."""
        return self.now_s

    def activity(self, _pid: int) -> Activity:
        """What it has done so far."""
        return self.cpu_s, self.switches


@contextmanager
def child(script: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it started


def over_after(world: World, *, cpu_share: float, switches: int, at_most_s: float) -> float | None:
    """After how long a run that never reads is not taken for one that loads any more."""
    with child("import time; time.sleep(600)") as process:
        assert process.stdin is not None
        loading = Loading(process.stdin.fileno(), process.pid, clock=world.clock, activity=world.activity)
        while loading.for_s < at_most_s:
            world.now_s += 1
            world.cpu_s += cpu_share
            world.switches += switches
            if loading.over(0):
                assert loading.guessed
                return loading.for_s
    return None


@pytest.mark.parametrize(
    ("cpu_share", "switches", "expected_s"),
    [(0.02, 1, POLLS_S), (0.9, 10, BUSY_S), (0.0, 0, None)],
    ids=["polls", "works", "sleeps"],
)
def test_one_that_is_never_seen_to_wait_gets_input_in_the_end(
    cpu_share: float, switches: int, expected_s: float | None
) -> None:
    """After a minute of asking now and then, after ten of work; never while it is in one long sleep."""
    met_s = over_after(World(), cpu_share=cpu_share, switches=switches, at_most_s=1000.0)
    assert (met_s is None) == (expected_s is None)
    if met_s is not None and expected_s is not None:
        assert expected_s <= met_s <= expected_s + 10


def test_a_wait_for_input_ends_it_and_so_does_input() -> None:
    """In any thread, and in a process that it started."""
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with child(script) as process:
        assert process.stdin is not None
        loading = Loading(process.stdin.fileno(), process.pid)
        assert loading.over(1) == "it has taken input"
        end = time.monotonic() + 20
        while (why := loading.over(0)) is None:
            assert time.monotonic() < end
            time.sleep(loading.rest_s)
        assert why == "it waits for input"
        assert not loading.guessed
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait()


def test_activity_is_that_of_all_threads_and_descendants() -> None:
    """What a shell's child does is its shell's too."""
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    with child(script) as process:
        end = time.monotonic() + 20
        while activity_of(process.pid)[0] < 0.3:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert activity_of(process.pid)[1] > 0
    assert activity_of(process.pid) == (0.0, 0)
