"""The directory's Supervisor as the first process of a container: exit statuses, signals, orphans, the environment."""

from __future__ import annotations

import json
import platform
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.in_root import run_in
from tests.packaging.roots import root
from tests.services.processes import children, field, until
from tests.services.supervised import Supervised

_SETTINGS = {"NODE_ID": "w1", "KAFKA_DSN": "127.0.0.1:9", "CONSUL_DSN": "127.0.0.1:9", "HTTP_PORT": "0"}
_PYTHON = "/opt/supervisor.d/bin/python3.13"
# A signal ends dash's read as the end of STDIN does.
_LISTEN = (
    "trap 'echo got usr1 >&2; got=1' USR1; echo listening >&2;"
    ' while :; do got=; read line || [ -n "$got" ] || exit; done'
)


@pytest.mark.parametrize(
    ("arguments", "environ", "status", "said"),
    [
        ((), {}, 2, "NODE_ID"),
        (("--bin", "/no/such/program"), _SETTINGS, 127, "not found"),
        (("--bin", "/proc/version"), _SETTINGS, 126, "cannot be executed"),
        (("--version",), {}, 0, "supervisor "),
        (("--help",), {}, 0, "usage: supervisor"),
    ],
)
def test_exit_statuses(opt: Path, arguments: tuple[str, ...], environ: dict[str, str], status: int, said: str) -> None:
    """They are the container's own, out of a root that has nothing else in it."""
    done = run_in(root("empty"), opt, "/opt/supervisor", *arguments, env=environ)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done


def test_the_version_comes_at_once(opt: Path) -> None:
    """In under 200 ms of CPU, the best of five."""
    code = (
        "import os, resource\n"
        "best = 9.0\n"
        "for _ in range(5):\n"
        "    before = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "    os.waitpid(os.spawnv(os.P_NOWAIT, '/opt/supervisor', ['supervisor', '--version']), 0)\n"
        "    after = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "    best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)\n"
        "print('cpu', best)\n"
    )
    done = run_in(root("empty"), opt, _PYTHON, "-I", "-c", code)
    best_s = float(done.stdout.split("cpu")[1])
    assert best_s < 0.2, done


def test_signals_and_orphans(in_root: Callable[..., Supervised]) -> None:
    """A signal without a meaning of its own is the Calculator's; orphans are reaped; SIGTERM ends all in order."""
    process = in_root("debian-12", ("sh", "-c", f"for i in 1 2 3 4 5; do (setsid sleep 1 &); done; {_LISTEN}"))
    process.start()
    process.wait_log("calculator stderr", line="listening")
    process.send(signal.SIGUSR1)
    process.wait_log("calculator stderr", line="got usr1")
    until(lambda: len(children(process.pid)) == 1, "the orphans are reaped")
    assert field(children(process.pid)[0], "State")[0] in {"S", "R"}
    assert process.terminate() == 0


def test_the_images_settings_for_other_programs_do_not_reach_it(in_root: Callable[..., Supervised]) -> None:
    """Those of a Python, of a loader, of Debian's interpreter: the Calculator has them as they are."""
    hostile = {
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/opt/app",
        "PYTHONSTARTUP": "/nowhere.py",
        "PYTHONNODEBUGRANGES": "1",
        "LD_LIBRARY_PATH": f"/usr/lib/{platform.machine()}-linux-gnu:/lib",
    }
    code = f"import json, os, sys; sys.stderr.write(json.dumps({{n: os.environ.get(n) for n in {sorted(hostile)!r}}}))"
    process = in_root("debian-11", ("env", "-u", "PYTHONHOME", "python3", "-c", code), env=hostile)
    process.start()
    seen = json.loads(process.wait_log("calculator stderr")["line"])
    assert seen == hostile | {"PYTHONHOME": None}
    until(lambda: process.http("/health/live")[0] == 200, "it lives")
    assert process.terminate() == 0
