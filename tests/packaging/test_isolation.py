"""What the image and the working directory hold for the Calculator's Python changes nothing of ours, and reaches the
Calculator as it is. By the command of each way of installing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.packaging.roots import copy_of
from tests.services.processes import until
from tests.services.supervised import Supervised

# Each is imported by what we are made of.
_MODULES = ("consul", "json", "pydantic", "queue", "requests", "signal", "structlog", "supervisor", "types")

_KEEP_ENVIRONMENT = """
import pathlib, sys
pathlib.Path(sys.argv[1], "seen.part").write_bytes(pathlib.Path("/proc/self/environ").read_bytes())
pathlib.Path(sys.argv[1], "seen.part").rename(pathlib.Path(sys.argv[1], "seen"))
sys.stdin.read()
"""

# What the shell of enter.sh adds.
_OF_THE_ROOT = {b"OLDPWD", b"PWD", b"SHLVL", b"_"}


def _traps(folder: Path) -> None:
    """Modules that end whoever imports them."""
    folder.mkdir(exist_ok=True)
    for name in _MODULES:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of somebody else')\n")


# {traps} is the folder with the modules above.
CASES = {
    "PYTHONHOME": {"PYTHONHOME": "/nowhere"},
    "PYTHONPATH": {"PYTHONPATH": "{traps}"},
    "PYTHONSTARTUP": {"PYTHONSTARTUP": "{traps}/types.py", "PYTHONINSPECT": "1"},
    "others": {"PYTHONSAFEPATH": "", "PYTHONNODEBUGRANGES": "1", "PYTHONVERBOSE": "1", "PYTHONIOENCODING": "ascii"},
    "the working directory": {},
}


def _check(process: Supervised, where: Path, allowed: set[bytes]) -> None:
    """``process`` keeps its environment in ``where``; it has asked the agent, so that all of ours was imported."""
    process.start()
    process.wait_status(lambda status: status["agent_errors_total"] > 0, "the agent was asked", 30)
    until((where / "seen").exists, "the Calculator has told its environment", 30)
    seen = (where / "seen").read_bytes().removesuffix(b"\0").split(b"\0")
    given = [f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in process._env.items()]
    assert sorted(entry for entry in seen if entry.partition(b"=")[0] not in allowed) == sorted(
        entry for entry in given if entry.partition(b"=")[0] not in allowed
    )
    assert "of somebody else" not in process.log_text()
    assert process.terminate() == 0
    (where / "seen").unlink()


@pytest.mark.parametrize("case", CASES)
def test_the_wheels_command(case: str, programs: Path, names: Names, tmp_path: Path) -> None:
    """By a link to it, as an image has one on PATH; with the modules beside the command, too."""
    _traps(tmp_path / "traps")
    _traps(programs)
    (tmp_path / "supervisor").symlink_to(programs / "supervisor")
    env = {name: value.format(traps=tmp_path / "traps") for name, value in CASES[case].items()}
    process = Supervised(
        (sys.executable, "-I", "-c", _KEEP_ENVIRONMENT, str(tmp_path)),
        node_id=names.node_id,
        prefix=("env", f"--chdir={tmp_path / 'traps'}"),
        launcher=(str(tmp_path / "supervisor"),),
        env=env | {"LC_ALL": "C.UTF-8"},
    )
    try:
        _check(process, tmp_path, set())
    finally:
        process.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty root with the traps in it."""
    with copy_of("empty", tmp_path_factory.mktemp("isolation") / "root") as root:
        _traps(root / "traps")
        yield root


@pytest.mark.parametrize("case", CASES)
def test_the_directorys_command(case: str, in_root: Callable[..., Supervised], place: Path) -> None:
    """In an image that has no Python; the Calculator is the directory's own, as any other would be."""
    process = in_root(
        place,
        ("/opt/supervisor.d/bin/python3.13", "-I", "-c", _KEEP_ENVIRONMENT, "/"),
        options="workdir=/traps",
        env={name: value.format(traps="/traps") for name, value in CASES[case].items()} | {"LC_ALL": "C.UTF-8"},
    )
    _check(process, place, _OF_THE_ROOT)
