"""The word, the page and the metrics of an instance that runs, as its route and its records change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from supervisor.tools.status import screen
from tests.conftest import Names
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]


def says(process: Supervised, word: str, deadline_s: float = 30.0) -> None:
    """Wait until status, page and screen have the word."""
    process.wait_status(lambda status: status["state"]["word"] == word, f"the word {word!r}", deadline_s)
    assert f"<h2>{word}</h2>" in process.http("/")[1]
    assert f": {word}, " in screen(process.status()).splitlines()[0]
    assert f'supervisor_state{{state="{word}"}} 1\n' in process.http("/metrics")[1]


def test_the_word_follows_what_is_so(kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start) -> None:
    """Waiting for a route, flowing, idle, paused, crash loop; with rates, progress and metrics that parse."""
    parser = pytest.importorskip("prometheus_client.parser")
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = "while read -r line; do [ $line = x ] && exit 1; echo $line; done"
    process = supervisor_process(("sh", "-c", program), env={"POISON_MAX_ATTEMPTS": "1000"})
    says(process, "waiting for a route")
    manager.route(incoming, outgoing)
    process.wait_ready()
    kafka.produce(incoming, [b"%d" % number for number in range(100)])
    process.wait_counter("inlet", "acknowledged", 100)
    says(process, "flowing")
    says(process, "idle")
    assert process.http("/")[1].count("<polyline") >= 2
    samples = {
        (sample.name, sample.labels.get("topic")): sample.value
        for family in parser.text_string_to_metric_families(process.http("/metrics")[1])
        for sample in family.samples
    }
    assert samples["supervisor_records_acknowledged_total", incoming] == 100
    assert samples["supervisor_lines_delivered_total", outgoing] == 100
    assert samples["supervisor_last_progress_timestamp_seconds", None] > 0
    manager.route(incoming, outgoing, paused=True)
    says(process, "paused")
    manager.route(incoming, outgoing)
    process.wait_ready()
    kafka.produce(incoming, [b"x"])
    says(process, "crash loop", 60)
    assert process.http("/")[1].count("stuck here") == 1
