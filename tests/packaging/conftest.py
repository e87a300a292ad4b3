"""What make bundle and make wheels made, as a user has it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.packaging.in_root import InRoot
from tests.packaging.pythons import environment
from tests.packaging.roots import CACHE, PROJECT, root
from tests.services.process import ServiceError
from tests.services.supervised import Supervised


@pytest.fixture(scope="session", autouse=True)
def _as_root() -> None:
    if os.geteuid() != 0:
        raise ServiceError("the packaging tests mount and chroot: run them as root")


def made(pattern: str, target: str) -> Path:
    """The one file in dist of that pattern; ServiceError that says what makes it."""
    found = sorted((PROJECT / "dist").glob(pattern))
    if len(found) != 1:
        raise ServiceError(f"expected one dist/{pattern}, met {len(found)}: run make {target}")
    return found[0]


def unpack(machine: str) -> Path:
    """Unpack a machine's directory as COPY would; what an image has at /opt."""
    target = CACHE / "unpacked" / machine
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(made(f"supervisor-*-linux-{machine}.tar.gz", "bundle")) as archive:
        archive.extractall(target, filter="fully_trusted")
    return target / "opt"


@pytest.fixture(scope="session")
def opt() -> Path:
    """This machine's directory, unpacked."""
    return unpack(platform.machine())


@pytest.fixture(scope="session")
def wheel() -> Path:
    """This machine's wheel."""
    return made(f"wheels/*_{platform.machine()}.whl", "wheels")


@pytest.fixture(scope="session")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment with this machine's wheel in it, for tests that leave it whole."""
    return environment(sys.executable, tmp_path_factory.mktemp("wheel") / "venv", wheel)


@pytest.fixture
def in_root(names: Names, opt: Path) -> Iterator[Callable[..., Supervised]]:
    """``in_root("debian-12", command, options="nobody")`` makes a Supervisor, not started, as PID 1 of that root."""
    processes: list[Supervised] = []

    def make(base: str | Path, command: Sequence[str], **more: object) -> Supervised:
        place = root(base) if isinstance(base, str) else base
        process = InRoot(command, node_id=names.node_id, root=place, opt=opt, **more)  # type: ignore[arg-type]
        processes.append(process)
        return process

    yield make
    for process in processes:
        process.close()
        print(f"--- log of {process.node_id}, exit status {process.exit_status}\n{process.log_text(60)}")
