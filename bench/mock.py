"""librdkafka's mock cluster in a process of its own: one broker on 127.0.0.1, without a disk or a JVM.

Usage: ``mock.py TOPIC=PARTITIONS …``; prints its bootstrap address, ends with its STDIN. It keeps 5 MiB a partition.
"""

from __future__ import annotations

import ctypes
import sys

import confluent_kafka.cimpl

_PRODUCER = 0


def main() -> None:
    """Serve until STDIN ends."""
    # confluent-kafka cannot make a topic of so many partitions in a mock cluster; the library inside it can.
    library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
    for function in (library.rd_kafka_conf_new, library.rd_kafka_new, library.rd_kafka_mock_cluster_new):
        function.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    error = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(conf, b"log_level", b"2", error, len(error))  # it wonders about having no broker
    handle = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, conf, error, len(error)))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, 1))
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    for argument in sys.argv[1:]:
        topic, _, partitions = argument.partition("=")
        library.rd_kafka_mock_topic_create(cluster, topic.encode(), int(partitions), 1)
    print(library.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    sys.stdin.read()


main()
