"""Root file systems as images have them: made once, kept under ``.cache/packaging/roots``, not written to by tests."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from distribution import debian
from tests.services.process import ServiceError

PROJECT: Final = Path(__file__).resolve().parent.parent.parent
CACHE: Final = PROJECT / ".cache" / "packaging"
_ROOTS: Final = CACHE / "roots"
_PROGRAMS: Final = Path(__file__).with_name("programs")

# Release, and what its image has beside the least.
_DEBIAN: Final = MappingProxyType(
    {
        "debian-11": ("bullseye", ("python3",)),
        "debian-12": ("bookworm", ()),
        "debian-12-jdk": ("bookworm", ("openjdk-17-jdk-headless",)),
        "debian-12-node": ("bookworm", ("nodejs",)),
        "debian-12-pip": ("bookworm", ("ca-certificates", "python3-dev", "python3-pip", "python3-venv")),
        "debian-13": ("trixie", ()),
        "debian-13-venv": ("trixie", ("python3.13-venv",)),
        "forky-venv": ("forky", ("python3.14-venv",)),  # what is to be Debian 14
    }
)
_INSTALL: Final = MappingProxyType(
    {
        "debootstrap": "debootstrap",
        "gcc": "gcc and libc6-dev",
        "musl-gcc": "musl-tools",
        "buildah": "buildah",
        "qemu-aarch64-static": "qemu-user-static",
        "dpkg": "dpkg (a Debian machine)",
    }
)


def tool(name: str) -> str:
    """Path of a program on this machine; ServiceError that says which package has it."""
    found = shutil.which(name)
    if found is None:
        raise ServiceError(f"{name} was not found: install {_INSTALL[name]}")
    return found


def root(name: str) -> Path:
    """The root of that name: ``empty``, ``musl``, or a Debian of the table above."""
    makers: Mapping[str, Callable[[Path], None]] = {"empty": _empty, "musl": _musl}
    if name in makers:
        return _once(name, makers[name])
    suite, more = _DEBIAN[name]
    return _once("-".join((name, *more)), lambda target: _debootstrap(suite, more, target))


def size_bytes(directory: Path) -> int:
    """What the files of a directory hold."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_dir())


def _once(name: str, make: Callable[[Path], None]) -> Path:
    target = _ROOTS / name
    _ROOTS.mkdir(parents=True, exist_ok=True)
    with (_ROOTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            part = _ROOTS / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            make(part)
            part.rename(target)
    return target


def _debootstrap(suite: str, more: tuple[str, ...], target: Path) -> None:
    main, _ = debian.mirrors()
    include = [f"--include={','.join(more)}"] if more else []
    # A release that is newer than this machine's debootstrap is made like the ones before it.
    scripts = Path("/usr/share/debootstrap/scripts")
    script = [] if (scripts / suite).exists() else [str(scripts / "sid")]
    run([tool("debootstrap"), "--variant=minbase", *include, suite, str(target), main, *script])
    shutil.rmtree(target / "var" / "cache" / "apt", ignore_errors=True)


def _places(target: Path) -> None:
    """The folders that a runtime mounts something at; nothing else, so no /tmp."""
    for folder in ("dev", "opt", "proc"):
        (target / folder).mkdir(parents=True)


def _empty(target: Path) -> None:
    _places(target)
    run([tool("gcc"), "-O2", "-static", "-o", str(target / "calculator"), str(_PROGRAMS / "echo.c")])


def _musl(target: Path) -> None:
    """The C library musl alone, where its loader looks for it, and a program that is linked to it."""
    _places(target)
    run([tool("musl-gcc"), "-O2", "-o", str(target / "calculator"), str(_PROGRAMS / "echo.c")])
    (target / "lib").mkdir()
    (loader,) = (path for path in Path("/lib").glob("ld-musl-*.so.1"))
    shutil.copy(loader.resolve(), target / "lib" / loader.name)


def run(
    command: list[str], *, deadline_s: float = 300, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """A tool's STDOUT; ServiceError with the end of what it said if it fails."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=deadline_s,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise ServiceError(f"{' '.join(command)}: exit status {done.returncode}\n{said}")
    return done.stdout


@contextlib.contextmanager
def copy_of(name: str, target: Path) -> Iterator[Path]:
    """A root that a test may write to."""
    shutil.copytree(root(name), target, symlinks=True, ignore=shutil.ignore_patterns("dev"))
    (target / "dev").mkdir()
    try:
        yield target
    finally:
        shutil.rmtree(target, ignore_errors=True)
