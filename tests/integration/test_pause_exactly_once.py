"""A pause in `exactly-once` with markers: the open transaction ends, however long the pause is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]
EXACTLY_ONCE = {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "marker"}

# Prints each record at once, and takes a second over what a marker stands for.
SLOW_AT_MARKERS = (
    "import sys, time\n"
    "for line in sys.stdin:\n"
    "    if line.startswith('\\x1eBDZ-ACK '): time.sleep(1)\n"
    "    print(line, end='', flush=True)\n"
)


def test_a_pause_leaves_no_transaction_open(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Lines are in it whose marker is still to come: it is taken in the pause, and the records are committed."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("python3", "-u", "-c", SLOW_AT_MARKERS), env=EXACTLY_ONCE)
    process.wait_ready()
    pid = process.status()["calculator_pid"]
    for part in range(3):
        kafka.produce(incoming, [b"%d" % number for number in range(10 * part, 10 * part + 10)])
        process.wait_status(
            lambda status: status["outlet"]["transaction_open"] and status["outlet"]["lines_since_marker"] > 0,
            "lines without their marker are in the transaction",
        )
        manager.route(incoming, outgoing, paused=True)
        process.wait_status(lambda status: status["relay"] == "paused", "paused")
        process.wait_status(lambda status: not status["outlet"]["transaction_open"], "no transaction is open", 5.0)
        kafka.wait_committed(names.group, incoming, 10 * part + 10)
        assert process.status()["relay"] == "paused"
        manager.route(incoming, outgoing)
        process.wait_status(lambda status: status["relay"] == "flowing", "it goes on")
    assert process.status()["calculator_pid"] == pid
    assert process.status()["outlet"]["transactions_aborted"] == 0
    seen = Counter(frame.value for frame in persistence(outgoing).read(30))
    assert seen == {str(number): 1 for number in range(30)}
