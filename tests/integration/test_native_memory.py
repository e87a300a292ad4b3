"""Memory of the native ends under trouble, on a mock cluster: bounded, given back, and never freed too early."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from supervisor import kafka
from supervisor._framing import Inlet, Outlet, load
from tests.integration.test_native_ends import CONFIG, MSG_SIZE_TOO_LARGE, Running, an_inlet, an_outlet, wait_for
from tests.services.mock import PRODUCE, Mock
from tests.services.native import nothing_left
from tests.services.topics import Kafka


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


def test_room_for_lines_that_come_back_is_bounded_and_given_back(cluster: Mock) -> None:
    """A topic whose max.message.bytes is below a request's: some lines come back again and again, all day long."""
    cycles, count = 15, 450_000
    # Down to groups of 32 KiB, which are taken; each time when more is tried, it is refused.
    cluster.answer_with(PRODUCE, *[MSG_SIZE_TOO_LARGE] * 5, *([0] * 70 + [MSG_SIZE_TOO_LARGE]) * cycles)
    line = b"x" * 20 + b"\n"
    room: list[int] = []
    with Running(cluster, "out") as running:
        feeder = threading.Thread(
            target=lambda: [running.stdout.write(line * 1000) for _ in range(count // 1000)], daemon=True
        )
        feeder.start()
        while (counters := running.outlet.snapshot())["lines_delivered"] < count:
            room.append(counters["returned_bytes"])
            wait_for(
                lambda: running.outlet.snapshot()["lines_delivered"] > counters["lines_delivered"],
                "lines are delivered",
            )
        feeder.join()
        wait_for(lambda: running.outlet.snapshot()["returned_bytes"] <= 72 * (10_000 * 5 // 4), "room for one request")
        counters = running.outlet.snapshot()
    assert counters["retries"] > 500
    assert (counters["lines_unproducible"], counters["lines_abandoned"]) == (0, 0)
    # As much as a request's lines that came back and may do so again, and a quarter more.
    assert max(room) <= 72 * (2 * 10_000 * 5 // 4)


def reads_all(read_fd: int) -> threading.Thread:
    """Take every line at once, as a Calculator that never answers, until STDIN ends."""

    def read() -> None:
        while os.read(read_fd, 65536):
            pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def test_headers_count_as_what_they_take(cluster: Mock) -> None:
    """Of values, empty ones and tombstones, whether librdkafka is asked for them or not; what else counts is little."""
    wanted, tolerated, count = 0, 0, 50
    outlet = an_outlet(cluster)
    inlet = an_inlet(cluster, outlet, ack_mode="line", max_in_flight_bytes=64 << 20)
    inlet.pause(paused=True)
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    inlet.attach(write_fd, os.getpid())
    reader = reads_all(read_fd)
    thread = threading.Thread(target=inlet.run, daemon=True)
    thread.start()
    for number, value in itertools.product((0, 1, 5, 40), (b"value", b"", None)):
        headers = [(f"header-{index}", b"x" * 8 * number) for index in range(number)]
        Kafka(cluster.bootstrap_servers).produce("in", [value] * count, headers=headers)
        wanted += count * (512 + len(value or b"") + sum(len(name) + len(text) for name, text in headers))
        tolerated += count * (30 if headers else 0) + count * 4 * number
    inlet.pause(paused=False)
    wait_for(lambda: inlet.snapshot()["in_flight_records"] == 12 * count, "all are taken")
    held = inlet.snapshot()["in_flight_bytes"]
    inlet.stop(5.0)
    thread.join()
    inlet.detach(finished=False)
    reader.join()
    os.close(read_fd)
    assert wanted <= held <= wanted + tolerated


class Transactional:
    """Both ends in `exactly-once` with PROPAGATE_KEY; the test is the Calculator."""

    def __init__(self, cluster: Mock) -> None:
        common = CONFIG | {"bootstrap.servers": cluster.bootstrap_servers}
        self.outlet = Outlet(
            common | {"transactional.id": "t", "message.timeout.ms": "20000", "transaction.timeout.ms": "20000"},
            "workspace",
            output_json=False,
            max_line_bytes=900_000,
            max_message_bytes=1_000_000,
            max_slab_bytes=32 << 20,
            transactional=True,
            propagate_key=True,
        )
        self.inlet = Inlet(
            common
            | {
                "group.id": "group",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": "false",
                "partition.assignment.strategy": "cooperative-sticky",
            },
            "in",
            self.outlet,
            max_in_flight_records=1000,
            max_in_flight_bytes=64 << 20,
            feed_ahead_s=0.2,
            ack_idle_s=60.0,
            revoke_grace_s=1.0,
            input_newlines="space",
            ack_mode="line",
            commit_ahead=False,
            transactional=True,
        )
        self._threads = [threading.Thread(target=end.run, daemon=True) for end in (self.inlet, self.outlet)]
        self._stdin, stdin_fd = os.pipe()
        stdout_fd, write_fd = os.pipe()
        self.stdout = os.fdopen(write_fd, "wb", buffering=0)
        os.set_blocking(stdin_fd, False)
        os.set_blocking(stdout_fd, False)
        self.outlet.attach(stdout_fd)
        self.outlet.produce_to("out")
        self.outlet.bury_in("other")
        self.inlet.attach(stdin_fd, os.getpid())
        self._reader = reads_all(self._stdin)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.inlet.stop(5.0)
        self.outlet.stop(5.0)
        for thread in self._threads:
            thread.join()
        self.stdout.close()
        self.inlet.detach(finished=False)
        self._reader.join()
        os.close(self._stdin)

    def refused_lines(self, cluster: Mock) -> bool:
        """Print 3 lines that become dead letters; returns whether librdkafka has all of them, and has sent one.

        If the boundary of a transaction came in between, they are delivered one after the other.
        """
        before = self.outlet.snapshot()["dead_letters_delivered"]
        Kafka(cluster.bootstrap_servers).produce("in", [b"value"] * 3, keys=[b"k" * 600_000] * 3)
        wait_for(lambda: self.inlet.snapshot()["lines_written"] == before + 3, "3 lines written")
        cluster.answer_late_with(1, PRODUCE, 0, 3000)  # the others wait behind the first in librdkafka's queue
        self.stdout.write(b"".join(letter * 500_000 + b"\n" for letter in (b"a", b"b", b"c")))
        counters: dict[str, int] = {}

        def decided() -> bool:
            counters.update(self.outlet.snapshot())
            return counters["dead_letters_in_flight"] == 3 or counters["dead_letters_delivered"] == before + 3

        wait_for(decided, "3 dead letters in flight, or delivered", 20.0)
        return counters["dead_letters_in_flight"] == 3


def test_a_dead_letter_in_flight_is_whole_though_its_transaction_is_lost(cluster: Mock) -> None:
    """Value plus key are over the limit, so each line's letter lies in the slab that librdkafka reads it from."""
    with Transactional(cluster) as ends:
        assert any(ends.refused_lines(cluster) for _ in range(4))
        wait_for(lambda: cluster.errors_left(1, PRODUCE) == 0, "the first is sent")
        ends.outlet.abort()

        def all_sent() -> bool:
            counters = ends.outlet.snapshot()
            letters = counters["dead_letters_in_flight"]
            assert counters["slab_bytes"] > letters * 1_000_000, f"{letters} are read out of memory that is gone"
            return letters == 0

        wait_for(all_sent, "the others are sent")
        wait_for(lambda: ends.outlet.snapshot()["transactions_aborted"] == 1, "aborted")
        wait_for(lambda: ends.outlet.snapshot()["slab_bytes"] < 3 * 1_000_000, "and their memory is given back")
    letters = Kafka(cluster.bootstrap_servers).read("other", 3, partitions=[0])[-3:]
    assert [json.loads(letter.value or b"")["raw"] for letter in letters] == [letter * 500_000 for letter in "abc"]
