"""`Inlet` and `Outlet` by themselves, on librdkafka's mock cluster: what the threads tell, and what is left of them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from supervisor import kafka
from supervisor._framing import Inlet, Outlet, live, load
from tests.services.mock import PRODUCE, Mock
from tests.services.native import nothing_left
from tests.services.topics import Kafka

CONFIG = {
    "log_level": "0",
    "linger.ms": "5",
    "batch.size": "1000000",
    "message.timeout.ms": "0",
    "max.in.flight.requests.per.connection": "1",
    "sticky.partitioning.linger.ms": "0",
}
MSG_SIZE_TOO_LARGE = 10


@pytest.fixture(autouse=True)
def native_memory() -> Iterator[None]:
    """No native object outlives its test."""
    yield
    nothing_left()


@pytest.fixture
def cluster() -> Iterator[Mock]:
    """A cluster of its own for each test."""
    load(kafka.librdkafka_path())
    mock = Mock("in", "out", "other")
    yield mock
    mock.close()


def an_outlet(cluster: Mock) -> Outlet:
    """Return one that has not run."""
    return Outlet(
        CONFIG | {"bootstrap.servers": cluster.bootstrap_servers},
        "workspace",
        output_json=False,
        max_line_bytes=1000,
        max_message_bytes=1_000_000,
        max_slab_bytes=4 << 20,
    )


class Running:
    """An outlet at work on a pipe; ``stdout`` is the pipe's other end."""

    def __init__(self, cluster: Mock, topic: str) -> None:
        self.outlet = an_outlet(cluster)
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        self.stdout = os.fdopen(write_fd, "wb", buffering=0)
        self.outlet.attach(read_fd)
        self.outlet.produce_to(topic)
        self._thread = threading.Thread(target=self.outlet.run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.outlet.stop(5.0)
        self._thread.join()
        self.stdout.close()

    def wait(self, counter: str, at_least: int) -> None:
        """Wait until a counter is there."""
        wait_for(lambda: self.outlet.snapshot()[counter] >= at_least, f"{counter} {at_least}")


def an_inlet(cluster: Mock, outlet: Outlet) -> Inlet:
    """Return one that has not run."""
    return Inlet(
        CONFIG | {"bootstrap.servers": cluster.bootstrap_servers, "group.id": "group", "auto.offset.reset": "earliest"},
        "in",
        outlet,
        max_in_flight_records=1000,
        max_in_flight_bytes=1 << 20,
        ack_readahead_bytes=65536,
        ack_idle_s=1.0,
        revoke_grace_s=1.0,
        input_newlines="space",
        ack_mode="demand",
        commit_ahead=False,
    )


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 10.0) -> None:
    """Wait until the condition holds; AssertionError saying what did not."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s"
        time.sleep(0.01)


def test_an_end_that_never_ran_takes_its_client_with_it(cluster: Mock) -> None:
    """A start that was broken off leaves no librdkafka thread that would work on freed memory."""

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = threads(), descriptors()
    outlet = an_outlet(cluster)
    inlet = an_inlet(cluster, outlet)
    assert threads() > before[0]
    del inlet
    del outlet
    # Clients that other tests left may end meanwhile: no more than before.
    wait_for(lambda: threads() <= before[0] and descriptors() <= before[1], "threads and descriptors as before")


def test_records_that_nobody_answers_go_back_with_their_inlet(cluster: Mock) -> None:
    """Every message taken is counted until the end of the inlet's thread, and none afterwards."""
    Kafka(cluster.bootstrap_servers).produce("in", [b"%d" % number for number in range(100)])
    outlet = an_outlet(cluster)
    inlet = an_inlet(cluster, outlet)
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    inlet.attach(write_fd, os.getpid())
    thread = threading.Thread(target=inlet.run, daemon=True)
    thread.start()
    wait_for(lambda: inlet.snapshot()["lines_written"] == 100, "100 lines written")
    held = live()
    assert (held["objects"], held["clients"], held["messages"]) == (2, 2, 100)
    inlet.stop(5.0)
    thread.join()
    os.close(read_fd)
    held = live()
    assert (held["objects"], held["clients"], held["messages"], held["lists"]) == (2, 1, 0, 0)


def test_the_end_of_stdout_is_told_among_any_number_of_dropped_lines(cluster: Mock) -> None:
    """Nobody takes notices while 10,000 lines over the limit come: the notices of the end are there all the same."""
    with Running(cluster, "out") as running:
        running.stdout.write((b"x" * 1001 + b"\n") * 50)  # fits into the pipe
        feeder = threading.Thread(target=lambda: running.stdout.write((b"x" * 1001 + b"\n") * 9_950))
        feeder.start()
        running.wait("lines_oversize", 10_000)
        feeder.join()
        running.stdout.close()
    kinds = [kind for kind, _, _ in running.outlet.notices()]
    assert kinds[-2:] == ["stdout-ended", "closed"]
    assert running.outlet.snapshot()["notices_dropped"] > 0


def lines(first: int, count: int) -> bytes:
    """Numbered lines of a kilobyte."""
    return b"".join(b"%06d " % number + b"x" * 900 + b"\n" for number in range(first, first + count))


def values(cluster: Mock, topic: str, count: int) -> list[int]:
    """The numbers in a topic in order."""
    records = Kafka(cluster.bootstrap_servers).read(topic, count, partitions=[0])
    return [int(json.loads(record.value or b"")["raw"].split()[0]) for record in records]


@pytest.mark.parametrize("refusals", [1, 2, 4])
def test_refused_batches_keep_their_order(cluster: Mock, refusals: int) -> None:
    """A batch that is refused comes again in parts, in the order of its lines, however often parts are refused."""
    cluster.answer_with(PRODUCE, *[MSG_SIZE_TOO_LARGE] * refusals)
    with Running(cluster, "out") as running:
        running.stdout.write(lines(0, 50))
        running.wait("lines_delivered", 50)
    assert values(cluster, "out", 50) == list(range(50))


def test_lines_given_up_among_refused_ones_free_their_slabs(cluster: Mock) -> None:
    """Refused, half of it taken in parts, then abandoned: nothing of it holds up what comes behind."""
    cluster.answer_with(PRODUCE, MSG_SIZE_TOO_LARGE, 0, MSG_SIZE_TOO_LARGE)
    cluster.slow_down(200)
    with Running(cluster, "out") as running:
        feeder = threading.Thread(target=lambda: running.stdout.write(lines(0, 2000)))
        feeder.start()
        wait_for(
            lambda: (
                running.outlet.snapshot()["lines_delivered"] > 1000 and running.outlet.snapshot()["undelivered"] > 0
            ),
            "some are delivered, some are not",
        )
        feeder.join()
        running.outlet.hold()
        running.outlet.abandon()
        cluster.slow_down(0)
        wait_for(lambda: running.outlet.snapshot()["undelivered"] == 0, "given up")
        delivered = running.outlet.snapshot()["lines_delivered"]
        running.outlet.produce_to("other")
        feeder = threading.Thread(target=lambda: running.stdout.write(lines(10_000, 5000)))
        feeder.start()
        running.wait("lines_delivered", delivered + 5000)
        feeder.join()
    assert running.outlet.snapshot()["slab_bytes"] <= 4 << 20


def test_events_of_the_client_are_no_lines_on_their_way(cluster: Mock) -> None:
    """The topic can be changed at any moment at which no line is undelivered, statistics in the queue or not."""
    CONFIG["statistics.interval.ms"] = "1"
    try:
        with Running(cluster, "out") as running:
            for turn in range(1000):
                running.outlet.produce_to("other" if turn % 2 else "out")
    finally:
        del CONFIG["statistics.interval.ms"]
