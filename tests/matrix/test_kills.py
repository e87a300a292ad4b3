"""Each kind that is promised something, with Kafka: SIGKILL of the Calculator, then of the Supervisor, under load.

Two kills a kind, some kinds at a time; thirty: ``make soak``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.services.agent import Consul
from tests.services.topics import Kafka

from .harness import NotRunError, workshop
from .kills import kill_run
from .kinds import KINDS, Promise

KILLS, AT_A_TIME = 2, 6
PROMISED = [name for name, kind in KINDS.items() if kind.promise is not Promise.UNSAFE]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kafka: Kafka, consul: Consul
) -> Iterator[Callable[[str], tuple[str, str]]]:
    """(what is wrong, what was said) of the kinds that were chosen: all begin when the first is asked for."""
    names = [item.callspec.params["name"] for item in request.session.items if item.module is request.module]  # type: ignore[attr-defined]  # items are functions with parameters here
    seeds = random.SystemRandom()
    directory: Path = tmp_path_factory.mktemp("matrix")
    for folder in (directory, directory.parent):
        folder.chmod(0o755)  # programs that become another user still have to be found
    with workshop(directory) as shop, ThreadPoolExecutor(AT_A_TIME) as jobs:

        def one(name: str) -> tuple[str, str]:
            said: list[str] = []
            seed = seeds.randrange(1_000_000_000)
            wrong = kill_run(kafka, consul, shop, KINDS[name], kills=KILLS, seed=seed, say=said.append)
            return wrong, "\n".join(said)

        begun: dict[str, Future[tuple[str, str]]] = {name: jobs.submit(one, name) for name in names}
        yield lambda name: begun[name].result()
        jobs.shutdown(cancel_futures=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROMISED)
def test_kills_lose_nothing(runs: Callable[[str], tuple[str, str]], name: str) -> None:
    """What is committed has come out, and all of it is in the end."""
    try:
        wrong, said = runs(name)
    except NotRunError as missing:
        pytest.skip(str(missing))
    print(said)
    assert not wrong
