"""The lists of exact packages that the directory is made of; ``write`` brings them up to date."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Final

from .debian import PYTHON, SUITE, Archive, Package
from .machine import MACHINES, Machine
from .run import run, say

_PROJECT: Final = Path(__file__).resolve().parent.parent.parent
DEBIAN: Final = _PROJECT / "packaging" / "locks" / "debian.txt"
WHEELS: Final = _PROJECT / "packaging" / "locks" / "wheels.txt"


def debian(machine: Machine) -> list[Package]:
    """The machine's packages."""
    rows = [line.split() for line in DEBIAN.read_text().splitlines() if line and not line.startswith("#")]
    return [Package(*row) for row in rows if row[2] == machine.name]


def download_wheels(
    machine: Machine, requirements: Path, directory: Path, *options: str, version: str = PYTHON.removeprefix("python")
) -> list[Path]:
    """Let pip download the wheels that fit a CPython, by default the directory's, on this machine."""
    directory.mkdir(parents=True, exist_ok=True)
    platforms: list[str] = [word for platform in machine.wheel_platforms for word in ("--platform", platform)]
    abis: list[str] = [word for abi in (f"cp{version.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
    python = ("--only-binary", ":all:", "--implementation", "cp", "--python-version", version, *platforms, *abis)
    run([*pip, *python, "--dest", str(directory), *options, "--requirement", str(requirements)])
    return sorted(directory.glob("*.whl"))


def locked_wheels(machine: Machine, cache: Path) -> list[Path]:
    """Download the wheels of the list, each checked against its hash."""
    directory = cache / "wheels" / machine.name
    shutil.rmtree(directory, ignore_errors=True)
    return download_wheels(machine, WHEELS, directory, "--require-hashes", "--no-deps")


def write(cache: Path) -> None:
    """Write both lists with what is newest now."""
    archive = Archive(cache)
    lines = [f"# Debian {SUITE}, made by make bundle-lock: package, version, machine, SHA-256"]
    lines += [" ".join(package) for machine in MACHINES.values() for package in archive.newest(machine)]
    DEBIAN.write_text("\n".join(lines) + "\n")
    say(f"{DEBIAN.relative_to(_PROJECT)} is up to date")
    WHEELS.write_text(_wheel_lines())
    say(f"{WHEELS.relative_to(_PROJECT)} is up to date")


def _wheel_lines() -> str:
    hashes: defaultdict[str, set[str]] = defaultdict(set)
    with tempfile.TemporaryDirectory(prefix="wheels-") as scratch:
        requirements = Path(scratch, "requirements.txt")
        wanted = tomllib.loads((_PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
        requirements.write_text("\n".join(wanted) + "\n")
        for machine in MACHINES.values():
            for wheel in download_wheels(machine, requirements, Path(scratch, machine.name)):
                name, version = wheel.name.split("-")[:2]
                digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
                hashes[f"{name.replace('_', '-').lower()}=={version}"].add(digest)
    lines = [f"# for {PYTHON} on every machine, made by make bundle-lock"]
    for pin, digests in sorted(hashes.items()):
        lines.append(" \\\n".join([pin, *(f"    --hash=sha256:{digest}" for digest in sorted(digests))]))
    return "\n".join(lines) + "\n"
