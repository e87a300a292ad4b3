"""Two builds beside each other at saturation: ``python -m bench.paired --old PYTHON``, which has the old build.

Runs are interleaved, in another order each round; printed are the medians of the ratios, new to old, round by round.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from functools import partial

from bench import text
from bench.pipelines import Place, Subject, raw, supervisor_of
from bench.run import say, timed, topic
from tests.services.agent import Agent
from tests.services.broker import Cluster
from tests.services.topics import Kafka


def main(arguments: list[str]) -> int:
    """Print a row for each size of a line."""
    parser = argparse.ArgumentParser(prog="bench.paired", description=__doc__)
    parser.add_argument("--old", required=True, help="interpreter that has the old build installed")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000], help="mean bytes of a line")
    parser.add_argument("--megabytes", type=int, default=100, help="of lines in each run")
    parser.add_argument("--environment", nargs="*", default=[], metavar="NAME=VALUE", help="settings of both")
    options = parser.parse_args(arguments)
    environment = dict(pair.split("=", 1) for pair in options.environment)
    builds = {
        name: Subject(name, partial(supervisor_of, python, **environment), raw)
        for name, python in (("old", options.old), ("new", sys.executable))
    }
    with Agent() as consul, Cluster(full_speed=True) as cluster:
        kafka = Kafka(cluster.bootstrap)
        for size in options.sizes:
            count = options.megabytes * 1_000_000 // size
            with topic(kafka, text.lines(size, count)) as incoming:
                place = Place(kafka, consul, incoming, "")
                for subject in builds.values():
                    timed(place, subject, count, cluster.pid())  # the broker gets warm
                ratios: list[tuple[float, float]] = []
                for number in range(options.rounds):
                    found = {
                        name: timed(place, builds[name], count, cluster.pid())
                        for name in random.sample(["old", "new"], 2)
                    }
                    old, new = found["old"], found["new"]
                    ratios.append(
                        (new.cpu_us_per_record / old.cpu_us_per_record, new.records_per_s / old.records_per_s)
                    )
                    say(f"{size} B, round {number + 1} of {options.rounds}: old {old}; new {new}")
            cpu, rate = (sorted(values) for values in zip(*ratios, strict=True))
            print(
                f"{size} B, new to old: CPU per record {statistics.median(cpu):.3f} ({cpu[0]:.3f} to {cpu[-1]:.3f}), "
                f"records per second {statistics.median(rate):.3f} ({rate[0]:.3f} to {rate[-1]:.3f})",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
