"""Fixtures: the services, started once and only when a test asks for them, and names that no other test uses."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from tests.services.agent import Agent, Consul
from tests.services.broker import Cluster
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A cluster shared by all tests: the one KAFKA_DSN names, else a broker of our own."""
    running = os.environ.get("KAFKA_DSN")
    if running:
        yield Kafka(running)
        return
    with Cluster() as cluster:
        yield Kafka(cluster.bootstrap)


@pytest.fixture(scope="session")
def consul() -> Iterator[Consul]:
    """An agent shared by all tests: the one CONSUL_HTTP_ADDR names, else one of our own. To kill: ``Agent()``."""
    running = os.environ.get("CONSUL_HTTP_ADDR")
    if running:
        yield Consul(running, os.environ.get("CONSUL_HTTP_TOKEN"))
        return
    with Agent() as agent:
        yield agent


class Names:
    """Names that carry the test's name and belong to it alone."""

    def __init__(self, test: str) -> None:
        self._stem = f"{re.sub('[^a-z0-9]+', '-', test.lower()).strip('-')[:60]}-{uuid.uuid4().hex[:8]}"
        self.node_id = f"node-{self._stem}"
        self.group = f"group-{self._stem}"

    def topic(self, role: str) -> str:
        """A topic name for this role, the same each time."""
        return f"{self._stem}-{role}"


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    """This test's names."""
    return Names(request.node.name.removeprefix("test_"))


@pytest.fixture
def manager(consul: Consul, names: Names) -> Iterator[Manager]:
    """The platform's manager of this test's workspace."""
    manager = Manager(consul, names.node_id)
    yield manager
    manager.decommission()


@pytest.fixture
def persistence(kafka: Kafka) -> Callable[[str], Persistence]:
    """The platform's reader of dataframes, for a topic."""
    return lambda topic: Persistence(kafka, topic)


@pytest.fixture
def supervisor_process(request: pytest.FixtureRequest, names: Names) -> Iterator[Callable[..., Supervised]]:
    """Start a Supervisor for this test's workspace; it ends with the test, and a failed test shows its log.

    ``supervisor_process(command, env=..., kafka=..., consul=..., node_id=..., group=..., log_fd=..., prefix=...)``: the
    peers are the session's services unless given.
    """
    made: list[Supervised] = []

    def start(
        command: Sequence[str] = ("cat",),
        *,
        env: Mapping[str, str] | None = None,
        kafka: Kafka | None = None,
        consul: Consul | None = None,
        node_id: str = names.node_id,
        group: str = names.group,
        log_fd: int | None = None,
        prefix: Sequence[str] = (),
    ) -> Supervised:
        process = Supervised(
            command,
            node_id=node_id,
            group=group,
            kafka=kafka or request.getfixturevalue("kafka"),
            consul=consul or request.getfixturevalue("consul"),
            env=env,
            log_fd=log_fd,
            prefix=prefix,
        )
        made.append(process)
        return process.start()

    yield start
    for process in made:
        process.close()
        # pytest shows what a teardown prints only where the test failed.
        print(f"--- log of {process.node_id}, exit status {process.exit_status}\n{process.log_text(60)}")
