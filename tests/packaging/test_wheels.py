"""The wheel in a virtual environment of its own, on every CPython that this machine has."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.packaging import table
from tests.packaging.in_root import InRoot, run_in
from tests.packaging.job import do_main_job
from tests.packaging.pythons import VERSIONS, download, environment, interpreter, pip
from tests.packaging.roots import root, size_bytes
from tests.services.agent import Consul
from tests.services.supervised import Supervised
from tests.services.topics import Kafka


@pytest.mark.parametrize("version", VERSIONS)
def test_the_main_job_is_done(  # noqa: PLR0917 - fixtures, by name
    version: str, wheel: Path, tmp_path: Path, kafka: Kafka, consul: Consul, names: Names
) -> None:
    """By one wheel, as pip installs it, under the interpreter's own settings for somebody else."""
    python = interpreter(version)
    if python is None:
        table.add("wheel", f"CPython {version}", "not tried: not to be had on the machine of the tests")
        pytest.skip(f"this machine has no CPython {version}")
    programs = environment(python, tmp_path / "venv", wheel)
    process = Supervised(
        ("cat",),
        node_id=names.node_id,
        kafka=kafka,
        consul=consul,
        group=names.group,
        launcher=(str(programs / "supervisor"),),
        env={"PYTHONPATH": "/nowhere"},
    )
    try:
        measured = do_main_job(process, kafka, consul, names)
    finally:
        process.close()
    table.add(
        "wheel",
        f"CPython {version}",
        "main job, crash, stop",
        size_bytes=size_bytes(Path(next((tmp_path / "venv" / "lib").glob("python*"))) / "site-packages"),
        start_s=measured.start_s,
        pss_bytes=measured.pss_bytes,
    )


@pytest.mark.full
@pytest.mark.parametrize(
    ("version", "base"), [("3.11", "debian-12-pip"), ("3.13", "debian-13-venv"), ("3.14", "forky-venv")]
)
def test_the_main_job_is_done_in_an_image(  # noqa: PLR0917 - fixtures, by name
    version: str, base: str, wheel: Path, tmp_path: Path, kafka: Kafka, consul: Consul, names: Names
) -> None:
    """The virtual environment that docs/INSTALL.md makes, on a Debian's own CPython, as PID 1."""
    opt = tmp_path / "opt"
    (opt / "wheels").mkdir(parents=True)
    download(version, wheel, opt / "wheels")
    place = root(base)
    for command in (
        (f"python{version}", "-m", "venv", "/opt/venv"),
        ("/opt/venv/bin/pip", "install", "--no-index", "--find-links", "/opt/wheels", "buldozer-supervisor"),
    ):
        done = run_in(place, opt, *command, deadline_s=200)
        assert done.returncode == 0, done
    shutil.rmtree(opt / "wheels")
    process = InRoot(
        ("cat",),
        root=place,
        opt=opt,
        launcher=("/opt/venv/bin/supervisor",),
        node_id=names.node_id,
        kafka=kafka,
        consul=consul,
        group=names.group,
        env={"PYTHONPATH": "/nowhere"},
    )
    try:
        measured = do_main_job(process, kafka, consul, names)
    finally:
        process.close()
        print(process.log_text(40))
    table.add(
        "wheel",
        f"CPython {version} of {base.rpartition('-')[0].replace('-', ' ').capitalize()}",
        "main job, crash, stop, as PID 1",
        size_bytes=size_bytes(opt),
        start_s=measured.start_s,
        pss_bytes=measured.pss_bytes,
    )


def test_the_wheel_uses_what_the_processor_has(programs: Path) -> None:
    """The cross compiler's run-time library does not know the processor; the kernels' choice must not rest on it."""
    flags = set(
        re.findall(r"^(?:flags|Features)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split()
    )
    expected = "scalar"
    if platform.machine() == "x86_64":
        expected = "avx2" if {"avx2", "bmi1"} <= flags else "ssse3" if "ssse3" in flags else "sse2"
    done = subprocess.run(
        [programs / "python", "-c", "from supervisor import _framing; print(_framing.best_isa())"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.strip() == expected


def _version(programs: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [programs / "supervisor", "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=os.environ | environ,
    )


def test_supervisords_files_over_ours_are_said(wheel: Path, tmp_path: Path) -> None:
    """PyPI's supervisor installed after ours, uninstalled again, and ours installed again."""
    programs = environment(sys.executable, tmp_path / "venv", wheel)
    assert _version(programs).stdout == f"supervisor {wheel.name.split('-')[1]}\n"
    pip(programs, "install", "supervisor==4.3.0", "setuptools<80")
    covered = _version(programs)
    assert (covered.returncode, covered.stdout) == (1, "")
    assert "supervisord" in covered.stderr
    assert "lie over" in covered.stderr
    assert "python3 -m venv" in covered.stderr
    assert len(covered.stderr.splitlines()) == 1
    pip(programs, "uninstall", "--yes", "supervisor")
    torn = _version(programs)
    assert (torn.returncode, torn.stdout) == (1, "")
    assert "are missing" in torn.stderr
    pip(programs, "install", "--force-reinstall", "--no-deps", wheel)
    assert _version(programs).returncode == 0


def test_the_command_finds_its_interpreter_as_installers_write_it(wheel: Path, programs: Path, tmp_path: Path) -> None:
    """As pip does in the script beside it, and in the form for paths that no first line can hold; or says why not."""
    first, rest = (programs / "supervisor-main").read_text().split("\n", 1)
    assert first == f"#!{programs / 'python'}"
    (tmp_path / "supervisor").write_bytes((programs / "supervisor").read_bytes())
    (tmp_path / "supervisor").chmod(0o755)
    script = tmp_path / "supervisor-main"
    for quote in ("", "'"):
        script.write_text(f"#!/bin/sh\n'''exec' {quote}{programs / 'python'}{quote} \"$0\" \"$@\"\n' '''\n{rest}")
        assert _version(tmp_path).stdout == f"supervisor {wheel.name.split('-')[1]}\n"
    for text, said in (("#!python\n", "no interpreter"), ("#!/no/such/python\n", "/no/such/python: No such file")):
        script.write_text(text)
        wrong = _version(tmp_path)
        assert (wrong.returncode, wrong.stdout, len(wrong.stderr.splitlines())) == (1, "", 1)
        assert said in wrong.stderr
    script.unlink()
    assert "supervisor-main: No such file" in _version(tmp_path).stderr
