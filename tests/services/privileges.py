"""A thread without CAP_KILL, and the programs of another user that it then may not signal."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Final

import pytest

_NOBODY: Final = "65534"
_CAP_KILL: Final = 1 << 5
_VERSION_3: Final = 0x20080522

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root: no process of another user can be started")

BECOME_NOBODY: Final = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
"""The rest of the command runs as another user, as with sudo."""

WITHOUT_CAP_KILL: Final = ("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill")
"""The rest of the command runs as root that may not signal other users' processes."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def without_cap_kill() -> Iterator[None]:
    """This thread may not signal other users' processes in here; it is still permitted to, and takes that back."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_VERSION_3, 0)
    sets = (_Sets * 2)()
    _call(libc.capget, header, sets)
    before = sets[0].effective
    sets[0].effective = before & ~_CAP_KILL
    _call(libc.capset, header, sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _call(libc.capset, header, sets)


def _call(function: object, header: _Header, sets: object) -> None:
    if function(ctypes.byref(header), sets) != 0:  # type: ignore[operator]
        raise OSError(ctypes.get_errno(), "capget or capset")
