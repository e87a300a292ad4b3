"""The packed directory: small, the same bytes again, and it says what is in it."""

from __future__ import annotations

import json
import os
import platform
import tarfile
from pathlib import Path

import pytest

from distribution import debian, locks
from distribution.machine import MACHINES
from tests.packaging.conftest import made
from tests.packaging.roots import CACHE, PROJECT, run

both_machines = pytest.mark.parametrize("machine", MACHINES)
_TOOLS = CACHE / "venv" / "bin" / "python"


@both_machines
def test_it_is_under_25_mb(machine: str) -> None:
    """As it travels; and nobody's files, of no particular time."""
    packed = made(f"supervisor-*-linux-{machine}.tar.gz", "bundle")
    assert packed.stat().st_size < 25_000_000
    with tarfile.open(packed) as archive:
        members = archive.getmembers()
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, members[0].mtime)}
    assert {member.name.split("/")[1] for member in members if "/" in member.name} == {"supervisor", "supervisor.d"}
    assert {member.mode for member in members if member.isfile()} == {0o644, 0o755}


def test_built_again_it_is_the_same_bytes(tmp_path: Path) -> None:
    """From the same packages and wheels, in another folder."""
    machine = platform.machine()
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "wheels").symlink_to(PROJECT / "dist" / "wheels")
    command = [str(_TOOLS), "-m", "distribution", "--cache", str(CACHE), "--directory", "dist", "bundle", machine]
    run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PROJECT / "packaging")})
    for suffix in ("tar.gz", "manifest.txt", "cdx.json"):
        (again,) = (tmp_path / "dist").glob(f"*.{suffix}")
        assert again.read_bytes() == (PROJECT / "dist" / again.name).read_bytes(), suffix


@both_machines
def test_it_says_what_is_in_it(machine: str) -> None:
    """Every locked package and wheel, with what a scanner looks for under its own name."""
    bom = json.loads(made(f"supervisor-*-linux-{machine}.cdx.json", "bundle").read_text())
    manifest = made(f"supervisor-*-linux-{machine}.manifest.txt", "bundle").read_text()
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5")
    parts = {component["name"]: component for component in bom["components"]}
    for package in locks.debian(MACHINES[machine]):
        assert package.name in parts
        assert f"  {package.name} " in manifest
    pinned = [line.split("==")[0] for line in locks.WHEELS.read_text().splitlines() if "==" in line]
    assert parts.keys() >= {*pinned, "buldozer-supervisor", "librdkafka"}
    said = {component.get("description") for component in parts.values()}
    assert said >= {"cpython", "glibc", "openssl"}
    refs = {component["bom-ref"] for component in bom["components"]}
    assert set(bom["dependencies"][0]["dependsOn"]) == refs
    assert len(refs) == len(parts)
    assert all(component["version"] for component in parts.values())


def test_the_locks_are_of_one_release() -> None:
    """Both machines' packages have the same versions, but for a rebuild of one of them alone."""
    names = [{package.name for package in locks.debian(machine)} for machine in MACHINES.values()]
    assert names[0] == names[1] == set(debian.PACKAGES)
