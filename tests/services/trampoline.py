"""Become another program that dies with the process that asked for it.

Usage: ``python -I -S trampoline.py PARENT_PID PROGRAM [ARGUMENT ...]``. The parent-death signal survives ``execve``
and is sent even when the parent was killed by SIGKILL, so that no broker outlives a crashed test run. It belongs to the
*thread* that forked: start long-lived services from a thread that stays.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the signal was armed
        sys.exit(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the interpreter ignores it, and execve would hand that on
    os.execvp(sys.argv[2], sys.argv[2:])


main()
