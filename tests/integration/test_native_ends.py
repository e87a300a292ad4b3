"""`Inlet` and `Outlet` by themselves, on librdkafka's mock cluster: what the threads tell, and what is left of them."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from supervisor import kafka
from supervisor._framing import Inlet, Outlet, live, load
from tests.services.mock import PRODUCE, Mock
from tests.services.native import nothing_left
from tests.services.topics import Kafka

CONFIG = {
    "log_level": "0",
    "linger.ms": "5",
    "batch.size": "1000000",
    "message.timeout.ms": "0",
    "enable.idempotence": "true",
    "sticky.partitioning.linger.ms": "0",
}
MSG_SIZE_TOO_LARGE = 10
NOT_LEADER_OR_FOLLOWER = 6
NOT_ENOUGH_REPLICAS = 19
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
INVALID_PRODUCER_EPOCH = 47
UNKNOWN_PRODUCER_ID = 59


@pytest.fixture(autouse=True)
def native_memory() -> Iterator[None]:
    """No native object outlives its test."""
    yield
    nothing_left()


@pytest.fixture
def cluster() -> Iterator[Mock]:
    """A cluster of its own for each test."""
    load(kafka.librdkafka_path())
    mock = Mock("in", "out", "other")
    yield mock
    mock.close()


def an_outlet(cluster: Mock) -> Outlet:
    """Return one that has not run."""
    return Outlet(
        CONFIG | {"bootstrap.servers": cluster.bootstrap_servers},
        "workspace",
        output_json=False,
        max_line_bytes=1000,
        max_message_bytes=1_000_000,
        max_slab_bytes=4 << 20,
    )


class Running:
    """An outlet at work on a pipe; ``stdout`` is the pipe's other end."""

    def __init__(self, cluster: Mock, topic: str) -> None:
        self.outlet = an_outlet(cluster)
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        self.stdout = os.fdopen(write_fd, "wb", buffering=0)
        self.outlet.attach(read_fd)
        self.outlet.produce_to(topic)
        self._thread = threading.Thread(target=self.outlet.run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.outlet.stop(5.0)
        self._thread.join()
        self.stdout.close()

    def wait(self, counter: str, at_least: int) -> None:
        """Wait until a counter is there."""
        look = self.outlet.snapshot
        wait_for(lambda: look()[counter] >= at_least, f"{counter} {at_least}", 30.0, look)


def an_inlet(
    cluster: Mock,
    outlet: Outlet,
    topic: str = "in",
    ack_mode: str = "demand",
    *,
    commit_ahead: bool = False,
    max_in_flight_records: int = 1000,
    max_in_flight_bytes: int = 1 << 20,
) -> Inlet:
    """Return one that has not run."""
    return Inlet(
        CONFIG
        | {
            "log_level": "0",
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": "group",
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": "2000",  # the mock cluster waits nearly as long for members that join
            "heartbeat.interval.ms": "200",
            "enable.auto.offset.store": "false",
        },
        topic,
        outlet,
        max_in_flight_records=max_in_flight_records,
        max_in_flight_bytes=max_in_flight_bytes,
        feed_ahead_s=0.2,
        ack_idle_s=1.0,
        revoke_grace_s=1.0,
        input_newlines="space",
        ack_mode=ack_mode,
        commit_ahead=commit_ahead,
    )


def wait_for(
    condition: Callable[[], bool],
    what: str,
    deadline_s: float = 10.0,
    found: Callable[[], object] = lambda: "",
) -> None:
    """Wait until the condition holds; AssertionError saying what did not, and what was found instead."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s: {found()}"
        time.sleep(0.01)


def test_an_end_that_never_ran_takes_its_client_with_it(cluster: Mock) -> None:
    """A start that was broken off leaves no librdkafka thread that would work on freed memory."""

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = threads(), descriptors()
    outlet = an_outlet(cluster)
    inlet = an_inlet(cluster, outlet)
    assert threads() > before[0]
    del inlet
    del outlet
    # Clients that other tests left may end meanwhile: no more than before.
    wait_for(lambda: threads() <= before[0] and descriptors() <= before[1], "threads and descriptors as before")


def test_records_that_nobody_answers_go_back_with_their_inlet(cluster: Mock) -> None:
    """Every message taken is counted until the end of the inlet's thread, and none afterwards."""
    Kafka(cluster.bootstrap_servers).produce("in", [b"%d" % number for number in range(100)])
    outlet = an_outlet(cluster)
    inlet = an_inlet(cluster, outlet)
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    inlet.attach(write_fd, os.getpid())
    thread = threading.Thread(target=inlet.run, daemon=True)
    thread.start()
    wait_for(lambda: inlet.snapshot()["in_flight_records"] == 100, "100 records taken")
    held = live()
    assert (held["objects"], held["clients"], held["messages"]) == (2, 2, 100)
    inlet.stop(5.0)
    thread.join()
    os.close(read_fd)
    held = live()
    assert (held["objects"], held["clients"], held["messages"], held["lists"]) == (2, 1, 0, 0)


class Member:
    """An inlet at work, of which the test is the Calculator: it takes every line at once, and prints it to ``echo``."""

    def __init__(self, inlet: Inlet, echo: io.RawIOBase | None = None) -> None:
        self.inlet = inlet
        self._echo = echo
        self.stdin, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        inlet.attach(write_fd, os.getpid())
        self._thread = threading.Thread(target=inlet.run, daemon=True)
        self._thread.start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while read := os.read(self.stdin, 65536):
            if self._echo is not None:
                self._echo.write(read)

    def counter(self, name: str) -> int:
        """As it is now."""
        return self.inlet.snapshot()[name]

    def end(self) -> None:
        """Leave the group."""
        self.inlet.stop(5.0)
        self._thread.join()
        self.inlet.detach(finished=False)
        self._reader.join()
        os.close(self.stdin)


@pytest.mark.parametrize("commit_ahead", [False, True])
def test_records_of_a_lost_partition_are_not_counted_as_acknowledged(cluster: Mock, commit_ahead: bool) -> None:
    """Whoever has it now counts them: over the group each is counted once, late answers notwithstanding.

    With at-most-once each is its reader's for good.
    """
    total = 400
    cluster.create("shared", 4)
    for partition in range(4):
        Kafka(cluster.bootstrap_servers).produce("shared", [b"record"] * (total // 4), partition=partition)
    with Running(cluster, "out") as first_out, Running(cluster, "out") as second_out:
        first = Member(an_inlet(cluster, first_out.outlet, "shared", "line", commit_ahead=commit_ahead))
        wait_for(lambda: first.counter("lines_written") == total, "all lines written")
        second = Member(an_inlet(cluster, second_out.outlet, "shared", "line", commit_ahead=commit_ahead))
        wait_for(lambda: second.counter("assigned_partitions") > 0, "partitions for the second", 30.0)
        lost = 0 if commit_ahead else second_share(second, first, total)
        first_out.stdout.write(b"answer\n" * total)
        wait_for(lambda: first.counter("in_flight_records") == 0, "the first has nothing left")
        assert first.counter("acknowledged") == total - lost
        second_out.stdout.write(b"answer\n" * lost)
        wait_for(lambda: second.counter("in_flight_records") == 0, "the second has nothing left")
        assert second.counter("acknowledged") == lost
        first.end()
        second.end()


def test_an_inlet_that_is_made_beside_it_takes_no_wake_up_from_one_that_runs(cluster: Mock) -> None:
    """Not before it runs itself: with a small window each record waits until the inlet hears of a delivery."""
    total = 600
    Kafka(cluster.bootstrap_servers).produce("in", [b"record"] * total, partition=0)
    with Running(cluster, "out") as running:
        member = Member(an_inlet(cluster, running.outlet, "in", "line", max_in_flight_records=4), running.stdout)
        other = an_inlet(cluster, running.outlet, "other")
        wait_for(lambda: member.counter("acknowledged") > 0, "the flow begins", 30.0)
        began_s = time.monotonic()
        wait_for(lambda: member.counter("acknowledged") == total, "all acknowledged", 30.0)
        took_s = time.monotonic() - began_s
        del other
        member.end()
    # It looks by itself every 50 ms too, and would need 7 s for so many windows.
    assert took_s < 4, f"{took_s:.1f} s"


def switches_of(name: str) -> int:
    """How often the thread of this name in our process has gone to sleep."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            status = (task / "status").read_text()
            return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])
    raise AssertionError(f"there is no thread {name}")


def test_the_outlet_wakes_up_once_for_a_burst(cluster: Mock) -> None:
    """Not for each line that is gathered for it, and not for its delivery reports: some 200 bursts a second."""
    with Running(cluster, "out") as running:
        running.stdout.write(b"line\n")
        running.wait("lines_delivered", 1)
        before, end_s, sent = switches_of("outlet"), time.monotonic() + 2, 1
        while time.monotonic() < end_s:
            running.stdout.write(b"line\n")
            sent += 1
            time.sleep(0.001)
        woken = switches_of("outlet") - before
        running.wait("lines_delivered", sent)
    # It was 2300 times for as many lines as a quiet machine has time for.
    assert woken < 900, f"{woken} times for {sent} lines"


def second_share(second: Member, first: Member, total: int) -> int:
    """How many records the second got, when it has read to the end of what the first does not own any more."""
    share = total * second.counter("assigned_partitions") // 4
    assert first.counter("assigned_partitions") + second.counter("assigned_partitions") == 4
    wait_for(lambda: second.counter("lines_written") == share, f"{share} lines written by the second", 30.0)
    return share


def test_the_end_of_stdout_is_told_among_any_number_of_dropped_lines(cluster: Mock) -> None:
    """Nobody takes notices while 10,000 lines over the limit come: the notices of the end are there all the same."""
    with Running(cluster, "out") as running:
        running.stdout.write((b"x" * 1001 + b"\n") * 50)  # fits into the pipe
        feeder = threading.Thread(target=lambda: running.stdout.write((b"x" * 1001 + b"\n") * 9_950), daemon=True)
        feeder.start()
        running.wait("lines_oversize", 10_000)
        feeder.join()
        running.stdout.close()
    kinds = [kind for kind, _, _ in running.outlet.notices()]
    assert kinds[-2:] == ["stdout-ended", "closed"]
    assert running.outlet.snapshot()["notices_dropped"] > 0


def lines(first: int, count: int) -> bytes:
    """Numbered lines of a kilobyte."""
    return b"".join(b"%06d " % number + b"x" * 900 + b"\n" for number in range(first, first + count))


def values(cluster: Mock, topic: str, count: int) -> list[int]:
    """The numbers in a topic in order."""
    records = Kafka(cluster.bootstrap_servers).read(topic, count, partitions=[0])
    return [int(json.loads(record.value or b"")["raw"].split()[0]) for record in records]


@pytest.mark.parametrize("refusals", [1, 2, 4])
def test_refused_batches_keep_their_order(cluster: Mock, refusals: int) -> None:
    """A batch that is refused comes again in parts, in the order of its lines, however often parts are refused."""
    cluster.answer_with(PRODUCE, *[MSG_SIZE_TOO_LARGE] * refusals)
    with Running(cluster, "out") as running:
        running.stdout.write(lines(0, 50))
        running.wait("lines_delivered", 50)
    assert values(cluster, "out", 50) == list(range(50))


@pytest.mark.parametrize(
    "answers",
    [
        (OUT_OF_ORDER_SEQUENCE_NUMBER,),
        (0, OUT_OF_ORDER_SEQUENCE_NUMBER),
        (0, NOT_ENOUGH_REPLICAS, UNKNOWN_PRODUCER_ID),
        (OUT_OF_ORDER_SEQUENCE_NUMBER, 0, OUT_OF_ORDER_SEQUENCE_NUMBER),
    ],
)
def test_a_fatal_error_makes_a_new_client_that_gets_all_that_is_undelivered(
    cluster: Mock, answers: tuple[int, ...]
) -> None:
    """The idempotent producer gives up: what it had goes to the next one, in order, and is not lost.

    How often it gives up is librdkafka's to say: what was sent directly behind a refused request may be refused with
    either code without being the end, and whether anything was is a matter of milliseconds.
    """
    cluster.answer_with(PRODUCE, *answers)
    cluster.slow_down(20)  # so that more is gathered behind each request
    with Running(cluster, "out") as running:
        feeder = threading.Thread(target=lambda: running.stdout.write(lines(0, 4000)), daemon=True)
        feeder.start()
        running.wait("lines_delivered", 4000)
        feeder.join()
        counters = running.outlet.snapshot()
        fatal = [kind for kind, _, _ in running.outlet.notices()].count("fatal")
        assert counters["clients_renewed"] == fatal
        assert fatal >= (NOT_ENOUGH_REPLICAS not in answers)
        assert (counters["undelivered"], counters["lines_abandoned"]) == (0, 0)
    assert values(cluster, "out", 4000) == list(range(4000))


def test_an_epoch_that_is_refused_is_no_end(cluster: Mock) -> None:
    """The client takes another one by itself; what was refused comes again, in order."""
    cluster.answer_with(PRODUCE, 0, INVALID_PRODUCER_EPOCH, 0, UNKNOWN_PRODUCER_ID)
    with Running(cluster, "out") as running:
        feeder = threading.Thread(target=lambda: running.stdout.write(lines(0, 4000)), daemon=True)
        feeder.start()
        running.wait("lines_delivered", 4000)
        feeder.join()
        assert running.outlet.snapshot()["clients_renewed"] == 0
    assert values(cluster, "out", 4000) == list(range(4000))


def test_a_client_that_failed_and_has_nothing_under_way_is_renewed_too(cluster: Mock) -> None:
    """The one line it had is delivered by the next one, and so is the line after that."""
    cluster.answer_with(PRODUCE, OUT_OF_ORDER_SEQUENCE_NUMBER)
    with Running(cluster, "out") as running:
        running.stdout.write(lines(0, 1))
        running.wait("lines_delivered", 1)
        running.stdout.write(lines(1, 1))
        running.wait("lines_delivered", 2)
    assert values(cluster, "out", 2) == [0, 1]


@pytest.mark.parametrize("answers", [(OUT_OF_ORDER_SEQUENCE_NUMBER,), (0, OUT_OF_ORDER_SEQUENCE_NUMBER)])
def test_a_dead_letter_outlives_the_client_that_had_it(cluster: Mock, answers: tuple[int, ...]) -> None:
    """It alone was under way, or lines beside it: the next client sends it, and the line is done with."""
    cluster.answer_with(PRODUCE, *answers)
    cluster.slow_down(20)
    with Running(cluster, "out") as running:
        running.outlet.bury_in("other")
        for _ in answers:
            running.stdout.write(b"x" * 1001 + b"\n")
        running.wait("dead_letters_delivered", len(answers))
        running.stdout.write(lines(0, 1))
        running.wait("lines_delivered", 1)
        counters = running.outlet.snapshot()
        assert (counters["clients_renewed"], counters["dead_letters_waiting"]) == (1, 0)


def test_a_new_leader_gets_no_line_before_the_old_one_has_answered() -> None:
    """The old one stands still with a request in its hands, and refuses it in the end: its lines still come first."""
    load(kafka.librdkafka_path())
    mock = Mock("out", brokers=2)
    mock.lead("out", 1)
    mock.answer_late_with(1, PRODUCE, NOT_LEADER_OR_FOLLOWER, 3000)
    # It hears of another leader while the old one is silent: not over the connection that waits for the answer.
    soon = {"topic.metadata.refresh.interval.ms": "50", "enable.sparse.connections": "false"}
    CONFIG.update(soon)
    try:
        with Running(mock, "out") as running:
            running.stdout.write(lines(0, 10))
            wait_for(lambda: mock.errors_left(1, PRODUCE) == 0, "the old leader has the request")
            mock.lead("out", 2)
            running.stdout.write(lines(10, 10))
            running.wait("lines_delivered", 20)
        assert values(mock, "out", 20) == list(range(20))
    finally:
        for name in soon:
            del CONFIG[name]
        mock.close()


def test_no_thread_spins_while_a_request_is_under_way(cluster: Mock) -> None:
    """Lines come on while the broker takes its time: librdkafka has none of them to look at over and over."""
    cluster.slow_down(2000)
    with Running(cluster, "out") as running:
        running.stdout.write(lines(0, 10))
        wait_for(lambda: running.outlet.snapshot()["lines_read"] == 10, "the first lines are read")
        began_s, used_s = time.monotonic(), time.process_time()
        for number in range(10, 60):
            running.stdout.write(lines(number, 1))
            time.sleep(0.02)
        used_s = time.process_time() - used_s
        assert used_s < 0.4 * (time.monotonic() - began_s), f"{used_s:.2f} s of a core"
        assert running.outlet.snapshot()["lines_delivered"] == 0
        cluster.slow_down(0)
        running.wait("lines_delivered", 60)
    assert values(cluster, "out", 60) == list(range(60))


def test_lines_given_up_among_refused_ones_free_their_slabs(cluster: Mock) -> None:
    """Refused, half of it taken in parts, then abandoned: nothing of it holds up what comes behind."""
    cluster.answer_with(PRODUCE, MSG_SIZE_TOO_LARGE, 0, MSG_SIZE_TOO_LARGE)
    cluster.slow_down(20)  # a producer begins with a small window, which grows by round trips
    with Running(cluster, "out") as running:
        feeder = threading.Thread(target=lambda: running.stdout.write(lines(0, 2000)), daemon=True)
        feeder.start()
        wait_for(
            lambda: running.outlet.snapshot()["lines_delivered"] > 100 and running.outlet.snapshot()["undelivered"] > 0,
            "some are delivered, some are not",
        )
        running.outlet.hold()
        running.outlet.abandon()
        cluster.slow_down(0)
        wait_for(lambda: running.outlet.snapshot()["undelivered"] == 0, "given up")
        delivered = running.outlet.snapshot()["lines_delivered"]
        running.outlet.produce_to("other")
        feeder.join()
        feeder = threading.Thread(target=lambda: running.stdout.write(lines(10_000, 5000)), daemon=True)
        feeder.start()
        running.wait("lines_delivered", delivered + 5000)
        feeder.join()
    assert running.outlet.snapshot()["slab_bytes"] <= 4 << 20


def test_events_of_the_client_are_no_lines_on_their_way(cluster: Mock) -> None:
    """The topic can be changed at any moment at which no line is undelivered, statistics in the queue or not."""
    CONFIG["statistics.interval.ms"] = "1"
    try:
        with Running(cluster, "out") as running:
            for turn in range(1000):
                running.outlet.produce_to("other" if turn % 2 else "out")
    finally:
        del CONFIG["statistics.interval.ms"]
