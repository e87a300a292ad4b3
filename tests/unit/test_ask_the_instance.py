"""``supervisor health`` and ``status``: how they find the running instance, what they say, what they cost."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from supervisor.health import Facts, ready
from supervisor.http import StatusServer, status
from supervisor.states import CalculatorState, RouteState
from supervisor.tools import asking
from supervisor.tools.status import screen
from tests.unit.facts import HEALTHY, facts

NOT_ROUTED = facts(route=None, route_state=RouteState.ABSENT, inlet={}, lag={}, adopted_version=None)


def run(*words: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, with no settings but these."""
    command = ["-c", code] if code else ["-m", "supervisor", *words]
    environ = {"PATH": os.environ["PATH"]} | environ
    return subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def instance(told: Facts, host: str = "127.0.0.1") -> Iterator[str]:
    """The port of an instance with these facts."""
    loop = asyncio.new_event_loop()
    server = StatusServer(host, 0, lambda: told)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield str(server.port)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def listener(answer: bytes | None, *, drip_s: float = 0.0) -> Iterator[dict[str, str]]:
    """Somebody else's port: answers so, byte by byte if asked to, or with None never. Its settings."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                for byte in answer or b"":
                    if over.wait(drip_s):
                        return
                    connection.send(bytes([byte]))
                if answer is None:
                    over.wait(20)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield {"HTTP_PORT": str(server.getsockname()[1])}
        over.set()
        thread.join(10)


def test_health_says_what_the_probes_say() -> None:
    """0 and the sentence, or 1 and the sentence; live without a word; by either spelling of the port."""
    with instance(HEALTHY) as port:
        live, well = run("health", HTTP_PORT=port), run("health", "ready", BDZ_HTTP_PORT=port)
    assert (live.returncode, live.stdout, live.stderr) == (0, "The event loop runs.\n", "")
    assert (well.returncode, well.stdout) == (0, ready(HEALTHY)[1] + "\n")
    with instance(NOT_ROUTED) as port:
        live, not_ready = run("health", "live", HTTP_PORT=port), run("health", "ready", HTTP_PORT=port)
        as_json = run("health", "ready", "--json", HTTP_PORT=port)
    assert live.returncode == 0
    assert (not_ready.returncode, not_ready.stdout) == (1, ready(NOT_ROUTED)[1] + "\n")
    assert (as_json.returncode, json.loads(as_json.stdout)) == (1, {"ok": False, "message": ready(NOT_ROUTED)[1]})


def test_the_port_and_host_are_found_as_the_instance_finds_them() -> None:
    """The unprefixed name wins, an empty one is none, and what cannot be read is passed over."""
    for environ, expected in (
        ({}, ("127.0.0.1", 8080)),
        ({"HTTP_PORT": "1", "BDZ_HTTP_PORT": "2"}, ("127.0.0.1", 1)),
        ({"HTTP_PORT": "", "BDZ_HTTP_PORT": "2"}, ("127.0.0.1", 2)),
        ({"HTTP_PORT": "tcp://10.0.0.1:8080"}, ("127.0.0.1", 8080)),
        ({"HTTP_PORT": "65536"}, ("127.0.0.1", 8080)),
        ({"HTTP_PORT": "tcp://10.0.0.1:8080", "BDZ_HTTP_PORT": "2"}, ("127.0.0.1", 2)),
        ({"HTTP_HOST": "no host", "BDZ_HTTP_HOST": "web"}, ("web", 8080)),
        ({"HTTP_HOST": "10.1.2", "BDZ_HTTP_HOST": "a:1"}, ("127.0.0.1", 8080)),
        ({"HTTP_HOST": "0.0.0.0"}, ("127.0.0.1", 8080)),
        ({"HTTP_HOST": "::"}, ("::1", 8080)),
        ({"BDZ_HTTP_HOST": "10.1.2.3"}, ("10.1.2.3", 8080)),
    ):
        assert asking.address(environ) == expected


def test_an_instance_on_ipv6_is_asked_there() -> None:
    """Where there is IPv6."""
    try:
        with instance(HEALTHY, "::1") as port:
            assert run("health", HTTP_HOST="::", HTTP_PORT=port).returncode == 0
            assert run("health", HTTP_HOST="::1", HTTP_PORT=port).returncode == 0
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize("command", ["health", "status"])
def test_nobody_to_ask_is_said(command: str) -> None:
    """Switched off, nobody there, a name that is none: status 1, a sentence on STDERR, nothing on STDOUT."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = str(server.getsockname()[1])
    for environ, words in (
        ({"HTTP_PORT": "0"}, "HTTP_PORT is 0: the Supervisor has no status"),
        ({"HTTP_PORT": closed}, f"no Supervisor answers at 127.0.0.1:{closed}: connection refused; is it running"),
        ({"HTTP_HOST": "no.such.host.invalid"}, "no Supervisor answers at no.such.host.invalid:8080"),
    ):
        met = run(command, **environ)
        assert (met.returncode, met.stdout) == (1, "")
        assert met.stderr.startswith(f"supervisor {command}: {words}")


def test_every_answer_is_waited_for_within_a_bound() -> None:
    """Frozen, or a byte at a time: the whole exchange has one deadline."""
    for answer, drip_s in ((None, 0.0), (b"HTTP/1.1 200 OK\r\n\r\n" * 10, 0.1)):
        began_s = time.monotonic()
        with (
            listener(answer, drip_s=drip_s) as environ,
            pytest.raises(asking.NotAskedError, match=r"no answer from .* within 0\.5 s"),
        ):
            asking.get("/health/live", environ, deadline_s=0.5)
        assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 what\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_what_is_no_supervisor_is_said(answer: bytes) -> None:
    """Another program's port."""
    with listener(answer) as environ, pytest.raises(asking.NotAskedError, match="as no Supervisor does"):
        asking.get("/health/live", environ)
    with listener(b"HTTP/1.1 404 Not Found\r\n\r\n") as environ:
        met = run("health", **environ)
    assert (met.returncode, "answered 404" in met.stderr) == (1, True)


def test_a_probe_is_cheap() -> None:
    """It counts against the pod: 15 MiB at most, and nothing of the Supervisor's own parts, which make it slow."""
    code = (
        "import os, sys\n"
        "end = os._exit\n"
        "def report(status):\n"
        "    heavy = {'pydantic', 'structlog', 'consul', 'confluent_kafka', 'asyncio', 'socket'} & set(sys.modules)\n"
        "    peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]\n"
        "    print(status, *heavy, len(sys.modules), peak, flush=True)\n"
        "    end(0)\n"
        "os._exit = report\n"
        "sys.argv = ['supervisor', 'health']\n"
        "from supervisor.__main__ import main\n"
        "report(main())\n"
    )
    with instance(HEALTHY) as port:
        _, told = run(code=code, HTTP_PORT=port).stdout.splitlines()
    status_, modules, peak_kb = map(int, told.split())
    assert (status_, modules <= 120, peak_kb <= 15 << 10) == (0, True, True), told


def test_a_closed_stdout_is_no_failure() -> None:
    """Some runtimes start a probe so: its status is all that counts."""
    with instance(HEALTHY) as port:
        done = subprocess.run(
            ["sh", "-c", f"exec {sys.executable} -m supervisor health >&-"],
            env={"HTTP_PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_status_is_the_instances_own_json_or_a_screen_of_it() -> None:
    """Verbatim; and on the screen the worst is first and said once, and zeros are left out."""
    told = facts(
        calculator=CalculatorState.CRASH_LOOP,
        calculator_failures=7,
        last_exit="status 1",
        last_stderr_line="boom \x1b[31m\x07 ä",
        settings={"ack_mode": ("line", "KV"), "input_newlines": ("space", "default")},
    )
    with instance(told) as port:
        verbatim, shown = run("status", "--json", HTTP_PORT=port), run("status", HTTP_PORT=port)
    assert verbatim.returncode == shown.returncode == 0
    assert verbatim.stdout == json.dumps(status(told), indent=2, default=str) + "\n"
    lines = shown.stdout.splitlines()
    assert lines[0] == "wsp-7: crash loop, critical, not ready"
    assert lines[2].startswith("CRITICAL  calculator: The Calculator has been in a crash loop since")
    assert lines[3].startswith("PASSING   supervisor:")
    assert sum("crash loop since" in line for line in lines) == 1
    assert "Settings:    ACK_MODE=line (KV)" in lines
    assert "Last STDERR: boom  [31m  ä" in lines
    assert "dropped" not in shown.stdout
    assert any(line.startswith("Lag:         50 records behind on 3 partitions (partition 0: 50)") for line in lines)


def test_a_workspace_without_a_route_has_a_screen_too() -> None:
    """Nothing comes in; what is missing is said once."""
    shown = screen(json.loads(json.dumps(status(NOT_ROUTED), default=str)))
    assert shown.splitlines()[0] == "wsp-7: waiting for a route, warning, not ready"
    assert shown.count("does not exist in Consul KV") == 1
    assert "\nIn:" not in shown
