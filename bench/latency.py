"""How long a record takes at low rates: from ``produce`` to the consumer of the outgoing topic, through `cat`.

``python -m bench.latency [--old PYTHON] [--seconds 20] [--rounds 5]``. Beside it the same clients on one topic, with
nothing in between, and with ``--old`` another build. All run all the time, each with topics of its own; records go to
one of them at a time, in turn.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.pipelines import Place, raw, supervisor_of
from tests.services.agent import Agent
from tests.services.broker import Cluster
from tests.services.process import ServiceError
from tests.services.topics import Kafka

RATES: Final = (100, 1000)
_WARM_UP_S: Final = 3.0
_DIRECT: Final = "produce and consume"
_NEW: Final = "Supervisor"
_OLD: Final = "old build"


class Latency(NamedTuple):
    """Of one turn, in ms."""

    median_ms: float
    p99_ms: float


class Subject(NamedTuple):
    """Records go into one topic and come out of another, or of the same."""

    name: str
    incoming: str
    outgoing: str

    def line(self, value: bytes) -> bytes:
        """What was sent, out of a record that came."""
        return value if self.incoming == self.outgoing else raw(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each rate and subject; exit status 1 when a service is missing or a record does not come."""
    parser = argparse.ArgumentParser(prog="bench.latency", description=__doc__)
    parser.add_argument("--old", help="interpreter that has another build installed")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rates", type=lambda text: [int(word) for word in text.split(",")], default=list(RATES))
    options = parser.parse_args(arguments)
    builds = {_NEW: sys.executable, **({_OLD: options.old} if options.old else {})}
    try:
        with ExitStack() as stack:
            kafka = Kafka(stack.enter_context(Cluster(full_speed=True)).bootstrap)
            consul = stack.enter_context(Agent())
            stem = f"latency-{uuid.uuid4()}"
            direct = kafka.create_topic(f"{stem}-direct")
            subjects = [Subject(_DIRECT, direct, direct)]
            for number, (name, python) in enumerate(builds.items()):
                incoming, outgoing = (kafka.create_topic(f"{stem}-{number}-{role}") for role in ("in", "out"))
                pipeline = supervisor_of(python, Place(kafka, consul, incoming, outgoing))
                stack.callback(pipeline.stop)
                pipeline.release()
                subjects.append(Subject(name, incoming, outgoing))
            print("| rate | subject | median ms | p99 ms |\n| --- | --- | --- | --- |")
            for rate in options.rates:
                for row in _rows(kafka, subjects, rate, options.rounds, options.seconds):
                    print(row, flush=True)
    except (ServiceError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _rows(kafka: Kafka, subjects: list[Subject], rate: int, rounds: int, seconds: float) -> list[str]:
    turn = partial(_turn, kafka, rate=rate)
    found: dict[str, list[Latency]] = {subject.name: [] for subject in subjects}
    for subject in subjects:
        turn(subject, seconds=_WARM_UP_S)
    for _ in range(rounds):
        for subject in random.sample(subjects, len(subjects)):
            found[subject.name].append(turn(subject, seconds=seconds))
    return [
        f"| {rate}/s | {name} | {_spread(one.median_ms for one in turns)} | {_spread(one.p99_ms for one in turns)} |"
        for name, turns in found.items()
    ]


def _spread(of: Iterable[float]) -> str:
    values = list(of)
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _turn(kafka: Kafka, subject: Subject, *, rate: int, seconds: float) -> Latency:
    """Send records that say when they were sent, evenly, and take them out at the other end."""
    count = int(rate * seconds)
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "latency", "enable.auto.commit": False, "log_level": 2}
    )
    [end] = kafka.end_offsets(subject.outgoing).values()
    consumer.assign([TopicPartition(subject.outgoing, 0, end)])
    took_ns: list[int] = []

    def take() -> None:
        end_s = time.monotonic() + seconds + 30
        while len(took_ns) < count and time.monotonic() < end_s:
            message = consumer.poll(0.1)
            if message is None:
                continue
            now_ns, value = time.monotonic_ns(), message.value()
            assert value is not None
            took_ns.append(now_ns - int(subject.line(value)))

    taker = threading.Thread(target=take)
    taker.start()
    _send(Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0, "log_level": 2}), subject, rate, count)
    taker.join()
    consumer.close()
    if len(took_ns) < count:
        raise ServiceError(f"{subject.name}: {len(took_ns)} of {count} records came out")
    took_ns.sort()
    return Latency(statistics.median(took_ns) / 1e6, took_ns[int(0.99 * len(took_ns))] / 1e6)


def _send(producer: Producer, subject: Subject, rate: int, count: int) -> None:
    began_s = time.monotonic()
    for number in range(count):
        due_s = began_s + number / rate
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(left_s)
        producer.produce(subject.incoming, b"%d" % time.monotonic_ns(), partition=0)
        producer.poll(0)
    producer.flush(30)


if __name__ == "__main__":
    sys.exit(main())
