"""Each kind of program, without Kafka: what is acknowledged is done, and what is done is acknowledged.

Some seconds a kind, two at a time; 100,000 acknowledgements of each: ``make matrix``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from .harness import NotRunError, Run, Workshop, run, workshop
from .kinds import KINDS, Promise

SECONDS, STEPS = 2.0, 5000
MORE_RUNS = 9
"""Of a kind for which nothing is promised, until one shows that."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A workshop whose driver is built from the rule that is tested."""
    directory: Path = tmp_path_factory.mktemp("matrix")
    directory.chmod(0o755)
    directory.parent.chmod(0o755)  # programs that become another user still have to be found
    with workshop(directory) as shop:
        shop.build_driver()
        yield shop


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, shop: Workshop) -> Iterator[Callable[[str], Run]]:
    """The runs of the kinds that were chosen: all begin when the first is asked for, two at a time."""
    names = [item.callspec.params["name"] for item in request.session.items if item.module is request.module]  # type: ignore[attr-defined]  # items are functions with parameters here
    seeds = random.SystemRandom()
    with ThreadPoolExecutor(2) as jobs:

        def one(name: str) -> Run:
            done = run(shop, KINDS[name], seed=seeds.randrange(1_000_000_000), steps=STEPS, seconds=SECONDS)
            for _ in range(MORE_RUNS if KINDS[name].promise is Promise.UNSAFE else 0):
                if not done.wrong:
                    break  # some weathers give it no occasion
                done = run(shop, KINDS[name], seed=seeds.randrange(1_000_000_000), steps=STEPS, seconds=SECONDS)
            return done

        begun: dict[str, Future[Run]] = {name: jobs.submit(one, name) for name in names}
        yield lambda name: begun[name].result()
        jobs.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_acknowledged_is_done(runs: Callable[[str], Run], name: str) -> None:
    """And all of it is acknowledged; of a kind for which nothing is promised, the harness sees that it is not so."""
    try:
        result = runs(name)
    except NotRunError as missing:
        pytest.skip(str(missing))
    print(result, result.text, sep="\n")
    assert not result.wrong
