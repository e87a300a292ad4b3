"""Long runs of the matrix of programs without Kafka: ``python -m tests.matrix --steps 100000 [KIND ...]``."""

from __future__ import annotations

import argparse
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .harness import NotRunError, Run, Workshop, chosen, run, workshop
from .kinds import KINDS, Kind


def main() -> int:
    """Exit status 1 if a kind that is called safe had an early step or a stall, or one that is not had none."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("kind", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--steps", type=int, default=100_000, help="acknowledgements of each kind")
    parser.add_argument("--seconds", type=float, default=900.0, help="the longest run of a kind")
    parser.add_argument("--seed", type=int, help="default: a fresh one")
    parser.add_argument("--jobs", type=int, default=2, help="kinds at a time")
    options = parser.parse_args()
    with workshop(Path(".cache/matrix")) as shop, ThreadPoolExecutor(options.jobs) as jobs:
        shop.driver(afresh=True)

        def one(kind: Kind) -> Run | NotRunError:
            return _one(shop, kind, options)

        runs = [result for result in jobs.map(one, chosen(options.kind)) if isinstance(result, Run)]
    failed = [f"{result.kind.name}, seed {result.seed}: {result.wrong}" for result in runs if result.wrong]
    print(*(failed or ["every kind keeps what it is promised"]), sep="\n")
    return 1 if failed else 0


def _one(shop: Workshop, kind: Kind, options: argparse.Namespace) -> Run | NotRunError:
    seed = random.SystemRandom().randrange(1_000_000_000) if options.seed is None else options.seed
    try:
        result = run(shop, kind, seed=seed, steps=options.steps, seconds=options.seconds)
    except NotRunError as missing:
        print(f"{kind.name}: {missing}", flush=True)
        return missing
    print(f"{result}\n{result.text}".rstrip(), flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
