"""What low rates cost: CPU of the whole process tree beside a kcat pair with the same program in the middle.

``python -m bench.low_rates [--seconds 60] [--pairs 5]``. The Supervisor and the pair run all the time, each with a
topic of its own; records go to one of them at a time, in turn, and its CPU is that of this time. Thousands of sleeping
processes are about, as on a machine that has other things to do.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import Producer

from bench import measure
from bench.pipelines import Pipeline, Place, kcat_path, start_pipe, supervisor_of
from tests.services.agent import Agent
from tests.services.broker import Cluster
from tests.services.process import ServiceError, spawn
from tests.services.topics import Kafka

RATES: Final = (100, 1000, 5000)
IDLE: Final = "idle"
WANTED_RATIO: Final = 1.2
WANTED_IDLE: Final = 0.01  # of a core
SLEEPERS: Final = 2000
# kcat 1.7.1 produces nothing before it has read 1,024 bytes: with lines of 100 B ten go together, 95 ms late at 100/s.
_LINE: Final = b"x" * 1100
_WARM_UP_S: Final = 5.0
_TICK_S: Final = 0.001
# Each line goes on at once (-u) and is produced after linger.ms=5: as the Supervisor has it.
KCAT_CONSUMER: Final = ["-C", "-u", "-o", "end", "-p", "0"]
KCAT_PRODUCER: Final = ["-P", "-p", "0", "-X", "linger.ms=5"]
_ECHO_JAVA: Final = Path(__file__).parents[1] / "tests" / "matrix" / "programs" / "Echo.java"


class Sample(NamedTuple):
    """CPU of a core, and records that came out, of one turn."""

    cores: float
    records: int


class Row(NamedTuple):
    """A child at a rate: the Supervisor's samples and the pair's, turn by turn."""

    child: str
    rate: str
    ours: list[Sample]
    theirs: list[Sample]

    @property
    def ratio(self) -> float:
        """Median of the pairs' ratios."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(mine.cores / max(other.cores, 1e-4) for mine, other in pairs)

    @property
    def reached(self) -> bool:
        """Whether it costs no more than is wanted."""
        return _median(self.ours) <= WANTED_IDLE if self.rate == IDLE else self.ratio <= WANTED_RATIO

    def __str__(self) -> str:
        cores = [sample.cores for sample in self.ours]
        ratio = "-" if self.rate == IDLE else f"{self.ratio:.2f}"
        cells = (
            self.child,
            self.rate,
            f"{_median(self.ours):.2%}",
            f"{min(cores):.2%} to {max(cores):.2%}",
            f"{_median(self.theirs):.2%}",
            ratio,
            "yes" if self.reached else "no",
        )
        return f"| {' | '.join(cells)} |"


def _median(samples: list[Sample]) -> float:
    return statistics.median(sample.cores for sample in samples)


class Subject(NamedTuple):
    """A running pipeline with its topics."""

    name: str
    pipeline: Pipeline
    incoming: str
    outgoing: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when a service is missing or what is wanted is not reached."""
    parser = argparse.ArgumentParser(prog="bench.low_rates", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each turn")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rates", type=lambda text: [int(word) for word in text.split(",")], default=list(RATES))
    parser.add_argument("--child", action="append", choices=("cat", "java"), help="default: both")
    parser.add_argument("--sleepers", type=int, default=SLEEPERS)
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    try:
        with ExitStack() as stack:
            kafka = Kafka(stack.enter_context(Cluster(full_speed=True)).bootstrap)
            consul = stack.enter_context(Agent())
            stack.enter_context(_sleepers(options.sleepers))
            for child in options.child or ("cat", "java"):
                with ExitStack() as subjects:
                    command = subjects.enter_context(_command(child))
                    place = Place(kafka, consul, "", "")
                    ours = partial(_supervisor, command)
                    theirs = partial(_kcat_pair, command)
                    pair = (
                        _started(subjects, "Supervisor", place, ours),
                        _started(subjects, "kcat pair", place, theirs),
                    )
                    for rate in (*options.rates, 0):
                        samples = _rounds(kafka, pair, rate, options.pairs, options.seconds)
                        rows.append(Row(child, f"{rate}/s" if rate else IDLE, *samples))
                        print(rows[-1], file=sys.stderr, flush=True)
    except (ServiceError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(_table(rows, options))
    return 0 if all(row.reached for row in rows) else 1


@contextmanager
def _sleepers(count: int) -> Iterator[None]:
    """So many processes that sleep."""
    script = f"i=0; while [ $i -lt {count} ]; do sleep 100000 & i=$((i+1)); done; echo; wait"
    with spawn(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)


@contextmanager
def _command(child: str) -> Iterator[list[str]]:
    if child == "cat":
        yield ["cat"]
        return
    if shutil.which("javac") is None:
        raise ServiceError("javac was not found on PATH: the benchmark's Java program is compiled with it")
    with tempfile.TemporaryDirectory() as classes:
        subprocess.run(["javac", "-d", classes, str(_ECHO_JAVA)], check=True)
        yield ["env", "SIDE=/dev/null", "java", "-cp", classes, "Echo"]


def _started(stack: ExitStack, name: str, place: Place, start: Callable[[Place], Pipeline]) -> Subject:
    stem = f"low-{uuid.uuid4()}"
    incoming, outgoing = (place.kafka.create_topic(f"{stem}-{role}") for role in ("in", "out"))
    pipeline = start(Place(place.kafka, place.consul, incoming, outgoing))
    stack.callback(pipeline.stop)
    pipeline.release()
    return Subject(name, pipeline, incoming, outgoing)


def _supervisor(command: list[str], place: Place) -> Pipeline:
    return supervisor_of(sys.executable, place, command)


def _kcat_pair(command: list[str], place: Place) -> Pipeline:
    common = [kcat_path(), "-q", "-b", place.kafka.bootstrap]
    stack = ExitStack()
    pids: list[int] = []
    commands = [
        [*common, *KCAT_CONSUMER, "-t", place.incoming],
        command,
        [*common, *KCAT_PRODUCER, "-t", place.outgoing],
    ]
    return Pipeline(lambda: start_pipe(commands, stack, pids), lambda: pids, stack)


def _rounds(
    kafka: Kafka, pair: tuple[Subject, Subject], rate: int, rounds: int, seconds: float
) -> tuple[list[Sample], list[Sample]]:
    samples: dict[str, list[Sample]] = {subject.name: [] for subject in pair}
    for subject in pair:
        _fed(kafka, subject, max(rate, 10), _WARM_UP_S)
    for _ in range(rounds):
        for subject in random.sample(pair, len(pair)):
            sample = _fed(kafka, subject, rate, seconds)
            if sample.records < 0.95 * rate * seconds:
                raise ServiceError(f"{subject.name}: {sample.records} records came out of {rate * seconds:.0f}")
            samples[subject.name].append(sample)
    return samples[pair[0].name], samples[pair[1].name]


def _fed(kafka: Kafka, subject: Subject, rate: int, seconds: float) -> Sample:
    """Feed it evenly for a while."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0, "log_level": 2})
    before = kafka.end_offsets(subject.outgoing)[0]
    cpu_s, began_s = measure.cpu_s(subject.pipeline.pids()), time.monotonic()
    sent = 0
    while (passed_s := time.monotonic() - began_s) < seconds:
        while sent < passed_s * rate:
            producer.produce(subject.incoming, _LINE, partition=0)
            sent += 1
        producer.poll(0)
        time.sleep(max(_TICK_S, sent / rate - passed_s) if rate else min(0.5, seconds))
    used_s, took_s = measure.cpu_s(subject.pipeline.pids()) - cpu_s, time.monotonic() - began_s
    producer.flush(30)
    time.sleep(0.5)  # what is under way comes out
    return Sample(used_s / took_s, kafka.end_offsets(subject.outgoing)[0] - before)


def _table(rows: list[Row], options: argparse.Namespace) -> str:
    lines = f"lines of {len(_LINE)} B, {options.pairs} pairs of {options.seconds:g} s, {options.sleepers} sleepers"
    pair = f"`kcat -q {' '.join(KCAT_CONSUMER)}`, the child, `kcat -q {' '.join(KCAT_PRODUCER)}`"
    return "\n".join(
        [
            f"CPU in cores of the whole process tree at low rates: {lines}.",
            f"The kcat pair: {pair}.",
            f"Wanted: at most {WANTED_RATIO} times the pair's, idle at most {WANTED_IDLE:.0%}.",
            "",
            "| child | rate | Supervisor | spread | kcat pair | ratio | reached |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *map(str, rows),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
