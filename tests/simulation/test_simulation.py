"""The data path against models of librdkafka, the brokers and the Calculator, in virtual time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .build import FRAMING, Program

SEEDS = 1000  # some 70 million events; new ones: make simulate
DEFECT_SECONDS = 60  # at most, until one is seen: most are within two


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program, built."""
    program = Program(tmp_path_factory.mktemp("simulation"))
    program.build()
    return program


def simulate(program: Program, *, seeds: int, seconds: int = 0) -> subprocess.CompletedProcess[str]:
    """So many runs, for no longer than these seconds if there is a number, until one breaks a promise."""
    command = [str(program.path), str(seeds), "--seconds", str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_seed_replays_exactly(program: Program) -> None:
    """Whatever failed can be looked at again."""
    command = [str(program.path), "1", "--from", "7", "--loud"]
    traces = [subprocess.run(command, capture_output=True, check=True).stderr for _ in range(2)]
    assert traces[0] == traces[1]
    assert traces[0]


@pytest.mark.timeout(400)
def test_promises_hold(program: Program) -> None:
    """In every mode, with kills, rebalances and errors; a run that fails says its seed."""
    done = simulate(program, seeds=SEEDS)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@contextmanager
def defect(program: Program, file: str, before: str, after: str) -> Iterator[None]:
    """Build it with this in place of that."""
    source = FRAMING / file
    text = source.read_text()
    assert before in text, "the defect has nowhere to be put any more"
    program.replace(source, text.replace(before, after, 1))
    program.link()
    yield
    program.restore(source)
    program.link()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        # A record is done when its lines are delivered, not when the Calculator came back.
        ("ack_demand.c", "progress_written(s->progress)", "progress_delivered(s->progress)", "it is lost"),
        # Lines of records that another instance handles too are in the transaction.
        ("commit_exactly_once.c", "s->transaction.abort_owed = true;", ";", "came out twice"),
        # What is written before its commit is confirmed is written again after a kill.
        (
            "commit_at_most_once.c",
            "max_i64(unfinished, s->ahead.committed)",
            "max_i64(unfinished, s->ledger.tail)",
            "was written twice",
        ),
    ],
)
def test_a_defect_is_seen(program: Program, file: str, before: str, after: str, said: str) -> None:
    """Put into the data path, each makes it fail with the right words."""
    with defect(program, file, before, after):
        done = simulate(program, seeds=100_000, seconds=DEFECT_SECONDS)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
