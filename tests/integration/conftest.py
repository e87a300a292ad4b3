"""The Supervisor without peers, in the two places a container gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from tests.conftest import Names
from tests.services.pid1 import AsPid1
from tests.services.supervised import Supervised

PLACES: dict[str, type[Supervised]] = {"pid-1": AsPid1, "subreaper": Supervised}


@pytest.fixture
def lonely(names: Names) -> Iterator[Callable[..., Supervised]]:
    """``lonely(place, command, env=..., prefix=...)`` starts a Supervisor whose Kafka and Consul do not answer.

    ``place`` is "pid-1" (of a PID namespace) or "subreaper" (an ordinary process).
    """
    made: list[Supervised] = []

    def start(
        place: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Supervised:
        process = PLACES[place](command, node_id=names.node_id, env=env, prefix=prefix)
        made.append(process)
        return process.start()

    yield start
    for process in made:
        process.close()
        print(f"--- log of {process.node_id}, exit status {process.exit_status}\n{process.log_text(60)}")
