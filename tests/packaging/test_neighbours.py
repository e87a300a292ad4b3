"""A Calculator with site-packages of its own, full of what clashes with ours, beside both ways of installing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.packaging.roots import run
from tests.services.processes import until
from tests.services.supervised import Supervised

# As deployed Calculators have them: none of these is a version that we could use.
_CLASHING = ("pydantic==1.10.21", "py-consul==1.2.0", "supervisor==4.2.5", "confluent-kafka==2.3.0", "requests==2.25.1")

_REPORT = """
import json, sys
import confluent_kafka, consul, pydantic, requests, supervisor.options
found = {"kafka": confluent_kafka.version()[0], "pydantic": pydantic.VERSION, "requests": requests.__version__,
         "supervisor": supervisor.options.VERSION, "consul": consul.__file__, "python": sys.version_info[:2]}
print(json.dumps(found), file=sys.stderr, flush=True)
sys.stdin.read()
"""


def _packages(directory: Path, *options: str) -> None:
    """Install what clashes into a plain folder, as an image with PYTHONPATH has it."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-compile"]
    run([*command, "--target", str(directory), *options, *_CLASHING, "setuptools<80"])


def _check(process: Supervised, python: list[int], folder: str) -> None:
    process.start()
    found = json.loads(process.wait_log("calculator stderr")["line"])
    assert found.pop("consul").startswith(folder)
    assert found == {
        "kafka": "2.3.0",
        "pydantic": "1.10.21",
        "requests": "2.25.1",
        "supervisor": "4.2.5",
        "python": python,
    }
    until(lambda: process.http("/health/live")[0] == 200, "the Supervisor lives")
    assert process.status()["calculator"] == "running"
    assert process.terminate() == 0


def test_beside_the_directory(in_root: Callable[..., Supervised], opt: Path, tmp_path: Path) -> None:
    """In a root with Debian 11's Python 3.9."""
    from tests.packaging.roots import copy_of  # noqa: PLC0415

    with copy_of("debian-11", tmp_path / "root") as place:
        packages = place / "usr" / "local" / "lib" / "python3.9" / "dist-packages"
        wheels = ("--python-version", "3.9", "--only-binary", ":all:", "--implementation", "cp")
        platforms = ("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64")
        _packages(packages, *wheels, *platforms)
        _check(in_root(place, ("python3", "-c", _REPORT)), [3, 9], "/usr/local/")


def test_beside_the_wheel(programs: Path, tmp_path: Path) -> None:
    """In a virtual environment of our own, with the Calculator's packages on PYTHONPATH."""
    _packages(tmp_path / "site")
    process = Supervised(
        (sys.executable, "-c", _REPORT),
        node_id="neighbours",
        launcher=(str(programs / "supervisor"),),
        env={"PYTHONPATH": str(tmp_path / "site")},
    )
    try:
        _check(process, [*sys.version_info[:2]], str(tmp_path))
    finally:
        process.close()
