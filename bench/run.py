"""Run everything and write ``bench/RESULTS.md``. ``python -m bench [--quick]``: under 15 minutes, quick under 2."""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import os
import platform
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import confluent_kafka

from bench import kernels, measure, report, text
from bench.pipelines import (
    KCAT,
    KCAT_SED,
    LOOP,
    MODES,
    SUPERVISOR,
    WINDOWS,
    Pipeline,
    Place,
    Subject,
    kcat_path,
    spread,
)
from tests.services.agent import Agent, Consul
from tests.services.broker import Cluster
from tests.services.obtain import kafka_version
from tests.services.process import ServiceError, spawn
from tests.services.topics import Kafka

_CHECKED_LINES = 100_000
_POLL_S = 0.005
_MEMORY_INTERVAL_S = 0.1
_MOCK_PARTITION_BYTES = 4_500_000  # the mock cluster forgets what is beyond 5 MiB a partition, without a word


class _Cpu(NamedTuple):
    """CPU seconds; ``others_s`` is the rest of the machine, this process apart."""

    subject_s: float
    broker_s: float
    others_s: float

    @classmethod
    def now(cls, pipeline: Pipeline, broker: int) -> _Cpu:
        subject_s, broker_s = measure.cpu_s(pipeline.pids()), measure.cpu_s([broker])
        return cls(subject_s, broker_s, measure.machine_cpu_s() - subject_s - broker_s - time.process_time())

    def since(self, before: _Cpu) -> _Cpu:
        return _Cpu(*(after - then for after, then in zip(self, before, strict=True)))


def main(arguments: list[str]) -> int:
    """Exit status 1 when a service is missing or an output is not what it has to be."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records and rounds: a look, not a result")
    quick = parser.parse_args(arguments).quick
    tables: list[report.Table] = []
    try:
        environment = _environment(quick=quick)
        isa, rows = kernels.run(3 if quick else 9)
        with Agent() as consul:
            for table in itertools.chain(
                _real(consul, quick=quick),
                _modes(consul, quick=quick),
                _flat(consul, quick=quick),
                _mock(consul, quick=quick),
            ):
                tables.append(table)
                result = report.page(environment, tables, isa, rows)
                Path(__file__).with_name("RESULTS.md").write_text(result)  # what was measured survives a failure
    except (ServiceError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(result)
    return 0


def _workloads(*, quick: bool) -> list[tuple[int, int]]:
    """Mean bytes of a line, number of lines."""
    return [(100, 300_000), (1_000, 100_000)] if quick else [(100, 1_500_000), (1_000, 300_000)]


def _real(consul: Consul, *, quick: bool) -> Iterator[report.Table]:
    """On a real broker, one partition."""
    subjects = [SUPERVISOR, KCAT, KCAT_SED, LOOP]
    with Cluster(full_speed=True) as cluster:
        kafka = Kafka(cluster.bootstrap)
        for size, count in _workloads(quick=quick):
            made = text.lines(size, count)
            checked = made[:_CHECKED_LINES]
            with topic(kafka, checked) as incoming:
                _check(Place(kafka, consul, incoming, ""), subjects, checked)
            with topic(kafka, made) as incoming:
                place = Place(kafka, consul, incoming, "")
                say(f"warming the broker up, {size} B")
                for subject in subjects[:2]:
                    timed(place, subject, count, cluster.pid())
                rounds = _rounds(place, subjects, count, 2 if quick else 5, cluster.pid())
            title = f"Real broker, 1 partition, {count} lines of {size} B"
            yield report.Table(title, rounds)


def _modes(consul: Consul, *, quick: bool) -> Iterator[report.Table]:
    """What a guarantee costs, on a real broker."""
    size, count = _workloads(quick=quick)[0]
    made = text.lines(size, count)
    checked = made[:_CHECKED_LINES]
    with Cluster(full_speed=True) as cluster:
        kafka = Kafka(cluster.bootstrap)
        with topic(kafka, checked) as incoming:
            _check(Place(kafka, consul, incoming, ""), MODES, checked)
        with topic(kafka, made) as incoming:
            place = Place(kafka, consul, incoming, "")
            say("warming the broker up for the guarantees")
            for subject in MODES[:2]:
                timed(place, subject, count, cluster.pid())
            rounds = _rounds(place, MODES, count, 2 if quick else 5, cluster.pid())
        yield report.Table(f"The Supervisor's guarantees, real broker, 1 partition, {count} lines of {size} B", rounds)


def _mock(consul: Consul, *, quick: bool) -> Iterator[report.Table]:
    """On the mock cluster: as many partitions as the records need, filled beforehand, the same for every run."""
    subjects = [SUPERVISOR, KCAT]
    for size, count in _workloads(quick=quick):
        made = text.lines(size, count)
        # The framing of records and batches takes 10 B a record at most.
        partitions = -(-(sum(map(len, made)) + 10 * count) // _MOCK_PARTITION_BYTES) + 1
        rounds = 2 if quick else 5
        outgoing = [f"out-{number}" for number in range(rounds * len(subjects))]
        with _mock_cluster({"in": partitions} | dict.fromkeys(outgoing, 1)) as (bootstrap, pid):
            kafka = Kafka(bootstrap)
            for number in range(partitions):
                # In whole batches: a mock broker answers a fetch with one batch of each partition, however small.
                values = made[number::partitions]
                kafka.produce("in", values, partition=number, linger_ms=1000, enable_idempotence=False)
            samples: dict[str, list[report.Sample]] = {subject.name: [] for subject in subjects}
            for _ in range(rounds):
                for subject in random.sample(subjects, len(subjects)):
                    place = Place(kafka, consul, "in", outgoing.pop(), partitions)
                    sample = _flow(place, subject, count, pid)
                    samples[subject.name].append(sample)
                    say(f"mock cluster, {size} B: {subject.name}: {sample}")
        yield report.Table(f"Mock cluster, {partitions} partitions, {count} lines of {size} B", samples)


def _flat(consul: Consul, *, quick: bool) -> Iterator[report.Table]:
    """What a record costs with few and many in flight, out of one and many partitions."""
    size, count = _workloads(quick=quick)[0]
    made = text.lines(size, count)
    with Cluster(full_speed=True) as cluster, ExitStack() as stack:
        kafka = Kafka(cluster.bootstrap)
        topics = {partitions: stack.enter_context(topic(kafka, made, partitions)) for partitions in (1, 8, 64)}
        place = Place(kafka, consul, topics[1], "")
        say("warming the broker up for windows and partitions")
        for subject in WINDOWS[:2]:
            timed(place, subject, count, cluster.pid())
        for what, subjects in (("window, ACK_MODE=line", WINDOWS), ("number of partitions", spread(topics))):
            rounds = _rounds(place, subjects, count, 2 if quick else 5, cluster.pid())
            yield report.Table(f"By {what}: real broker, {count} lines of {size} B", rounds)


@contextmanager
def _mock_cluster(topics: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """(bootstrap list, process ID) of a mock cluster with these topics and their numbers of partitions."""
    script = Path(__file__).with_name("mock.py")
    arguments = [f"{name}={partitions}" for name, partitions in topics.items()]
    process = spawn([sys.executable, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip(), process.pid
        finally:
            process.kill()


@contextmanager
def topic(kafka: Kafka, values: list[bytes] | None = None, partitions: int = 1) -> Iterator[str]:
    """A topic for one run, with these records."""
    name = kafka.create_topic(f"bench-{uuid.uuid4()}", partitions)
    if values is not None:
        kafka.produce(name, values)
    try:
        yield name
    finally:
        kafka.delete_topic(name)


def _check(place: Place, subjects: list[Subject], made: list[bytes]) -> None:
    """Every subject's lines are those that went in, in their order."""
    for subject in subjects:
        with topic(place.kafka) as outgoing:
            pipeline = subject.start(Place(place.kafka, place.consul, place.incoming, outgoing))
            try:
                pipeline.release()
                records = place.kafka.read(outgoing, len(made), deadline_s=120)
            finally:
                pipeline.stop()
        lines = [subject.unwrap(record.value or b"") for record in records]
        if lines != made:
            first = next((n for n, pair in enumerate(zip(lines, made, strict=False)) if pair[0] != pair[1]), len(made))
            raise ServiceError(
                f"{subject.name}: its {len(lines)} lines are not the {len(made)} that went in, from line {first} on"
            )
        say(f"{subject.name}: {len(lines)} lines came out as they went in, in order")


def _rounds(
    place: Place, subjects: list[Subject], count: int, rounds: int, broker: int
) -> dict[str, list[report.Sample]]:
    """Interleaved runs, in another order each round."""
    samples: dict[str, list[report.Sample]] = {subject.name: [] for subject in subjects}
    for number in range(rounds):
        for subject in random.sample(subjects, len(subjects)):
            sample = timed(place, subject, count, broker)
            samples[subject.name].append(sample)
            say(f"round {number + 1} of {rounds}: {subject.name}: {sample}")
    return samples


def timed(place: Place, subject: Subject, count: int, broker: int) -> report.Sample:
    """One run into a new topic."""
    with topic(place.kafka) as outgoing:
        return _flow(Place(place.kafka, place.consul, place.incoming, outgoing), subject, count, broker)


def _flow(place: Place, subject: Subject, count: int, broker: int) -> report.Sample:
    """One run: rate from the first output seen to the last, CPU from the release of the flow on."""
    watcher = confluent_kafka.Consumer(
        {"bootstrap.servers": place.kafka.bootstrap, "group.id": "watcher", "enable.auto.commit": False}
    )
    partition = confluent_kafka.TopicPartition(place.outgoing, 0)
    pipeline = subject.start(place)
    try:
        before = _Cpu.now(pipeline, broker)
        released_s = looked_s = time.monotonic()
        pipeline.release()
        first_s, first = 0.0, 0
        peaks: dict[int, int] = {}
        while True:
            _, offset = watcher.get_watermark_offsets(partition, timeout=10)
            now_s = time.monotonic()
            if not first and offset:
                first_s, first = now_s, offset
            if offset >= count:
                break
            if now_s - looked_s > _MEMORY_INTERVAL_S:
                peaks |= {pid: peak for pid, peak in measure.peaks_bytes(pipeline.pids()).items() if peak}
                looked_s = now_s
            if now_s - released_s > 120:
                raise ServiceError(f"{subject.name}: {offset} of {count} records after 120 s")
            time.sleep(_POLL_S)
        used = _Cpu.now(pipeline, broker).since(before)
        return report.Sample(
            records_per_s=(count - first) / max(now_s - first_s, _POLL_S),
            cpu_us_per_record=used.subject_s / count * 1e6,
            broker_us_per_record=used.broker_s / count * 1e6,
            peak_bytes=sum(peaks.values()),
            others_cores=used.others_s / (now_s - released_s),
        )
    finally:
        pipeline.stop()
        watcher.close()


def _environment(*, quick: bool) -> dict[str, str]:
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    kcat = subprocess.run([kcat_path(), "-V"], capture_output=True, text=True, check=True).stdout
    return {
        "Date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}" + (", a quick run" if quick else ""),
        "Processor": f"{processor}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "Supervisor": f"{version('buldozer-supervisor')}, Python {platform.python_version()}, "
        f"librdkafka {confluent_kafka.libversion()[0]}, orjson {version('orjson')}",
        "Kafka": f"{kafka_version()}, one node on the same cores, -Xmx1g",
        "kcat": next(line for line in kcat.splitlines() if line.startswith("Version"))
        .removeprefix("Version ")
        .split("(")[0]
        + "with librdkafka "
        + kcat.partition("librdkafka ")[2].split()[0],
    }


def say(line: str) -> None:
    """Tell whoever waits for the result."""
    print(f"bench: {line}", file=sys.stderr, flush=True)
