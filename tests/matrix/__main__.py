"""Long runs of the matrix of programs.

Without Kafka: ``python -m tests.matrix --steps 100000 [KIND ...]``.
With it: ``python -m tests.matrix --kills 30 [KIND ...]``.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.services.agent import Agent
from tests.services.broker import Cluster
from tests.services.topics import Kafka

from .harness import NotRunError, Workshop, run, workshop
from .kills import kill_run
from .kinds import KINDS, Kind, Promise

Wrong = str  # in words; nothing if all is as promised


def main() -> int:
    """Exit status 1 if a kind does not keep what it is promised, or one that is promised nothing was not seen early."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("kind", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--steps", type=int, default=100_000, help="acknowledgements of each kind, without Kafka")
    parser.add_argument("--seconds", type=float, default=900.0, help="the longest run of a kind, without Kafka")
    parser.add_argument("--kills", type=int, default=0, help="with Kafka: of the Calculator and the Supervisor in turn")
    parser.add_argument("--seed", type=int, help="default: a fresh one for each kind")
    parser.add_argument("--jobs", type=int, default=2, help="kinds at a time")
    options = parser.parse_args()
    kinds = [KINDS[name] for name in options.kind or KINDS]
    with ExitStack() as stack:
        shop = stack.enter_context(workshop(Path(".cache/matrix")))
        one = _with_kafka(stack, shop, options) if options.kills else _without_kafka(shop, options)
        if options.kills:
            kinds = [kind for kind in kinds if kind.promise is not Promise.UNSAFE]

        def run_or_say(kind: Kind) -> Wrong:
            seed = random.SystemRandom().randrange(1_000_000_000) if options.seed is None else options.seed
            try:
                wrong = one(kind, seed)
            except NotRunError as missing:
                print(f"{kind.name}: {missing}", flush=True)
                return ""
            return wrong and f"{kind.name}, seed {seed}: {wrong}"

        with ThreadPoolExecutor(options.jobs) as jobs:
            failed = list(filter(None, jobs.map(run_or_say, kinds)))
    print(*(failed or ["every kind keeps what it is promised"]), sep="\n")
    return 1 if failed else 0


def _without_kafka(shop: Workshop, options: argparse.Namespace) -> Callable[[Kind, int], Wrong]:
    shop.build_driver()

    def one(kind: Kind, seed: int) -> Wrong:
        result = run(shop, kind, seed=seed, steps=options.steps, seconds=options.seconds)
        print(f"{result}\n{result.text}".rstrip(), flush=True)
        return result.wrong

    return one


def _with_kafka(stack: ExitStack, shop: Workshop, options: argparse.Namespace) -> Callable[[Kind, int], Wrong]:
    kafka = Kafka(stack.enter_context(Cluster()).bootstrap)
    consul = stack.enter_context(Agent())

    def one(kind: Kind, seed: int) -> Wrong:
        return kill_run(
            kafka, consul, shop, kind, kills=options.kills, seed=seed, say=lambda text: print(text, flush=True)
        )

    return one


if __name__ == "__main__":
    sys.exit(main())
