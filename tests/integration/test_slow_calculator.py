"""A program that needs 50 ms for each line, stopped in order again and again: what it had done stays done."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

RECORDS, BYTES = 5000, 67
RUNS, RUN_S = 4, 6.0
LINE_S = 0.05
SLOW = f"import sys, time\nfor line in sys.stdin:\n    time.sleep({LINE_S})\n    print(line, end='', flush=True)"


@pytest.mark.timeout(150)
def test_an_orderly_stop_commits_what_was_answered(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Over four runs nothing that was answered before a stop is handled again, and each run gets on."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [(b"%d " % number).ljust(BYTES, b"x") for number in range(RECORDS)])
    manager.route(incoming, outgoing)
    before = 0
    for run in range(RUNS):
        process = supervisor_process(("python3", "-c", SLOW))
        process.wait_counter("outlet", "lines_delivered", 1, deadline_s=40)
        time.sleep(RUN_S * random.uniform(0.8, 1.0))
        assert process.terminate() == 0
        numbers = [int(frame.value.split()[0]) for frame in persistence(outgoing).read()]
        committed = kafka.committed(names.group, incoming)[0]
        print(f"run {run}: {len(numbers)} lines out, {committed} committed")
        twice = [number for number, times in Counter(numbers).items() if times > 1]
        assert not twice, f"handled again: {twice[:20]}"
        assert numbers == list(range(committed)), "what came out is what is committed"
        assert committed - before >= RUN_S * 0.5 / LINE_S, "a run gets on"
        before = committed
