"""The directory for any image: ``/opt/supervisor`` and ``/opt/supervisor.d`` with a CPython and a glibc of its own."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

from . import archive, elf, locks, sbom
from .debian import PYTHON, SUITE, Archive, Package
from .machine import MACHINES, Machine
from .run import BuildError, run, say

HOME: Final = Path("/opt/supervisor.d")
"""Where it stands in every image: the loader, the libraries and the script's interpreter are found by this path."""

COMMAND: Final = f"""#!{HOME}/bin/{PYTHON} -I
import sys

from supervisor.__main__ import main

sys.exit(main())
"""

# Of the standard library, what no daemon imports, and what needs a library that is not brought along.
_NOT_LIBRARY: Final = (
    *("_pyrepl", "config-*", "curses", "dbm", "doctest.py", "ensurepip", "idlelib", "multiprocessing", "pdb.py"),
    *("pydoc*", "sqlite3", "test", "tkinter", "turtle*", "unittest", "venv", "wsgiref", "xml", "xmlrpc"),
    *("EXTERNALLY-MANAGED", "sitecustomize*", "__pycache__"),
    *(f"lib-dynload/{name}*" for name in ("_ctypes_test", "_test", "_xx", "xx")),
    *(f"lib-dynload/{name}*" for name in ("_curses", "_dbm", "_multiprocessing", "_sqlite3", "readline")),
    *(f"lib-dynload/_codecs_{name}*" for name in ("cn", "hk", "iso2022", "jp", "kr", "tw")),
)
# Of the wheels: other clients of Kafka's neighbours, sources, what pip alone reads.
_NOT_WHEELS: Final = (
    *(f"confluent_kafka/{name}" for name in ("aio", "avro", "kafkatest", "schema_registry")),
    *("**/*.pyx", "**/*.pxd", "**/*.pxi", "**/*.pyi", "**/*.c", "**/*.h", "**/RECORD", "*.dist-info/sboms"),
    *("pydantic/mypy.py", "pydantic/v1", "urllib3/contrib/emscripten", "uvloop/_testbase.py"),
)


class Made(NamedTuple):
    """One directory, packed, with what is in it beside it."""

    archive: Path
    manifest: Path
    sbom: Path


def build(machine: Machine, version: str, wheel: Path, cache: Path, directory: Path, *, strictly: bool) -> Made:
    """Make the machine's directory around our ``wheel`` in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"supervisor-{version}-linux-{machine.name}"
    made = Made(*(directory / f"{stem}.{suffix}" for suffix in ("tar.gz", "manifest.txt", "cdx.json")))
    debian_archive = Archive(cache)
    packages = debian_archive.fetch(locks.debian(machine), strictly=strictly)
    wheels = [*locks.locked_wheels(machine, cache), wheel]
    with tempfile.TemporaryDirectory(prefix="bundle-") as scratch:
        debian, root = Path(scratch, "debian"), Path(scratch, "root")
        home = root / HOME.relative_to("/")
        for deb in packages.values():
            run(["dpkg", "-x", deb, debian])
        _add_python(debian, home)
        _add_wheels(wheels, home / "lib" / PYTHON / "dist-packages")
        elf.add_libraries(home, debian / "usr" / "lib" / machine.triplet, home / "lib")
        _add_loader(debian, home, machine)
        elf.strip(home, machine)
        elf.check_search_paths(home)
        elf.fix_loader(home / "bin" / PYTHON, HOME / "lib" / machine.loader, HOME / "lib")
        _add_licences(debian, home)
        command = root / "opt" / "supervisor"
        command.write_text(COMMAND)
        command.chmod(0o755)
        host = _HostPython(debian_archive, cache, Path(scratch), strictly=strictly)
        host.compile(root)
        made.manifest.write_text(_manifest(machine, version, list(packages), wheels))
        made.sbom.write_text(sbom.document(machine, version, list(packages), wheels, host.librdkafka()))
        shutil.copy(made.manifest, home / "manifest.txt")
        shutil.copy(made.sbom, home / "sbom.cdx.json")
        archive.pack(root, made.archive)
    say(f"{made.archive.name}: {made.archive.stat().st_size / 1e6:.1f} MB")
    return made


def _add_python(debian: Path, home: Path) -> None:
    (home / "bin").mkdir(parents=True)
    shutil.copy(debian / "usr" / "bin" / PYTHON, home / "bin" / PYTHON)
    library = home / "lib" / PYTHON
    shutil.copytree(debian / "usr" / "lib" / PYTHON, library, symlinks=True)
    _remove(library, _NOT_LIBRARY)
    for link in library.rglob("*"):
        if link.is_symlink() and not link.resolve().is_relative_to(library.resolve()):
            raise BuildError(f"{link.relative_to(home)} is a link out of the directory, to {link.readlink()}")


def _add_wheels(wheels: list[Path], directory: Path) -> None:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive_:
            members = [name for name in archive_.namelist() if ".data/" not in name]
            archive_.extractall(directory, members)
    _remove(directory, _NOT_WHEELS)


def _remove(directory: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in sorted(directory.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _add_loader(debian: Path, home: Path, machine: Machine) -> None:
    libraries = debian / "usr" / "lib" / machine.triplet
    for name in (machine.loader, "libgcc_s.so.1"):  # the second one is opened by name when a thread is cancelled
        target = home / "lib" / name
        shutil.copy(libraries / name, target)
    (home / "lib" / machine.loader).chmod(0o755)


def _add_licences(debian: Path, home: Path) -> None:
    for licence in sorted((debian / "usr" / "share" / "doc").glob("*/copyright")):
        target = home / "share" / "doc" / licence.parent.name / "copyright"
        target.parent.mkdir(parents=True)
        target.write_bytes(licence.read_bytes())


def _host() -> Machine:
    try:
        return MACHINES[platform.machine()]
    except KeyError:
        raise BuildError(f"nothing is built on {platform.machine()}, only on {' and '.join(MACHINES)}") from None


class _HostPython:
    """The directory's CPython for the machine this runs on, unpacked: bytecode is the same on both machines."""

    def __init__(self, archive_: Archive, cache: Path, scratch: Path, *, strictly: bool) -> None:
        self._host = _host()
        self._root = scratch / "host"
        self._cache = cache
        for deb in archive_.fetch(locks.debian(self._host), strictly=strictly).values():
            run(["dpkg", "-x", deb, self._root])

    def run(self, *arguments: str | Path) -> str:
        libraries = self._root / "usr" / "lib" / self._host.triplet
        loader = libraries / self._host.loader
        python = self._root / "usr" / "bin" / PYTHON
        return run([loader, "--library-path", libraries, python, "-S", *arguments], env={"PYTHONHASHSEED": "0"})

    def compile(self, root: Path) -> None:
        """Compile what is below ``root``; it is never compared with its source, which may have any time in an image."""
        options = ("--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/")
        self.run("-m", "compileall", "-q", *options, root / "opt")

    def librdkafka(self) -> str:
        """Version of the librdkafka inside the locked confluent-kafka; the file itself does not say it."""
        wheels = locks.locked_wheels(self._host, self._cache)
        with zipfile.ZipFile(next(wheel for wheel in wheels if wheel.name.startswith("confluent_kafka-"))) as wheel:
            wheel.extractall(self._root / "wheel")
        cimpl = (
            "import sys; sys.path.append(sys.argv[1]); from confluent_kafka import cimpl; print(cimpl.libversion()[0])"
        )
        return self.run("-c", cimpl, self._root / "wheel").strip()


def _manifest(machine: Machine, version: str, packages: list[Package], wheels: list[Path]) -> str:
    lines = [f"supervisor {version} for Linux on {machine.name}", "", f"Debian {SUITE}:"]
    lines += [f"  {package.name} {package.version} sha256:{package.sha256}" for package in packages]
    lines += ["", "Python wheels:"]
    for wheel in wheels:
        lines.append(f"  {wheel.name} sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    return "\n".join(lines) + "\n"
