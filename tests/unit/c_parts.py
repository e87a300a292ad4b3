"""Parts of the data path in plain C, driven from Python: a few lines of C that wrap them, compiled for the test run."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src" / "framing"


@cache
def compiled(wrapper: str, *sources: str) -> ctypes.CDLL:
    """Compile ``wrapper`` with the named files of src/framing; the compiler is the one that builds the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "wrapper.c"), Path(folder, "wrapper.so")
        source.write_text(wrapper)
        flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", f"-I{SOURCES}"]
        files = [source, *(SOURCES / name for name in sources)]
        subprocess.run([os.environ.get("CC", "cc"), *flags, *files, "-o", library], check=True)
        return ctypes.CDLL(str(library))
