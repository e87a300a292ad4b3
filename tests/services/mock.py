"""librdkafka's mock cluster with its controls: errors to answer requests with, and slowness.

``python -m tests.services.mock TOPIC …`` is one in a process of its own, for `MockProcess`: it prints its address, and
takes a JSON array on each line of STDIN, the name of a method of `Mock` and its arguments.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import confluent_kafka.cimpl

from .process import spawn

# Keys of requests in Kafka's protocol.
PRODUCE = 0
OFFSET_FETCH = 9
INIT_PRODUCER_ID = 22
ADD_PARTITIONS_TO_TXN = 24
ADD_OFFSETS_TO_TXN = 25
END_TXN = 26
TXN_OFFSET_COMMIT = 28

_PRODUCER = 0


class Mock:
    """Brokers on 127.0.0.1 with these topics, each of one partition; they live until ``close``."""

    def __init__(self, *topics: str, brokers: int = 1) -> None:
        library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
        self._library = library
        for function in (
            library.rd_kafka_conf_new,
            library.rd_kafka_new,
            library.rd_kafka_mock_cluster_new,
        ):
            function.restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        why = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(library.rd_kafka_conf_new())
        library.rd_kafka_conf_set(conf, b"log_level", b"2", why, len(why))  # it wonders about having no broker
        self._handle = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, conf, why, len(why)))
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(self._handle, brokers))
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        for topic in topics:
            library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), 1, 1)
        self.bootstrap_servers = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create(self, topic: str, partitions: int) -> None:
        """Make one more topic."""
        self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)

    def answer_with(self, request: int, *errors: int) -> None:
        """Answer the next requests of this kind with these error codes, 0 for none."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), codes
        )

    def answer_for_topic(self, topic: str, request: int, *errors: int) -> None:
        """Let the next requests of this kind about this topic have these error codes for its partition, 0 for none."""
        self._library.rd_kafka_mock_partition_push_request_errors(
            self._cluster,
            topic.encode(),
            ctypes.c_int32(0),
            ctypes.c_int16(request),
            ctypes.c_size_t(len(errors)),
            *map(ctypes.c_int, errors),
        )

    def answer_late_with(self, broker: int, request: int, error: int, round_trip_ms: int) -> None:
        """Let one broker answer its next request of this kind with the error code, after this long."""
        self._library.rd_kafka_mock_broker_push_request_error_rtts(
            self._cluster,
            ctypes.c_int32(broker),
            ctypes.c_int16(request),
            ctypes.c_size_t(1),
            ctypes.c_int(error),
            ctypes.c_int(round_trip_ms),
        )

    def errors_left(self, broker: int, request: int) -> int:
        """How many of those answers no request has met yet."""
        left = ctypes.c_size_t()
        self._library.rd_kafka_mock_broker_error_stack_cnt(
            self._cluster, ctypes.c_int32(broker), ctypes.c_int16(request), ctypes.byref(left)
        )
        return left.value

    def lead(self, topic: str, broker: int) -> None:
        """Let this broker lead the topic's partition; brokers are numbered from 1."""
        self._library.rd_kafka_mock_partition_set_leader(
            self._cluster, topic.encode(), ctypes.c_int32(0), ctypes.c_int32(broker)
        )

    def close(self) -> None:
        """End it: its threads and descriptors are gone on return."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    def slow_down(self, round_trip_ms: int) -> None:
        """Let every answer take this long."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, 1, round_trip_ms)


class MockProcess:
    """A `Mock` of one broker in a process of its own, so that nothing of it is in the way of the test's clients."""

    def __init__(self, *topics: str) -> None:
        root = Path(__file__).parents[2]
        command = [sys.executable, "-m", __name__, *topics]
        self._process = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        self.bootstrap_servers = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def answer_with(self, request: int, *errors: int) -> None:
        """As `Mock.answer_with`."""
        self._order("answer_with", request, *errors)

    def answer_for_topic(self, topic: str, request: int, *errors: int) -> None:
        """As `Mock.answer_for_topic`."""
        self._order("answer_for_topic", topic, request, *errors)

    def slow_down(self, round_trip_ms: int) -> None:
        """As `Mock.slow_down`."""
        self._order("slow_down", round_trip_ms)

    def _order(self, *words: str | int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the mock cluster ended with status {self._process.wait()}"
        return line.decode().strip()


def main() -> None:
    """Serve until STDIN ends."""
    mock = Mock(*sys.argv[1:])
    print(mock.bootstrap_servers, flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        getattr(mock, method)(*arguments)
        print("done", flush=True)


if __name__ == "__main__":
    main()
