"""The child's world: what a program started by ``_spawn.spawn`` finds, and what it does not."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from supervisor import _spawn

PROGRAMS = Path(__file__).parents[1] / "programs"
HEADERS = Path(__file__).parents[2] / "src" / "spawn"


def output_of(*argv: bytes, env: list[bytes] | None = None) -> bytes:
    """Run ``argv`` (a path first) and return all it writes to STDOUT."""
    null = os.open("/dev/null", os.O_RDONLY)
    read_fd, write_fd = os.pipe()
    try:
        pid = _spawn.spawn(argv[0], argv, [b"PATH=/usr/bin:/bin"] if env is None else env, null, write_fd, 2)
    finally:
        os.close(write_fd)
        os.close(null)
    with os.fdopen(read_fd, "rb") as stream:
        result = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return result


def status_of_child() -> dict[str, str]:
    lines = output_of(b"/bin/cat", b"/proc/self/status").decode().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def ended(pid: int, deadline_s: float) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], deadline_s)[0])
    finally:
        os.close(pidfd)


def test_descriptors() -> None:
    """The child has 0, 1 and 2 and no other, however many the parent has without close-on-exec."""
    ours = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    try:
        for fd in ours:
            os.set_inheritable(fd, True)
        # ls has one of its own, open on the directory that it lists.
        assert output_of(b"/bin/ls", b"/proc/self/fd").split() == [b"0", b"1", b"2", b"3"]
    finally:
        for fd in ours:
            os.close(fd)


@pytest.mark.parametrize("how", ["close-range", "one-by-one"])
def test_closing_descriptors(tmp_path: Path, how: str) -> None:
    """Both ways of closing leave 0, 1, 2: the system call, and the walk for kernels that lack it."""
    program = tmp_path / "close_fds"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-Wall", "-Wextra", "-Werror", "-I", HEADERS, "-o", program, PROGRAMS / "close_fds.c"], check=True
    )
    left = subprocess.run([program, how], check=True, capture_output=True, text=True).stdout.split()
    assert left == ["0", "1", "2"]


def test_signals_of_the_parent_are_not_inherited() -> None:
    """Nothing is ignored or blocked in the child whatever the parent ignores, blocks or handles."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2, signal.SIGRTMIN})
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, lambda *_: None)
        status = status_of_child()
        assert {status["SigBlk"], status["SigIgn"], status["SigCgt"]} == {"0" * 16}
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "the parent's own mask is back"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)


def test_session_and_group() -> None:
    """The child leads a session and a process group of its own."""
    fields = output_of(b"/bin/sh", b"-c", b"cat /proc/$$/stat").rsplit(b")", 1)[1].split()
    pid = output_of(b"/bin/sh", b"-c", b'test "$(cut -d" " -f5,6 /proc/$$/stat)" = "$$ $$" && echo leader')
    assert fields[2] == fields[3]
    assert int(fields[3]) != os.getsid(0)
    assert pid == b"leader\n"


def test_arguments_and_environment_byte_for_byte() -> None:
    """Arguments and environment arrive unchanged: no UTF-8, per cent signs, newlines, emptiness, odd names."""
    words = [b"/bin/cat", b"/proc/self/cmdline", b"/proc/self/environ"]
    env = [b"A=\xff\xfe%s%n", b"B=one\ntwo", b"C=", b"odd name=x=y", "Д=ж".encode(), b"A=twice"]
    assert output_of(*words, env=env) == b"".join(word + b"\0" for word in words + env)
    odd = [b"/usr/bin/printf", b"[%s]", b"", b"\xff\n%d", b"-x"]
    assert output_of(*odd) == b"[][\xff\n%d][-x]"


def test_limits_and_folder_are_kept() -> None:
    """RLIMIT_NOFILE and the working directory are the parent's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 777), hard))
    try:
        assert output_of(b"/bin/sh", b"-c", b"ulimit -Sn; ulimit -Hn; pwd -P").decode().split() == [
            str(min(soft, 777)),
            "unlimited" if hard == resource.RLIM_INFINITY else str(hard),
            os.path.realpath("."),
        ]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_death_of_the_parent() -> None:
    """A parent that is SIGKILLed takes its child along."""
    with subprocess.Popen([sys.executable, PROGRAMS / "death_signal.py"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline().split()[0])
        assert not ended(child, 0.0)
        parent.kill()
        assert ended(child, 10.0)


@pytest.mark.parametrize("zero", ["taken", "free"])
def test_parent_without_standard_descriptors(tmp_path: Path, zero: str) -> None:
    """Pipes that got the numbers 0 to 2 in the parent still become the right ends in the child; a free 0 is no trap."""
    result = tmp_path / "result"
    subprocess.run([sys.executable, PROGRAMS / "no_stdio.py", result, zero], check=True)
    assert result.read_bytes().split(b"\n") == [b"out hello", b"err hello", b"0", b"1", b"2", b"3", b""]


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (None, 0, errno.ENOENT),
        (b"#!/nowhere/interpreter\n", 0o755, errno.ENOENT),
        (b"#!/bin/sh\n", 0o644, errno.EACCES),
        (b"no program at all\n", 0o755, errno.ENOEXEC),
    ],
)
def test_errors_of_exec(tmp_path: Path, content: bytes | None, mode: int, expected: int) -> None:
    """What exec says reaches the caller as OSError with the path, and no zombie stays behind."""
    path = tmp_path / "program"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    before = _zombies()  # other tests' services, whose exit nobody has asked for yet
    with pytest.raises(OSError, match="program") as met:
        _spawn.spawn(os.fsencode(path), [b"program"], [], 0, 1, 2)
    assert met.value.errno == expected
    assert _zombies() == before


def _zombies() -> list[str]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in children if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()]


def test_arguments_that_cannot_be_passed() -> None:
    """A NUL byte and text are refused instead of being cut or encoded."""
    with pytest.raises(ValueError, match="NUL"):
        _spawn.spawn(b"/bin/true", [b"true", b"a\0b"], [], 0, 1, 2)
    with pytest.raises(TypeError, match="bytes"):
        _spawn.spawn(b"/bin/true", [b"true"], ["A=b"], 0, 1, 2)  # type: ignore[list-item]


def test_other_threads_are_refused() -> None:
    """A child dies with the thread that started it, so only the main thread may."""
    met: list[BaseException] = []

    def start() -> None:
        try:
            _spawn.spawn(b"/bin/true", [b"true"], [], 0, 1, 2)
        except RuntimeError as error:
            met.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(met[0])
