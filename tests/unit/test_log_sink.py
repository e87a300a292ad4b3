"""The queue in front of the log's reader: nobody waits for it, the order stays, what is missing is said."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import structlog

from supervisor import logs
from supervisor.log_sink import LogSink

LIMIT_BYTES = 100_000  # more than a pipe holds
LINE = "x" * 99


class Reader:
    """A pipe and the sink that writes into it; ``take`` is its reader."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self.sink = LogSink(self.write_fd, lambda count: f"{count} missing", limit_bytes=LIMIT_BYTES)
        self._open = True
        self._rest = b""

    def take(self, done: Callable[[list[str]], bool], deadline_s: float = 10.0) -> list[str]:
        """Read until the whole lines so far are enough."""
        os.set_blocking(self.read_fd, False)
        lines: list[str] = []
        end_s = time.monotonic() + deadline_s
        while not done(lines):
            assert time.monotonic() < end_s, f"{len(lines)} lines, the last {lines[-3:]}"
            try:
                *whole, self._rest = (self._rest + os.read(self.read_fd, 65536)).split(b"\n")
            except BlockingIOError:
                time.sleep(0.001)
                continue
            lines += [line.decode() for line in whole]
        return lines

    def fill(self) -> int:
        """Write until the first line is dropped; how many were taken before."""
        taken = 0
        while not self.sink.dropped:
            self.sink.write(f"{taken} {LINE}")
            taken += 1
            assert taken < 100_000, "no bound"
        return taken - 1

    def close(self) -> None:
        """Let go of the reading end."""
        if self._open:
            self._open = False
            os.close(self.read_fd)


@pytest.fixture
def reader() -> Iterator[Reader]:
    it = Reader()
    yield it
    it.close()  # the thread, if it still waits in its write, gets EPIPE and lives on without work


def test_lines_come_out_in_order(reader: Reader) -> None:
    """While the reader reads, every line of every thread, in the order in which the thread wrote it."""
    count, threads = 3000, 3

    def work(name: int) -> None:
        for number in range(count):
            reader.sink.write(f"{name} {number}")
            if number % 100 == 0:
                reader.sink.flush(10.0)  # so that the limit is no matter here

    workers = [threading.Thread(target=work, args=(name,)) for name in range(threads)]
    for worker in workers:
        worker.start()
    lines = reader.take(lambda met: len(met) == count * threads)
    for worker in workers:
        worker.join()
    for name in range(threads):
        mine = [line for line in lines if line.startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(count)]
    assert reader.sink.dropped == 0


def test_a_reader_that_does_not_read_holds_nobody_up(reader: Reader) -> None:
    """Beyond the bound lines are dropped and counted; when it reads again the gap is said where it is."""
    taken = reader.fill()
    for _ in range(49):
        reader.sink.write("dropped too")
    assert reader.sink.dropped == 50
    lines = reader.take(lambda met: bool(met) and met[-1].endswith("missing"))
    assert lines == [f"{number} {LINE}" for number in range(taken)] + ["50 missing"], "said without a line behind it"
    reader.sink.write("after")
    assert reader.take(lambda met: len(met) == 1) == ["after"]
    assert reader.sink.dropped == 50


def test_a_gap_is_said_before_the_line_that_follows_it(reader: Reader) -> None:
    """Lines that are written while the queue empties stand behind the notice."""
    taken = reader.fill()
    lines = reader.take(lambda met: len(met) >= taken // 2)
    while True:  # until there is room, with lines before it still on their way
        dropped = reader.sink.dropped
        reader.sink.write("after")
        if reader.sink.dropped == dropped:
            break
    lines += reader.take(lambda met: met[-1:] == ["after"])
    notice = lines.index(f"{dropped} missing")
    assert lines[:notice] == [f"{number} {LINE}" for number in range(taken)]
    assert lines[notice + 1 :] == ["after"]


def test_a_flood_leaves_room_for_the_supervisors_own_lines(reader: Reader) -> None:
    """The Calculator's lines end at three quarters of the queue and have room again when half of it is free."""
    own = 0
    while reader.sink.takes_flood():
        reader.sink.write(LINE)
        own += 1
    assert not reader.sink.takes_flood()
    assert reader.sink.dropped == 2
    reader.sink.write("own")
    assert reader.sink.dropped == 2, "the Supervisor's own line found room"
    lines = reader.take(lambda met: met[-1:] == ["own"])
    assert lines == [LINE] * own + ["2 missing", "own"]
    assert reader.sink.takes_flood()


def test_the_end_waits_for_a_reader_that_reads(reader: Reader) -> None:
    """All that is queued is out when ``flush`` returns."""
    for number in range(500):
        reader.sink.write(f"{number} {LINE}")
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(reader.take(lambda met: len(met) == 500)))
    thread.start()
    reader.sink.flush(10.0)
    assert reader.sink._queued_bytes == 0
    thread.join()
    assert [line.split()[0] for line in taken] == [str(number) for number in range(500)]


def test_the_end_does_not_wait_for_a_reader_that_does_not(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by what the reader takes, not by the bound alone."""
    monkeypatch.setattr("supervisor.log_sink.STALL_S", 0.2)
    reader.fill()
    began_s = time.monotonic()
    reader.sink.flush(30.0)
    reader.sink.flush(30.0)  # known to be stuck: at once
    assert time.monotonic() - began_s < 2.0


def test_a_reader_that_is_gone_costs_nothing(reader: Reader) -> None:
    """Its lines are counted, nobody raises, nobody is busy, and the end waits for nothing."""
    reader.close()
    for number in range(100):
        reader.sink.write(str(number))
    reader.sink.flush(10.0)
    used_s = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - used_s < 0.1
    assert reader.sink.dropped >= 100


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing(reader: Reader) -> None:
    """Terminals and pipes are shared with processes that may do so."""
    os.set_blocking(reader.write_fd, False)
    taken = reader.fill()
    lines = reader.take(lambda met: bool(met) and met[-1] == "1 missing")
    assert len(lines) == taken + 1


def test_the_log_goes_through_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the log, the notice in their form, and the number for the metric."""
    monkeypatch.setattr(logs, "_sink", None)
    monkeypatch.setattr(logs, "_plain", None)
    logs.configure("info", None, "json", ["secret"])
    read_fd, write_fd = os.pipe()
    try:
        sink = logs.write_behind(write_fd)
        structlog.get_logger("supervisor.x").info("one", value="a secret")
        sink._drop(7)
        structlog.get_logger("supervisor.x").info("two")
        sink.flush()
        met = os.read(read_fd, 65536).decode().splitlines()
    finally:
        structlog.reset_defaults()
        os.close(read_fd)
    assert ['"value": "a ***"' in met[0], '"lines": 7' in met[1], '"event": "two"' in met[2]] == [True] * 3
    assert '"level": "warning", "logger": "supervisor.logs", "event": "log lines dropped' in met[1]
    assert logs.dropped_lines() == 7
    assert logs.masked("secret") == "***"
