"""A short fault run of every mode, with a fixed seed and a fresh one; ``python -m tests.faults`` makes long ones."""

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
@pytest.mark.parametrize("seed", [WITH_EVERY_KIND, None], ids=["fixed", "fresh"])
@pytest.mark.parametrize("mode", MODES)
def test_the_promise_holds(services: Services, mode: str, seed: int | None) -> None:
    """Nothing lost, doubled or out of order beyond what the mode allows, and everything committed in the end."""
    seed = random.SystemRandom().randrange(1_000_000_000) if seed is None else seed
    print(f"{mode}, seed {seed}")
    machine = Machine(services, MODES[mode], draw(seed, records=RECORDS, kills=KILLS, gap_s=GAP_S), records=RECORDS)
    print(machine.run(), machine.summary(), sep="\n")
