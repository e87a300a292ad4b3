"""A short pass of the fuzz targets under the address and undefined-behaviour checkers; long ones: ``make sanitize``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = sorted(path.name.removesuffix("_fuzz.c") for path in Path(__file__).parent.glob("*_fuzz.c"))


@pytest.mark.parametrize("target", TARGETS)
def test_a_fresh_seed_finds_nothing(target: str) -> None:
    """The seed is in the output."""
    binary = f".cache/sanitize/{target}"
    subprocess.run(["make", binary], cwd=ROOT, check=True, timeout=100)
    ran = subprocess.run([binary, "3"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    print(ran.stdout, ran.stderr)
    assert ran.returncode == 0
    assert "nothing found" in ran.stdout
