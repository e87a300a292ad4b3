"""HTTP to the Consul agent by python-consul2's client, as four calls; the only importer of ``consul`` and ``requests``.

They are a third of all that is imported, so only a thread that asks the agent imports this module, when it does. Only
the library's HTTP layer is used: its ``Consul`` class lets CONSUL_HTTP_ADDR and others overrule the arguments, and its
``service.register`` takes one check.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import requests
import urllib3
from consul.std import HTTPClient

from supervisor.errors import AgentRefusedError, AgentSilentError
from supervisor.values import ConsulAddress

MAX_ANSWER_BYTES: Final = 4 << 20
"""An answer is parsed on the loop; the agent's own limit is 512 KiB for a value, and a directory has a dozen."""

_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 3), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3))
"""A blocking query of a peer that vanished without a word ends after 6 s, not at its own deadline."""

AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL, CentOS
    "/etc/ssl/cert.pem",  # Alpine without its tools
)
"""Where distributions keep the list of authorities, as Go programs look for it. OpenSSL knows one place, of the
distribution that it was built for: on an image of another one an operator's own authority would not be seen.
"""

Pairs = Sequence[tuple[str, str]]


class Answer(NamedTuple):
    """What an agent answered, whatever its code."""

    code: int
    headers: Mapping[str, str]
    body: str


class ConsulHttp:
    """One session, for one thread at a time; ``cut`` is for another thread.

    ``verify``: the agent's certificate is checked, against the system's authorities or those of a file; ``cert``: the
    files of our own. A call raises AgentSilentError if there is no answer, AgentRefusedError if it is too large.
    """

    def __init__(
        self,
        address: ConsulAddress,
        *,
        verify: bool | str,
        cert: tuple[str, str | None] | None,
        connect_timeout_s: float,
    ) -> None:
        if verify is True:
            verify = _system_authorities() or True
        unix = address.scheme == "unix"
        if unix:
            self._http = HTTPClient("localhost", 80, "http")
        else:
            host = f"[{address.host}]" if ":" in address.host else address.host
            self._http = HTTPClient(host, address.port, address.scheme, verify, cert)
        if address.scheme == "https" and verify is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the agent's log line says it once
        self._adapter = _Adapter(address.socket_path if unix else None, connect_timeout_s)
        session = self._http.session
        session.adapters.clear()
        session.mount(f"{self._http.scheme}://", self._adapter)
        # An agent is a neighbour: proxies and .netrc, which may be there for the Calculator, do not concern it.
        session.trust_env = False
        # requests would carry the token along to wherever a redirect points.
        session.max_redirects = 0

    def get(self, path: str, params: Pairs, headers: Mapping[str, str], timeouts_s: tuple[float, float]) -> Answer:
        """GET; ``timeouts_s`` are for the connection and for each piece of the answer."""
        return self._ask(self._http.get, path, timeouts_s, params=params, headers=headers)

    def put(
        self, path: str, params: Pairs, headers: Mapping[str, str], timeouts_s: tuple[float, float], body: str
    ) -> Answer:
        """PUT, like ``get``."""
        return self._ask(self._http.put, path, timeouts_s, params=params, headers=headers, data=body.encode())

    def post(
        self, path: str, params: Pairs, headers: Mapping[str, str], timeouts_s: tuple[float, float], body: str
    ) -> Answer:
        """POST, like ``get``."""
        return self._ask(self._http.post, path, timeouts_s, params=params, headers=headers, data=body.encode())

    def cut(self) -> None:
        """Take the connection away from the call that is stuck in it: it raises."""
        self._adapter.cut()

    def close(self) -> None:
        """Close the connection."""
        self._http.session.close()

    def _ask(self, method: Any, path: str, timeouts_s: tuple[float, float], **more: object) -> Answer:
        self._http.timeout = timeouts_s
        try:
            response = method(lambda answer: answer, path, **more)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            raise AgentSilentError(_reason(error)) from None
        return Answer(response.code, response.headers, response.body)


def _system_authorities() -> str | None:
    """Return the image's list of authorities, SSL_CERT_FILE first; None where there is only requests' own."""
    found = ssl.get_default_verify_paths().cafile
    return found or next((path for path in AUTHORITIES if Path(path).is_file()), None)


class _Adapter(requests.adapters.HTTPAdapter):
    """HTTP, over a unix socket if one is given; answers are bounded, and connections can be cut by another thread."""

    def __init__(self, socket_path: str | None, connect_timeout_s: float) -> None:
        self._socket_path = socket_path
        self._connect_timeout_s = connect_timeout_s
        self._socket: socket.socket | None = None  # one call at a time
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        options = [*urllib3.connection.HTTPConnection.default_socket_options]
        options += [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        options += [(socket.IPPROTO_TCP, name, value) for name, value in _KEEPALIVE]
        super().init_poolmanager(*args, **kwargs, socket_options=options)
        adapter, socket_path, connect_timeout_s = self, self._socket_path, self._connect_timeout_s

        class Connection(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                if socket_path is None:
                    super().connect()
                else:
                    self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    self.sock.settimeout(connect_timeout_s)
                    try:
                        self.sock.connect(socket_path)
                    except OSError as error:
                        raise urllib3.exceptions.NewConnectionError(self, os.strerror(error.errno or 0)) from error
                adapter._socket = self.sock

        class TlsConnection(urllib3.connection.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                adapter._socket = self.sock

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = Connection

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = TlsConnection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["stream"] = True
        response = super().send(request, *args, **kwargs)
        body = bytearray()
        for chunk in response.iter_content(64 << 10):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                response.close()
                raise AgentRefusedError(
                    f"the Consul agent's answer is over {MAX_ANSWER_BYTES >> 20} MiB;"
                    " check CONSUL_DSN, and CONSUL_DIR for what does not belong there"
                )
        response._content = bytes(body)  # noqa: SLF001 - where requests keeps what it has read
        return response

    def cut(self) -> None:
        """Shut the connection down: a read that waits in it returns."""
        if self._socket is not None:
            with suppress(OSError):
                # Not the TLS socket's own: that takes the session away from under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _reason(error: BaseException) -> str:
    """Say in a few words why there was no answer; the library's own message has the URL in it."""
    cause: Any = error
    seen = 0
    while cause is not None and seen < 10:
        if isinstance(cause, requests.exceptions.TooManyRedirects):
            return "it redirects, which no agent does"
        if isinstance(cause, (requests.exceptions.Timeout, TimeoutError)):
            return "no answer in time"
        if isinstance(cause, ssl.SSLError):
            what = getattr(cause, "verify_message", "") or str(cause.reason or "handshake failed").lower()
            return f"TLS failed ({what}; see CONSUL_CACERT, CONSUL_CLIENT_CERT and whether the agent speaks TLS)"
        if isinstance(cause, socket.gaierror):
            return "the host name cannot be resolved"
        if isinstance(cause, OSError) and cause.errno is not None:
            return os.strerror(cause.errno).lower()
        nested = [arg for arg in cause.args if isinstance(arg, BaseException)]
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__ or next(iter(nested), None)
        seen += 1
    return "the connection broke"
