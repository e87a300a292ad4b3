"""A short fault run of every mode with a fixed seed, and one with a fresh one; long ones: ``make soak``."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from .blows import draw
from .machine import Machine, Services
from .modes import MODES

RECORDS, KILLS, GAP_S = 30_000, 5, 0.4
WITH_EVERY_KIND = 2698  # of blow, but another outgoing topic: the order can be told


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Three brokers and an agent of our own."""
    with Services() as services:
        yield services


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", MODES)
def test_the_promise_of_each_mode_holds(services: Services, mode: str) -> None:
    """Nothing lost, doubled or out of order beyond what the mode allows, and everything committed in the end."""
    _run(services, mode, WITH_EVERY_KIND)


@pytest.mark.timeout(400)
def test_the_promise_holds_over_blows_never_seen(services: Services) -> None:
    """One mode, drawn with a fresh seed."""
    chance = random.SystemRandom()
    _run(services, chance.choice(list(MODES)), chance.randrange(1_000_000_000))


def _run(services: Services, mode: str, seed: int) -> None:
    print(f"{mode}, seed {seed}")
    machine = Machine(services, MODES[mode], draw(seed, records=RECORDS, kills=KILLS, gap_s=GAP_S), records=RECORDS)
    print(machine.run(), machine.summary(), sep="\n")
