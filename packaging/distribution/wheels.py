"""Our wheels, cross-compiled by zig and audited: ``cp311-abi3-manylinux_2_28`` for each machine."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from .machine import Machine
from .run import BuildError, run, say

EPOCH = "1700000000"
"""The time of every file: the same sources give the same bytes."""


def build(sdist: Path, machine: Machine, directory: Path) -> Path:
    """Make the machine's wheel out of the sdist; BuildError if an audit finds something."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheel-") as scratch:
        work = Path(scratch)
        shutil.unpack_archive(sdist, work / "unpacked")
        (source,) = (work / "unpacked").iterdir()
        compiler = _compiler(work, machine)
        env = {
            "CC": str(compiler),
            "LDSHARED": f"{compiler} -shared -Wl,-s",
            "CFLAGS": f"-g0 -I{_headers(work, machine)}",
            "_PYTHON_HOST_PLATFORM": f"linux-{machine.name}",
            "SOURCE_DATE_EPOCH": EPOCH,
            "SUPERVISOR_ABI3": "1",
        }
        run([sys.executable, "-m", "build", "--wheel", "--outdir", work / "made", source], env=env)
        (made,) = (work / "made").glob("*.whl")
        for old in directory.glob(f"*_{machine.name}.whl"):
            old.unlink()
        run(
            [sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "--wheel-dir", work / "audited", made],
            env=env,
        )
        (audited,) = (work / "audited").glob("*.whl")
        if f"cp311-abi3-manylinux_2_28_{machine.name}" not in audited.name.replace(".", "-"):
            raise BuildError(f"auditwheel made {audited.name} of what was to be abi3 and manylinux_2_28")
        shutil.copy(audited, directory)
    wheel = directory / audited.name
    run([sys.executable, "-m", "abi3audit", "--strict", wheel])
    say(f"{wheel.name}: auditwheel and abi3audit have nothing against it")
    return wheel


def _compiler(work: Path, machine: Machine) -> Path:
    """Write the program that setuptools takes for the C compiler: distutils splits CC, but finds no target in it."""
    path = work / "cc"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m ziglang cc -target {machine.zig_target} "$@"\n')
    path.chmod(0o755)
    return path


def _headers(work: Path, machine: Machine) -> Path:
    """Debian keeps pyconfig.h in a folder for each machine, and another machine's in that machine's package.

    The two differ in nothing that the limited API looks at: both are 64 bits wide and little-endian.
    """
    version = f"python{sysconfig.get_python_version()}"
    own = Path("/usr/include", str(sysconfig.get_config_var("MULTIARCH")), version, "pyconfig.h")
    target = work / "include" / machine.triplet / version / "pyconfig.h"
    target.parent.mkdir(parents=True)
    if own.exists():
        shutil.copy(own, target)
    return work / "include"
