"""Closes its own 0, 1 and 2, and lets a child use two pipes; argv: file for the result, "free" or not.

Pipes get the low numbers, in an order that is wrong for the child; with "free", 0 is free when the child is started.
"""

import os
import sys
from pathlib import Path

from supervisor import _spawn

for fd in (0, 1, 2):
    os.close(fd)
both_read, both_write = os.pipe()
stdin_read, stdin_write = os.pipe()
if sys.argv[2] == "free":
    low, both_read = both_read, os.dup(both_read)
    os.close(low)
script = b"read word; echo out $word; echo err $word >&2; ls /proc/self/fd"
os.write(stdin_write, b"hello\n")
pid = _spawn.spawn(b"/bin/sh", [b"sh", b"-c", script], [b"PATH=/usr/bin:/bin"], stdin_read, both_write, both_write)
os.close(both_write)
os.waitpid(pid, 0)
Path(sys.argv[1]).write_bytes(os.read(both_read, 65536))
