"""PID 1 of a real PID namespace, and an ordinary process that is a subreaper: signals, orphans, exit statuses."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from supervisor.signal_names import signal_name
from tests.conftest import Names
from tests.integration.conftest import PLACES
from tests.services.processes import children, field, gone, mask, until
from tests.services.supervised import Supervised

Start = Callable[..., Supervised]
both_places = pytest.mark.parametrize("place", PLACES)

ACTED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
FORWARDED = sorted(set(signal.valid_signals()) - ACTED_ON - {signal.SIGKILL, signal.SIGSTOP})

# Tells each signal; ends at SIGTERM as a program without handlers does. With handlers and signal.pause() it could miss
# one: a signal that comes just before the pause runs its handler only after the next.
LISTENING = """
import os, signal
heard = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, heard)
os.write(2, b"listening\\n")
while True:
    os.write(2, b"got %d\\n" % signal.sigwait(heard))
"""


@pytest.fixture(scope="module", params=PLACES)
def listening(request: pytest.FixtureRequest) -> Iterator[Supervised]:
    """One Supervisor for all signals; none of them ends it."""
    process = PLACES[request.param](("python3", "-c", LISTENING), node_id=f"listening-{os.getpid()}")
    process.start()
    process.wait_log("calculator stderr", line="listening")
    yield process
    process.close()


@pytest.mark.parametrize("number", FORWARDED)
def test_a_signal_is_forwarded(listening: Supervised, number: int) -> None:
    """Whatever can be caught and has no meaning of its own reaches the Calculator, and the Supervisor lives on."""
    listening.send(number)
    listening.wait_log("calculator stderr", line=f"got {number}")
    assert listening.exit_status is None
    assert len([event for event in listening.events if event["event"] == "calculator ended"]) == 0


@both_places
def test_a_terminals_stop_signals_stop_nobody(lonely: Start, place: str) -> None:
    """Neither the Supervisor nor a Calculator without handlers, which runs on and ends as ever."""
    process = lonely(place, ("cat",))
    process.wait_log("calculator running")
    (calculator,) = children(process.pid)
    for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        process.send(number)
    until(lambda: not mask(process.pid, "ShdPnd"), "all are taken")
    assert {field(pid, "State")[0] for pid in (process.pid, calculator)} <= {"S", "R"}
    assert process.terminate() == 0
    # EOF and SIGTERM come together where there is no incoming stream.
    assert process.wait_log("calculator ended")["status"] in {"exit status 0", "killed by SIGTERM"}


@both_places
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_stops_in_order(lonely: Start, place: str, number: int) -> None:
    """With peers that do not answer: exit status 0, the Calculator was asked first and is gone."""
    process = lonely(place, ("sh", "-c", "sleep 300 & sleep 300 & echo made >&2; exec sleep 300"))
    process.wait_log("calculator stderr", line="made")
    calculator = children(process.pid)[0]
    group = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _group(pid) == calculator]  # noqa: PTH208
    assert len(group) == 3
    process.send(number)
    assert process.wait() == 0
    assert process.wait_log("calculator ended")["status"] == "killed by SIGTERM"
    assert [pid for pid in group if not gone(pid)] == []


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@both_places
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGRTMIN + 3, signal.SIGTERM])
def test_the_signals_of_stop_signals_stop_in_order(lonely: Start, place: str, number: int) -> None:
    """An image's STOPSIGNAL, and SIGTERM beside it, stop; what is not in the list any more is passed on."""
    process = lonely(place, ("python3", "-c", LISTENING), env={"STOP_SIGNALS": "QUIT, sigrtmin+3"})
    process.wait_log("calculator stderr", line="listening")
    process.send(signal.SIGINT)
    process.wait_log("calculator stderr", line=f"got {signal.SIGINT}")
    process.send(number)
    assert process.wait() == 0
    asked = process.wait_log("asked to stop")
    assert asked["signal"] == signal_name(number)
    assert not [event for event in process.events if event.get("line") == f"got {number}"]


@both_places
def test_a_signal_of_stop_signals_works_from_the_first_instruction_on(lonely: Start, place: str) -> None:
    """One that comes before the settings are read is kept until then."""
    process = lonely(place, ("cat",), env={"STOP_SIGNALS": "QUIT", "HTTP_PORT": "0"})
    until(lambda: _our_code_runs(process), "our code runs")
    process.send(signal.SIGQUIT)
    assert process.wait() == 0


@both_places
def test_a_hangup_reloads_the_calculator(lonely: Start, place: str) -> None:
    """RELOAD_SIGNAL goes to it, HUP does not."""
    process = lonely(place, ("python3", "-c", LISTENING), env={"RELOAD_SIGNAL": "usr1"})
    process.wait_log("calculator stderr", line="listening")
    process.send(signal.SIGHUP)
    process.wait_log("calculator stderr", line=f"got {signal.SIGUSR1}")
    assert process.terminate() == 0
    assert not [event for event in process.events if event.get("line") == f"got {signal.SIGHUP}"]


class _Agent(BaseHTTPRequestHandler):
    """Answers as an agent with an empty directory; blocking queries wait until the test is over."""

    looks = 0
    over = threading.Event()

    def do_GET(self) -> None:
        """Answer a look at the directory."""
        if "index=" in self.path:
            self.over.wait(60)
        else:
            type(self).looks += 1
        self.send_response(404)
        self.send_header("X-Consul-Index", "7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        """Take whatever is reported."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@both_places
def test_hangup_looks_at_consul_now(lonely: Start, place: str) -> None:
    """Between two looks that are ten minutes apart."""
    _Agent.looks = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), _Agent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        process = lonely(place, ("cat",), env={"CONSUL_DSN": address, "CONSUL_RESYNC_INTERVAL": "10m"})
        process.wait_log("route absent")
        until(lambda: _Agent.looks, "a first look")
        before = _Agent.looks
        process.send(signal.SIGHUP)
        until(lambda: _Agent.looks > before, "another look")
        assert process.terminate() == 0
        _Agent.over.set()
        server.shutdown()
        _Agent.over.clear()


@both_places
def test_orphans_are_buried(lonely: Start, place: str) -> None:
    """A hundred processes whose parents are gone become the Supervisor's children, and none stays a zombie."""
    script = "for i in $(seq 100); do (setsid sleep 300 &); done; echo made >&2; exec cat"
    process = lonely(place, ("sh", "-c", script))
    process.wait_log("calculator stderr", line="made")
    until(lambda: len(children(process.pid)) == 101, "a hundred orphans and the Calculator")
    until(lambda: _named_cat(process), "the shell has become cat")
    (calculator,) = _named_cat(process)
    for pid in set(children(process.pid)) - {calculator}:
        os.kill(pid, signal.SIGKILL)
    until(lambda: children(process.pid) == [calculator], "no zombie", deadline_s=3.0)
    assert process.terminate() == 0


def _named_cat(process: Supervised) -> list[int]:
    return [pid for pid in children(process.pid) if field(pid, "Name") == "cat"]


# -------------------------------------------------------------------- exit statuses

WITHOUT_DEATH = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
DEADLY = sorted(set(signal.valid_signals()) - WITHOUT_DEATH - STOPPING)
LINES_AT_ONCE = 6  # each waits for its back-off most of the time

# Ends as the next line of its file says, among orphans of three kinds that end at the same time.
ENDING = """
ulimit -c 0
read -r how < "$1" || exec cat
sed -i 1d "$1"
(sleep 0.02 &); (setsid sh -c 'exit 77' &); (setsid sh -c '(sleep 0.01; exit 66) & kill -9 $$' &)
eval "$how"
"""


def _named(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


@both_places
def test_every_status_is_reported(names: Names, place: str, tmp_path: Path) -> None:
    """Each exit code and each deadly signal stands in the log, and nothing else does, while orphans die around."""
    ends = [(f"exit {code}", f"exit status {code}") for code in range(256)]
    ends += [(f"kill -{int(number)} $$", _named(number)) for number in DEADLY]
    processes: list[tuple[Supervised, list[str]]] = []
    try:
        for line in range(LINES_AT_ONCE):
            file = tmp_path / str(line)
            mine = ends[line::LINES_AT_ONCE]
            file.write_text("".join(f"{how}\n" for how, _ in mine))
            command = ("sh", "-c", ENDING, "sh", str(file))
            process = PLACES[place](
                command, node_id=f"{names.node_id}-{line}", env={"RESTART_BACKOFF_MAX": "100ms", "HTTP_PORT": "0"}
            )
            processes.append((process.start(), [status for _, status in mine]))
        for process, expected in processes:
            process.wait_log("calculator ended", 90.0, count=len(expected))
            until(lambda p=process: _settled(p), "cat runs alone")  # type: ignore[misc]  # a lambda's default
            met = [event["status"] for event in process.events if event["event"] == "calculator ended"]
            assert met == expected
            assert process.terminate() == 0
    finally:
        for process, _ in processes:
            process.close()


def _settled(process: Supervised) -> bool:
    alive = children(process.pid)
    return [field(pid, "Name") for pid in alive] == ["cat"]


# -------------------------------------------------------------------- at every moment


def _our_code_runs(process: Supervised) -> bool:
    """It blocks every signal; `unshare` blocks SIGINT and SIGTERM alone, while it forks."""
    return {signal.SIGTERM, signal.SIGUSR1} <= mask(process.pid, "SigBlk")


@both_places
def test_a_stop_signal_works_at_every_moment(names: Names, place: str) -> None:
    """From the first instruction on, with nobody to reach: exit status 0, or death before our code could run.

    As PID 1 the kernel drops a signal that comes before; the next one must do.
    """
    delays_s = [0.03 * step for step in range(32)]
    failures: list[str] = []

    def stop_after(delay_s: float) -> None:
        process = PLACES[place](("cat",), node_id=names.node_id, env={"HTTP_PORT": "0"})
        try:
            process.start()
            time.sleep(delay_s)
            heard = _our_code_runs(process)
            process.send(signal.SIGTERM)
            if not heard and place == "pid-1":
                until(lambda: _our_code_runs(process), "our code runs")
                process.send(signal.SIGTERM)
            status = process.wait()
            allowed = {0} if heard or place == "pid-1" else {0, -signal.SIGTERM}
            if status not in allowed:
                failures.append(f"status {status} after {delay_s:.2f} s\n{process.log_text()}")
        except BaseException as error:
            failures.append(f"after {delay_s:.2f} s: {error!r}\n{process.log_text()}")
            raise
        finally:
            process.close()

    for share in range(0, len(delays_s), 4):
        threads = [threading.Thread(target=stop_after, args=(delay_s,)) for delay_s in delays_s[share : share + 4]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures, "\n".join(failures)


@both_places
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM])
def test_a_storm_of_signals_does_not_end_it(lonely: Start, place: str, number: int) -> None:
    """From our first instruction to the last: no default action takes effect, and the stop is in order."""
    process = lonely(place, ("cat",))
    until(lambda: _our_code_runs(process), "our code runs")
    if number != signal.SIGTERM:
        end = time.monotonic() + 1.5  # longer than the start takes
        while time.monotonic() < end:
            process.send(number)
            time.sleep(0.002)
        process.wait_log("calculator running")
        process.send(signal.SIGTERM)
    else:
        process.wait_log("calculator running")
    end = time.monotonic() + 15
    while process.exit_status is None:
        assert time.monotonic() < end
        process.send(number)
        time.sleep(0.002)
    assert process.exit_status == 0


@both_places
def test_a_second_stop_signal_shortens_the_grace(lonely: Start, place: str) -> None:
    """A Calculator that hears nothing has a minute, and then has none."""
    process = lonely(
        place,
        ("sh", "-c", "trap '' TERM; echo deaf >&2; while true; do sleep 300; done"),
        env={"SHUTDOWN_GRACEPERIOD": "1m"},
    )
    process.wait_log("calculator stderr", line="deaf")
    process.send(signal.SIGTERM)
    process.wait_log("SIGTERM to the calculator")
    assert process.exit_status is None
    assert process.terminate() == 0
    assert process.wait_log("calculator ended")["status"] == "killed by SIGKILL"


@both_places
def test_the_calculator_dies_with_a_killed_supervisor(lonely: Start, place: str) -> None:
    """SIGKILL leaves the Supervisor no time to do anything about it."""
    process = lonely(place, ("sleep", "300"))
    process.wait_log("calculator running")
    (calculator,) = children(process.pid)
    process.send(signal.SIGKILL)
    until(lambda: gone(calculator), "the Calculator is gone")


@both_places
@pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_be_started(lonely: Start, place: str, program: str, status: int) -> None:
    """One line says why, and the status is the shell's."""
    process = lonely(place, (program,))
    assert process.wait() == status
    (said,) = [event for event in process.events if event["level"] == "error"]
    assert program in said["event"]
