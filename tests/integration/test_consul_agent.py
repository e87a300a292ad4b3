"""The client beside a real agent, and beside servers that answer as no agent does."""

from __future__ import annotations

import asyncio
import json
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from supervisor.agent import ConsulAgent
from supervisor.errors import AgentError, AgentRefusedError, AgentUnavailableError
from supervisor.settings import Options, Settings
from tests.services.agent import Agent, Consul
from tests.services.obtain import consul_binary

SECRET = "b1946ac9-2049-4c2a-9c43-0123456789ab"


def settings_for(dsn: str, **more: str) -> Settings:
    environ = {"NODE_ID": f"node-{uuid4().hex[:8]}", "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": dsn} | more
    return Settings.load(environ, Options(program="cat"))


@pytest.fixture(scope="module")
def acl_agent() -> Iterator[Agent]:
    with Agent.with_acl(SECRET) as agent:
        yield agent


@contextmanager
def server_answering(answer: bytes, *, then_hang: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer every request with the same bytes; the DSN of that server."""
    done = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if tls is not None:
                try:
                    self.request = tls.wrap_socket(self.request, server_side=True)
                except OSError:
                    return
            self.request.recv(65536)
            self.request.sendall(answer)
            if then_hang:
                done.wait(30)

        def finish(self) -> None:
            self.request.close()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            done.set()
            server.shutdown()
            thread.join()


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_directory_is_read_as_one_snapshot(consul: Consul) -> None:
    """Keys below it, bytes as they are, neighbours with the same beginning left out; a missing one has an index."""
    settings = settings_for(consul.dsn)

    async def main() -> None:
        agent = ConsulAgent(settings)
        missing = await agent.kv_directory(0, 0)
        assert missing.entries is None
        assert missing.index > 0
        consul.kv_put(f"{settings.kv_directory}/a", b"\xff\x00")
        consul.kv_put(f"{settings.kv_directory}/empty", b"")
        consul.kv_put(f"{settings.kv_directory}-neighbour/a", b"no")
        found = await agent.kv_directory(0, 0)
        assert found.entries == {"a": b"\xff\x00", "empty": b""}
        assert await agent.kv_cas("a", "2", found.modify_indexes["a"])
        assert not await agent.kv_cas("a", "3", found.modify_indexes["a"])
        assert not await agent.kv_cas("a", "4", 0)
        assert consul.kv_get(f"{settings.kv_directory}/a") == b"2"
        agent.close()

    asyncio.run(main())


def test_a_blocking_query_returns_at_a_change_and_delays_nothing_else(consul: Consul) -> None:
    """Other requests are answered meanwhile; the change is seen long before the wait is over."""
    settings = settings_for(consul.dsn)

    async def main() -> None:
        agent = ConsulAgent(settings)
        index = (await agent.kv_directory(0, 0)).index
        began_s = time.monotonic()
        query = asyncio.create_task(agent.kv_directory(index, 30))
        assert await agent.kv_cas("a", "1", 0)
        changed = await query
        while changed.entries is None:  # a write elsewhere in the store wakes a query for what does not exist
            changed = await agent.kv_directory(changed.index, 30)
        assert changed.entries == {"a": b"1"}
        assert time.monotonic() - began_s < 5
        agent.close()

    asyncio.run(main())


def test_a_blocking_query_in_flight_does_not_hold_the_exit(consul: Consul) -> None:
    """The process is gone long before the query would be answered."""
    program = f"""
import asyncio
from supervisor.agent import ConsulAgent
from supervisor.settings import Options, Settings
settings = Settings.load({{"NODE_ID": "x", "KAFKA_DSN": "h:1", "CONSUL_DSN": "{consul.dsn}"}}, Options(program="cat"))
async def main():
    agent = ConsulAgent(settings)
    await agent.kv_cas("a", "1", 0)
    index = (await agent.kv_directory(0, 0)).index
    query = asyncio.create_task(agent.kv_directory(index, 60))
    await asyncio.sleep(0.3)
    assert not query.done()
    query.cancel()
    agent.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=10, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_refused_token_is_said_without_showing_it(acl_agent: Agent) -> None:
    """What was asked, what to do, and neither token nor URL."""
    wrong = str(uuid4())
    agent = ConsulAgent(settings_for(acl_agent.dsn, CONSUL_HTTP_TOKEN=wrong))

    async def main() -> None:
        with pytest.raises(AgentRefusedError) as caught:
            await agent.kv_directory(0, 0)
        message = str(caught.value)
        assert "403" in message
        assert "read the KV directory" in message
        assert "CONSUL_HTTP_TOKEN" in message
        assert wrong not in message
        assert "://" not in message
        assert agent.errors_total == 1
        agent.close()

    asyncio.run(main())


def test_a_directory_that_the_token_may_not_read_is_not_a_deleted_one(acl_agent: Agent) -> None:
    """Consul filters it away, which must not stop the streams."""
    name = f"services-only-{uuid4().hex}"
    rules = 'service_prefix "" { policy = "write" }'
    acl_agent.request("PUT", "acl/policy", {}, json.dumps({"Name": name, "Rules": rules}).encode())
    token = acl_agent.request("PUT", "acl/token", {}, json.dumps({"Policies": [{"Name": name}]}).encode())
    secret = json.loads(token)["SecretID"]
    settings = settings_for(acl_agent.dsn, CONSUL_HTTP_TOKEN=secret)
    acl_agent.kv_put(f"{settings.kv_directory}/desired_version", "1")

    async def main() -> None:
        agent = ConsulAgent(settings)
        with pytest.raises(AgentRefusedError, match="may not read the KV directory"):
            await agent.kv_directory(0, 0)
        agent.close()

    asyncio.run(main())


def test_a_token_file_is_read_again_when_it_changed(acl_agent: Agent, tmp_path: Path) -> None:
    """Tokens are rotated under a running process."""
    file = tmp_path / "token"
    file.write_text(f"{uuid4()}\n")
    agent = ConsulAgent(settings_for(acl_agent.dsn, CONSUL_HTTP_TOKEN_FILE=str(file)))

    async def main() -> None:
        with pytest.raises(AgentRefusedError):
            await agent.kv_cas("a", "1", 0)
        file.write_text(f"{SECRET}\n")
        assert await agent.kv_cas("a", "1", 0)
        file.unlink()
        assert not await agent.kv_cas("a", "1", 0)
        agent.close()

    asyncio.run(main())


def test_a_unix_socket_works_as_an_address(tmp_path: Path) -> None:
    """CONSUL_DSN=unix:///…: the agent listens there alone."""
    path = tmp_path / "consul.sock"
    with Agent({"addresses": {"http": f"127.0.0.1 unix://{path}"}}) as consul:
        settings = settings_for(f"unix://{path}")

        async def main() -> None:
            agent = ConsulAgent(settings)
            assert await agent.kv_cas("a", "1", 0)
            assert consul.kv_get(f"{settings.kv_directory}/a") == b"1"
            consul.kill()
            with pytest.raises(AgentUnavailableError, match="connection refused"):
                await agent.kv_cas("a", "2", 0)
            agent.close()

        asyncio.run(main())


def test_nobody_listening_is_said_with_the_address() -> None:
    """And counted."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agent = ConsulAgent(settings_for(f"127.0.0.1:{port}"))

    async def main() -> None:
        with pytest.raises(AgentUnavailableError) as caught:
            await agent.deregister("x")
        assert str(caught.value) == (
            f"Consul agent at 127.0.0.1:{port}: connection refused, when asked to deregister the service;"
            " check CONSUL_DSN and that the agent runs"
        )
        assert agent.errors_total == 1
        agent.close()

    asyncio.run(main())


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    """Every wait has a deadline."""
    with server_answering(b"", then_hang=True) as dsn:
        agent = ConsulAgent(settings_for(dsn), local_timeout_s=0.2)

        async def main() -> None:
            began_s = time.monotonic()
            with pytest.raises(AgentUnavailableError, match="no answer in time"):
                await agent.ttl_update("x", "passing", "")
            assert time.monotonic() - began_s < 5
            agent.close()

        asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (http("200 OK", b"<html>hello</html>"), AgentRefusedError, "as no Consul agent does"),
        (http("200 OK", b"[{}]", "X-Consul-Index: 5"), AgentRefusedError, "as no Consul agent does"),
        (http("404 Not Found", b"nginx"), AgentRefusedError, "as no Consul agent does"),
        (http("302 Found", b"", "Location: http://127.0.0.1:1/elsewhere"), AgentUnavailableError, "redirects"),
        (http("500 Oops", b"No cluster leader"), AgentUnavailableError, "No cluster leader"),
        (http("429 Slow down", b"rate limit"), AgentUnavailableError, "rate limit"),
        (http("400 Bad", b"Client sent an HTTP request"), AgentRefusedError, "400"),
        (b"SSH-2.0-OpenSSH\r\n", AgentUnavailableError, "check CONSUL_DSN"),
        (b"", AgentUnavailableError, "check CONSUL_DSN"),
    ],
)
def test_wrong_answers_become_errors_that_say_what_to_do(answer: bytes, error: type[AgentError], said: str) -> None:
    """Whatever listens at that address."""
    with server_answering(answer) as dsn:
        agent = ConsulAgent(settings_for(dsn, CONSUL_HTTP_TOKEN=SECRET))

        async def main() -> None:
            with pytest.raises(error) as caught:
                await agent.kv_directory(0, 0)
            assert said in str(caught.value)
            assert "://" not in str(caught.value)
            assert agent.errors_total == 1
            agent.close()

        asyncio.run(main())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority, and certificates of a server at 127.0.0.1 and of a client."""
    directory = tmp_path_factory.mktemp("tls")
    for command in ("ca create", "cert create -server -dc dc1", "cert create -client -dc dc1"):
        subprocess.run([consul_binary(), "tls", *command.split()], cwd=directory, check=True, capture_output=True)
    return directory


@contextmanager
def tls_server(certificates: Path) -> Iterator[str]:
    """An empty KV store behind TLS that asks for the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "dc1-server-consul-0.pem", certificates / "dc1-server-consul-0-key.pem")
    context.load_verify_locations(certificates / "consul-agent-ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with server_answering(http("404 Not Found", b"", "X-Consul-Index: 3"), tls=context) as dsn:
        yield f"https://{dsn}"


@pytest.mark.parametrize(
    "checking", [{"CONSUL_CACERT": "consul-agent-ca.pem"}, {"CONSUL_HTTP_SSL_VERIFY": "false"}], ids=["CA", "unchecked"]
)
def test_tls_with_a_client_certificate_works(certificates: Path, checking: dict[str, str]) -> None:
    """With the authority given, or without a check of the agent's certificate."""
    given = {
        "CONSUL_CLIENT_CERT": str(certificates / "dc1-client-consul-0.pem"),
        "CONSUL_CLIENT_KEY": str(certificates / "dc1-client-consul-0-key.pem"),
    } | {name: value if value == "false" else str(certificates / value) for name, value in checking.items()}
    with tls_server(certificates) as dsn:

        async def main() -> None:
            agent = ConsulAgent(settings_for(dsn, **given))
            assert (await agent.kv_directory(0, 0)).index == 3
            agent.close()

        asyncio.run(main())


@pytest.mark.parametrize("place", ["SSL_CERT_FILE", "the image's list"])
def test_authorities_of_the_image_are_trusted(
    place: str, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's own among them, wherever the distribution keeps its list: OpenSSL alone knows one place."""
    authorities = certificates / "consul-agent-ca.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities if place == "SSL_CERT_FILE" else tmp_path / "none"))
    monkeypatch.setattr(
        "supervisor.consul_http.AUTHORITIES", (str(tmp_path / "of another distribution"), str(authorities))
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "dc1-server-consul-0.pem", certificates / "dc1-server-consul-0-key.pem")
    with server_answering(http("404 Not Found", b"", "X-Consul-Index: 3"), tls=context) as dsn:

        async def main() -> None:
            agent = ConsulAgent(settings_for(f"https://{dsn}"))
            assert (await agent.kv_directory(0, 0)).index == 3
            agent.close()

        asyncio.run(main())


def test_a_tls_answer_that_never_ends_can_be_cut(certificates: Path) -> None:
    """By another thread than the one that reads it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "dc1-server-consul-0.pem", certificates / "dc1-server-consul-0-key.pem")
    with server_answering(b"HTTP/1.1 200 OK\r\n", then_hang=True, tls=context) as dsn:

        async def main() -> None:
            agent = ConsulAgent(settings_for(f"https://{dsn}", CONSUL_HTTP_SSL_VERIFY="false"), kv_timeout_s=20.0)
            query = asyncio.create_task(agent.kv_directory(0, 0))
            while not _socket_of(agent):
                assert not query.done()
                await asyncio.sleep(0.01)
            agent._lanes["kv"].cut()
            with pytest.raises(AgentUnavailableError):
                await asyncio.wait_for(query, 5)
            agent.close()

        asyncio.run(main())


def _socket_of(agent: ConsulAgent) -> socket.socket | None:
    http = agent._lanes["kv"]._http if agent._lanes else None
    return http._adapter._socket if http else None


def test_an_agent_of_an_unknown_authority_is_not_trusted(certificates: Path) -> None:
    """And the message names the setting that would help."""
    with tls_server(certificates) as dsn:

        async def main() -> None:
            agent = ConsulAgent(settings_for(dsn))
            with pytest.raises(AgentUnavailableError, match=r"TLS failed \(.*certificate.*CONSUL_CACERT"):
                await agent.kv_directory(0, 0)
            agent.close()

        asyncio.run(main())


def test_a_token_is_not_repeated_from_an_answer() -> None:
    """Not even if the answer has it."""
    with server_answering(http("500 Oops", f"bad token {SECRET}".encode())) as dsn:
        agent = ConsulAgent(settings_for(dsn, CONSUL_HTTP_TOKEN=SECRET))

        async def main() -> None:
            with pytest.raises(AgentUnavailableError) as caught:
                await agent.kv_directory(0, 0)
            assert SECRET not in str(caught.value)
            agent.close()

        asyncio.run(main())


def test_the_own_address_is_one_of_this_machine(consul: Consul) -> None:
    """An address that a socket can be bound to."""

    async def main() -> str:
        agent = ConsulAgent(settings_for(consul.dsn))
        address = await agent.own_address()
        agent.close()
        return address

    with socket.socket() as probe:
        probe.bind((asyncio.run(main()), 0))
