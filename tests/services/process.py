"""Service processes: free ports, logs in a file, never left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TRAMPOLINE = Path(__file__).with_name("trampoline.py")
# Below the range from which the kernel gives ports to clients, so that a service can come back on its own port.
_PORTS = range(20000, 32000)
_PREFIX = "supervisor-services-"


class ServiceError(RuntimeError):
    """A service could not be obtained, started or reached; the message says what to do."""


def free_ports(count: int) -> list[int]:
    """``count`` different ports of 127.0.0.1 that nobody listens on now."""
    ports: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise ServiceError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1")


def scratch_directory(purpose: str) -> Path:
    """A new temporary directory; those left by test runs that were killed are removed on the way."""
    for stale in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = stale.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(stale, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{purpose}-"))


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a log file, for an error message."""
    if not path.exists():
        return f"({path} does not exist)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def spawn(
    command: Sequence[str | Path],
    *,
    stdout: int | None = None,
    stderr: int | None = None,
    stdin: int | None = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """``Popen`` in a session of its own, killed by the kernel when the thread that called this ends."""
    trampoline = [sys.executable, "-I", "-S", str(_TRAMPOLINE), str(os.getpid())]
    return subprocess.Popen(
        [*trampoline, *map(str, command)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )


class Service:
    """One long-lived process whose output goes to a log file.

    ``name`` stands in error messages; ``log`` is appended to over restarts.
    """

    def __init__(self, name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None):
        self.name = name
        self.log = log
        self._command = command
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process ID of the last start."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """Start, then wait until ``ready()``; ServiceError with the end of the log if it is not so in time."""
        with self.log.open("ab") as log:
            self._process = spawn(self._command, stdout=log.fileno(), stderr=subprocess.STDOUT, env=self._env)
        end = time.monotonic() + deadline_s
        while not ready():
            if not self.running:
                raise ServiceError(f"{self.name} ended with status {self._process.returncode}\n{tail(self.log)}")
            if time.monotonic() > end:
                self.kill()
                raise ServiceError(f"{self.name} was not ready within {deadline_s} s\n{tail(self.log)}")
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, also to a stopped process; returns when it is gone."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
