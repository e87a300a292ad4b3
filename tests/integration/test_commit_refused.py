"""PROCESSING_GUARANTEE=at-most-once where commits are refused: nothing is written before it is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Names
from tests.services.mock import Mock
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
AT_MOST_ONCE = {"PROCESSING_GUARANTEE": "at-most-once"}
OFFSET_COMMIT, OFFSET_METADATA_TOO_LARGE = 8, 12


@pytest.fixture
def mock(names: Names) -> Iterator[Mock]:
    """A mock cluster whose answers can be chosen."""
    mock = Mock(names.topic("in"), names.topic("out"))
    yield mock
    mock.close()


def test_what_could_not_be_committed_is_not_written(
    mock: Mock, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """The commit is refused for a while, and no newer record comes: the same offsets are committed again first."""
    kafka = Kafka(mock.bootstrap_servers)
    mock.answer_with(OFFSET_COMMIT, *[OFFSET_METADATA_TOO_LARGE] * 3)
    kafka.produce(names.topic("in"), [b"once"], enable_idempotence=False)
    manager.route(names.topic("in"), names.topic("out"))
    process = supervisor_process(("cat",), kafka=kafka, env=AT_MOST_ONCE)
    process.wait_counter("inlet", "lines_written", 1)
    assert kafka.committed(names.group, names.topic("in")) == {0: 1}, "written, so it was committed before"
