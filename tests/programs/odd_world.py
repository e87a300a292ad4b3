"""Becomes another program in a world as odd as a launcher may leave it: argv is a directory, then the program.

Descriptors that are not closed on exec, signals ignored and blocked, a limit of its own, another working directory, and
an environment with bytes that are no UTF-8, doubles and entries without a name, but no locale.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

LOCALE = (b"LANG=", b"LC_")
ODD = [b"ODD=\xff\xfe%s\nline", b"TWICE=one", b"TWICE=two", b"no equals sign", b"EMPTY=", "Д=ж".encode()]

for _ in range(20):
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1, signal.SIGRTMIN):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGCHLD, signal.SIGRTMAX})
resource.setrlimit(resource.RLIMIT_NOFILE, (777, 1777))
os.chdir(sys.argv[1])
inherited = Path("/proc/self/environ").read_bytes().split(b"\0")[:-1]
entries = [entry for entry in inherited if not entry.startswith(LOCALE)] + ODD
words = [os.fsencode(word) for word in sys.argv[2:]]
libc = ctypes.CDLL(None, use_errno=True)
libc.execve(words[0], (ctypes.c_char_p * (len(words) + 1))(*words), (ctypes.c_char_p * (len(entries) + 1))(*entries))
raise OSError(ctypes.get_errno(), "execve")
