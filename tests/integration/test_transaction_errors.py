"""The error classes of the producer's transaction API, injected into a mock cluster while records flow.

What a class prescribes is librdkafka's: a retriable error is gone through in silence, an abortable one costs the
transaction and nothing else, after a fatal one only a new client goes on. The mock cluster keeps no offsets of
transactions, and aborted lines may stay readable, so that the last occurrence of each line is the one that counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import pytest

from tests.services.mock import (
    ADD_OFFSETS_TO_TXN,
    ADD_PARTITIONS_TO_TXN,
    END_TXN,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    MockProcess,
)
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
EXACTLY_ONCE = {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line", "RESTART_BACKOFF_MAX": "100ms"}
SMOOTHLY = {"KAFKA_OPTIONS": "fetch.wait.max.ms=10"}  # the mock cluster answers no fetch sooner
ABORTED = "transaction aborted; its records will be written again"

CONNECTION_LOST = -195  # no answer comes

NOT_LEADER_OR_FOLLOWER = 6
COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND = 19, 20
ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID = 22, 25
TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED = 29, 30, 31
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING = 47, 48, 49
CONCURRENT_TRANSACTIONS, TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 51, 53
UNKNOWN_PRODUCER_ID, FENCED_INSTANCE_ID, PRODUCER_FENCED = 59, 82, 90

RETRIABLE = [
    (ADD_PARTITIONS_TO_TXN, CONCURRENT_TRANSACTIONS, CONCURRENT_TRANSACTIONS, COORDINATOR_LOAD_IN_PROGRESS),
    (ADD_PARTITIONS_TO_TXN, NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE),
    (ADD_PARTITIONS_TO_TXN, CONNECTION_LOST),
    (PRODUCE, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND),
    (ADD_OFFSETS_TO_TXN, COORDINATOR_LOAD_IN_PROGRESS, CONCURRENT_TRANSACTIONS),
    (ADD_OFFSETS_TO_TXN, NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE),
    (ADD_OFFSETS_TO_TXN, CONNECTION_LOST),
    (TXN_OFFSET_COMMIT, COORDINATOR_LOAD_IN_PROGRESS, CONCURRENT_TRANSACTIONS, COORDINATOR_LOAD_IN_PROGRESS),
    (TXN_OFFSET_COMMIT, NOT_COORDINATOR),
    (TXN_OFFSET_COMMIT, CONNECTION_LOST),
    (END_TXN, COORDINATOR_LOAD_IN_PROGRESS, *[CONCURRENT_TRANSACTIONS] * 4),  # longer than a call takes
    (END_TXN, NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE),
    (END_TXN, CONNECTION_LOST),
]
ABORTABLE = [
    (ADD_PARTITIONS_TO_TXN, TOPIC_AUTHORIZATION_FAILED),
    (ADD_PARTITIONS_TO_TXN, INVALID_PRODUCER_ID_MAPPING),
    (ADD_PARTITIONS_TO_TXN, UNKNOWN_PRODUCER_ID),
    (PRODUCE, UNKNOWN_PRODUCER_ID),
    (PRODUCE, INVALID_TXN_STATE),
    (ADD_OFFSETS_TO_TXN, GROUP_AUTHORIZATION_FAILED),
    (ADD_OFFSETS_TO_TXN, INVALID_PRODUCER_ID_MAPPING),
    (TXN_OFFSET_COMMIT, ILLEGAL_GENERATION),
    (TXN_OFFSET_COMMIT, UNKNOWN_MEMBER_ID),
    (TXN_OFFSET_COMMIT, FENCED_INSTANCE_ID),
    (TXN_OFFSET_COMMIT, GROUP_AUTHORIZATION_FAILED),
    (END_TXN, INVALID_PRODUCER_ID_MAPPING),
    (END_TXN, UNKNOWN_PRODUCER_ID),
]
FATAL = [
    (ADD_PARTITIONS_TO_TXN, INVALID_PRODUCER_EPOCH),
    (ADD_PARTITIONS_TO_TXN, PRODUCER_FENCED),
    (ADD_PARTITIONS_TO_TXN, INVALID_TXN_STATE),
    (ADD_PARTITIONS_TO_TXN, TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    (PRODUCE, INVALID_PRODUCER_EPOCH),
    (PRODUCE, OUT_OF_ORDER_SEQUENCE_NUMBER),
    (ADD_OFFSETS_TO_TXN, INVALID_PRODUCER_EPOCH),
    (ADD_OFFSETS_TO_TXN, INVALID_TXN_STATE),
    (TXN_OFFSET_COMMIT, INVALID_PRODUCER_EPOCH),
    (TXN_OFFSET_COMMIT, INVALID_PRODUCER_ID_MAPPING),
    (TXN_OFFSET_COMMIT, TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    (END_TXN, INVALID_PRODUCER_EPOCH),
    (END_TXN, PRODUCER_FENCED),
    (END_TXN, INVALID_TXN_STATE),
    (END_TXN, CLUSTER_AUTHORIZATION_FAILED),
]


class Cost(NamedTuple):
    """What an error takes away."""

    aborts: int
    renewals: int
    restarts: int


class Stand:
    """A Supervisor on a mock cluster, and a record every other millisecond."""

    def __init__(self, mock: MockProcess, kafka: Kafka, process: Supervised) -> None:
        self.process = process
        self._mock = mock
        self._kafka = kafka
        self._sent = 0
        self._enough = threading.Event()
        self._feeder = threading.Thread(target=lambda: kafka.produce("in", self._records()), daemon=True)

    def __enter__(self) -> Self:
        self.process.wait_ready()
        self._feeder.start()
        self._wait_commits(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._feeder.join()

    def _records(self) -> Iterator[bytes]:
        while not self._enough.wait(0.002):
            yield b"%d" % self._sent
            self._sent += 1

    def inject(self, request: int, *errors: int) -> None:
        """Let the Supervisor's next requests of this kind meet these errors."""
        if request == PRODUCE:  # the feeder makes such requests too
            self._mock.answer_for_topic("out", request, *errors)
        else:
            self._mock.answer_with(request, *errors)

    def cost(self, request: int, *errors: int) -> Cost:
        """Inject them, wait until the flow has gone over them, and return what that took."""
        before = self._cost_so_far()
        self.inject(request, *errors)
        self._wait_commits(self.process.status()["outlet"]["transactions_committed"])
        return Cost(*(now - then for now, then in zip(self._cost_so_far(), before, strict=True)))

    def _cost_so_far(self) -> Cost:
        status = self.process.status()
        outlet = status["outlet"]
        return Cost(outlet["transactions_aborted"], outlet["clients_renewed"], status["restarts"])

    def _wait_commits(self, before: int) -> None:
        # A transaction makes every kind of request; the one that is open may have made it before the error was there.
        self.process.wait_counter("outlet", "transactions_committed", before + 2, deadline_s=20)

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log that say this."""
        return [line for line in self.process.events if line["event"] == event]

    def everything_arrived(self) -> None:
        """All records are acknowledged by their transaction's commit, and their lines are there, in their order."""
        self._enough.set()
        self._feeder.join()
        self.process.wait_counter("inlet", "acknowledged", self._sent)
        last: dict[int, int] = {}
        for place, frame in enumerate(Persistence(self._kafka, "out").read()):
            last[int(frame.value)] = place
        missing = set(range(self._sent)) - set(last)
        assert not missing, f"{len(missing)} records are acknowledged and not there: {sorted(missing)[:10]}"
        assert sorted(last, key=last.__getitem__) == list(range(self._sent)), "out of order"


@pytest.fixture
def stand(manager: Manager, supervisor_process: Start) -> Iterator[Stand]:
    """Records that flow, in `exactly-once`."""
    manager.route("in", "out")
    with MockProcess("in", "out") as mock:
        kafka = Kafka(mock.bootstrap_servers)
        process = supervisor_process(("cat",), kafka=kafka, env=EXACTLY_ONCE | SMOOTHLY)
        with Stand(mock, kafka, process) as stand:
            yield stand


def test_retriable_errors_are_gone_through(stand: Stand) -> None:
    """No transaction, no client and no run of the Calculator is lost."""
    costs = {case: stand.cost(*case) for case in RETRIABLE}
    assert {case: cost for case, cost in costs.items() if any(cost)} == {}
    stand.everything_arrived()


def test_abortable_errors_cost_the_transaction(stand: Stand) -> None:
    """The client stays; the Calculator is restarted, because it has printed lines that do not count."""
    costs = {case: stand.cost(*case) for case in ABORTABLE}
    # What is behind a request that was refused is out of order, and fails once more.
    twice = (PRODUCE, INVALID_TXN_STATE)
    assert costs.pop(twice).renewals == 0
    assert {case: cost for case, cost in costs.items() if cost != Cost(1, 0, 1)} == {}
    assert {error for _, error in ABORTABLE} <= {line["code"] for line in stand.said(ABORTED)}
    stand.everything_arrived()


def test_fatal_errors_cost_the_client(stand: Stand) -> None:
    """A new one goes on."""
    costs = {case: stand.cost(*case) for case in FATAL}
    assert {case: cost for case, cost in costs.items() if cost != Cost(1, 1, 1)} == {}
    assert len(stand.said(ABORTED)) == len([line for line in stand.said("kafka error") if line["fatal"]]) == len(FATAL)
    stand.everything_arrived()


def test_a_new_client_meets_errors_too(stand: Stand) -> None:
    """Before it has a transaction there is nothing to abort, and the Calculator need not be restarted."""
    stand.inject(INIT_PRODUCER_ID, COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS)
    assert stand.cost(END_TXN, INVALID_TXN_STATE) == Cost(1, 1, 1)
    for error in (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED, PRODUCER_FENCED):
        stand.inject(INIT_PRODUCER_ID, error)
        assert stand.cost(END_TXN, INVALID_TXN_STATE) == Cost(1, 2, 1)
    stand.everything_arrived()
