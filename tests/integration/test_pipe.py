"""``supervisor pipe``: lines in, dataframes out, through the whole data path; none lost, none invented."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

CRASHES = """
import os, sys
for number, line in enumerate(sys.stdin, 1):
    if line.startswith("\\x1eBDZ-ACK "):
        print(line, end="", flush=True)
        continue
    print(line, end="", flush=True)
    if number == 20_000:
        os.kill(os.getpid(), 9)
"""
SLOW_DEATH = (
    "import sys\nfor line in sys.stdin:\n    print(line, end='', flush=True)\n    if line == 'x\\n': sys.exit(3)\n"
)


def command(*argv: str) -> list[str]:
    """The command's words."""
    return [sys.executable, "-m", "supervisor", "pipe", *argv]


def pipe(lines: bytes, *argv: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run it on these lines."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "CONSUL_"))}
    return subprocess.run(
        command(*argv), input=lines, capture_output=True, timeout=100, check=False, env=environment | environ
    )


def test_what_is_written_is_what_comes_in_order_whatever_the_bytes(tmp_path: Path) -> None:
    """100,000 lines, empty ones, carriage returns, NUL, a huge one, the last without its newline; the platform's
    variables lead nowhere and do not matter.
    """
    lines = [f"{number} {'x' * (number % 300)}".encode() for number in range(100_000)]
    lines[5:5] = [b"", b"\r", b"a\0b", b'"\\{', b"y" * 850_000, b"\xc3\xa4"]
    done = pipe(b"\n".join(lines), "--raw", "--", "cat", KAFKA_DSN="no address!", NODE_ID="/", HTTP_PORT="x")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"\n".join(lines) + b"\n"


def test_dataframes_are_as_on_the_platform() -> None:
    """Bytes that are no UTF-8 are replaced in the dataframe; JSON is embedded where it is asked for."""
    done = pipe(b"\xff1\n", "--", "cat")
    (frame,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, frame["raw"]) == (0, "\ufffd1")
    assert abs(frame["ts"] / 1000 - time.time()) < 60
    done = pipe(b'{"a": [1,\t2]}\nnull\n{"a\n', "--raw", "--", "cat", BDZ_OUTPUT_JSON="true")
    assert done.stdout == b'{"a": [1,\t2]}\nnull\n{"a\n'


@pytest.mark.parametrize("lines", [b"", b"\n", b"x"])
def test_few_lines(lines: bytes) -> None:
    """No line, an empty one, one without its newline."""
    done = pipe(lines, "--raw", "--", "cat")
    assert (done.returncode, done.stdout, done.stderr) == (0, lines and lines.rstrip(b"\n") + b"\n", b"")


@pytest.mark.parametrize("mode", ["demand", "line", "marker", "at-most-once"])
def test_a_program_that_crashes_loses_nothing(mode: str) -> None:
    """It kills itself every 20,000 lines. At least once: each line comes; at most once: none comes twice."""
    sent = [b"%d" % number for number in range(100_000)]
    settings = {"PROCESSING_GUARANTEE": mode} if mode == "at-most-once" else {"ACK_MODE": mode}
    done = pipe(b"\n".join(sent), "--raw", "--", sys.executable, "-c", CRASHES, **settings)
    assert done.returncode == 0, done.stderr
    came = Counter(done.stdout.splitlines())
    assert came.keys() <= set(sent)
    if mode == "at-most-once":
        assert max(came.values()) == 1
        assert came.keys() >= set(sent[:20_000])
    else:
        assert came.keys() == set(sent)
        assert came.total() >= 100_000


def test_a_slow_reader_holds_everything_back() -> None:
    """Ten times what the cluster keeps, and nobody reads for some seconds: the program waits, and nothing is lost."""
    line = b"z" * 500
    with subprocess.Popen(command("--raw", "--", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        text, sent, last_s = b"".join(b"%07d%s\n" % (number, line) for number in range(100_000)), 0, time.monotonic()
        while time.monotonic() - last_s < 3:  # nothing more is taken
            try:
                sent += os.write(process.stdin.fileno(), text[sent : sent + 65536])
                last_s = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < 40_000_000
        os.set_blocking(process.stdin.fileno(), True)
        if os.fork() == 0:
            os.write(process.stdin.fileno(), b"")
            left = memoryview(text)[sent:]
            while left:
                left = left[os.write(process.stdin.fileno(), left) :]
            os._exit(0)
        process.stdin.close()
        assert process.stdout.read() == text
        assert process.wait(30) == 0
    os.wait()


def test_a_closed_stdout_ends_it_quietly() -> None:
    """As ``head -1`` does, while lines go on, and while none comes."""
    for lines in (["yes"], ["sleep", "60"]):
        with (
            subprocess.Popen(lines, stdout=subprocess.PIPE) as source,
            subprocess.Popen(
                command("--raw", "--", "sh", "-c", "echo y; cat"),
                stdin=source.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            ) as process,
        ):  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"y\n"
            process.stdout.close()
            assert process.wait(10) == -signal.SIGPIPE
            assert process.stderr.read() == b""
            source.kill()


def test_what_is_not_handled_is_said() -> None:
    """The line that ends the program each time, by its number, or in a dead letter; a program that never starts well;
    lines that are too long; exactly-once; and no program at all.
    """
    done = pipe(b"a\nb\nx\nc\n", "--raw", "--", sys.executable, "-c", SLOW_DEATH)
    assert done.returncode == 1
    assert set(done.stdout.splitlines()) <= {b"a", b"b", b"x"}
    assert b"line 3 of STDIN ends the program each time it gets it" in done.stderr
    done = pipe(b"a\nb\nx\nc\n", "--raw", "--", sys.executable, "-c", SLOW_DEATH, DEAD_LETTER_STREAM="poison")
    assert done.returncode == 1
    assert set(done.stdout.splitlines()) == {b"a", b"b", b"x", b"c"}
    assert b"1 dead letters:" in done.stderr
    assert b"line 3 of STDIN: the Calculator ended" in done.stderr
    done = pipe(b"a\n", "--", "sh", "-c", "echo no such model >&2; exit 9")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no such model\n" in done.stderr
    assert b"without handling a line: the last time it ended by itself with exit status 9" in done.stderr
    done = pipe(b"abc\ndefghi\n", "--raw", "--", "cat", MAX_LINE_BYTES="4")
    assert (done.returncode, done.stdout) == (1, b"abc\n")
    assert b"1 lines of the program were too long" in done.stderr
    done = pipe(b"abc\n", "--", "cat", PROCESSING_GUARANTEE="exactly-once", ACK_MODE="line")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"the embedded cluster has no transactions" in done.stderr
    done = pipe(b"abc\n", "--", "no-such-program")
    assert (done.returncode, done.stdout) == (127, b"")
    assert pipe(b"", "--", "/etc/passwd").returncode == 126
    assert pipe(b"").returncode == 2


def test_answers_at_the_end_come_where_the_mode_fits() -> None:
    """A program that reads all before it answers gets its end; it is no program for ``line``."""
    done = pipe(b"c\na\nb", "--raw", "--", "sort")
    assert (done.returncode, done.stdout) == (0, b"a\nb\nc\n"), done.stderr
    done = pipe(b"c\na\nb", "--raw", "--", "sort", ACK_MODE="line")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"ACK_MODE=line was broken" in done.stderr
