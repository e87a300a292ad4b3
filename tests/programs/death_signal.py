"""Starts a long sleep as the Supervisor starts a Calculator, prints its pid, and waits to be killed."""

import os
import signal

from supervisor import _spawn

print(_spawn.spawn(b"/bin/sleep", [b"sleep", b"300"], [], 0, 1, 2), os.getpid(), flush=True)
signal.pause()
