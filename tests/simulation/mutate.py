"""How much the simulation sees: statements of the data path that change state are taken out or turned round, one at a
time, and the simulation has to fail.

``python -m tests.simulation.mutate [--mutants N] [--seconds S] [--seed SEED]`` prints those that it did not see.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .build import Program, data_path

_STATE: Final = re.compile(r"^\s+[\w\[\]]+(?:->|\.)[\w.\->\[\]]+\s*(?:=|\+=|-=|\|=|&=)(?!=).*;\s*(?:/\*.*)?$")
_CALL: Final = re.compile(
    r"^\s+(?!return|notice|outlet_notice|inlet_notice|free|memset|snprintf)\w+\(.*\);\s*(?:/\*.*)?$"
)
_COUNTED: Final = re.compile(r"counts\.|_told|report\.|\bnow->|rounds|probes|live_add|reason|snprintf|note")
_OTHER_THINGS: Final = frozenset({"kernels.c", "live.c", "notices.c", "inlet_report.c", "outlet_report.c"})


@dataclass(frozen=True)
class Mutant:
    """Line ``number`` (from 0) of a file, and what stands there instead."""

    file: Path
    number: int
    before: str
    after: str

    def text(self) -> str:
        """The whole file with it."""
        lines = self.file.read_text().splitlines(keepends=True)
        lines[self.number] = self.after + "\n"
        return "".join(lines)


def mutants() -> Iterator[Mutant]:
    """All there are: a change of state, or a call for its effect, taken out; a truth turned round; a border moved."""
    for file in data_path():
        if file.name in _OTHER_THINGS:
            continue
        for number, line in enumerate(file.read_text().splitlines()):
            if _COUNTED.search(line):
                continue
            if _STATE.match(line) or _CALL.match(line):
                yield Mutant(file, number, line, "    ;")
            for old, new in (("true;", "false;"), ("false;", "true;"), (" < ", " <= "), (" > ", " >= "), (" + 1", "")):
                if old in line and "for (" not in line:
                    yield Mutant(file, number, line, line.replace(old, new, 1))


def main() -> int:
    """Exit status 0 when nine of ten are seen."""
    parser = argparse.ArgumentParser(prog="tests.simulation.mutate", description=__doc__)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=8, help="of simulation for each")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chosen = random.Random(arguments.seed).sample(list(mutants()), arguments.mutants)
    seen, built = 0, 0
    with tempfile.TemporaryDirectory() as directory:
        program = Program(Path(directory))
        whole = subprocess.run([str(program.build()), "200"], check=False, capture_output=True)
        assert whole.returncode == 0, "it fails without a mutant too"
        for mutant in chosen:
            try:
                program.replace(mutant.file, mutant.text())
                command = [str(program.link()), "1000000", "--seconds", str(arguments.seconds)]
                built += 1
                done = subprocess.run(command, check=False, capture_output=True, timeout=arguments.seconds + 120)
                caught = done.returncode != 0
            except subprocess.TimeoutExpired:
                caught = True
            except subprocess.CalledProcessError:
                continue  # it is no program any more
            finally:
                program.restore(mutant.file)
            seen += caught
            if not caught:
                place = f"{mutant.file.name}:{mutant.number + 1}"
                print(f"not seen: {place}: {mutant.before.strip()} -> {mutant.after.strip()}", flush=True)
    print(f"{seen} of {built} mutants seen")
    return 0 if seen >= 0.9 * built else 1


if __name__ == "__main__":
    raise SystemExit(main())
