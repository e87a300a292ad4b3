"""What a person is told of a Calculator that is no failure: in the log once, in check and page while it lasts."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Names
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
HINT = "about the calculator"


def calculator_says(process: Supervised, words: str) -> None:
    """Wait until it stands in the Calculator's check as a warning."""

    def says(status: dict[str, dict[str, dict[str, str]]]) -> bool:
        check = status["checks"]["calculator"]
        return check["status"] == "warning" and words in check["output"]

    process.wait_status(says, f"{words!r} in the check", 30)


def hints(process: Supervised) -> list[str]:
    return [event["hint"] for event in process.events if event["event"] == HINT and event["level"] == "warning"]


def test_one_that_does_not_flush_is_asked_about_it(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Until it prints something, which is when its buffer is full."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(
        ("python3", "-c", "import sys\nfor line in sys.stdin: print(line, end='')"), env={"PYTHONUNBUFFERED": ""}
    )
    process.wait_ready()
    kafka.produce(incoming, [b"%d" % number for number in range(40)])
    calculator_says(process, "it has read 40 records and printed nothing in this run: does it flush what it prints?")
    assert process.http("/health/ready")[0] == 200
    kafka.produce(incoming, [b"x" * 100] * 1000)
    process.wait_counter("outlet", "lines_delivered", 100)
    process.wait_status(lambda status: status["checks"]["calculator"]["status"] == "passing", "said no more")
    assert hints(process) == ["silent"]


def test_one_that_hangs_is_told_and_the_page_does_not_say_flowing(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Long before any pipe is full, and without CALCULATOR_TIMEOUT."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("sh", "-c", 'read -r line; echo "$line"; sleep 1000'))
    process.wait_ready()
    kafka.produce(incoming, [b"1"])
    calculator_says(
        process, "it has read all of them and does not come back for more, so it is at work on them, or it hangs"
    )
    status = process.status()
    assert status["held_up"] == "the Calculator is not done with what it has"
    assert "<h2>hanging</h2>" in process.http("/")[1]
    assert "records are held up" in status["checks"]["supervisor"]["output"]
    assert hints(process) == ["stalled"]
    manager.route(incoming, outgoing, paused=True)
    manager.wait_adopted()
    process.wait_status(lambda status: status["checks"]["calculator"]["status"] == "passing", "a pause is no stall")


def test_a_setting_that_no_longer_exists_is_told_at_the_start(lonely: Start) -> None:
    """Under the name that the image sets, and nothing else comes of it."""
    process = lonely("subreaper", ("cat",), env={"BDZ_ACK_READAHEAD_BYTES": "nonsense"})
    process.wait_started()
    (told,) = [event for event in process.events if "ACK_READAHEAD_BYTES" in event["event"]]
    assert told["level"] == "warning"
    assert told["event"].startswith("BDZ_ACK_READAHEAD_BYTES: has no effect any more")
    assert process.terminate() == 0
