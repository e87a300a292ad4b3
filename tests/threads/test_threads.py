"""The data path's two threads and the one that gives orders under the thread checker, on the real librdkafka."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.services.mock import Mock

_HERE = Path(__file__).parent
_FRAMING = _HERE.parents[1] / "src" / "framing"
_RECORDS = 20_000
_AT_ONCE = 200
_SECONDS = 3


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("threads") / "driver"
    sources = [*sorted(_HERE.glob("*.c")), *sorted(_FRAMING.glob("*.c"))]
    # The checker knows no fences. The one pair there is, of the counters, orders accesses that are atomic anyway.
    flags = ["-std=c11", "-g", "-O1", "-fsanitize=thread", "-Wall", "-Wextra", "-Wno-tsan", "-rdynamic", "-pthread"]
    command = ["cc", *flags, "-I", str(_FRAMING), "-o", str(made), *map(str, sources), "-ldl"]
    subprocess.run(command, check=True, timeout=100)
    return made


@pytest.fixture
def mock() -> Iterator[Mock]:
    mock = Mock("in", "out", "dead")
    yield mock
    mock.close()


@pytest.mark.parametrize(
    ("guarantee", "ack_mode"),
    [
        ("at-least-once", "demand"),
        ("at-least-once", "line"),
        ("at-least-once", "marker"),
        ("at-most-once", "demand"),
        ("exactly-once", "line"),
        ("exactly-once", "marker"),
    ],
)
def test_no_thread_touches_what_another_one_writes(driver: Path, mock: Mock, guarantee: str, ack_mode: str) -> None:
    """Of librdkafka's own threads, which are not built for the checker, it sees the locks and the calls of libc."""
    command = [driver, _librdkafka(), mock.bootstrap_servers, guarantee, ack_mode]
    running = subprocess.Popen(
        [*map(str, command), str(_RECORDS), str(_SECONDS), "1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"TSAN_OPTIONS": "exitcode=0"},
    )  # fmt: skip
    with running:
        _feed(mock)
        said, _ = running.communicate(timeout=100)
    assert running.returncode == 0, said
    assert [report for report in said.split("=" * 18) if _is_ours(report)] == []
    if guarantee != "at-most-once":
        assert _numbers(mock) == set(range(_RECORDS))


def _is_ours(report: str) -> bool:
    """Whether one of the two accesses is by our code, or by what it called.

    librdkafka hands memory from thread to thread by atomic counters, which the checker does not see there.
    """
    accesses = re.split(r"\n  (?:Location|Mutex|Thread|As if)", report)[0]
    return "ThreadSanitizer" in report and str(_FRAMING) in accesses


def _feed(mock: Mock) -> None:
    """Records that come in over the time of the orders."""
    producer = Producer({"bootstrap.servers": mock.bootstrap_servers, "linger.ms": 5})
    for number in range(_RECORDS):
        producer.produce("in", b"%d" % number, partition=0)
        if number % _AT_ONCE == 0:
            producer.flush(30)
            time.sleep(_SECONDS * _AT_ONCE / _RECORDS)
    assert producer.flush(30) == 0


def _librdkafka() -> str:
    """The library itself, and not the extension module that it is linked to, which needs an interpreter."""
    mapped = Path("/proc/self/maps").read_text().split()
    return next(word for word in mapped if "/librdkafka" in word)


def _numbers(mock: Mock) -> set[int]:
    """What stands in the outgoing topic's frames; the mock cluster takes back nothing of an aborted transaction."""
    consumer = Consumer(
        {
            "bootstrap.servers": mock.bootstrap_servers,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
        }
    )
    consumer.assign([TopicPartition("out", 0, 0)])
    found: set[int] = set()
    while True:
        message = consumer.poll(10)
        assert message is not None
        error, value = message.error(), message.value()
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF
            break
        assert value is not None
        found.add(int(value.rpartition(b'"raw":"')[2].partition(b'"')[0]))
    consumer.close()
    return found
