"""Several builds of the Supervisor side by side at saturation: ``python -m bench.builds NAME=PYTHON...``.

Each PYTHON is one into whose site-packages a build was installed. Rounds are interleaved, in another order each; what
is compared is CPU per record, which another program on the same cores disturbs least, by the median. The first is
the baseline.
"""

from __future__ import annotations

import os
import statistics
import sys
import uuid
from contextlib import ExitStack
from functools import partial

from bench import text
from bench.pipelines import Pipeline, Place, Subject, _raw
from bench.run import _rounds, _topic
from tests.services.agent import Agent
from tests.services.broker import Cluster
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

LINE_BYTES, LINES = 100, 1_500_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))


def _start(python: str, place: Place) -> Pipeline:
    node_id = str(uuid.uuid4())
    stack = ExitStack()
    process = Supervised(
        ["cat"],
        node_id=node_id,
        kafka=place.kafka,
        consul=place.consul,
        env={"LOG_LEVEL": "warning"},
        launcher=(python, "-m", "supervisor"),
    )
    stack.callback(process.close)
    manager = Manager(place.consul, node_id)
    stack.callback(manager.decommission)
    process.start()
    process.wait_started()

    def release() -> None:
        manager.route(place.incoming, place.outgoing)

    return Pipeline(release, lambda: [process.pid], stack)


def main(arguments: list[str]) -> int:
    """Print a line for each build."""
    builds = dict(argument.split("=", 1) for argument in arguments)
    if len(builds) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    subjects = [Subject(name, partial(_start, python), _raw) for name, python in builds.items()]
    with Agent() as consul, Cluster(full_speed=True) as cluster:
        kafka = Kafka(cluster.bootstrap)
        with _topic(kafka, text.lines(LINE_BYTES, LINES)) as incoming:
            place = Place(kafka, consul, incoming, "")
            _rounds(place, subjects, LINES, 1, cluster.pid())  # warms the broker up
            samples = _rounds(place, subjects, LINES, ROUNDS, cluster.pid())
    baseline_us: float | None = None
    for name, of_build in samples.items():
        costs_us = sorted(sample.cpu_us_per_record for sample in of_build)
        rate = statistics.median(sample.records_per_s for sample in of_build)
        cost_us = statistics.median(costs_us)
        baseline_us = baseline_us or cost_us
        print(
            f"{name}: {cost_us:.3f} us CPU a record ({costs_us[0]:.3f}-{costs_us[-1]:.3f}),"
            f" {100 * (cost_us / baseline_us - 1):+.1f} %, {rate:,.0f} records/s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
