"""Quotas of a real broker: throttling is heeded and said, whatever the guarantee."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.peers import Manager, Persistence
from tests.services.quotas import set_quota
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]

BYTES_A_S: Final = 20_000
RECORDS: Final = 1600
VALUE: Final = b"-" + b"x" * 200
SAID: Final = "a broker slows a Kafka client down because of a quota"
FRAME_BYTES: Final = 300
"""About what a line is in its dataframe, with NODE_ID."""

MODES: Final[Mapping[str, Mapping[str, str]]] = {
    "at-least-once": {},
    "at-most-once": {"PROCESSING_GUARANTEE": "at-most-once"},
    "exactly-once-line": {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line"},
    "exactly-once-marker": {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "marker"},
}


def test_a_client_over_its_quota_is_slowed_down_and_loses_nothing(
    kafka: Kafka, consul: Consul, names: Names, supervisor_process: Start
) -> None:
    """Twice what a broker lets through at once, in each mode, all at the same time; a consumer's quota beside."""
    processes: dict[str, Supervised] = {}
    nodes = {mode: f"{names.node_id[-12:]}-{mode}" for mode in MODES}
    for mode, env in MODES.items():
        incoming = kafka.create_topic(names.topic(f"{mode}-in"))
        outgoing = kafka.create_topic(names.topic(f"{mode}-out"), 2)
        quotas = {"producer_byte_rate": BYTES_A_S}
        if mode == "at-least-once":
            quotas["consumer_byte_rate"] = BYTES_A_S
        set_quota(kafka.bootstrap, f"supervisor-{nodes[mode]}", **quotas)
        # A broker lets no batch through that is larger than what the quota allows in 10 s.
        kafka.produce(incoming, (b"%d" % number + VALUE for number in range(RECORDS)), batch_size=10_000)
        Manager(consul, nodes[mode]).route(incoming, outgoing)
        processes[mode] = supervisor_process(env=env, node_id=nodes[mode], group=f"{names.group}-{mode}")
    began_s = time.monotonic()
    for mode, process in processes.items():
        name = f"supervisor-{nodes[mode]}"
        assert process.wait_log(SAID, 30, client="producer", client_id=name)["throttle_ms"] > 0
        process.wait_log("health", check="supervisor", status="warning")
        check = process.status()["checks"]["supervisor"]["output"]
        assert f"Kafka producer (client.id {name}) has been over its quota since" in check
        assert 'supervisor_kafka_throttled_seconds_total{client="producer"}' in process.http("/metrics")[1]
    processes["at-least-once"].wait_log(SAID, 30, client="consumer")
    for mode, process in processes.items():
        kafka.wait_committed(f"{names.group}-{mode}", names.topic(f"{mode}-in"), RECORDS, deadline_s=90)
        process.wait_status(lambda status: status["outlet"]["undelivered"] == 0, f"{mode} has delivered all", 60)
        outlet = process.status()["outlet"]
        seen = Counter(
            int(frame.value.split("-")[0]) for frame in Persistence(kafka, names.topic(f"{mode}-out")).read(RECORDS)
        )
        assert seen.keys() == set(range(RECORDS)), mode
        assert max(seen.values()) == 1, mode
        assert outlet["lines_lost"] == 0
        assert outlet["transactions_aborted"] <= 1
        assert 0 < outlet["window_bytes"] < 4 * BYTES_A_S, "a second or so of what the broker takes"
        assert not any(event.get("status") == "critical" for event in process.events), mode
        assert process.terminate() == 0
    slowest_s = RECORDS * FRAME_BYTES / BYTES_A_S
    assert time.monotonic() - began_s < 3 * slowest_s
