"""``supervisor check --connect`` and ``status`` beside real peers: what is seen, and that nothing is changed."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.commands import command, results
from tests.services.peers import Manager
from tests.services.slow_names import BROKER, SlowNames
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]


def levels(found: dict[str, dict[str, Any]], level: str) -> set[str]:
    return {name for name, result in found.items() if result["level"] == level}


@pytest.fixture
def settings(kafka: Kafka, consul: Consul, names: Names) -> dict[str, str]:
    """Those of this test's workspace."""
    token = {"CONSUL_HTTP_TOKEN": consul.token} if consul.token else {}
    return token | {
        "NODE_ID": names.node_id,
        "KAFKA_DSN": kafka.bootstrap,
        "CONSUL_DSN": consul.dsn,
        "KAFKA_CONSUMER_GROUP": names.group,
        "PROGRAM": "cat",
    }


def test_a_workspace_in_good_order(  # noqa: PLR0917 - fixtures
    kafka: Kafka, consul: Consul, names: Names, manager: Manager, supervisor_process: Start, settings: dict[str, str]
) -> None:
    """Route, topics, rights, group with its member; and everything is as it was before. The instance is asked too."""
    incoming = kafka.create_topic(names.topic("in"), 2)
    manager.route(incoming, kafka.create_topic(names.topic("out")))
    consul.kv_put(f"buldozer/subordinate/{names.node_id}/ack_mode", "line")
    process = supervisor_process(("cat",))
    process.wait_ready()
    manager.wait_adopted()

    def seen() -> object:
        keys = consul.get(f"kv/buldozer/subordinate/{names.node_id}", recurse="")
        return keys, kafka.member_ids(names.group), kafka.committed(names.group, incoming)

    consul.kv_put(f"buldozer/subordinate/{names.node_id}/Ack-Mode", "marker")
    consul.kv_put(f"buldozer/subordinate/{names.node_id}/log_level", "loud")
    before = seen()
    status, found = results(command("check", "--connect", "--json", **settings))
    assert (status, levels(found, "error"), levels(found, "warning")) == (0, set(), {"Ack-Mode", "log_level"})
    assert seen() == before
    assert (found["ACK_MODE"]["value"], found["ACK_MODE"]["source"]) == ("line", "KV")
    assert found["route"]["value"].startswith(f"version 1, {incoming} to {names.topic('out')}")
    assert found["route"]["message"] == "adopted"
    if not consul.token:
        assert "no ACLs" in found["Consul token's rights"]["message"]
    assert found["incoming stream"]["message"] == "2 partitions"
    assert found[f"consumer group {names.group}"]["value"] == "stable, cooperative-sticky, 1 members"
    assert "with 2 partitions" in found[f"consumer group {names.group}"]["message"]
    assert found["right to incoming stream"]["value"] == "Read"
    asked = {"HTTP_PORT": str(process.port)}
    shown, health = command("status", **asked), command("health", "ready", **asked)
    screen, _ = shown.communicate(timeout=30)
    assert (shown.returncode, health.wait(30)) == (0, 0)
    assert screen.splitlines()[0] in {f"{names.node_id}: {word}, passing, ready" for word in ("flowing", "idle")}
    assert f"{incoming} to {names.topic('out')}, version 1" in screen
    health.communicate()


def test_what_is_wrong_is_found_before_a_start(
    kafka: Kafka, consul: Consul, names: Names, manager: Manager, settings: dict[str, str]
) -> None:
    """No such topic, which is not made; another strategy in the group; sizes that do not go together; a bad route."""
    incoming = kafka.create_topic(names.topic("in"), max_message_bytes="300000")
    dead = kafka.create_topic(names.topic("dead"), max_message_bytes="200000")
    missing = names.topic("missing")
    manager.route(incoming, missing)
    with kafka.another_member(names.group, incoming, strategy="range"):
        kafka.wait_shares(names.group, 1)
        status, found = results(
            command("check", "--connect", "--json", **settings, DEAD_LETTER_STREAM=dead, MAX_LINE_BYTES="999990")
        )
    assert status == 1
    assert levels(found, "error") == {"outgoing stream", f"consumer group {names.group}"}
    assert "no such topic" in found["outgoing stream"]["message"]
    assert "share partitions out by range" in found[f"consumer group {names.group}"]["message"]
    assert levels(found, "warning") == {"size limits", "size limits of dead letters"}
    assert "MAX_LINE_BYTES to 9998" in found["size limits"]["hint"]
    assert missing not in kafka.topics()
    consul.kv_put(f"buldozer/subordinate/{names.node_id}/incoming_stream", "no topic's name")
    status, found = results(command("check", "--connect", "--json", **settings))
    assert (status, "it would be refused" in found["route"]["message"]) == (1, True)
    assert found["topics of the route"]["message"] == "not checked: the route would be refused"


def test_it_ends_in_time_whatever_is_dead(tmp_path: Path, settings: dict[str, str]) -> None:
    """Addresses that swallow everything, a frozen agent, names that are never resolved, nobody there: all at once."""
    slow = SlowNames(tmp_path)
    slow.hold()
    with _black_hole() as hole, socket.create_server(("127.0.0.1", 0)) as frozen, _black_hole() as other:
        peers = [
            {"CONSUL_DSN": f"127.0.0.1:{frozen.getsockname()[1]}", "KAFKA_DSN": f"127.0.0.1:{hole}"},
            {"CONSUL_DSN": BROKER, "KAFKA_DSN": BROKER} | slow.env,
            {"CONSUL_DSN": f"127.0.0.1:{other}", "KAFKA_DSN": f"127.0.0.1:{frozen.getsockname()[1]}"},
            {"CONSUL_DSN": "127.0.0.1:1", "KAFKA_DSN": "127.0.0.1:1"},
        ]
        began_s = time.monotonic()
        checks = [command("check", "--connect", "--json", **settings | peer) for peer in peers]
        others = {
            "health": command("health", **slow.env, HTTP_HOST=BROKER.partition(":")[0]),
            "redrive": command("redrive", "--stream", "dead", **slow.env, KAFKA_DSN=BROKER),
        }
        for check in checks:
            status, found = results(check)
            assert time.monotonic() - began_s < 15
            assert (status, levels(found, "error") & {"Kafka brokers", "Kafka"} != set()) == (1, True)
            assert levels(found, "error") & {"Consul agent", "Consul"}
            assert {"topics of the route", "size limits"} <= levels(found, "skipped") | {"Kafka"}
        for name, said in (("health", "is not resolved in time"), ("redrive", f"no broker of {BROKER} answers")):
            out, complaints = others[name].communicate(timeout=30)
            assert (others[name].returncode, out, said in complaints) == (1, "", True), complaints
        assert time.monotonic() - began_s < 15
    slow.answer()


@contextlib.contextmanager
def _black_hole() -> Iterator[int]:
    """A port whose queue is full: the kernel answers nobody."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as held:
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]
