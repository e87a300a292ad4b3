"""``python -m tests.simulation [--seeds N] [--from N] [--seconds S] [--loud] [--sanitize]``: see ``make help``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from .build import Program


def main() -> int:
    """Exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000_000_000, help="so many runs, of one seed each")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--seconds", type=int, default=0, help="no longer than this")
    parser.add_argument("--loud", action="store_true", help="say all that happens: for one seed")
    parser.add_argument("--sanitize", action="store_true", help="under ASAN and UBSAN")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        program = Program(Path(directory), sanitized=arguments.sanitize)
        try:
            command = [str(program.build()), str(arguments.seeds), "--from", str(arguments.first)]
        except subprocess.CalledProcessError as error:
            sys.exit(f"the simulation cannot be built:\n{error.stderr}")
        command += ["--seconds", str(arguments.seconds), *(["--loud"] if arguments.loud else [])]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
