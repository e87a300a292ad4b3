"""Start a tool; what it said is shown if it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_BESIDE: Final = Path(sys.executable).parent
"""What pip installed is found there without an activated environment, and before the machine's own."""


class BuildError(RuntimeError):
    """Something is missing or did not work; the message says what to do."""


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Return its STDOUT; BuildError with all that it said if it fails."""
    path = os.pathsep.join((str(_BESIDE), os.environ.get("PATH", os.defpath)))
    environment = os.environ | {"PATH": path} | dict(env or {})
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BuildError(f"{command[0]} was not found") from None
    if done.returncode != 0:
        raise BuildError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def tool(name: str, package: str) -> str:
    """Path of a program; BuildError that names the Debian package that has it."""
    found = shutil.which(name, path=str(_BESIDE)) or shutil.which(name)
    if found is None:
        raise BuildError(f"{name} was not found: install {package}")
    return found


def say(line: str) -> None:
    """Progress, on STDERR."""
    print(f"packaging: {line}", file=sys.stderr, flush=True)
