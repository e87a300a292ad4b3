"""Programs and shared objects: what they need, where they look, and what can go from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .machine import Machine
from .run import BuildError, run, tool


def elf_files(root: Path) -> Iterator[Path]:
    """Every program and shared object below ``root``, in the order of their names."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def needed(path: Path) -> list[str]:
    """Names of the libraries that it is linked to."""
    return _patchelf("--print-needed", path).split()


def add_libraries(root: Path, source: Path, directory: Path) -> None:
    """Bring the libraries that files below ``root`` need from ``source`` to ``directory``, and those that they need."""
    there = {path.name for path in elf_files(root)}
    pending = list(elf_files(root))
    while pending:
        for name in needed(pending.pop()):
            if name in there:
                continue
            if not (source / name).exists():
                raise BuildError(f"no package of the directory has {name}")
            target = directory / name
            target.write_bytes((source / name).read_bytes())
            there.add(name)
            pending.append(target)


def strip(root: Path, machine: Machine) -> None:
    """Take what only a debugger reads out of every file."""
    command = tool(machine.strip, f"binutils-{machine.triplet.replace('_', '-')}")
    for path in elf_files(root):
        run([command, "--strip-unneeded", "--enable-deterministic-archives", path])


def fix_loader(program: Path, loader: Path, libraries: Path) -> None:
    """Bind the program to the directory's loader and libraries, by absolute path.

    ``$ORIGIN`` in the loader's place needs /proc. RPATH and not RUNPATH: it holds for the libraries' libraries too, and
    comes before an LD_LIBRARY_PATH that the image sets for its own programs.
    """
    _patchelf("--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries, program)


def check_search_paths(root: Path) -> None:
    """Raise BuildError for a RUNPATH: for its file the program's RPATH would not hold."""
    for path in elf_files(root):
        if b"RUNPATH" in run([tool("readelf", "binutils"), "-d", path]).encode():
            raise BuildError(f"{path} has a RUNPATH")


def _patchelf(*arguments: str | Path) -> str:
    return run([tool("patchelf", "patchelf"), *arguments])
