"""The status server, asked over real sockets: what it serves, and what slow, broken and many clients cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from supervisor.errors import SupervisorError
from supervisor.health import Facts, calculator_check, supervisor_check
from supervisor.hints import Hint, Kind
from supervisor.http import MAX_CONNECTIONS, MAX_HEAD_BYTES, StatusServer
from supervisor.states import CalculatorState, RouteState
from tests.unit.facts import HEALTHY, INLET, facts

DEADLINE_S = 20.0
STALLED = Hint(Kind.STALLED, "nothing is acknowledged <yet>", warns=True, for_s=60.0)


@dataclass
class Reply:
    """A response as a client got it."""

    status: int
    headers: dict[str, str]
    body: str


def serve(
    scenario: Callable[[StatusServer], Awaitable[None]], told: Callable[[], Facts] = lambda: HEALTHY, **deadlines: float
) -> None:
    """Run a scenario against a server on a free port; nothing may be left running or reported as unhandled."""

    async def main() -> None:
        unhandled: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        server = StatusServer("127.0.0.1", 0, told, points=tuple, **deadlines)
        await server.start()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await scenario(server)
        finally:
            await server.stop()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert not unhandled

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def exchange(server: StatusServer, request: bytes) -> Reply:
    """Send bytes and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    raw = await reader.read()
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Reply(int(status_line.split(" ")[1]), headers, body.decode("utf-8"))


async def get(server: StatusServer, path: str, method: str = "GET") -> Reply:
    """Ask for one page."""
    return await exchange(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_live_does_not_look_at_the_facts() -> None:
    """/health/live says 200 while the loop runs, whatever the parts are up to."""

    def broken() -> Facts:
        raise RuntimeError("no facts")

    async def scenario(server: StatusServer) -> None:
        assert (await get(server, "/health/live")).status == 200

    serve(scenario, broken)


def test_ready_follows_the_facts() -> None:
    """/health/ready is 200 or 503 with the reason, anew at each request."""
    told = [HEALTHY, facts(route_state=RouteState.ABSENT, route=None)]

    async def scenario(server: StatusServer) -> None:
        first = await get(server, "/health/ready")
        second = await get(server, "/health/ready?verbose")
        assert (first.status, second.status) == (200, 503)
        assert "version 7" in first.body
        assert "No route yet" in second.body

    serve(scenario, lambda: told.pop(0))


def test_status_holds_every_fact_and_both_checks() -> None:
    """/status is JSON with all fields of the facts, the checks, and the lag by partition."""
    told = facts(last_stderr_line="\udcff<&>\x00 кириллица", restarts=3, stderr_lines=("a", "b"))

    async def scenario(server: StatusServer) -> None:
        reply = await get(server, "/status")
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/json"
        status = json.loads(reply.body)
        assert set(Facts.__dataclass_fields__) <= status.keys()
        assert status["calculator"] == "running"
        assert status["route"] == {
            "version": 7, "incoming_stream": "events", "outgoing_stream": "results", "paused": False, "settings": {}
        }  # fmt: skip
        assert status["settings"] == {"ack_mode": {"value": "line", "source": "KV"}}
        assert status["restarts"] == 3
        assert status["inlet"] == INLET
        assert status["lag"]["0"] == {"acknowledged_offset": 100, "high_watermark": 150, "lag": 50}
        assert status["lag"]["2"]["lag"] is None
        assert status["last_stderr_line"] == told.last_stderr_line
        assert status["stderr_lines"] == ["a", "b"]
        assert status["checks"]["supervisor"] == vars(supervisor_check(told))
        assert status["checks"]["calculator"] == vars(calculator_check(told))
        assert status["ready"] is True

    serve(scenario, lambda: told)


def test_metrics_are_served_in_their_format() -> None:
    """/metrics carries the content type that Prometheus expects."""

    async def scenario(server: StatusServer) -> None:
        reply = await get(server, "/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "supervisor_ready 1\n" in reply.body

    serve(scenario)


def test_the_page_is_escaped_and_needs_nothing_else() -> None:
    """Foreign text cannot become markup; the page loads nothing and renews itself."""
    evil = "<script>alert('x')</script>&\"\udcff"
    told = facts(
        node_id=evil,
        stderr_lines=(evil,),
        last_exit=evil,
        agent_error=evil,
        consumer_error=evil,
        calculator=CalculatorState.CRASH_LOOP,
    )

    async def scenario(server: StatusServer) -> None:
        reply = await get(server, "/")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script" not in reply.body
        assert "&lt;script&gt;" in reply.body
        assert 'http-equiv="refresh"' in reply.body
        assert not re.search(r"\b(src|@import|url\()", reply.body)
        for word in (
            "crash-loop",
            "1\N{NARROW NO-BREAK SPACE}204\N{NARROW NO-BREAK SPACE}250",
            "MiB",
            "critical",
            "not ready",
        ):
            assert word in reply.body

    serve(scenario, lambda: told)


@pytest.mark.parametrize(
    "changes", [{}, {"inlet": {}, "outlet": {}, "lag": {}, "route": None, "adoption_delay_s": None}]
)
def test_the_page_can_always_be_made(changes: dict[str, Any]) -> None:
    """Every combination of states has a page, with streams and without."""

    async def scenario(server: StatusServer) -> None:
        for calculator_state in CalculatorState:
            for route_state in RouteState:
                told[0] = facts(calculator=calculator_state, route_state=route_state, **changes)
                assert (await get(server, "/")).status == 200

    told = [HEALTHY]
    serve(scenario, lambda: told[0])


@pytest.mark.parametrize(
    ("changes", "word", "held_up"),
    [
        ({}, "flowing", None),
        ({"calculator": CalculatorState.CRASH_LOOP}, "crash loop", "the Calculator is in a crash loop"),
        ({"hints": (STALLED,)}, "hanging", "the Calculator is not done with what it has"),
        ({"producer_error": "all brokers down"}, "blocked on Kafka", "Kafka takes no lines"),
    ],
)
def test_the_page_says_flowing_only_of_what_flows(changes: dict[str, Any], word: str, held_up: str | None) -> None:
    """In a crash loop, a hang and a broker's outage it says what is instead, and the status says the same."""

    async def scenario(server: StatusServer) -> None:
        page = (await get(server, "/")).body
        assert f"<h2>{word}</h2>" in page
        status = json.loads((await get(server, "/status")).body)
        assert status["state"]["word"] == word
        assert status["held_up"] == held_up

    serve(scenario, lambda: facts(**changes))


def test_hints_stand_on_the_page_and_in_the_status() -> None:
    """With their words, and for machines with their kind."""

    async def scenario(server: StatusServer) -> None:
        assert "nothing is acknowledged &lt;yet&gt;" in (await get(server, "/")).body
        (hint,) = json.loads((await get(server, "/status")).body)["hints"]
        words = "nothing is acknowledged <yet>"
        assert hint == {"kind": "stalled", "words": words, "warns": True, "for_s": 60.0, "note": 0}

    serve(scenario, lambda: facts(hints=(STALLED,)))


def test_head_has_the_headers_of_get_and_no_body() -> None:
    """HEAD is GET without a body, Content-Length included."""

    async def scenario(server: StatusServer) -> None:
        for path in ("/", "/health/live", "/health/ready"):
            whole, head = await get(server, path), await get(server, path, "HEAD")
            assert (head.status, head.body) == (whole.status, "")
            assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.body.encode()))

    serve(scenario)


def test_every_answer_closes_and_is_safe_to_show() -> None:
    """All answers, refusals included, close the connection, are not stored, not sniffed, and may load nothing."""

    async def scenario(server: StatusServer) -> None:
        for path in ("/", "/status", "/metrics", "/health/live", "/nowhere"):
            headers = (await get(server, path)).headers
            assert headers["connection"] == "close"
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in headers["content-security-policy"]

    serve(scenario)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_other_methods_are_refused(method: str) -> None:
    """405 with Allow for anything but GET and HEAD."""

    async def scenario(server: StatusServer) -> None:
        reply = await get(server, "/status", method)
        assert reply.status == 405
        assert reply.headers["allow"] == "GET, HEAD"

    serve(scenario)


def test_a_body_does_not_take_the_answer_away() -> None:
    """With megabytes behind its head that nobody asked for, a client still gets the whole answer and a clean end."""

    async def scenario(server: StatusServer) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            client.sendall(b"POST / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(BlockingIOError):  # as much as the kernel holds
                while True:
                    client.send(b"x" * 65536)
            client.shutdown(socket.SHUT_WR)
            await until(lambda: bool(select.select([client], [], [], 0)[0]))
            await until(lambda: not server._connections)
            assert client.recv(65536).startswith(b"HTTP/1.1 405 ")
            assert client.recv(65536) == b"", "the end, not a reset"

    serve(scenario)


@pytest.mark.parametrize("path", ["/nowhere", "//", "/health", "/status/", "/..%2f", "/\xff"])
def test_other_paths_are_not_here(path: str) -> None:
    """404 names what there is."""

    async def scenario(server: StatusServer) -> None:
        reply = await get(server, path)
        assert reply.status == 404
        assert "/health/ready" in reply.body

    serve(scenario)


@pytest.mark.parametrize(
    "request_bytes",
    [b"\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\r\n\r\n",
     b"GET http://x/ HTTP/1.1\r\n\r\n", b"\xff" * 100 + b"\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request_is_refused(request_bytes: bytes) -> None:
    """400 for anything that is no HTTP/1 request line."""

    async def scenario(server: StatusServer) -> None:
        assert (await exchange(server, request_bytes)).status == 400

    serve(scenario)


def test_a_long_head_is_refused_and_one_at_the_limit_is_served() -> None:
    """A head of 8 KiB is taken, one over it gets 431, finished or not."""
    start = b"GET /health/live HTTP/1.1\r\nX: "

    async def scenario(server: StatusServer) -> None:
        fits = start + b"x" * (MAX_HEAD_BYTES - len(start) - 4) + b"\r\n\r\n"
        assert (await exchange(server, fits)).status == 200
        assert (await exchange(server, start + b"x" * 2 * MAX_HEAD_BYTES + b"\r\n\r\n")).status == 431
        assert (await exchange(server, start + b"x" * 50 * MAX_HEAD_BYTES)).status == 431

    serve(scenario)


def test_a_request_in_pieces_is_served() -> None:
    """The head may come byte by byte within its time."""

    async def scenario(server: StatusServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in b"GET /health/live HTTP/1.1\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()

    serve(scenario)


def test_a_slow_request_is_ended() -> None:
    """A client that does not finish its head is told so and closed; others are served meanwhile."""

    async def scenario(server: StatusServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HT")
        assert (await get(server, "/health/live")).status == 200
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()

    serve(scenario, head_deadline_s=0.2)


def test_a_client_that_does_not_read_is_dropped() -> None:
    """An answer nobody takes is given up at its deadline, and the server's connection with it."""
    told = facts(lag=dict.fromkeys(range(50_000), (0, 1)))

    async def scenario(server: StatusServer) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /status HTTP/1.1\r\n\r\n")
        await until(lambda: len(server._connections) == 1)
        await until(lambda: not server._connections)
        writer.close()

    serve(scenario, lambda: told, answer_deadline_s=0.2)


def test_broken_clients_do_no_harm() -> None:
    """Connections closed or reset at any point leave the server as it was."""

    async def scenario(server: StatusServer) -> None:
        address = ("127.0.0.1", server.port)
        for request in (b"", b"GET", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n" + b"x" * 10_000):
            for linger in (struct.pack("ii", 0, 0), struct.pack("ii", 1, 0)):  # FIN, RST
                for turns in range(8):
                    with socket.create_connection(address) as client:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        client.sendall(request)
                        for _ in range(turns):  # of the loop, so that the end comes at every step of the server
                            await asyncio.sleep(0)
        await until(lambda: not server._connections)
        assert (await get(server, "/")).status == 200

    serve(scenario)


@pytest.mark.parametrize("request_bytes", [b"", b"GET / HT", b"GET /health/live HTTP/1.1\r\n\r\n"])
def test_many_connections_keep_no_probe_out(request_bytes: bytes) -> None:
    """Of clients that do not ask, ask slowly, or do not go: the oldest make room, and their number is bounded."""

    async def scenario(server: StatusServer) -> None:
        others = []
        for _ in range(200):
            other = await asyncio.open_connection("127.0.0.1", server.port)
            other[1].write(request_bytes)
            others.append(other)
        for path in ("/health/live", "/health/ready", "/status"):
            async with asyncio.timeout(1.0):
                assert (await get(server, path)).status == 200
        assert len(server._connections) <= MAX_CONNECTIONS
        for _, writer in others:
            writer.close()
        await until(lambda: not server._connections)

    serve(scenario)


def test_who_asks_is_answered_before_who_does_not_makes_room() -> None:
    """An answer under way is not cut off for those that came later and do not ask."""

    async def scenario(server: StatusServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: any(connection.phase > 0 for connection in server._connections))
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2 * MAX_CONNECTIONS)]
        assert (await reader.read()).endswith(b"</html>\n")
        for _, other in (*idle, (reader, writer)):
            other.close()

    serve(scenario)


def test_a_port_is_tried_until_it_is_free() -> None:
    """It is one warning, and an error that stands meanwhile."""

    async def scenario(server: StatusServer) -> None:
        second = StatusServer("127.0.0.1", server.port, lambda: HEALTHY)
        with capture_logs() as logs:
            listening = asyncio.create_task(second.listen(again_s=0.01))
            await until(lambda: second.error is not None)
            await asyncio.sleep(0.05)
            await server.stop()
            await listening
        assert [line["log_level"] for line in logs] == ["warning", "info"]
        assert second.error is None
        assert (await get(second, "/health/live")).status == 200
        await second.stop()

    serve(scenario)


def test_a_page_that_fails_is_an_answer() -> None:
    """Facts that cannot be had make a 500 without details, and the server goes on."""

    def broken() -> Facts:
        raise RuntimeError("secret detail")

    async def scenario(server: StatusServer) -> None:
        for path in ("/", "/status", "/metrics", "/health/ready"):
            reply = await get(server, path)
            assert reply.status == 500
            assert "secret" not in reply.body
        assert (await get(server, "/health/live")).status == 200

    serve(scenario, broken)


def test_a_taken_port_is_a_clear_error() -> None:
    """The error names the setting, the address, the reason and what to do."""

    async def scenario(server: StatusServer) -> None:
        second = StatusServer("127.0.0.1", server.port, lambda: HEALTHY)
        with pytest.raises(SupervisorError) as caught:
            await second.start()
        for word in ("HTTP_PORT", "127.0.0.1", str(server.port), "in use", "0 to switch"):
            assert word in str(caught.value)
        await second.stop()

    serve(scenario)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_a_clear_error(host: str) -> None:
    """A host that cannot be listened on is named."""

    async def main() -> None:
        with pytest.raises(SupervisorError, match=re.escape(host)):
            await StatusServer(host, 0, lambda: HEALTHY).start()

    asyncio.run(main())


def test_stop_ends_connections_and_frees_the_port() -> None:
    """Clients under way do not hold up a stop, and the port can be taken again at once."""

    async def scenario(server: StatusServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await until(lambda: len(server._connections) == 1)
        began_s = asyncio.get_running_loop().time()
        await server.stop()
        assert asyncio.get_running_loop().time() - began_s < 1.0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        again = StatusServer("127.0.0.1", server.port, lambda: HEALTHY)
        await again.start()
        await again.stop()

    serve(scenario)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the scenario's deadline bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.005)
