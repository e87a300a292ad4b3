"""``python -m distribution lock | wheels SDIST | bundle MACHINE...``; make has the directories."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from . import bundle, locks, wheels
from .machine import MACHINES
from .run import BuildError, say


def main(arguments: list[str]) -> int:
    """Exit status 1 with one sentence when something is missing."""
    parser = argparse.ArgumentParser(prog="distribution", description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(".cache/packaging"))
    parser.add_argument("--directory", type=Path, default=Path("dist"))
    parser.add_argument("--strictly", action="store_true", help="fail where a locked package is not to be had any more")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lock", help="write the lists of packages anew, with what is newest")
    commands.add_parser("wheels", help="our wheels, out of an sdist").add_argument("sdist", type=Path)
    made = commands.add_parser("bundle", help="the directory for any image, around our wheels")
    made.add_argument("machines", nargs="*", choices=[*MACHINES], default=[*MACHINES])
    given = parser.parse_args(arguments)
    given.cache = given.cache.resolve()  # some tools are started in another folder
    try:
        if given.command == "lock":
            locks.write(given.cache)
        elif given.command == "wheels":
            for machine in MACHINES.values():
                wheels.build(given.sdist, machine, given.directory / "wheels")
        else:
            for name in given.machines:
                wheel, version = _own_wheel(given.directory, name)
                bundle.build(MACHINES[name], version, wheel, given.cache, given.directory, strictly=given.strictly)
    except BuildError as error:
        say(str(error))
        return 1
    return 0


def _own_wheel(directory: Path, machine: str) -> tuple[Path, str]:
    found = sorted((directory / "wheels").glob(f"buldozer_supervisor-*_{machine}.whl"))
    if len(found) != 1:
        raise BuildError(
            f"expected one wheel for {machine} in {directory / 'wheels'}, met {len(found)}: run make wheels"
        )
    version = re.match(r"buldozer_supervisor-([^-]+)-", found[0].name)
    assert version
    return found[0], version[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
