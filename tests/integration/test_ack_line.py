"""ACK_MODE=line on a real broker: one line out for each line in, in order, acknowledges record by record."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]
LINE = {"ACK_MODE": "line", "RESTART_BACKOFF_MAX": "200ms"}


def test_records_flow_and_are_committed(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Tombstones have no line and are passed over; empty values have one."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"), 2)
    values = [b"" if number % 7 == 0 else None if number % 5 == 0 else b"%d" % number for number in range(50_000)]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=LINE)
    expected = Counter(value.decode() for value in values if value is not None)
    assert Counter(frame.value for frame in persistence(outgoing).read(expected.total())) == expected
    kafka.wait_committed(names.group, incoming, len(values))
    assert process.status()["inlet"]["protocol_violations"] == 0


def test_a_split_value_has_several_lines(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """INPUT_NEWLINES=split: a record is acknowledged with the last of its lines."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"a\nb\n", b"\n\n", b"c"])
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=LINE | {"INPUT_NEWLINES": "split"})
    assert [frame.value for frame in persistence(outgoing).read(5)] == ["a", "b", "", "", "c"]
    kafka.wait_committed(names.group, incoming, 3)
    assert process.status()["inlet"]["protocol_violations"] == 0


def test_a_program_that_reads_everything_first_loses_nothing(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """It takes lines and keeps them for long: `demand` would acknowledge them, `line` waits for its answers."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    # A worker thread answers, while the main thread asks for more at once.
    program = (
        "import queue, sys, threading, time\n"
        "work = queue.Queue()\n"
        "def answer():\n"
        "    while True: line = work.get(); time.sleep(0.0005); print(line, end='', flush=True)\n"
        "threading.Thread(target=answer, daemon=True).start()\n"
        "for line in sys.stdin: work.put(line)\n"
        "while not work.empty(): time.sleep(0.01)"
    )
    kafka.produce(incoming, [b"%d" % number for number in range(3000)])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(program), env=LINE)
    for count in (300, 900):
        process.wait_counter("inlet", "acknowledged", count)
        pid = process.status()["calculator_pid"]
        os.kill(pid, signal.SIGKILL)
        process.wait_log("calculator ended", pid=pid)
    kafka.wait_committed(names.group, incoming, 3000, deadline_s=30)
    seen = Counter(int(frame.value) for frame in persistence(outgoing).read(3000))
    assert set(seen) == set(range(3000)), "none is lost"
    assert max(seen.values()) == 1, "a whole line that came out answers its record: none is doubled"


@pytest.mark.parametrize("program", ["sed", "awk"])
def test_a_line_too_many_is_said_and_nothing_is_lost(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, program: str
) -> None:
    """One stray line: both counts are logged, the run ends as a failure, its records are written again."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    marker = f"/tmp/{names.node_id}"
    stray = f"test -e {marker} || {{ touch {marker}; echo stray; }}; "
    rest = {"sed": "exec sed -u s/x/y/", "awk": "while read -r line; do echo $line; done"}[program]
    kafka.produce(incoming, [b"%d x" % number for number in range(100)])
    manager.route(incoming, outgoing)
    process = supervisor_process(("sh", "-c", stray + rest), env=LINE)
    said = process.wait_log("the Calculator broke the rule of ACK_MODE=line, one line out for each line in")
    assert "lines came out for" in said["why"]
    kafka.wait_committed(names.group, incoming, 100)
    values = {frame.value.split()[0] for frame in persistence(outgoing).read(100)}
    assert values >= {str(number) for number in range(100)}
    assert process.wait_log("calculator ended", status="killed by SIGKILL")
    os.unlink(marker)  # noqa: PTH108


def test_a_missing_line_is_said_and_nothing_is_lost(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """A Calculator that swallows a line and waits for more: said with both counts, and restarted."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "for line in sys.stdin:\n"
        "    if line == '7\\n' and not os.path.exists(marker): open(marker, 'w').close(); continue\n"
        "    print(line, end='')"
    )
    kafka.produce(incoming, [b"%d" % number for number in range(10)])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(program), env=LINE | {"ACK_IDLE": "200ms"})
    said = process.wait_log("the Calculator broke the rule of ACK_MODE=line, one line out for each line in")
    assert said["why"].startswith("9 lines came out for 10 written")
    kafka.wait_committed(names.group, incoming, 10)
    # What was swallowed in silence cannot be told from a late answer: the others' answers count for it.
    assert {frame.value for frame in persistence(outgoing).read(10)} >= {str(n) for n in range(10)} - {"7"}


def test_half_a_line_answers_nothing(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """A Calculator that dies in the middle of a line: the record is written again, the half is no record."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "for line in sys.stdin:\n"
        "    if line == '7\\n' and not os.path.exists(marker):\n"
        "        open(marker, 'w').close(); print('hal', end=''); sys.stdout.flush(); os._exit(1)\n"
        "    print(line, end='', flush=True)"
    )
    kafka.produce(incoming, [b"%d" % number for number in range(10)])
    manager.route(incoming, outgoing)
    supervisor_process(python(program), env=LINE)
    assert [frame.value for frame in persistence(outgoing).read(10)] == [str(number) for number in range(10)]
    kafka.wait_committed(names.group, incoming, 10)


def test_a_split_value_larger_than_the_pipe_breaks_no_rule(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """INPUT_NEWLINES=split: its first lines are answered before the rest is written, also by a run that ends there."""
    incoming = kafka.create_topic(names.topic("in"), max_message_bytes="8000000")
    outgoing, dead = kafka.create_topic(names.topic("out")), kafka.create_topic(names.topic("dead"))
    failed = f"/tmp/{names.node_id}"
    program = (
        "import os, sys\n"
        "for line in sys.stdin:\n"
        f"    if line[:5] == '1 200' and not os.path.exists({failed!r}): open({failed!r}, 'w').close(); os._exit(3)\n"
        "    print(line[:20].rstrip())"
    )
    values = [b"\n".join(b"%d %d " % (number, line) + b"x" * 9000 for line in range(400)) for number in range(2)]
    kafka.produce(incoming, [b"0", values[0], values[1], b"2"])
    manager.route(incoming, outgoing)
    env = LINE | {"INPUT_NEWLINES": "split", "DEAD_LETTER_STREAM": dead}
    process = supervisor_process(python(program), env=env)
    kafka.wait_committed(names.group, incoming, 4, deadline_s=40)
    assert process.status()["inlet"]["protocol_violations"] == 0
    assert process.status()["restarts"] == 1, "the run that was to fail"
    expected = ["0", *(f"{n} {line}" for n in range(2) for line in range(400)), "2"]
    answers = [" ".join(frame.value.split()[:2]).rstrip("x ") for frame in persistence(outgoing).read(len(expected))]
    assert set(answers) == set(expected)
    assert kafka.read(dead) == []
    os.unlink(failed)  # noqa: PTH108


BANNER = (
    "import sys\n"
    "print('Model 7 is r\\u00e9ady\\x1b[0m', flush=True)\n"
    "for line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"
)
KEEPS_ANSWERS_BACK = "import sys\nout = open(1, 'w', 8192)\nfor line in sys.stdin: out.write(line)"


@pytest.mark.parametrize(
    ("program", "quoted"),
    [(BANNER, "'Model 7 is réady [0m'"), (KEEPS_ANSWERS_BACK, "waits for input and owes 20; does it print one line")],
    ids=["banner", "no flush"],
)
@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_broken_rule_accuses_no_record(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, program: str, quoted: str, guarantee: str
) -> None:
    """However often: nothing is written alone, nothing put aside, and the check says what was printed."""
    incoming, outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("in", "out", "dead"))
    kafka.produce(incoming, [b"%d" % number for number in range(20)])
    manager.route(incoming, outgoing)
    env = LINE | {
        "DEAD_LETTER_STREAM": dead,
        "POISON_MAX_ATTEMPTS": "1",
        "ACK_IDLE": "100ms",
        "PROCESSING_GUARANTEE": guarantee,
    }
    process = supervisor_process(python(program), env=env)
    process.wait_log("the Calculator broke the rule of ACK_MODE=line, one line out for each line in", count=6)
    process.wait_status(lambda status: quoted in status["checks"]["calculator"]["output"], f"the check says {quoted}")
    assert process.status()["checks"]["calculator"]["status"] == "critical"
    assert process.status()["inlet"]["written_alone"] == 0
    assert "written alone now" not in process.log_text()
    assert kafka.read(dead) == []
