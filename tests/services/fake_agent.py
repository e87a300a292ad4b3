"""An agent on 127.0.0.1 that answers as a script says, alone or in front of a real one; it keeps what it was asked."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from .agent import Consul

FORWARD_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Asked:
    """One request; ``path`` without ``/v1/`` and query, ``number`` counts from 1, ``at_s`` is monotonic."""

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    token: str | None
    at_s: float

    @property
    def index(self) -> int | None:
        """What a blocking query waits beyond; None if it is none."""
        return int(self.query["index"]) if "index" in self.query else None


@dataclass(frozen=True)
class Answer:
    """What to answer, after ``delay_s``.

    ``cut_at`` closes the connection after so many bytes of the body, whose whole length was announced;
    ``drip_s`` sends it byte by byte with such a pause; ``times`` sends it so often in one answer.
    """

    code: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut_at: int | None = None
    drip_s: float = 0.0
    times: int = 1


Script = Callable[[Asked], Answer | None]


def directory(index: int, entries: Mapping[str, str | bytes], under: str, **more: Any) -> Answer:
    """A KV directory as an agent tells it; every key was modified at the index."""
    items = [
        {
            "LockIndex": 0,
            "Key": f"{under}/{key}",
            "Flags": 0,
            "Value": base64.b64encode(value.encode() if isinstance(value, str) else value).decode() or None,
            "CreateIndex": 1,
            "ModifyIndex": index,
        }
        for key, value in entries.items()
    ]
    return Answer(body=json.dumps(items).encode(), headers={"X-Consul-Index": str(index)}, **more)


class FakeAgent(Consul):
    """Listens from its making on. ``script`` gives the answer to a request; None: what ``behind`` answers, or 404.

    ``script`` may be replaced at any time. It is called in the connection's thread.
    """

    def __init__(self, script: Script = lambda _: None, *, behind: Consul | None = None) -> None:
        self.script = script
        self.sent_bytes = 0
        self._behind = behind
        self._asked: list[Asked] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

        class Handler(_Handler):
            agent = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake agent", daemon=True).start()
        super().__init__(f"http://127.0.0.1:{self._server.server_address[1]}", behind.token if behind else None)

    def asked(self, beginning: str = "", since_s: float = 0.0) -> Sequence[Asked]:
        """The requests so far whose path begins so."""
        with self._lock:
            return [asked for asked in self._asked if asked.path.startswith(beginning) and asked.at_s >= since_s]

    def note(self, method: str, target: str, body: bytes, token: str | None) -> Asked:
        """Remember a request."""
        path, _, query = target.partition("?")
        with self._lock:
            asked = Asked(
                len(self._asked) + 1,
                method,
                urllib.parse.unquote(path).removeprefix("/v1/"),
                dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
                body,
                token,
                time.monotonic(),
            )
            self._asked.append(asked)
        return asked

    def answer(self, asked: Asked, target: str) -> Answer | None:
        """What to answer; None to close the connection without a word."""
        answer = self.script(asked)
        if answer is None:
            answer = self._forward(asked, target) if self._behind is not None else Answer(404)
        if answer is not None and self._closing.wait(answer.delay_s):
            return None
        return answer

    def pause(self, pause_s: float) -> bool:
        """Wait, not beyond the end; whether there is a reason to go on."""
        return not self._closing.wait(pause_s)

    def _forward(self, asked: Asked, target: str) -> Answer | None:
        assert self._behind is not None
        connection = http.client.HTTPConnection(self._behind.dsn, timeout=FORWARD_DEADLINE_S)
        with contextlib.closing(connection):
            try:
                headers = {"X-Consul-Token": asked.token} if asked.token else {}
                connection.request(asked.method, target, asked.body or None, headers)
                answer = connection.getresponse()
                told = {name: value for name, value in answer.getheaders() if name.startswith("X-Consul-")}
                return Answer(answer.status, answer.read(), told)
            except (OSError, http.client.HTTPException):
                return None

    def stop(self) -> None:
        """Close the port; connections end."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    agent: ClassVar[FakeAgent]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = self.agent.note(self.command, self.path, body, self.headers.get("X-Consul-Token"))
        answer = self.agent.answer(asked, self.path)
        if answer is None:
            self.close_connection = True
            return
        with contextlib.suppress(OSError):  # the client may be gone
            self.send_response(answer.code)
            for name, value in {"Content-Length": str(len(answer.body) * answer.times), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.drip_s:
                for byte in answer.body:
                    if not self.agent.pause(answer.drip_s):
                        break
                    self.wfile.write(bytes([byte]))
            else:
                for _ in range(answer.times):
                    self.agent.sent_bytes += self.wfile.write(answer.body[: answer.cut_at])
        if answer.cut_at is not None:
            self.close_connection = True

    do_GET = do_PUT = do_DELETE = _serve  # noqa: N815 - as the base class finds them

    def log_message(self, *_: object) -> None:
        """Nothing: requests are kept."""
