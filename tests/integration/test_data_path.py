"""The data path on a real broker: what becomes of each kind of record, line and route."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 15.0) -> None:
    """Wait until the condition holds; AssertionError saying what did not."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s"
        time.sleep(0.05)


def test_values_become_lines(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Newlines inside become spaces, one at the end is the line's own; empty values are lines, tombstones none."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"a\nb", b"c\n", b"", None, b"d\r", b"\n", b"end"])
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    frames = persistence(outgoing).read(6)
    assert [frame.value for frame in frames] == ["a b", "c", "", "d\r", "", "end"]
    kafka.wait_committed(names.group, incoming, 7)
    assert process.status()["inlet"]["tombstones"] == 1


def test_nothing_native_is_left_at_the_end(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Routes came and went, a Calculator died: librdkafka has everything back, and the log says so."""
    topics = [kafka.create_topic(names.topic(role)) for role in ("in", "out", "next-in", "next-out")]
    kafka.produce(topics[0], [b"%d" % number for number in range(1000)])
    kafka.produce(topics[2], [b"%d" % number for number in range(1000)])
    manager.route(topics[0], topics[1])
    process = supervisor_process(("cat",), env={"LOG_LEVEL": "debug"})
    persistence(topics[1]).read(1000)
    manager.route(topics[2], topics[3])
    persistence(topics[3]).read(1000)
    os.kill(process.status()["calculator_pid"], signal.SIGKILL)
    assert process.terminate() == 0
    end = process.wait_log("native memory at the end")
    assert end["level"] == "debug"
    assert {end[kind] for kind in ("objects", "clients", "queues", "topics", "lists", "messages", "slabs")} == {0}


def test_newlines_split_on_request(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """INPUT_NEWLINES=split hands the value over as it is."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"a\nb"])
    manager.route(incoming, outgoing)
    supervisor_process(("cat",), env={"INPUT_NEWLINES": "split"})
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["a", "b"]


def test_json_lines_are_embedded_and_others_sent_raw(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """OUTPUT_JSON embeds what is one JSON value byte for byte; everything else, and null, goes as raw."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    embedded = [b'{"a":  1.50, "b":[1e3,"\\u0416"]}', b"17", b'"text"', b" [ ] ", b"true", b"[" * 511 + b"]" * 511]
    raw = [b"null", b"no json", b'{"a":1} x', b"", b"NaN", b"\xff", b"[" * 512 + b"]" * 512, b"[1e400]", b"9" * 400]
    kafka.produce(incoming, embedded + raw)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env={"OUTPUT_JSON": "true"})
    values = [record.value or b"" for record in kafka.read(outgoing, len(embedded + raw))]
    for line, value in zip(embedded, values, strict=False):
        assert value.endswith(b',"parsed":' + line + b"}")
        assert "raw" not in json.loads(value)
    for line, value in zip(raw, values[len(embedded) :], strict=True):
        frame = json.loads(value)
        assert frame["raw"] == line.decode("utf-8", "replace")
        assert frame.get("parsed") is None
    assert process.status()["outlet"]["lines_not_json"] == len(raw) - 1
    process.wait_log("lines that are no JSON value were sent as raw")


def test_a_line_over_the_limit_is_dropped_and_said(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """MAX_LINE_BYTES: longer lines are dropped, counted and logged; the lines around them are not touched."""
    outgoing = kafka.create_topic(names.topic("out"))
    program = "print('x' * 1000); print('y' * 1001); print('z' * 5_000_000); print('end'); input()"
    manager.route(None, outgoing)
    process = supervisor_process(python(program), env={"MAX_LINE_BYTES": "1000"})
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["x" * 1000, "end"]
    process.wait_log("line over MAX_LINE_BYTES dropped", count=2)
    assert process.status()["outlet"]["lines_oversize"] == 2


def test_a_line_that_no_broker_takes_is_dropped_and_said(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """A line that is larger than message.max.bytes once it is escaped does not stop the ones behind it."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"before", b"\x01" * 500_000, b"after"])
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["before", "after"]
    assert process.wait_log("line dropped: the broker does not take it")["level"] == "error"
    kafka.wait_committed(names.group, incoming, 3)


def test_a_producer_has_no_incoming_stream(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Lines printed before there is a route wait for it; SIGTERM comes at once on a stop."""
    outgoing = kafka.create_topic(names.topic("out"))
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(0)))\n"
        "for i in range(1000): print(i)\n"
        "while True: time.sleep(60)"
    )
    process = supervisor_process(python(program), env={"SHUTDOWN_GRACEPERIOD": "20s"})
    process.wait_log("calculator running")
    manager.route(None, outgoing)
    assert [frame.value for frame in persistence(outgoing).read(1000)] == [str(i) for i in range(1000)]
    began_s = time.monotonic()
    assert process.terminate() == 0
    assert time.monotonic() - began_s < 5, "a producer gets SIGTERM at once, not at half of the grace"
    assert persistence(outgoing).read(1001)[-1].value == "bye"


def test_lines_are_spread_over_the_partitions(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Lines stay with a partition for some milliseconds, then go to any other: in time, each gets some."""
    outgoing = kafka.create_topic(names.topic("out"), 2)
    program = "import time\nfor i in range(60): print(i); time.sleep(0.02)\ntime.sleep(600)"
    manager.route(None, outgoing)
    supervisor_process(python(program))
    assert sorted(int(frame.value) for frame in persistence(outgoing).read(60)) == list(range(60))
    assert all(kafka.end_offsets(outgoing).values()), "by chance, once in 2 to the power of 58"


def test_a_consumer_has_no_outgoing_stream(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Without an outgoing stream lines are read and dropped, said once, and records are acknowledged all the same."""
    incoming = kafka.create_topic(names.topic("in"))
    kafka.produce(incoming, [b"%d" % number for number in range(5000)])
    manager.route(incoming, None)
    process = supervisor_process(("cat",))
    kafka.wait_committed(names.group, incoming, 5000)
    process.wait_log("the route has no outgoing stream: the Calculator's lines are read and dropped")
    assert process.status()["outlet"]["lines_discarded"] == 5000


def test_pause_stops_the_flow_and_not_the_calculator(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """pause_stream stops records, keeps the process, and lets them go on where they were."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    kafka.produce(incoming, [b"1"])
    persistence(outgoing).read(1)
    pid = process.status()["calculator_pid"]
    manager.route(incoming, outgoing, paused=True)
    manager.wait_adopted()
    kafka.produce(incoming, [b"2"])
    process.wait_log("relay paused")
    time.sleep(1.0)  # nothing is to happen: there is no event to wait for
    assert sum(kafka.end_offsets(outgoing).values()) == 1
    manager.route(incoming, outgoing)
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["1", "2"]
    assert process.status()["calculator_pid"] == pid


def test_routes_are_swapped_without_a_restart(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Incoming and outgoing topics change under a running Calculator; every record goes where its route said."""
    topics = {role: kafka.create_topic(names.topic(role)) for role in ("in1", "in2", "out1", "out2")}
    manager.route(topics["in1"], topics["out1"])
    process = supervisor_process(("cat",))
    kafka.produce(topics["in1"], [b"a%d" % number for number in range(1000)])
    persistence(topics["out1"]).read(1000)
    pid = process.status()["calculator_pid"]
    manager.route(topics["in1"], topics["out2"])
    manager.wait_adopted()
    kafka.produce(topics["in1"], [b"b%d" % number for number in range(1000)])
    persistence(topics["out2"]).read(1000)
    manager.route(topics["in2"], topics["out2"])
    manager.wait_adopted()
    kafka.produce(topics["in2"], [b"c%d" % number for number in range(1000)])
    lines = [frame.value for frame in persistence(topics["out2"]).read(2000)]
    assert lines == [f"b{number}" for number in range(1000)] + [f"c{number}" for number in range(1000)]
    assert len(persistence(topics["out1"]).read(1000)) == 1000
    assert process.status()["calculator_pid"] == pid
    kafka.wait_committed(names.group, topics["in1"], 2000)


def test_a_route_that_cannot_drain_restarts_the_calculator(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Records in flight past ADOPTION_GRACEPERIOD are replayed under the new route; none goes to a wrong topic."""
    incoming, out1, out2 = (kafka.create_topic(names.topic(role)) for role in ("in", "out1", "out2"))
    program = (
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        "    if line.startswith('slow'): time.sleep(3)\n"
        "    print(line, end='')"
    )
    manager.route(incoming, out1)
    process = supervisor_process(
        python(program), env={"ADOPTION_GRACEPERIOD": "300ms", "SHUTDOWN_GRACEPERIOD": "500ms"}
    )
    kafka.produce(incoming, [b"1"])
    persistence(out1).read(1)
    kafka.produce(incoming, [b"slow"])
    wait_for(lambda: process.status()["inlet"]["lines_written"] == 2, "the slow record is in the Calculator's hands")
    manager.route(incoming, out2)
    manager.wait_adopted()
    process.wait_log("records in flight were not done in time")
    assert [frame.value for frame in persistence(out2).read(1)] == ["slow"]
    assert [frame.value for frame in persistence(out1).read(1)] == ["1"]


def test_wrong_configuration_leaves_the_last_good_one_in_force(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """An illegal topic is refused with a failing check; records flow on by the route before."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    manager.wait_adopted()
    manager.route("no topic!", outgoing)
    wait_for(lambda: process.status()["checks"]["supervisor"]["status"] != "passing", "the check fails")
    assert "no topic!" in process.status()["checks"]["supervisor"]["output"]
    kafka.produce(incoming, [b"still"])
    assert persistence(outgoing).read(1)[0].value == "still"
    assert manager.adopted() != str(manager.version), "what is not in force is not reported"


def test_a_calculator_that_does_not_read_is_bounded(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """200 MB wait for a Calculator that reads one line: memory stays within the README's bound."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    reads_one = ("sh", "-c", "read -r line; exec sleep 600")
    process = supervisor_process(reads_one, env={"MAX_IN_FLIGHT_BYTES": "32MiB"})
    process.wait_ready()
    idle_bytes = process.memory_bytes("VmRSS")
    kafka.produce(incoming, (b"%d " % number + b"x" * 10_000 for number in range(20_000)))
    wait_for(lambda: process.status()["inlet"]["stdin_full"], "STDIN is full")
    time.sleep(2.0)  # what would grow goes on growing
    grown_bytes = process.memory_bytes("VmHWM") - idle_bytes
    # In flight, fetched ahead, one fetch more, and what the allocator keeps.
    assert grown_bytes < (32 + 16 + 50) * 2**20
    assert process.terminate() == 0


def test_idle_memory_and_stop_are_small(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """An idle Supervisor holds little memory, and stops as soon as its Calculator does."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env={"SHUTDOWN_GRACEPERIOD": "30s"})
    process.wait_ready()
    assert process.memory_bytes("VmRSS") < 66 * 2**20  # some 57, and what of its files happens to be in memory
    began_s = time.monotonic()
    assert process.terminate() == 0
    assert time.monotonic() - began_s < 5, "the grace is a bound, not a sleep"


@pytest.mark.parametrize("code", [0, 3])
def test_the_end_of_the_calculator_is_seen(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, code: int
) -> None:
    """A last line without newline counts after exit 0, and not after a failure; the Calculator is started again."""
    outgoing = kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys, time\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "if os.path.exists(marker): os.unlink(marker); print('second'); time.sleep(600)\n"
        f"open(marker, 'w').close(); print('first'); print('half', end=''); sys.stdout.flush(); sys.exit({code})"
    )
    manager.route(None, outgoing)
    process = supervisor_process(python(program))
    expected = ["first", "half", "second"] if code == 0 else ["first", "second"]
    assert [frame.value for frame in persistence(outgoing).read(len(expected))] == expected
    process.wait_log("calculator ended", status=f"exit status {code}")


@pytest.mark.parametrize("ack_mode", ["line", "marker"])
def test_a_change_of_both_topics_keeps_count(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, ack_mode: str
) -> None:
    """The Calculator goes on under a new inlet, which counts on from the lines that came, or the last marker."""
    topics = {role: kafka.create_topic(names.topic(role)) for role in ("in1", "in2", "out1", "out2")}
    kafka.produce(topics["in1"], [b"a%d" % number for number in range(1000)])
    kafka.produce(topics["in2"], [b"b%d" % number for number in range(1000)])
    manager.route(topics["in1"], topics["out1"])
    process = supervisor_process(("cat",), env={"ACK_MODE": ack_mode})
    assert len(persistence(topics["out1"]).read(1000)) == 1000
    pid = process.status()["calculator_pid"]
    manager.route(topics["in2"], topics["out2"])
    manager.wait_adopted()
    assert [f.value for f in persistence(topics["out2"]).read(1000)] == [f"b{number}" for number in range(1000)]
    kafka.wait_committed(names.group, topics["in1"], 1000)
    kafka.wait_committed(names.group, topics["in2"], 1000)
    assert process.status()["calculator_pid"] == pid
