"""Whatever answers at the agent's address, and however: an error that says so, in bounded time and memory."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from supervisor.agent import ConsulAgent
from supervisor.errors import AgentError, AgentRefusedError, AgentUnavailableError
from supervisor.settings import Options, Settings
from tests.services.agent import Consul
from tests.services.fake_agent import Answer, Asked, FakeAgent, directory

INDEX = {"X-Consul-Index": "5"}
NODE = "node"
DIRECTORY = f"buldozer/subordinate/{NODE}"


def settings_for(fake: Consul, **more: str) -> Settings:
    environ = {"NODE_ID": NODE, "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": fake.dsn} | more
    return Settings.load(environ, Options(program="cat"))


def with_client(client: ConsulAgent, story: Callable[[ConsulAgent], Awaitable[None]]) -> None:
    async def main() -> None:
        try:
            await story(client)
        finally:
            client.close()

    asyncio.run(main())


def item(**changed: Any) -> dict[str, Any]:
    return {"Key": f"{DIRECTORY}/desired_version", "Value": "Nw==", "ModifyIndex": 5, "CreateIndex": 1} | changed


def told(*items: object) -> bytes:
    return json.dumps(items).encode()


WRONG_SHAPES = {
    "not JSON": b"<html>log in first</html>",
    "truncated JSON": told(item())[:-9],
    "nothing": b"",
    "null": b"null",
    "a number": b"7",
    "an object": b'{"Key": "x"}',
    "an empty list": b"[]",  # an agent says 404 then; it must not stop the streams
    "a list of nothing": told(None),
    "a list of texts": told("x"),
    "a list of lists": told([]),
    "a key that is a number": told(item(Key=7)),
    "a key that is null": told(item(Key=None)),
    "a key of another directory": told(item(Key="elsewhere/desired_version")),
    "a value that is a number": told(item(Value=7)),
    "a value that is an object": told(item(Value={"a": 1})),
    "a value that is no base64": told(item(Value="*** ***")),
    "a value that is no ASCII": told(item(Value="é")),
    "an index that is a text": told(item(ModifyIndex="five")),
    "an index that is infinite": told(item(ModifyIndex=5)).replace(b'"ModifyIndex": 5', b'"ModifyIndex": 1e999'),
    "an index that is true": told(item(ModifyIndex=True)),
    "an index that is missing": told({"Key": f"{DIRECTORY}/x", "Value": None}),
    "nested without end": b"[" * 200_000,
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("body", WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
def test_a_directory_of_another_shape_is_refused(body: bytes) -> None:
    """Each is one error, counted, that names the address; none of them ends the watching of the directory."""
    with FakeAgent(lambda _: Answer(body=body, headers=INDEX)) as fake:

        async def story(client: ConsulAgent) -> None:
            with pytest.raises(AgentRefusedError, match="answered 200 as no Consul agent does, when asked to read"):
                await client.kv_directory(0, 0)
            assert client.errors_total == 1

        with_client(ConsulAgent(settings_for(fake)), story)


@pytest.mark.parametrize("index", ["", "five", "1e3", "\u0665 x"])
def test_an_index_that_is_no_number_is_refused(index: str) -> None:
    """Without it there is nothing to wait beyond."""
    headers = {"X-Consul-Index": index.encode().decode("latin-1")}
    with FakeAgent(lambda _: Answer(404, headers=headers)) as fake:

        async def story(client: ConsulAgent) -> None:
            with pytest.raises(AgentRefusedError, match="as no Consul agent does"):
                await client.kv_directory(0, 0)

        with_client(ConsulAgent(settings_for(fake)), story)


def test_a_huge_answer_is_given_up_early() -> None:
    """Neither read to its end nor parsed."""
    with FakeAgent(lambda _: Answer(body=b" " * (1 << 20), times=200, headers=INDEX)) as fake:

        async def story(client: ConsulAgent) -> None:
            with pytest.raises(AgentRefusedError, match="over 4 MiB"):
                await client.kv_directory(0, 0)
            assert fake.sent_bytes < 32 << 20  # the kernel's buffers take some

        with_client(ConsulAgent(settings_for(fake)), story)


def test_a_large_directory_is_read(consul: Consul) -> None:
    """The bound is well above what an agent holds there: values of its greatest size."""
    settings = settings_for(consul, NODE_ID=f"node-{uuid4().hex[:8]}")
    huge = b"x" * (512 << 10)
    for key in "abcd":
        consul.kv_put(f"{settings.kv_directory}/{key}", huge)

    async def story(client: ConsulAgent) -> None:
        assert (await client.kv_directory(0, 0)).entries == dict.fromkeys("abcd", huge)

    with_client(ConsulAgent(settings), story)


@pytest.mark.parametrize("where", ["body", "nothing at all"])
def test_an_answer_that_never_ends_is_cut_and_leaves_no_thread(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte begins the socket's own timeout anew; the whole request has one of its own."""
    monkeypatch.setattr("supervisor.agent.CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr("supervisor.agent.OVERALL_MARGIN_S", 0.1)
    dripping = Answer(body=b"[" * 10_000, headers=INDEX, drip_s=0.05)
    answer = dripping if where == "body" else Answer(delay_s=60)
    with FakeAgent(lambda _: answer) as fake:

        async def story(client: ConsulAgent) -> None:
            for _ in range(3):
                began_s = time.monotonic()
                with pytest.raises(AgentUnavailableError, match="no answer in time"):
                    await client.kv_directory(0, 0)
                assert time.monotonic() - began_s < 2
            fake.script = lambda _: Answer(404, headers=INDEX)
            assert (await client.kv_directory(0, 0)).entries is None
            # Only that of the last call is left; those that were stuck are gone.
            end_s = time.monotonic() + 5
            while len([thread for thread in threading.enumerate() if thread.name == "consul-kv"]) > 1:
                assert time.monotonic() < end_s, threading.enumerate()
                await asyncio.sleep(0.02)

        with_client(ConsulAgent(settings_for(fake), kv_timeout_s=0.3), story)


@pytest.mark.parametrize("body", [b"<html>log in first</html>", b'{"ok": true}'])
def test_success_with_something_to_say_is_no_agents(body: bytes) -> None:
    """A portal says 200 to everything; a service that nobody registered must not be called registered."""
    with FakeAgent(lambda _: Answer(body=body)) as fake:

        async def story(client: ConsulAgent) -> None:
            for call in (
                client.register({}),
                client.ttl_update("x", "passing", ""),
                client.deregister("x"),
                client.kv_cas("adopted_version", "1", 0),
            ):
                with pytest.raises(AgentRefusedError, match="as no Consul agent does"):
                    await call
            assert client.errors_total == 4

        with_client(ConsulAgent(settings_for(fake)), story)


@pytest.mark.parametrize("cut_at", [0, 1, 40])
def test_a_truncated_answer_is_no_answer(cut_at: int) -> None:
    """The length that was announced tells."""
    whole = directory(5, {"desired_version": "7"}, DIRECTORY)
    with FakeAgent(lambda _: Answer(body=whole.body, headers=INDEX, cut_at=cut_at)) as fake:

        async def story(client: ConsulAgent) -> None:
            with pytest.raises(AgentUnavailableError, match=r"the connection broke|connection reset"):
                await client.kv_directory(0, 0)

        with_client(ConsulAgent(settings_for(fake)), story)


def test_servers_without_a_leader_do_not_make_the_agent_come_back_at_each_heartbeat() -> None:
    """What the agent answers by itself goes on; only an answer of the servers ends their silence."""
    leader = threading.Event()

    def script(asked: Asked) -> Answer:
        if asked.path.startswith("kv/") and not leader.is_set():
            return Answer(500, b"No cluster leader")
        return Answer(404, headers=INDEX) if asked.path.startswith("kv/") else Answer()

    with FakeAgent(script) as fake:

        async def story(client: ConsulAgent) -> None:
            restored: list[float] = []
            client.on_restored.append(lambda: restored.append(time.monotonic()))
            for _ in range(3):
                with pytest.raises(AgentUnavailableError, match="No cluster leader"):
                    await client.kv_directory(0, 0)
                await client.ttl_update("x", "passing", "")
            assert not restored
            leader.set()
            await client.kv_directory(0, 0)
            assert len(restored) == 1

        with_client(ConsulAgent(settings_for(fake)), story)


@pytest.mark.parametrize("code", [500, 503, 429])
def test_an_agent_that_was_overloaded_and_answers_again_has_come_back(code: int) -> None:
    """It may have begun anew behind its errors."""
    answer = Answer(code, b"not now")
    with FakeAgent(lambda _: answer) as fake:

        async def story(client: ConsulAgent) -> None:
            nonlocal answer
            restored: list[float] = []
            client.on_restored.append(lambda: restored.append(time.monotonic()))
            with pytest.raises(AgentUnavailableError, match=f"answered {code}"):
                await client.ttl_update("x", "passing", "")
            assert not restored
            answer = Answer()
            await client.ttl_update("x", "passing", "")
            assert len(restored) == 1

        with_client(ConsulAgent(settings_for(fake)), story)


def test_a_call_that_began_in_the_silence_is_asked_anew_when_the_agent_is_back() -> None:
    """The agent may never answer it, and its own timeout is longer than a heartbeat."""
    silent = True

    def script(asked: Asked) -> Answer:
        if silent:
            return Answer(delay_s=60)
        return Answer(404, headers=INDEX) if asked.path.startswith("kv/") else Answer()

    with FakeAgent(script) as fake:

        async def story(client: ConsulAgent) -> None:
            nonlocal silent
            client._kv_timeout_s = 0.3
            with pytest.raises(AgentUnavailableError):
                await client.kv_directory(0, 0)
            client._kv_timeout_s = 60.0
            stuck = asyncio.create_task(client.kv_directory(0, 0))
            with pytest.raises(AgentUnavailableError):
                await client.ttl_update("x", "passing", "")
            silent = False
            began_s = time.monotonic()
            await client.ttl_update("x", "passing", "")
            with pytest.raises(AgentUnavailableError):
                await stuck
            assert (await client.kv_directory(0, 0)).entries is None
            assert time.monotonic() - began_s < 2

        with_client(ConsulAgent(settings_for(fake), local_timeout_s=0.3), story)


def test_every_new_token_of_a_file_is_told_once(tmp_path: Path) -> None:
    """The agent keeps the token that a service was registered with: it must be registered with the new one."""
    file = tmp_path / "token"
    file.write_text("one")
    with FakeAgent(lambda _: Answer()) as fake:

        async def story(client: ConsulAgent) -> None:
            restored: list[float] = []
            client.on_restored.append(lambda: restored.append(time.monotonic()))
            for token, times in (("one", 0), ("two", 1), ("two", 1), ("three", 2)):
                file.write_text(token)
                await client.ttl_update("x", "passing", "")
                await client.ttl_update("x", "passing", "")
                assert len(restored) == times
                assert fake.asked()[-1].token == token

        with_client(ConsulAgent(settings_for(fake, CONSUL_HTTP_TOKEN_FILE=str(file))), story)


def test_a_peer_that_vanished_is_noticed_by_keepalive() -> None:
    """A blocking query waits for half a minute; the kernel asks meanwhile whether there still is a peer."""
    with FakeAgent(lambda asked: Answer(404, headers=INDEX, delay_s=30 if asked.index else 0)) as fake:

        async def story(client: ConsulAgent) -> None:
            query = asyncio.create_task(client.kv_directory(5, 30))
            port = f"{fake._server.server_address[1]:04X}"
            end_s = time.monotonic() + 5
            while not _keepalive_timer_runs(port):
                assert time.monotonic() < end_s
                await asyncio.sleep(0.02)
            query.cancel()

        with_client(ConsulAgent(settings_for(fake)), story)


def _keepalive_timer_runs(port: str) -> bool:
    """Fields by proc_net_tcp.txt: the remote address is the third, the timer that is active the sixth (02)."""
    connections = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    return any(
        fields[2].endswith(f":{port}") and fields[3] == "01" and fields[5].startswith("02:") for fields in connections
    )


def test_errors_of_answers_are_agent_errors_alone() -> None:
    """Headers that break HTTP's own rules included."""
    headers: dict[str, str] = {}
    with FakeAgent(lambda _: Answer(404, headers=headers)) as fake:

        async def story(client: ConsulAgent) -> None:
            nonlocal headers
            for broken in (
                {"Content-Length": "-7", **INDEX},
                {"Transfer-Encoding": "chunked", **INDEX},
                {"Content-Encoding": "gzip", "Content-Length": "0", "X-Consul-Index": "-"},
                {"Location": "http://127.0.0.1:1", "X-Consul-Index": "9" * 5000},
                {"X-Long": "x" * 70_000, **INDEX},
                {f"X-{number}": "x" for number in range(150)} | INDEX,
            ):
                headers = broken
                with pytest.raises(AgentError):
                    await client.kv_directory(0, 0)

        with_client(ConsulAgent(settings_for(fake), kv_timeout_s=0.3), story)
