"""Find the Calculator's program as a shell would, and say clearly why it cannot be started."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from supervisor.errors import ProgramNotExecutableError, ProgramNotFoundError, SupervisorError

_MAY_PASS: Final = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY, errno.EIO, errno.EINTR}
)
_LONGEST_FIRST_LINE_BYTES: Final = 256  # the kernel reads no more of it


def find(program: str, search: str) -> str:
    """Return the path of ``program``, looked up in ``search`` (as PATH is written) when it has no slash.

    Raise ProgramNotFoundError if it, or the interpreter that its first line names, does not exist, and
    ProgramNotExecutableError if it is no executable file.
    """
    found = shutil.which(program, path=search)
    if found is None:
        candidates: Iterable[Path] = (Path(folder) / program for folder in search.split(os.pathsep))
        if "/" in program:
            candidates = (Path(program),)
        met = next((path for path in candidates if path.exists()), None)
        if met is not None:
            why = "it is a directory" if met.is_dir() else "set its execute permission"
            raise ProgramNotExecutableError(f"--bin: {met} is there and cannot be executed: {why}")
        where = "there is no such file" if "/" in program else f"it is in none of the folders of PATH ({search})"
        raise ProgramNotFoundError(f"--bin: {program} was not found: {where}")
    interpreter = _interpreter(found)
    if interpreter is not None and not Path(interpreter).exists():
        raise ProgramNotFoundError(
            f"--bin: {found} cannot be started: the interpreter in its first line, {interpreter!r}, was not found"
        )
    return found


def start_error(error: OSError, path: str) -> SupervisorError | None:
    """What exec's refusal at the first start means for the exit status; None when trying again can help."""
    if error.errno in _MAY_PASS:
        return None
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ProgramNotFoundError(f"--bin: {path} cannot be started: it, or the loader it asks for, was not found")
    hint = "; a script needs a first line like #!/bin/sh" if error.errno == errno.ENOEXEC else ""
    return ProgramNotExecutableError(f"--bin: {path} cannot be executed: {error.strerror}{hint}")


def _interpreter(path: str) -> str | None:
    try:
        with Path(path).open("rb") as file:
            first_line = file.read(_LONGEST_FIRST_LINE_BYTES).split(b"\n", 1)[0]
    except OSError:
        return None  # executable and not readable: exec will tell
    words = first_line[2:].strip(b" \t").replace(b"\t", b" ").split(b" ", 1)
    return os.fsdecode(words[0]) if first_line.startswith(b"#!") and words[0] else None
