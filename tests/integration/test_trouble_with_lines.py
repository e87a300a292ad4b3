"""Lines that a topic refuses, that come unasked, that have no end: none is lost, none invented, nothing hangs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]


CHANGED = "values with newlines inside, or like a marker, were written with spaces instead (INPUT_NEWLINES)"
NUL = "lines with a NUL character were sent, with it as \\u0000"


def test_a_topic_that_refuses_whole_batches_gets_every_record_it_can_take(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """max.message.bytes bounds a batch: a refused one comes again in parts, only a record too large is dropped."""
    incoming = kafka.create_topic(names.topic("in"))
    outgoing = kafka.create_topic(names.topic("out"), max_message_bytes="50000")
    values = [b"%d " % number + b"x" * 500 for number in range(20_000)]
    values[10_000] = b"y" * 60_000
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    frames = persistence(outgoing).read(len(values) - 1)
    expected = {value.decode() for value in values} - {values[10_000].decode()}
    assert {frame.value for frame in frames} == expected
    assert len(frames) == len(expected), "none is doubled"
    process.wait_log("line dropped: the broker does not take it")
    kafka.wait_committed(names.group, incoming, len(values))
    assert process.status()["outlet"]["lines_unproducible"] == 1


def test_a_dropped_half_line_holds_no_acknowledgement_up(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """The Calculator dies in the middle of a line; the next run prints nothing, and its records are committed."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "line = sys.stdin.readline()\n"
        "if not os.path.exists(marker): open(marker, 'w').close(); print('half', end=''); sys.exit(3)\n"
        "os.unlink(marker)\n"
        "for line in sys.stdin: pass"
    )
    kafka.produce(incoming, [b"1", b"2"])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(program))
    process.wait_log("unfinished last line dropped")
    kafka.wait_committed(names.group, incoming, 2)
    assert sum(kafka.end_offsets(outgoing).values()) == 0, "half a line is no record"


def test_lines_that_come_unasked_do_not_stop_a_change_of_route(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """A Calculator that prints all the time between its answers: each change of route is adopted, nothing ends."""
    incoming, out1, out2 = (kafka.create_topic(names.topic(role)) for role in ("in", "out1", "out2"))
    program = (
        "import os, sys, threading, time\n"
        "def chatter():\n"
        "    while True: os.write(1, b'unasked\\n'); time.sleep(0.0005)\n"
        "threading.Thread(target=chatter, daemon=True).start()\n"
        "while line := os.read(0, 4096): os.write(1, line)"
    )
    manager.route(incoming, out1)
    process = supervisor_process(
        python(program), env={"ADOPTION_GRACEPERIOD": "1s", "SHUTDOWN_GRACEPERIOD": "1s", "ACK_IDLE": "10ms"}
    )
    kafka.produce(incoming, [b"first"])
    for outgoing in (out2, out1) * 4:
        manager.route(incoming, outgoing)
        manager.wait_adopted()
        assert process.exit_status is None
    kafka.produce(incoming, [b"last"])
    kafka.wait_committed(names.group, incoming, 2)
    assert process.terminate() == 0
    assert "last" in {frame.value for frame in persistence(out1).read(1)}


def test_a_route_whose_outgoing_topic_takes_nothing_can_be_corrected(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """The old topic never takes the lines and everything is full of them: the records come out under the new route."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "first = not os.path.exists(marker)\n"
        "open(marker, 'w').close()\n"
        "for line in sys.stdin:\n"
        "    for number in range(500 if first else 0): print('x' * 100_000)\n"
        "    print(line, end='')"
    )
    manager.route(incoming, names.topic("missing"))
    process = supervisor_process(
        python(program), env={"ADOPTION_GRACEPERIOD": "300ms", "SHUTDOWN_GRACEPERIOD": "500ms"}
    )
    kafka.produce(incoming, [b"1", b"2"])
    process.wait_started()
    process.wait_status(lambda status: status["outlet"]["output_full"], "the outgoing side is full")
    manager.route(incoming, outgoing)
    manager.wait_adopted(deadline_s=30)
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["1", "2"]


def test_half_a_line_is_no_record_while_another_process_may_end_it(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """The Calculator ends in order, a process it left holds its STDOUT: its last line has no end."""
    outgoing = kafka.create_topic(names.topic("out"))
    program = (
        "import os, subprocess, sys, time\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "if os.path.exists(marker): os.unlink(marker); print('second'); time.sleep(600)\n"
        "open(marker, 'w').close(); print('first'); print('half', end='')\n"
        "subprocess.Popen(['sleep', '8'], start_new_session=True, stdin=subprocess.DEVNULL)"
    )
    manager.route(None, outgoing)
    process = supervisor_process(python(program))
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["first", "second"]
    process.wait_log("the Calculator's STDOUT is held open by a process that outlived it; closed")


def test_a_value_of_newlines_alone_is_written_without_pauses(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Each newline inside a value is a piece of its own to write: there are many, and nothing waits between them."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"a" + b"\n" * 700_000 + b"b"])
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    process.wait_ready()
    assert persistence(outgoing).read(1, deadline_s=10)[0].value == "a" + " " * 700_000 + "b"


@pytest.mark.parametrize("ends", [True, False])
def test_the_rest_of_a_line_over_the_limit_is_never_a_line(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, ends: bool
) -> None:
    """A Calculator dies in or behind a line over MAX_LINE_BYTES: nothing of it comes out."""
    outgoing = kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys, time\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "if os.path.exists(marker): os.unlink(marker); print('second'); time.sleep(600)\n"
        "open(marker, 'w').close(); print('first'); print('y' * 5_000_000, end='')\n"
        f"print('y' * 5_000_000 + {json.dumps(chr(10) if ends else '')}, end='')"
    )
    manager.route(None, outgoing)
    process = supervisor_process(python(program), env={"MAX_LINE_BYTES": "1000"})
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["first", "second"]
    assert process.status()["outlet"]["lines_oversize"] == 1


def test_what_does_not_go_through_as_it_came_is_said(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Newlines inside a value (Protobuf and Avro have them anywhere), and NUL characters in a line."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    process.wait_ready()
    values = [b"\x08\n\x12\x05", b"a\n\nb", b"two\0of\0them", b"plain", b"with its own\n", b"\0", b'"quoted" text']
    kafka.produce(incoming, values * 10)
    kafka.wait_committed(names.group, incoming, 70)
    assert process.wait_log(CHANGED)["total"] <= 20
    assert process.wait_log(NUL)["total"] <= 20
    process.wait_status(
        lambda status: (status["inlet"]["values_changed"], status["outlet"]["lines_with_nul"]) == (20, 20), "counted"
    )
    check = process.status()["checks"]["supervisor"]
    assert check["status"] == "passing"
    assert "20 values with newlines inside or like a marker were written with spaces instead" in check["output"]
    assert "20 lines of the Calculator had a NUL character" in check["output"]
    metrics = process.http("/metrics")[1]
    assert f'supervisor_changed_values_total{{topic="{incoming}"}} 20' in metrics
    assert "supervisor_lines_with_nul_total 20" in metrics
    assert [frame.value for frame in Persistence(kafka, outgoing).read(70)][:2] == ["\x08 \x12\x05", "a  b"]
