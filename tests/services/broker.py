"""Apache Kafka in KRaft mode on 127.0.0.1: one node, or several that can be killed, frozen, started again; secured."""

from __future__ import annotations

import base64
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from . import obtain
from .process import Service, ServiceError, free_ports, scratch_directory, tail
from .topics import Kafka

_LOGGING = """\
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n
"""

# The JVM's quick compiler and little memory: up in half the time, slower under load.
_QUICK = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_FULL = ("-Xmx1g",)

_ADMIN, _ADMIN_PASSWORD = "admin", "admin-secret"
_REAUTHENTICATE_MS = 2000
_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="{_ADMIN}" password="{_ADMIN_PASSWORD}" user_{_ADMIN}="{_ADMIN_PASSWORD}";'
)
_SECURITY: dict[str, object] = {
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,OAUTHBEARER",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": _LOGIN,
    "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    # It takes unsecured tokens, whoever signed them; a connection is good for as long as its token.
    "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config": (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
        f'unsecuredLoginStringClaim_sub="{_ADMIN}";'
    ),
    "listener.name.sasl_plaintext.oauthbearer.connections.max.reauth.ms": 3_600_000,
    # A wrong password is met soon, not at the next connection.
    "listener.name.sasl_plaintext.scram-sha-256.connections.max.reauth.ms": _REAUTHENTICATE_MS,
    "connection.failed.authentication.delay.ms": 0,
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:{_ADMIN};User:ANONYMOUS",  # the controllers' listener knows no users
}


def _credentials(user: str, password: str, mechanism: str) -> dict[str, str]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_username": user,
        "sasl_password": password,
    }


class Cluster:
    """``nodes`` brokers, each also a controller; data in a temporary directory. Nodes are numbered from 1.

    ``full_speed`` gives the JVM its optimising compiler and 1 GB: for benchmarks. ``secured``: who connects has to be a
    SCRAM-SHA-256 user (``Kafka.set_password``), which is asked again every 2 s, or have an OAuth token, and may do what
    ACLs allow; ``admin``, the cluster's own ``Kafka``, may do everything.
    """

    def __init__(self, nodes: int = 1, *, full_speed: bool = False, secured: bool = False) -> None:
        self._directory = scratch_directory("kafka")
        self._nodes = nodes
        self._protocol = "SASL_PLAINTEXT" if secured else "PLAINTEXT"
        ports = free_ports(2 * nodes)
        self._brokers, self._controllers = ports[:nodes], ports[nodes:]
        options = _FULL if full_speed else _QUICK
        self._java = [obtain.java(), *options, "-Xshare:auto", "-cp", obtain.kafka_jars() / "*"]
        self._services = {number: self._service(number) for number in range(1, nodes + 1)}
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self._brokers)
        self.admin = Kafka(self.bootstrap, **_credentials(_ADMIN, _ADMIN_PASSWORD, "PLAIN") if secured else {})

    def start(self, deadline_s: float = 60.0) -> Kafka:
        """Format the storage, start every node, return when all serve; ServiceError with the log's end if not."""
        # Without its top bit the first character is never "-", which the formatting tool would read as an option.
        identity = uuid.UUID(int=uuid.uuid4().int >> 1)
        cluster_id = base64.urlsafe_b64encode(identity.bytes).decode().rstrip("=")
        for number in self._services:
            self._format(number, cluster_id)
        for number, service in self._services.items():
            # Only the last can be waited for: a quorum needs more than one.
            last = number == self._nodes
            service.start(self._ready if last else (lambda: True), deadline_s)
        self.admin.wait_coordinator()
        return self.admin

    def kill(self, node: int = 1) -> None:
        """SIGKILL one node."""
        self._services[node].kill()

    def freeze(self, node: int = 1) -> None:
        """SIGSTOP one node: its connections stay open, nothing answers."""
        self._services[node].send(signal.SIGSTOP)

    def thaw(self, node: int = 1) -> None:
        """SIGCONT a frozen node."""
        self._services[node].send(signal.SIGCONT)

    def restart(self, node: int = 1, deadline_s: float = 60.0, *, wait: bool = True) -> None:
        """Start a killed node again with its data and on its port; returns when all nodes serve, or at once."""
        self._services[node].start(self._ready if wait else (lambda: True), deadline_s)

    @property
    def nodes(self) -> list[int]:
        """The numbers of all nodes."""
        return list(self._services)

    def running(self, node: int = 1) -> bool:
        """Whether the node's process is there, frozen or not."""
        return self._services[node].running

    def wait_in_sync(self, deadline_s: float = 60.0) -> None:
        """Wait until every node serves and every replica has caught up, so that the next node may go."""
        end = time.monotonic() + deadline_s
        while not (self._ready() and self.admin.in_sync()):
            if time.monotonic() > end:
                logs = "\n".join(f"{service.name}:\n{tail(service.log)}" for service in self._services.values())
                raise ServiceError(f"the Kafka cluster was not in sync within {deadline_s} s\n{logs}")
            time.sleep(0.1)

    def pid(self, node: int = 1) -> int:
        """Process ID of a node, for measurements."""
        return self._services[node].pid

    def stop(self) -> None:
        """End every node and remove the data: nobody needs an orderly end of data that goes away."""
        for service in self._services.values():
            service.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _service(self, number: int) -> Service:
        home = self._directory / str(number)
        home.mkdir()
        (home / "log4j2.properties").write_text(_LOGGING)
        (home / "server.properties").write_text(self._properties(number, home / "data"))
        command = [*self._java, f"-Dlog4j2.configurationFile={home}/log4j2.properties", "kafka.Kafka"]
        return Service(f"Kafka node {number}", [*command, home / "server.properties"], log=home / "log")

    def _properties(self, number: int, data: Path) -> str:
        broker, controller = self._brokers[number - 1], self._controllers[number - 1]
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(self._controllers, 1))
        properties = {
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": voters,
            "listeners": f"{self._protocol}://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"{self._protocol}://127.0.0.1:{broker}",
            "listener.security.protocol.map": f"{self._protocol}:{self._protocol},CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": self._protocol,
            "log.dirs": data,
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # How soon a transaction that timed out is aborted; 10 s by default.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 2_097_152,
        }
        for prefix in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{prefix}.num.partitions"] = 4
            properties[f"{prefix}.replication.factor"] = min(3, self._nodes)
        for prefix in ("transaction.state.log", "share.coordinator.state.topic"):
            properties[f"{prefix}.min.isr"] = min(2, self._nodes)
        if self._nodes > 1:  # a killed node's partitions move after 3 s, not 9
            properties |= {"broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500}
            properties |= {"replica.lag.time.max.ms": 3000}
        if self._protocol != "PLAINTEXT":
            properties |= _SECURITY
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    def _format(self, number: int, cluster_id: str) -> None:
        home = self._directory / str(number)
        command = [*self._java, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]
        with (home / "log").open("wb") as log:
            done = subprocess.run(
                [*command, "-t", cluster_id, "-c", home / "server.properties"],
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
            )
        if done.returncode != 0:
            raise ServiceError(f"formatting Kafka node {number} failed\n{tail(home / 'log')}")

    def _ready(self) -> bool:
        return self.admin.brokers(timeout_s=1.0) == self._nodes
