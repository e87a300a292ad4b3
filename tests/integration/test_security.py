"""ACLs, tokens, TLS and secrets, with the whole Supervisor on a real agent that asks for them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from supervisor.agent import ConsulAgent
from supervisor.errors import AgentRefusedError
from supervisor.settings import SECRET_VARIABLES, Options, Settings
from tests.conftest import Names
from tests.services.agent import Agent
from tests.services.commands import command
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
DOCUMENT = Path(__file__).parents[2] / "docs" / "CONSUL-ACL.md"
RULE = re.compile(r"^(\w+) \"[^\"]+\" \{\n.*?^\}$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def acl_agent() -> Iterator[Agent]:
    with Agent.with_acl(str(uuid4())) as agent:
        yield agent


def documented_policy(node_id: str) -> str:
    """The policy as the documentation gives it to people, for this workspace."""
    match = re.search(r"```hcl\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert match
    return match[1].replace("NODE_ID", node_id)


def until(condition: Callable[[], object], what: str, deadline_s: float = 15.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, f"{what}: not within {deadline_s} s"
        time.sleep(0.05)


def statuses(agent: Agent, node_id: str) -> dict[str, str]:
    """Status of each check in the catalogue, by its name."""
    return {check["Name"]: check["Status"] for check in agent.checks(f"bdz-wsp-{node_id}")}


def test_the_documented_policy_is_enough(
    acl_agent: Agent, kafka: Kafka, names: Names, supervisor_process: Start
) -> None:
    """Token by variable: service, checks, route, report, and nothing left after the stop."""
    topic = kafka.create_topic(names.topic("out"))
    manager = Manager(acl_agent, names.node_id)
    token = acl_agent.make_token(documented_policy(names.node_id))
    manager.route(None, topic)
    process = supervisor_process(("cat",), consul=acl_agent, env={"CONSUL_HTTP_TOKEN": token})
    manager.wait_adopted()
    process.wait_ready()
    expected = {"Supervisor": "passing", "Calculator": "passing"}
    until(lambda: statuses(acl_agent, names.node_id) == expected, "both checks in the catalogue")
    assert process.status()["agent_errors_total"] == 0
    assert process.terminate() == 0
    until(lambda: not statuses(acl_agent, names.node_id), "nothing is left")


@pytest.mark.parametrize("left_out", ["service", "key_prefix", "key"])
def test_the_documented_policy_is_the_least(acl_agent: Agent, left_out: str) -> None:
    """Without any one of its rules one kind of request is refused, and the message names that request."""
    node_id = f"node-{uuid4().hex[:8]}"
    acl_agent.kv_put(f"buldozer/subordinate/{node_id}/desired_version", "1")
    whole = documented_policy(node_id)
    rules = "\n".join(match[0] for match in RULE.finditer(whole) if match[1] != left_out)
    assert rules.count("policy") == 2
    token = acl_agent.make_token(rules)
    environ = {"NODE_ID": node_id, "KAFKA_DSN": "h:1", "CONSUL_DSN": acl_agent.dsn, "CONSUL_HTTP_TOKEN": token}
    refused: dict[str, str] = {}

    async def main() -> None:
        agent = ConsulAgent(Settings.load(environ, Options(program="cat")))
        name = f"bdz-wsp-{node_id}"
        for rule, request in {
            "service": agent.register({"ID": name, "Name": name}),
            "key_prefix": agent.kv_directory(0, 0),
            "key": agent.kv_cas("adopted_version", "1", 0),
        }.items():
            try:
                await request
            except AgentRefusedError as error:
                refused[rule] = str(error)
        agent.close()

    asyncio.run(main())
    assert list(refused) == [left_out]
    assert "CONSUL_HTTP_TOKEN_FILE" in refused[left_out]
    assert token not in refused[left_out]


def test_check_sees_the_tokens_rights_without_their_use(acl_agent: Agent) -> None:
    """What is missing is an error that names it; nothing is written."""
    node_id = f"node-{uuid4().hex[:8]}"
    keys = f"buldozer/subordinate/{node_id}"
    acl_agent.kv_put(f"{keys}/desired_version", "1")
    environ = {"NODE_ID": node_id, "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": acl_agent.dsn, "PROGRAM": "cat"}
    expected = {
        "": [],
        "service": [f"service write on bdz-wsp-{node_id}"],
        "key": [f"key write on {keys}/adopted_version"],
    }
    checks = {}
    for left_out in expected:
        rules = "\n".join(match[0] for match in RULE.finditer(documented_policy(node_id)) if match[1] != left_out)
        token = acl_agent.make_token(rules)
        checks[left_out] = command("check", "--connect", "--json", **environ, CONSUL_HTTP_TOKEN=token), token
    for left_out, (check, token) in checks.items():
        out, _ = check.communicate(timeout=60)
        assert token not in out
        rights = [found for found in json.loads(out)["results"] if found["name"] == "Consul token's rights"]
        assert len(rights) == 3
        assert [right["value"] for right in rights if right["level"] == "error"] == expected[left_out]
    assert list(acl_agent.get(f"kv/{keys}", keys="")) == [f"{keys}/desired_version"]


def test_the_policy_does_not_let_it_change_its_route(acl_agent: Agent) -> None:
    """Or see a neighbour's."""
    token = acl_agent.make_token(documented_policy("one"))
    for node_id, key, allowed in (("one", "desired_version", False), ("on", "adopted_version", False)):
        environ = {"NODE_ID": node_id, "KAFKA_DSN": "h:1", "CONSUL_DSN": acl_agent.dsn, "CONSUL_HTTP_TOKEN": token}

        async def main(environ: dict[str, str] = environ, key: str = key) -> None:
            agent = ConsulAgent(Settings.load(environ, Options(program="cat")))
            with pytest.raises(AgentRefusedError):
                await agent.kv_cas(key, "1", 0)
            agent.close()

        assert not allowed
        asyncio.run(main())


def test_a_token_is_rotated_under_a_running_supervisor(
    acl_agent: Agent, kafka: Kafka, names: Names, supervisor_process: Start, tmp_path: Path
) -> None:
    """The file is replaced, the old token deleted: routes are adopted and checks reach the catalogue as before."""
    topic = kafka.create_topic(names.topic("out"))
    manager = Manager(acl_agent, names.node_id)
    old, new = (acl_agent.make_token(documented_policy(names.node_id)) for _ in range(2))
    file = tmp_path / "token"
    file.write_text(f"{old}\n")
    manager.route(None, topic)
    process = supervisor_process(
        ("sleep", "1000"), consul=acl_agent, env={"CONSUL_HTTP_TOKEN": "", "CONSUL_HTTP_TOKEN_FILE": str(file)}
    )
    manager.wait_adopted()
    until(lambda: statuses(acl_agent, names.node_id).get("Calculator") == "passing", "registered")
    replaced = tmp_path / "new"
    replaced.write_text(f"{new}\n")
    replaced.rename(file)
    acl_agent.delete_token(old)
    manager.route(None, topic, paused=True)
    manager.wait_adopted()
    os.kill(process.status()["calculator_pid"], signal.SIGKILL)
    until(lambda: statuses(acl_agent, names.node_id).get("Calculator") == "warning", "a new status in the catalogue")
    assert process.terminate() == 0
    until(lambda: not statuses(acl_agent, names.node_id), "nothing is left")


# -------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two authorities, and certificates for the agent and a client of the first one."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ours", "other"):
        openssl("req", "-x509", *curve, "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-days", "2",
                "-subj", f"/CN={authority}")  # fmt: skip
    for name in ("agent", "client"):
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ours.pem", "-CAkey", "ours.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "names")  # fmt: skip
    return directory


@pytest.fixture(scope="module")
def tls_agent(certificates: Path) -> Iterator[Agent]:
    files = {"ca_file": "ours.pem", "cert_file": "agent.pem", "key_file": "agent.key"}
    tls = {name: str(certificates / file) for name, file in files.items()}
    with Agent({"tls": {"https": {**tls, "verify_incoming": True}}}) as agent:
        yield agent


def test_tls_with_client_certificates(
    tls_agent: Agent, certificates: Path, kafka: Kafka, names: Names, supervisor_process: Start
) -> None:
    """An agent that asks for the client's certificate serves the whole life of an instance."""
    topic = kafka.create_topic(names.topic("out"))
    manager = Manager(tls_agent, names.node_id)
    manager.route(None, topic)
    process = supervisor_process(
        ("cat",),
        consul=tls_agent,
        env={
            "CONSUL_DSN": tls_agent.dsn_tls,
            "CONSUL_CACERT": str(certificates / "ours.pem"),
            "CONSUL_CLIENT_CERT": str(certificates / "client.pem"),
            "CONSUL_CLIENT_KEY": str(certificates / "client.key"),
        },
    )
    manager.wait_adopted()
    until(lambda: statuses(tls_agent, names.node_id).get("Supervisor") == "passing", "registered")
    assert process.terminate() == 0
    until(lambda: not statuses(tls_agent, names.node_id), "nothing is left")


@pytest.mark.parametrize(
    ("authority", "client"), [("other", "client"), ("ours", "")], ids=["wrong authority", "no client certificate"]
)
def test_tls_that_does_not_fit_is_refused_and_said(  # noqa: PLR0917 - fixtures
    tls_agent: Agent, certificates: Path, names: Names, supervisor_process: Start, authority: str, client: str
) -> None:
    """The check names what to look at; nothing was registered, and the token went nowhere."""
    token = str(uuid4())
    env = {
        "CONSUL_DSN": tls_agent.dsn_tls,
        "CONSUL_CACERT": str(certificates / f"{authority}.pem"),
        "CONSUL_HTTP_TOKEN": token,
        "KAFKA_DSN": "127.0.0.1:1",
    }
    if client:
        env |= {
            "CONSUL_CLIENT_CERT": str(certificates / "client.pem"),
            "CONSUL_CLIENT_KEY": str(certificates / "client.key"),
        }
    process = supervisor_process(("cat",), kafka=Kafka("127.0.0.1:1"), consul=tls_agent, env=env)
    process.wait_started()
    process.wait_status(lambda status: status["agent_error"] is not None, "the agent's trouble is known")
    output = process.status()["checks"]["supervisor"]["output"]
    for word in ("TLS failed", "CONSUL_CACERT", "CONSUL_CLIENT_CERT"):
        assert word in output
    assert statuses(tls_agent, names.node_id) == {}
    assert process.terminate() == 0
    assert token not in process.log_text()


# -------------------------------------------------------------------- secrets

# Prints its whole world, as a program's crash report does, and dies of it.
TELLTALE = """
import os, sys
world = open("/proc/self/environ", "rb").read().replace(b"\\0", b"\\n") + open("/proc/self/cmdline", "rb").read()
sys.stderr.buffer.write(b"my world: " + world + b"\\n")
for name, value in os.environb.items():
    os.write(1, name + b"=" + value + b"\\n")
secret = open(sys.argv[1]).read().strip()
sys.exit("the token I should not have read is " + secret)
"""


def test_no_secret_is_seen_anywhere(
    acl_agent: Agent, kafka: Kafka, names: Names, supervisor_process: Start, tmp_path: Path
) -> None:
    """At debug level, through crashes and refusals: log, pages, checks, process titles, the Calculator's world."""
    topic = kafka.create_topic(names.topic("out"))
    manager = Manager(acl_agent, names.node_id)
    policy = documented_policy(names.node_id)
    token = acl_agent.make_token(policy)
    file = tmp_path / "token"
    file.write_text(token)
    secrets = {
        "CONSUL_HTTP_TOKEN": str(uuid4()),
        "BDZ_CONSUL_HTTP_TOKEN": str(uuid4()),
        "CONSUL_HTTP_AUTH": f"user:{uuid4()}",
        "BDZ_KAFKA_SASL_PASSWORD": "",
        "KAFKA_OPTIONS": f"ssl.key.password={uuid4()}",
    }
    assert secrets.keys() <= SECRET_VARIABLES
    manager.route(None, topic)
    process = supervisor_process(
        ("python3", "-c", TELLTALE, str(file)),
        consul=acl_agent,
        env={**secrets, "CONSUL_HTTP_TOKEN_FILE": str(file), "LOG_LEVEL": "debug", "RESTART_BACKOFF_MAX": "300ms"},
    )
    pages: list[str] = []

    def look() -> None:
        pages.extend(process.http(path)[1] for path in ("/", "/status", "/metrics", "/health/ready", "/nowhere"))
        pages.extend(check["Output"] for check in acl_agent.checks(f"bdz-wsp-{names.node_id}"))
        for pid in (process.pid, process.status()["calculator_pid"]):
            for name in ("cmdline", "comm"):
                try:
                    pages.append(Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace"))
                except OSError:
                    continue  # it crashed meanwhile

    manager.wait_adopted()
    process.wait_log("calculator crash-loop")
    look()
    until(lambda: "critical" in statuses(acl_agent, names.node_id).values(), "the crash loop in the catalogue")
    look()
    acl_agent.delete_token(token)  # from now on everything is refused
    process.send(signal.SIGHUP)
    process.wait_status(lambda status: status["agent_error"] is not None, "the agent refuses")
    look()
    process.terminate()
    frames = kafka.read(topic, 1)
    world = "\n".join([*pages, process.log_text(), *(frame.value.decode() for frame in frames if frame.value)])
    assert "my world" in world
    assert f"NODE_ID={names.node_id}" in world, "the rest of the environment is passed on"
    assert "the token I should not have read is ***" in world
    values = [value.rpartition("=")[2].rpartition(":")[2] for value in [*secrets.values(), token] if value]
    for secret in values:
        for spelling in (secret, base64.b64encode(secret.encode()).decode().rstrip("=")):
            assert spelling not in world, [line for line in world.splitlines() if spelling in line]
    for variable in SECRET_VARIABLES:
        assert f"\n{variable}=" not in world.replace("\\n", "\n")


def test_a_kafka_password_is_seen_nowhere(names: Names, supervisor_process: Start, tmp_path: Path) -> None:
    """By variable and by file, with a broker that hangs up on it and a configuration that is refused."""
    password = "correct horse"
    file = tmp_path / "password"
    file.write_text(password)
    sasl = {
        "KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "user",
        "LOG_LEVEL": "debug",
    }
    with socket.create_server(("127.0.0.1", 0)) as broker:
        dsn = f"127.0.0.1:{broker.getsockname()[1]}"
        for given in ({"KAFKA_SASL_PASSWORD": password}, {"KAFKA_SASL_PASSWORD_FILE": str(file)}):
            process = supervisor_process(
                ("sh", "-c", "env >&2; exec cat"),
                env={**sasl, **given, "KAFKA_DSN": dsn, "CONSUL_DSN": "127.0.0.1:1"},
            )  # fmt: skip
            process.wait_started()
            connection, _ = broker.accept()
            connection.close()
            process.wait_status(lambda status: status["producer_error"] is not None, "the broker's trouble is known")
            seen = "".join(process.http(path)[1] for path in ("/", "/status", "/metrics"))
            process.terminate()
            assert password not in seen + process.log_text()
    for mechanism, said in (("nothing", "KAFKA_SASL_MECHANISM: met 'nothing'"), ("gssapi", "GSSAPI (Kerberos) needs")):
        broken = {**sasl, "KAFKA_SASL_PASSWORD": password, "KAFKA_SASL_MECHANISM": mechanism}
        process = supervisor_process(("cat",), env={**broken, "KAFKA_DSN": "h:1", "CONSUL_DSN": "127.0.0.1:1"})
        assert process.wait() == 2
        assert password not in process.log_text()
        assert said in process.log_text()
