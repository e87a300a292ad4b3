"""``python -m supervisor demo``: the first thing a newcomer runs."""

from __future__ import annotations

import subprocess
import sys


def test_the_demo_loses_nothing_and_says_so() -> None:
    """It needs nothing else, kills the Calculator on the way, and ends by itself within a minute."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "demo"], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was lost." in done.stdout
    assert "killing the Calculator" in done.stdout
