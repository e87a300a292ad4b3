"""An OpenID Connect token endpoint on 127.0.0.1 that gives unsecured tokens, and can fall silent or hang up."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


class TokenServer:
    """Each token is for ``subject`` and good for ``lifetime_s``.

    ``tokens``: how many it has given. ``behaviour`` is "serve", "hang up" or "silent", and may be changed at any time.
    """

    def __init__(self, subject: str, lifetime_s: int = 6) -> None:
        self.tokens = 0
        self.behaviour = "serve"
        self._over = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if owner.behaviour == "silent":
                    owner._over.wait()
                if owner.behaviour != "serve":
                    self.close_connection = True
                    return
                now_s = int(time.time())
                claims = {"sub": subject, "iat": now_s, "exp": now_s + lifetime_s}
                token = f"{_encoded({'alg': 'none'})}.{_encoded(claims)}."
                answer = json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": lifetime_s}).encode()
                owner.tokens += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
