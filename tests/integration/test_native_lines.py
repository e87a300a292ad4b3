"""`Inlet` with ACK_MODE=line, on librdkafka's mock cluster: what is counted of a run that is over."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from supervisor import kafka
from supervisor._framing import load
from tests.integration.test_native_ends import Running, an_inlet, wait_for
from tests.services.mock import Mock
from tests.services.native import nothing_left
from tests.services.topics import Kafka


@pytest.fixture(autouse=True)
def native_memory() -> Iterator[None]:
    """No native object outlives its test."""
    yield
    nothing_left()


@pytest.fixture
def cluster() -> Iterator[Mock]:
    """A cluster of its own for each test."""
    load(kafka.librdkafka_path())
    mock = Mock("in", "out")
    yield mock
    mock.close()


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (b"answer\n", None),
        (b"", None),
        (b"a banner\nanswer\n", "one too many: 'answer'; the first of this run: 'a banner'"),
        (b"answer\n\ttwice \xc3\xa9\xff\n", "one too many: ' twice é\ufffd'; the first of this run: 'answer'"),
    ],
)
@pytest.mark.parametrize("held", [False, True], ids=["framed", "held"])
def test_lines_that_are_counted_when_the_run_is_over(
    cluster: Mock, printed: bytes, told: str | None, *, held: bool
) -> None:
    """One record was written: a second line breaks the rule, also one that still waits for its topic."""
    Kafka(cluster.bootstrap_servers).produce("in", [b"record"])
    stdin_read, stdin_write = os.pipe()
    os.set_blocking(stdin_write, False)
    with Running(cluster, "out") as running:
        inlet = an_inlet(cluster, running.outlet, ack_mode="line")
        thread = threading.Thread(target=inlet.run, daemon=True)
        thread.start()
        inlet.attach(stdin_write, os.getpid())
        wait_for(lambda: inlet.snapshot()["lines_written"] == 1, "the record is written")
        assert os.read(stdin_read, 100) == b"record\n"
        inlet.exited()
        if held:
            running.outlet.hold()
        running.stdout.write(printed)
        running.stdout.close()
        running.outlet.read_to_end()
        wait_for(lambda: "stdout-ended" in [kind for kind, *_ in running.outlet.notices()], "STDOUT is taken")
        running.outlet.finish(keep_lines=True, keep_tail=False)
        assert inlet.broke_rule() == (told is not None)
        said = [text for kind, _, text in inlet.notices() if kind == "protocol"]
        assert len(said) == (told is not None)
        if told is not None:
            assert said[0].startswith("2 lines came out for 1 written: more than one for each")
            assert held or said[0].endswith(told), "lines that are held were not looked at"
        again = inlet.detach(finished=False)
        assert again == (printed != b"answer\n"), "what a broken rule answers is not trusted"
        assert inlet.suspect() == ((0, 0) if again else None)
        inlet.stop(5.0)
        thread.join()
        if held:
            running.outlet.produce_to("out")
    os.close(stdin_read)
