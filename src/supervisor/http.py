"""What is seen from outside: liveness, readiness, metrics, status, and a page for people, over plain HTTP/1.1.

One answer a connection, GET and HEAD alone, everything bounded: the head of a request, the time to send it and to take
the answer, the number of connections. A slow or broken client costs one of them for a few seconds and nothing else: a
new one is always taken, and the oldest that has not asked yet makes room for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import structlog

from supervisor import metrics, status_page
from supervisor.condition import condition
from supervisor.errors import SupervisorError
from supervisor.health import Facts, calculator_check, held_up, ready, supervisor_check
from supervisor.sampler import Point

log = structlog.get_logger("supervisor.http")

MAX_HEAD_BYTES: Final = 8192
MAX_CONNECTIONS: Final = 64
HEAD_DEADLINE_S: Final = 5.0
ANSWER_DEADLINE_S: Final = 5.0
LISTEN_AGAIN_S: Final = 2.0
"""How often a port that could not be listened on is tried again."""

LINGER_S: Final = 1.0
"""So long after the answer, what the client still sends is thrown away: closing at once could take the answer back."""

_TEXT: Final = "text/plain; charset=utf-8"
_HEADERS: Final = (
    "Connection: close\r\n"
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A response; ``allow`` names the methods where another one was used."""

    status: HTTPStatus
    body: str
    content_type: str = _TEXT
    allow: str | None = None

    def encode(self, *, with_body: bool) -> bytes:
        """The bytes on the wire; an answer to HEAD has every header and no body."""
        body = self.body.encode("utf-8", "replace")
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Date: {formatdate(usegmt=True)}\r\n"
            f"Content-Type: {self.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"{_HEADERS}"
        )
        if self.allow is not None:
            head += f"Allow: {self.allow}\r\n"
        return head.encode("ascii") + b"\r\n" + (body if with_body else b"")


class _Phase(enum.IntEnum):
    """How far a connection has come, in the order in which they make room for new ones."""

    NOT_ASKED = 0
    ANSWERED = 1
    BEING_ANSWERED = 2


@dataclasses.dataclass(eq=False)
class _Connection:
    transport: asyncio.WriteTransport
    phase: _Phase = _Phase.NOT_ASKED
    task: asyncio.Task[None] | None = None


@dataclasses.dataclass(frozen=True)
class Sources:
    """What the pages are made of, asked for when one needs it."""

    facts: Callable[[], Facts]
    points: Callable[[], Sequence[Point]]


class StatusServer:
    """Serves facts. ``facts`` is called for each request that needs them, on the loop.

    ``points`` are the last ten minutes.

    ``port`` is the port listened on; given as 0, ``start`` chooses a free one. ``head_deadline_s`` bounds the time a
    client may take for its request, ``answer_deadline_s`` for taking the answer. ``error`` is why it does not listen,
    and ``error_since_s`` since when (monotonic).
    """

    def __init__(
        self,
        host: str,
        port: int,
        facts: Callable[[], Facts],
        *,
        points: Callable[[], Sequence[Point]] = tuple,
        head_deadline_s: float = HEAD_DEADLINE_S,
        answer_deadline_s: float = ANSWER_DEADLINE_S,
    ) -> None:
        self.port = port
        self._host = host
        self._sources = Sources(facts, points)
        self._head_deadline_s = head_deadline_s
        self._answer_deadline_s = answer_deadline_s
        self.error: str | None = None
        self.error_since_s: float | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[_Connection, None] = {}  # a set in the order they came
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, again_s: float = LISTEN_AGAIN_S) -> None:
        """Listen, and try until that is possible: who only looks on never stops the work."""
        while True:
            try:
                await self.start()
            except SupervisorError as error:
                if str(error) != self.error:
                    log.warning("status and metrics are not served; tried again", why=str(error), every_s=again_s)
                self.error = str(error)
                self.error_since_s = self.error_since_s or time.monotonic()
                await asyncio.sleep(again_s)
            else:
                self.error = self.error_since_s = None
                log.info("status server listens", host=self._host, port=self.port)
                return

    async def start(self) -> None:
        """Listen; raise SupervisorError when that is not possible."""
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self.port, limit=MAX_HEAD_BYTES)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SupervisorError(
                f"HTTP_PORT: cannot listen on {self._host} port {self.port}: {reason}; "
                "choose another HTTP_HOST or HTTP_PORT, or 0 to switch status and metrics off"
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop(min(self._connections, key=lambda connection: connection.phase))  # the oldest of these
        connection = _Connection(writer.transport)
        self._connections[connection] = None
        connection.task = asyncio.get_running_loop().create_task(self._serve(reader, writer, connection))
        self._tasks.add(connection.task)
        connection.task.add_done_callback(self._tasks.discard)

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection]
        connection.transport.abort()  # here, because a task that has not begun does nothing when it is cancelled
        if connection.task is not None:
            connection.task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection) -> None:
        """One connection from start to end; ends without an error whatever the client does."""
        try:
            writer.transport.set_write_buffer_limits(0)  # so that drain() means: all of it is the kernel's
            answer = await self._answer_to(reader)
            if answer is None:
                return
            connection.phase = _Phase.BEING_ANSWERED
            async with asyncio.timeout(self._answer_deadline_s):
                writer.write(answer)
                await writer.drain()
            writer.write_eof()
            connection.phase = _Phase.ANSWERED
            async with asyncio.timeout(LINGER_S):
                while await reader.read(MAX_HEAD_BYTES):
                    pass
        except (OSError, TimeoutError):
            pass  # the client is gone or too slow
        finally:
            self._connections.pop(connection, None)
            writer.transport.abort()

    async def _answer_to(self, reader: asyncio.StreamReader) -> bytes | None:
        """Read a request and make its answer; None for a client that closed before it had asked."""
        try:
            async with asyncio.timeout(self._head_deadline_s):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            too_large = Answer(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"request head over {MAX_HEAD_BYTES} bytes\n"
            )
            return too_large.encode(with_body=True)
        except TimeoutError:
            too_late = Answer(HTTPStatus.REQUEST_TIMEOUT, f"no request within {self._head_deadline_s:g} s\n")
            return too_late.encode(with_body=True)
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[1].startswith(b"/") or not words[2].startswith(b"HTTP/1."):
            return Answer(HTTPStatus.BAD_REQUEST, "no HTTP/1.1 request\n").encode(with_body=True)
        method, target, _ = words
        return self._answer(method, target.partition(b"?")[0]).encode(with_body=method != b"HEAD")

    def _answer(self, method: bytes, path: bytes) -> Answer:
        page = _PAGES.get(path)
        if page is None:
            return Answer(HTTPStatus.NOT_FOUND, "not here; there are " + " ".join(map(bytes.decode, _PAGES)) + "\n")
        if method not in (b"GET", b"HEAD"):
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only\n", allow="GET, HEAD")
        try:
            return page(self._sources)
        except Exception:  # a page that fails must not take the server with it
            log.exception("a status page could not be made", path=path.decode("ascii", "replace"))
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the page could not be made; the log says why\n")


def status(facts: Facts) -> dict[str, Any]:
    """Return all facts and what they come to, ready for JSON."""
    is_ready, why = ready(facts)
    told = {field.name: _plain(getattr(facts, field.name)) for field in dataclasses.fields(facts)}
    lags = facts.partition_lag()
    told["lag"] = {
        str(partition): {
            "acknowledged_offset": done,
            "high_watermark": high,
            "lag": lags.get(partition),
        }
        for partition, (done, high) in facts.lag.items()
    }
    told["settings"] = {key: {"value": value, "source": source} for key, (value, source) in facts.settings.items()}
    now = condition(facts)
    return {
        "state": {
            "word": now.word.value,
            "status": now.status,
            "cause": now.cause,
            "place": now.place.value if now.place else None,
        },
        "ready": is_ready,
        "readiness": why,
        "held_up": held_up(facts),
        "checks": {
            "supervisor": dataclasses.asdict(supervisor_check(facts)),
            "calculator": dataclasses.asdict(calculator_check(facts)),
        },
        **told,
    }


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _live(_sources: Sources) -> Answer:
    return Answer(HTTPStatus.OK, "The event loop runs.\n")


def _ready(sources: Sources) -> Answer:
    is_ready, why = ready(sources.facts())
    return Answer(HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, why + "\n")


def _metrics(sources: Sources) -> Answer:
    return Answer(HTTPStatus.OK, metrics.render(sources.facts()), metrics.CONTENT_TYPE)


def _status(sources: Sources) -> Answer:
    body = json.dumps(status(sources.facts()), indent=2, default=str) + "\n"
    return Answer(HTTPStatus.OK, body, "application/json")


def _page(sources: Sources) -> Answer:
    return Answer(HTTPStatus.OK, status_page.render(sources.facts(), sources.points()), "text/html; charset=utf-8")


_PAGES: Final[Mapping[bytes, Callable[[Sources], Answer]]] = {
    b"/": _page,
    b"/health/live": _live,
    b"/health/ready": _ready,
    b"/metrics": _metrics,
    b"/status": _status,
}
