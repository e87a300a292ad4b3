"""The simulation's program: the data path in C as it stands in src, on the model's tables instead of the real ones."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FRAMING: Final = ROOT / "src/framing"
HERE: Final = Path(__file__).parent

_STANDS_FOR_REAL: Final = ("system.c", "rdkafka.c")
"""What the model has in its place; so has it for what looks at a Calculator's processes."""

_FLAGS: Final = ("-std=c11", "-D_DEFAULT_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{FRAMING}")
_OURS_FLAGS: Final = ("-Wshadow", "-Wno-unused-function")
_SEAM_FLAGS: Final = ("-include", str(HERE / "seam.h"), "-Wno-unused-function")
_SANITIZE: Final = ("-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined")


def data_path() -> list[Path]:
    """The files of the data path that are simulated."""
    return sorted(
        file for file in FRAMING.glob("*.c") if file.name not in _STANDS_FOR_REAL and "probe" not in file.name
    )


class Program:
    """The program built into ``directory``; an object is made once, and again for another source by ``replace``."""

    def __init__(self, directory: Path, *, sanitized: bool = False) -> None:
        self._directory = directory
        self._cc = os.environ.get("CC", "cc")
        self._extra = _SANITIZE if sanitized else ()
        self.path = directory / "simulate"

    def build(self) -> Path:
        """Compile everything; CalledProcessError with what the compiler says."""
        jobs: list[tuple[Path, tuple[str, ...]]] = [
            (file, _SEAM_FLAGS if file.name != "live.c" else ()) for file in data_path()
        ]
        jobs += [(file, _OURS_FLAGS) for file in sorted(HERE.glob("*.c"))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda job: self._compile(*job), jobs))
        return self.link()

    def replace(self, file: Path, text: str) -> None:
        """Compile this text in place of a file of the data path."""
        changed = self._directory / file.name
        changed.write_text(text)
        self._compile(changed, (*_SEAM_FLAGS, "-w"), self._object(file))

    def restore(self, file: Path) -> None:
        """Compile the file as it stands."""
        self._compile(file, _SEAM_FLAGS)

    def link(self) -> Path:
        """Make the program of the objects."""
        objects = [self._object(file) for file in (*data_path(), *sorted(HERE.glob("*.c")))]
        self._run(*self._extra, *map(str, objects), "-o", str(self.path), "-ldl", "-pthread")
        return self.path

    def _object(self, file: Path) -> Path:
        return self._directory / f"{file.parent.name}-{file.stem}.o"

    def _compile(self, file: Path, flags: tuple[str, ...], output: Path | None = None) -> None:
        self._run(*_FLAGS, *self._extra, *flags, "-c", str(file), "-o", str(output or self._object(file)))

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._cc, *arguments], check=True, capture_output=True, text=True)
