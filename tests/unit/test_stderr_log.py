"""The Calculator's STDERR in the log."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from supervisor import logs
from supervisor.stderr_log import MAX_PIECE_BYTES, StderrLog

Runner = Callable[[Coroutine[Any, Any, None]], None]
Events = list[MutableMapping[str, Any]]
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


def pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    return read_fd, write_fd


def write_all(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as stream:
        stream.write(data)


def logged(data: bytes, run: Runner = asyncio.run) -> Events:
    """What the log says of ``data`` on STDERR, written at once by a thread that then closes it."""

    async def main() -> None:
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 42)
        await asyncio.to_thread(write_all, write_fd, data)
        await stderr.finish(30.0)

    with capture_logs() as events:
        run(main())
    return events


@LOOPS
def test_lines_in_order(run: Runner) -> None:
    """Each line is one event with the pid; the last one counts without a newline too."""
    events = logged(b"one\n\ntwo\r\nlast", run)
    assert [event["line"] for event in events] == ["one", "", "two\r", "last"]
    assert {(event["event"], event["log_level"], event["pid"]) for event in events} == {
        ("calculator stderr", "info", 42)
    }


def test_bytes_that_are_no_utf8() -> None:
    """Wrong bytes are shown as escapes, the right ones around them as they are."""
    assert [event["line"] for event in logged("ж".encode() + b"\xff\x00%s\n")] == ["ж\\xff\x00%s"]


def test_enormous_line() -> None:
    """A line over the limit is split into marked pieces, no character is cut, nothing is lost."""
    text = "x" + "ж" * 200_000
    events = logged(text.encode() + b"\nnext\n")
    *pieces, after = events
    assert "".join(piece["line"] for piece in pieces) == text
    assert [piece.get("continues", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(piece["line"].encode()) for piece in pieces) <= MAX_PIECE_BYTES
    assert after["line"] == "next"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=50).map(lambda line: line.replace(b"\n", b"")), max_size=40))
def test_any_bytes(lines: list[bytes]) -> None:
    """Every line of whatever bytes comes out, in order."""
    seen = [event["line"] for event in logged(b"".join(line + b"\n" for line in lines))]
    assert seen == [line.decode("utf-8", "backslashreplace") for line in lines]


@LOOPS
def test_flood_does_not_hold_up_the_loop(run: Runner) -> None:
    """While 100,000 lines are logged, everything else has its turn every few lines; all come out in order."""
    count = 100_000
    most_between_turns = 0

    async def main() -> None:
        nonlocal most_between_turns
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 42)
        data = b"".join(b"%d\n" % number for number in range(count))
        writer = threading.Thread(target=write_all, args=(write_fd, data))
        writer.start()
        async with asyncio.timeout(60):
            while stderr.lines < count:
                before = stderr.lines
                await asyncio.sleep(0)
                most_between_turns = max(most_between_turns, stderr.lines - before)
        writer.join()
        await stderr.finish(1.0)

    with capture_logs() as events:
        run(main())
    assert [event["line"] for event in events] == [str(number) for number in range(count)]
    assert most_between_turns <= 200


@LOOPS
def test_last_line(run: Runner) -> None:
    """The last line is kept for health; of a line in pieces the first is."""

    async def main() -> None:
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 1)
        assert stderr.tail.last_line is None
        await asyncio.to_thread(write_all, write_fd, b"first\nbegin" + b"y" * 3 * MAX_PIECE_BYTES)
        await stderr.finish(1.0)
        first, last = stderr.tail.lines
        assert (first, last[:6]) == ("first", "beginy")

    run(main())


@LOOPS
def test_stranger_at_the_other_end(run: Runner) -> None:
    """A process that outlived the Calculator and holds STDERR is not waited for."""

    async def main() -> None:
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 1)
        os.write(write_fd, b"said before\n")
        began_s = time.monotonic()
        await stderr.finish(5.0)
        assert time.monotonic() - began_s < 1.0
        assert stderr.tail.last_line == "said before"
        with pytest.raises(BrokenPipeError):
            os.write(write_fd, b"and after\n")
        os.close(write_fd)

    run(main())


@LOOPS
def test_end_of_the_stream_is_seen_once(run: Runner) -> None:
    """A Calculator that closes its STDERR and lives on does not keep the loop busy."""

    async def main() -> None:
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 1)
        write_all(write_fd, b"bye\n")
        async with asyncio.timeout(10):
            while stderr.lines == 0:  # noqa: ASYNC110 - a counter
                await asyncio.sleep(0.01)
        used_s = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - used_s < 0.1
        await stderr.finish(1.0)

    run(main())


@LOOPS
def test_cut_off_is_said(run: Runner) -> None:
    """What cannot be logged in time at the end is cut off, and the log says how much."""

    async def main() -> None:
        read_fd, write_fd = pipe()
        os.write(write_fd, b"\n" * 50_000)
        stderr = StderrLog(read_fd, 1)
        await asyncio.sleep(0)  # the first share is read
        await asyncio.sleep(0)
        await stderr.finish(0.0)
        os.close(write_fd)

    with capture_logs() as events:
        run(main())
    assert events[-1]["event"] == "calculator stderr cut off"
    assert events[-1]["unlogged_bytes"] + len(events) - 1 == 50_000


def test_lines_that_the_log_does_not_take_are_drained_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Calculator's writes go on, each line is offered and counted once, and the last one is known to health."""
    offered = 0

    def takes_flood() -> bool:
        nonlocal offered
        offered += 1
        return offered <= 10

    monkeypatch.setattr(logs, "takes_flood", takes_flood)

    async def main() -> None:
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 42)
        await asyncio.to_thread(write_all, write_fd, b"".join(b"%d\n" % number for number in range(20_000)))
        await stderr.finish(30.0)
        assert (stderr.lines, stderr.tail.last_line) == (20_000, "19999")

    with capture_logs() as events:
        uvloop.run(main())
    assert [event["line"] for event in events] == [str(number) for number in range(10)]
    assert offered == 20_000


@LOOPS
def test_what_has_no_newline_appears_after_a_while(run: Runner) -> None:
    """A progress bar, a question: in pieces that say so, no character cut; a line that is whole in time is one."""

    async def main() -> None:
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 42, unfinished_s=0.05)
        os.write(write_fd, b"quick\n\r10%\r20% \xd0")
        async with asyncio.timeout(10):
            while len(events) < 2:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert len(events) == 2, "the begun character waits for its rest"
            os.write(write_fd, b"\xb6\r30%")
            while len(events) < 3:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.01)
            write_all(write_fd, b"\r100%\nwhole\n")
        await stderr.finish(1.0)

    with capture_logs() as events:
        run(main())
    assert [(event["line"], event.get("continues", False)) for event in events] == [
        ("quick", False), ("\r10%\r20% ", True), ("ж\r30%", True), ("\r100%", False), ("whole", False)
    ]  # fmt: skip


def test_large_lines_do_not_hold_up_the_loop() -> None:
    """A share is bounded in bytes too."""
    most_between_turns = 0

    async def main() -> None:
        nonlocal most_between_turns
        read_fd, write_fd = pipe()
        stderr = StderrLog(read_fd, 42)
        line = b'{"level": "error", "text": "' + b"x" * 60_000 + b'"}\n'
        writer = threading.Thread(target=write_all, args=(write_fd, line * 100))
        writer.start()
        async with asyncio.timeout(60):
            while stderr.lines < 100:
                before = stderr.lines
                await asyncio.sleep(0)
                most_between_turns = max(most_between_turns, stderr.lines - before)
        writer.join()
        await stderr.finish(1.0)

    with capture_logs() as events:
        uvloop.run(main())
    assert [event["log_level"] for event in events] == ["error"] * 100
    assert most_between_turns <= 10
