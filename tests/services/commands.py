"""The Supervisor's commands as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def command(*words: str, **environ: str) -> subprocess.Popen[str]:
    """Start a command with these settings alone."""
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor", *words],
        env={"PATH": os.environ["PATH"]} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(check: subprocess.Popen[str], deadline_s: float = 60.0) -> tuple[int, dict[str, dict[str, Any]]]:
    """The status of a ``check --json``, and what it found, by name."""
    out, complaints = check.communicate(timeout=deadline_s)
    assert not complaints
    return check.returncode, {result["name"]: result for result in json.loads(out)["results"]}
