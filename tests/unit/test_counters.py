"""Counters that one thread publishes and another reads, without a lock between them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_reader_sees_the_counters_of_one_moment(tmp_path: Path) -> None:
    """Whole, and never older ones after newer ones, however fast they are published."""
    program = tmp_path / "counters"
    source = ROOT / "tests" / "programs" / "counters.c"
    warnings = ("-Wall", "-Wextra", "-Werror")
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-std=c11", "-O2", *warnings, "-pthread", "-I", ROOT / "src" / "framing", "-o", program, source],
        check=True,
    )
    run = subprocess.run([program], check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout
