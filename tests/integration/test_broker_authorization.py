"""Rights and passwords on a secured broker: taken away under a running Supervisor, and given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.broker import Cluster
from tests.services.commands import command, results
from tests.services.flow import Flow
from tests.services.peers import Manager
from tests.services.processes import until
from tests.services.supervised import Supervised
from tests.services.token_server import TokenServer
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
PASSWORD = "sesame"
CHANGED = "the password in KAFKA_SASL_PASSWORD_FILE changed; the next connections are made with it"


@pytest.fixture(scope="module")
def secured() -> Iterator[Kafka]:
    """A cluster on which users may do what they were allowed to."""
    with Cluster(secured=True) as cluster:
        yield cluster.admin


def login(names: Names, password: str = PASSWORD) -> dict[str, str]:
    """Settings of a Supervisor that connects as this test's user."""
    return {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "KAFKA_SASL_USERNAME": names.node_id,
        "KAFKA_SASL_PASSWORD": password,
        "RESTART_BACKOFF_MAX": "200ms",
    }


@pytest.fixture
def rights(secured: Kafka, names: Names) -> dict[str, tuple[str, str, str]]:
    """All that an ordinary Supervisor needs, given to this test's user."""
    incoming, outgoing = secured.create_topic(names.topic("in"), 2), secured.create_topic(names.topic("out"))
    secured.set_password(names.node_id, PASSWORD)
    rights = {
        "read": ("READ", "TOPIC", incoming),
        "write": ("WRITE", "TOPIC", outgoing),
        "group": ("READ", "GROUP", names.group),
        "transactions": ("WRITE", "TRANSACTIONAL_ID", "*"),
    }
    for right in rights.values():
        secured.allow(names.node_id, *right)
    return rights


@pytest.fixture
def flowing(
    secured: Kafka,
    rights: dict[str, tuple[str, str, str]],
    names: Names,
    manager: Manager,
    supervisor_process: Start,
) -> Callable[..., Flow]:
    """``flowing(**settings)`` starts a Supervisor with all rights, and returns its flow when records arrive."""

    def start(**settings: str) -> Flow:
        incoming, outgoing = rights["read"][2], rights["write"][2]
        manager.route(incoming, outgoing)
        process = supervisor_process(("cat",), kafka=secured, env=login(names) | settings)
        flow = Flow(secured, process, names.group, incoming, outgoing)
        flow.send(1000)
        flow.flows()
        return flow

    return start


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("write", ("outgoing stream", "authorization failed", "right to this topic")),
        ("read", ("incoming stream", "authorization failed", "right to this topic")),
        ("group", ("incoming stream", "authorization failed", "kafka_consumer_group")),
    ],
)
def test_a_right_is_lost_and_given_back(  # noqa: PLR0917 - fixtures
    secured: Kafka,
    rights: dict[str, tuple[str, str, str]],
    names: Names,
    flowing: Callable[..., Flow],
    lost: str,
    said: tuple[str, ...],
) -> None:
    """In full flow: the check says which right is missing, and everything comes when it is back."""
    flow = flowing()
    secured.forbid(names.node_id, *rights[lost])
    flow.send(1000)
    print(flow.trouble(*said))
    secured.allow(names.node_id, *rights[lost])
    flow.arrived(deadline_s=40)


@pytest.mark.parametrize(("lost", "said"), [("write", "right to this topic"), ("transactions", "transactional ids")])
def test_a_right_is_lost_in_a_transaction(  # noqa: PLR0917 - fixtures
    secured: Kafka,
    rights: dict[str, tuple[str, str, str]],
    names: Names,
    flowing: Callable[..., Flow],
    lost: str,
    said: str,
) -> None:
    """`exactly-once`: aborted as long as it is missing, and every record once when it is back."""
    flow = flowing(PROCESSING_GUARANTEE="exactly-once", ACK_MODE="line")
    secured.forbid(names.node_id, *rights[lost])
    flow.send(1000)
    print(flow.trouble("outgoing stream", said))
    secured.allow(names.node_id, *rights[lost])
    flow.arrived(once=True, same_calculator=False, deadline_s=40)


def test_check_names_the_rights_that_are_missing(
    secured: Kafka, rights: dict[str, tuple[str, str, str]], consul: Consul, names: Names, manager: Manager
) -> None:
    """All of them there: nothing is wrong; without two: these; a wrong password is what the broker says it is."""
    manager.route(rights["read"][2], rights["write"][2])
    settings = login(names) | {
        "NODE_ID": names.node_id,
        "PROGRAM": "cat",
        "KAFKA_DSN": secured.bootstrap,
        "KAFKA_CONSUMER_GROUP": names.group,
        "CONSUL_DSN": consul.dsn,
        "CONSUL_HTTP_TOKEN": consul.token or "",
    }
    status, found = results(command("check", "--connect", "--json", **settings))
    assert (status, found["right to outgoing stream"]["level"]) == (0, "ok")
    assert found[f"max.message.bytes of {rights['write'][2]}"]["level"] == "skipped"  # for want of DescribeConfigs
    for lost in ("write", "group"):
        secured.allow(names.node_id, "DESCRIBE", *rights[lost][1:])
        secured.forbid(names.node_id, *rights[lost])
    status, found = results(command("check", "--connect", "--json", **settings))
    wrong = {name: result["message"] for name, result in found.items() if result["level"] == "error"}
    assert status == 1
    assert wrong == dict.fromkeys(
        ("right to outgoing stream", f"right to consumer group {names.group}"),
        "it is missing; what there is: Describe",
    )
    status, found = results(command("check", "--connect", "--json", **settings | {"KAFKA_SASL_PASSWORD": "open"}))
    assert (status, "invalid credentials" in found["Kafka brokers"]["message"]) == (1, True)


def test_redrive_names_the_rights_that_are_missing(
    secured: Kafka, rights: dict[str, tuple[str, str, str]], names: Names
) -> None:
    """To read the letters, and to write where they go back to; with both, and no right to a group, it is done."""
    origin, dead = rights["read"][2], secured.create_topic(names.topic("dead"))
    headers = [("__connect.errors.topic", origin.encode()), ("__connect.errors.partition", b"1")]
    secured.produce(dead, [b"x"], headers=headers)

    def redrive() -> tuple[int, str, str]:
        run = command("redrive", "--yes", "--stream", dead, **login(names), KAFKA_DSN=secured.bootstrap)
        out, complaints = run.communicate(timeout=60)
        return run.returncode, out, complaints

    status, out, complaints = redrive()
    assert (status, out) == (1, "")
    assert complaints.startswith(
        f"supervisor redrive: {dead}: Broker: Topic authorization failed; the rights needed are"
    )
    secured.allow(names.node_id, "DESCRIBE", "TOPIC", dead)
    status, _, complaints = redrive()
    assert (status, complaints) == (
        1,
        f"supervisor redrive: {dead}: may not be read; give the Kafka user Read on topic {dead}\n",
    )
    secured.allow(names.node_id, "READ", "TOPIC", dead)
    status, out, _ = redrive()
    why = f"{origin} may not be written; give the Kafka user Write on topic {origin}"
    assert (status, f"problem: {dead}[0]@0: {why}" in out, "--from 0:0" in out) == (1, True, True)
    secured.allow(names.node_id, "WRITE", "TOPIC", origin)
    status, out, _ = redrive()
    assert (status, "1 sent and confirmed; to go on from here: --from 0:1" in out) == (0, True), out
    assert [(record.partition, record.value) for record in secured.read(origin, 1)] == [(1, b"x")]


def test_a_wrong_password_is_said(secured: Kafka, names: Names, manager: Manager, supervisor_process: Start) -> None:
    """From the start on; a stop does not wait for brokers that let nobody in."""
    manager.route(names.topic("in"), names.topic("out"))
    process = supervisor_process(("cat",), kafka=secured, env=login(names, "wrong"))
    flow = Flow(secured, process, names.group, names.topic("in"), names.topic("out"))
    print(flow.trouble("incoming stream", "outgoing stream", "kafka_sasl_password"))
    assert process.status()["calculator"] == "running"
    assert process.terminate() == 0


def test_a_password_is_changed_and_changed_back(secured: Kafka, names: Names, flowing: Callable[..., Flow]) -> None:
    """In full flow, on a broker that asks again every 2 s."""
    flow = flowing()
    secured.set_password(names.node_id, "changed")
    print(flow.trouble("incoming stream", "outgoing stream", "kafka_sasl_password"))
    flow.send(1000)
    secured.set_password(names.node_id, PASSWORD)
    flow.arrived()


def test_a_quiet_topic_that_may_be_read_again_is_well(
    secured: Kafka,
    rights: dict[str, tuple[str, str, str]],
    names: Names,
    manager: Manager,
    supervisor_process: Start,
) -> None:
    """No record comes to show it, and the topic could be described all the time, so no partition moves either."""
    secured.allow(names.node_id, "DESCRIBE", "TOPIC", rights["read"][2])
    manager.route(rights["read"][2], rights["write"][2])
    process = supervisor_process(("cat",), kafka=secured, env=login(names))
    flow = Flow(secured, process, names.group, rights["read"][2], rights["write"][2])
    flow.send(10)
    flow.flows(10)
    secured.forbid(names.node_id, *rights["read"])
    flow.trouble("incoming stream", "right to this topic")
    process.wait_status(lambda status: status["inlet"]["readable_partitions"] == 0, "neither partition can be read")
    secured.allow(names.node_id, *rights["read"])
    flow.arrived(once=True)


def test_a_password_that_changes_in_its_file_needs_no_new_start(  # noqa: PLR0917 - fixtures
    secured: Kafka,
    rights: dict[str, tuple[str, str, str]],
    names: Names,
    manager: Manager,
    supervisor_process: Start,
    tmp_path: Path,
) -> None:
    """A wrong one is put right, and one that is changed at the broker holds for the clients that are made later."""
    incoming, outgoing = rights["read"][2], rights["write"][2]
    manager.route(incoming, outgoing)
    file = tmp_path / "password"
    file.write_text("wrong at first\n")
    environment = {name: value for name, value in login(names).items() if name != "KAFKA_SASL_PASSWORD"}
    process = supervisor_process(
        ("cat",), kafka=secured, env=environment | {"KAFKA_SASL_PASSWORD_FILE": str(file), "ACK_MODE": "line"}
    )
    flow = Flow(secured, process, names.group, incoming, outgoing)
    flow.send(100)
    flow.trouble("authentication")
    file.write_text(PASSWORD)
    flow.arrived(same_calculator=False, deadline_s=30)
    secured.set_password(names.node_id, "another secret")
    file.write_text("")  # in the middle of a change
    process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "passing", "all is well")
    file.write_text("another secret")
    process.wait_log(CHANGED, count=2)
    manager.put("processing_guarantee", "exactly-once")  # both clients are made anew
    process.wait_status(lambda status: status["settings"]["processing_guarantee"]["value"] == "exactly-once", "renewed")
    flow.send(100)
    flow.arrived(same_calculator=False, deadline_s=30)
    assert process.terminate() == 0
    assert not {"another secret", PASSWORD, "wrong at first"} & set(process.log_text().split('"'))


def test_tokens_of_an_endpoint_are_renewed_and_its_end_is_survived(
    secured: Kafka,
    rights: dict[str, tuple[str, str, str]],
    names: Names,
    manager: Manager,
    supervisor_process: Start,
) -> None:
    """OAUTHBEARER by OpenID Connect: tokens expire, the endpoint hangs up, comes back, and is silent at the stop."""
    incoming, outgoing = rights["read"][2], rights["write"][2]
    manager.route(incoming, outgoing)
    secret = "not to be seen"
    with TokenServer(names.node_id) as endpoint:
        options = {
            "sasl.oauthbearer.method": "OIDC",
            "sasl.oauthbearer.token.endpoint.url": endpoint.url,
            "sasl.oauthbearer.client.id": "w",
            "sasl.oauthbearer.client.secret": secret,
        }
        env = {
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            "KAFKA_OPTIONS": ",".join(f"{name}={value}" for name, value in options.items()),
        }
        process = supervisor_process(("cat",), kafka=secured, env=env)
        flow = Flow(secured, process, names.group, incoming, outgoing)
        flow.send(100)
        flow.flows(100)
        given = endpoint.tokens
        until(lambda: endpoint.tokens >= given + 4, "both clients have renewed their tokens twice", 40)
        flow.send(100)
        flow.passes()
        endpoint.behaviour = "hang up"
        print(flow.trouble("token"))
        flow.send(100)
        endpoint.behaviour = "serve"
        flow.arrived(deadline_s=60)
        endpoint.behaviour = "silent"
        asked = endpoint.tokens
        flow.trouble("token", deadline_s=60)
        began_s = time.monotonic()
        assert process.terminate() == 0
        # A client that waits for a token is left behind, so the bound is the one for brokers that do not answer.
        assert time.monotonic() - began_s < 10, "SHUTDOWN_GRACEPERIOD, the flush deadline, 2 s for what lets go late"
        assert endpoint.tokens == asked
    assert secret not in process.log_text()
