"""Fault runs by hand: ``python -m tests.faults --mode at-least-once/demand --records 200000 --kills 20 --seed 1``."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time

from .blows import draw
from .machine import FaultError, Machine, Services
from .modes import MODES


def main() -> int:
    """Run until the last mode is through, or for as long as asked; the exit status is 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--mode", action="append", choices=MODES, help="may be repeated; default: every mode")
    parser.add_argument("--records", type=int, default=200_000, help="records a run")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs a run, among other blows")
    parser.add_argument("--gap", type=float, default=1.0, help="mean time between blows in seconds")
    parser.add_argument("--seed", type=int, help="of the first run; default: a fresh one for each run")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on over the modes for this long")
    parser.add_argument("--log-level", default="info", help="of the Supervisors")
    options = parser.parse_args()
    modes = options.mode or list(MODES)
    end = time.monotonic() + 60 * options.minutes
    runs, failed = 0, []
    with Services() as services:
        for turn, name in enumerate(itertools.cycle(modes)):
            if turn >= len(modes) and time.monotonic() >= end:
                break
            fresh = options.seed is None or turn >= len(modes)
            seed = random.SystemRandom().randrange(1_000_000_000) if fresh else options.seed
            print(f"{name}, seed {seed} …", flush=True)
            script = draw(seed, records=options.records, kills=options.kills, gap_s=options.gap)
            machine = Machine(services, MODES[name], script, records=options.records, log_level=options.log_level)
            runs += 1
            try:
                print(f"  {machine.run()}\n  {machine.summary()}", flush=True)
            except FaultError as error:
                failed.append(f"{name}, seed {seed}: {str(error).splitlines()[0]}")
                print(f"FAILED {error}", flush=True)
    print(f"{runs} runs, {len(failed)} failed", *failed, sep="\n  ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
