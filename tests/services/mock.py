"""librdkafka's mock cluster with its controls: errors to answer requests with, and slowness."""

from __future__ import annotations

import ctypes

import confluent_kafka.cimpl

PRODUCE = 0
"""Key of a produce request in Kafka's protocol."""

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
        for topic in topics:
            library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), 1, 1)
        self.bootstrap_servers = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def answer_with(self, request: int, *errors: int) -> None:
        """Answer the next requests of this kind with these error codes, 0 for none."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), codes
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
