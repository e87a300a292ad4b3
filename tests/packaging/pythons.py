"""The CPythons of this machine that a user could install our wheel into."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Final

from distribution import locks
from distribution.machine import MACHINES
from tests.packaging.roots import PROJECT, run

VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")


def interpreter(version: str) -> str | None:
    """A CPython of that version with venv, on PATH or where pyenv keeps them; None if this machine has none."""
    found = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]
    for candidate in found:
        if candidate and _works(candidate, version):
            return candidate
    return None


def _works(candidate: str, version: str) -> bool:
    code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    return done.returncode == 0 and done.stdout.strip() == version


def environment(python: str, directory: Path, *requirements: str | Path) -> Path:
    """Make a virtual environment with these in it; its folder of programs."""
    run([python, "-m", "venv", str(directory)])
    programs = directory / "bin"
    pip(programs, "install", *requirements)
    return programs


def pip(programs: Path, command: str, *arguments: str | Path) -> None:
    """Run an environment's pip."""
    options = ("--disable-pip-version-check", "--quiet")
    run([str(programs / "python"), "-m", "pip", *options, command, *map(str, arguments)])


def download(version: str, wheel: Path, directory: Path) -> None:
    """Put our wheel and those that it needs on that CPython into a folder, for a machine without a network."""
    shutil.copy(wheel, directory)
    requirements = directory / "requirements.txt"
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirements.write_text("\n".join(wanted) + "\n")
    locks.download_wheels(MACHINES[platform.machine()], requirements, directory, version=version)
