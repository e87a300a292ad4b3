"""The real thing: ``python -m supervisor`` as a process of its own, watched through its log and its HTTP port."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .agent import Consul
from .process import free_ports, spawn
from .topics import Kafka

_SETTINGS = (
    "BDZ_", "KAFKA_", "CONSUL_", "LOG_", "HTTP_", "ACK_", "FEED_", "MAX_", "NODE_ID", "PROGRAM", "OUTPUT_JSON",
    "INPUT_NEWLINES", "DEAD_", "POISON_", "PROPAGATE_", "STOP_", "RELOAD_"
)  # fmt: skip


class Supervised:
    """A Supervisor and its Calculator. ``env`` adds to and overrides the settings made here.

    ``prefix`` is a program that becomes or starts the Supervisor, such as ``env`` or ``nice`` would.
    ``launcher`` is the command of another installation of it.
    ``log_fd``: its log goes there and is not collected; the caller owns it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        node_id: str,
        kafka: Kafka | None = None,
        consul: Consul | None = None,
        group: str | None = None,
        env: Mapping[str, str] | None = None,
        log_fd: int | None = None,
        prefix: Sequence[str] = (),
        launcher: Sequence[str] = (sys.executable, "-m", "supervisor"),
    ) -> None:
        self.node_id = node_id
        self._log_fd = log_fd
        self.port = free_ports(1)[0]
        # A Supervisor without one of its peers gets an address where nobody listens.
        nobody = f"127.0.0.1:{free_ports(1)[0]}"
        settings = {
            "NODE_ID": node_id,
            "KAFKA_DSN": kafka.bootstrap if kafka else nobody,
            "KAFKA_CONSUMER_GROUP": group or f"group-{node_id}",
            "CONSUL_DSN": consul.dsn if consul else nobody,
            "CONSUL_ADVERTISE": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.port),
            "LOG_FORMAT": "json",
        }
        if consul and consul.token:
            settings["CONSUL_HTTP_TOKEN"] = consul.token
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        self._env = inherited | settings | dict(env or {})
        self._command = [*prefix, *launcher, "--bin", command[0]]
        for argument in command[1:]:
            self._command += ["--args", argument.replace("\\", "\\\\").replace(",", "\\,")]
        self._events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._collector: threading.Thread | None = None

    def start(self) -> Supervised:
        """Start the process; it is not waited for."""
        # STDOUT is nobody's: whatever appears there is as much part of the log as STDERR.
        to = subprocess.PIPE if self._log_fd is None else self._log_fd
        self._process = spawn(self._command, stdout=to, stderr=subprocess.STDOUT, env=self._env)
        if self._log_fd is not None:
            return self
        self._collector = threading.Thread(target=self._collect, name=f"log of {self.node_id}", daemon=True)
        self._collector.start()
        return self

    @property
    def pid(self) -> int:
        """Process ID of the Supervisor."""
        return self._started.pid

    @property
    def exit_status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._started.poll()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log so far; a line that is not JSON is ``{"event": line, "level": "text"}``."""
        with self._changed:
            return list(self._events)

    def log_text(self, lines: int | None = None) -> str:
        """The last (or all) lines of the log, one compact JSON object each."""
        events = self.events[-lines:] if lines else self.events
        return "\n".join(json.dumps(event, ensure_ascii=False) for event in events)

    def wait_log(self, event: str, deadline_s: float = 15.0, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The ``count``-th log line with this event and these fields; AssertionError with the log's end if none."""
        end = time.monotonic() + deadline_s
        with self._changed:
            while True:
                found = [line for line in self._events if line.get("event") == event and fields.items() <= line.items()]
                if len(found) >= count:
                    return found[count - 1]
                left_s = end - time.monotonic()
                ended = self._collector is not None and not self._collector.is_alive()
                if left_s <= 0 or ended:
                    break
                self._changed.wait(min(left_s, 0.1))
        why = f"the process ended ({self.exit_status})" if ended else f"not within {deadline_s} s"
        raise AssertionError(f"no log line {event!r} {fields or ''}: {why}\n{self.log_text(30)}")

    def http(self, path: str) -> tuple[int, str]:
        """(status, body) of a GET on the Supervisor's port; OSError while it does not listen."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _AnyStatus())
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()

    def status(self) -> dict[str, Any]:
        """/status, decoded."""
        code, body = self.http("/status")
        assert code == 200, f"/status answered {code}: {body}"
        status: dict[str, Any] = json.loads(body)
        return status

    def wait_status(self, condition: Callable[[dict[str, Any]], bool], what: str, deadline_s: float = 15.0) -> None:
        """Wait until /status is as the condition says; AssertionError with the last one if it never is."""
        end = time.monotonic() + deadline_s
        status: object = None
        while True:
            try:
                status = self.status()
                if condition(status):
                    return
            except OSError as error:  # it does not listen yet
                status = error
            assert time.monotonic() < end, f"{what}: not within {deadline_s} s: {status}\n{self.log_text(30)}"
            time.sleep(0.02)

    def wait_counter(self, side: str, counter: str, at_least: int, deadline_s: float = 15.0) -> None:
        """Wait until a counter of /status, of its ``inlet`` or ``outlet``, is there."""
        self.wait_status(lambda status: status[side].get(counter, 0) >= at_least, f"{counter} {at_least}", deadline_s)

    def wait_started(self, deadline_s: float = 20.0) -> None:
        """Wait until /health/live answers 200 and the Calculator runs, with or without a route."""
        self._wait_http("/health/live", deadline_s)
        end = time.monotonic() + deadline_s
        while self.status()["calculator"] != "running":
            assert time.monotonic() < end, f"no Calculator within {deadline_s} s\n{self.log_text(30)}"
            time.sleep(0.02)

    def wait_ready(self, deadline_s: float = 20.0) -> None:
        """Wait until /health/ready answers 200; AssertionError with its last answer if it does not."""
        self._wait_http("/health/ready", deadline_s)

    def _wait_http(self, path: str, deadline_s: float) -> None:
        end = time.monotonic() + deadline_s
        answer: object = None
        while True:
            try:
                answer = self.http(path)
                if answer[0] == 200:
                    return
            except OSError as error:
                answer = error
            assert self.exit_status is None, f"the process ended ({self.exit_status})\n{self.log_text(30)}"
            assert time.monotonic() < end, f"{path} not 200 within {deadline_s} s: {answer}\n{self.log_text(30)}"
            time.sleep(0.02)

    def memory_bytes(self, field: str = "VmHWM") -> int:
        """A figure of /proc/PID/status: VmHWM is the peak of the resident set, VmRSS its size now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
        raise KeyError(field)

    def terminate(self, deadline_s: float = 15.0) -> int:
        """SIGTERM, then as ``wait``."""
        self.send(signal.SIGTERM)
        return self.wait(deadline_s)

    def send(self, number: int) -> None:
        """Send a signal to the Supervisor alone; nothing if it has ended."""
        if self._started.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # as PID 1 it is gone before unshare is
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the Supervisor alone; returns when it is gone."""
        self._started.kill()
        self._started.wait()

    def wait(self, deadline_s: float = 15.0) -> int:
        """The exit status; AssertionError with the log's end if it does not end in time, or leaves native memory."""
        try:
            status = self._started.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {deadline_s} s\n{self.log_text(30)}") from None
        if self._collector is not None:
            self._collector.join(5)
            if status == 0:
                self._assert_nothing_left()
        return status

    def _assert_nothing_left(self) -> None:
        """A client that kept to no deadline was left behind on purpose, and said so."""
        left = [line for line in self.events if line.get("event") == "native memory at the end"]
        behind = [line for line in self.events if line.get("event") == "kafka client does not end; left behind"]
        assert behind or all(line["level"] == "debug" for line in left), f"{left}\n{self.log_text(30)}"
        if self._env.get("LOG_LEVEL") == "debug":
            assert left, f"the end of native memory was not looked at\n{self.log_text(30)}"

    def close(self) -> None:
        """Kill what is left; the Calculator goes with its Supervisor."""
        if self._process is None:
            return
        self.kill()
        if self._collector is not None:
            self._collector.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the Supervisor was not started"
        return self._process

    def _collect(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                event = {"event": line.decode("utf-8", "replace").rstrip("\n"), "level": "text"}
            with self._changed:
                self._events.append(event)
                self._changed.notify_all()


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Take every status as an answer: a failing check says why in its body."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        """The answer as it is."""
        return response
