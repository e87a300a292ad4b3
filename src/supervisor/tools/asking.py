"""Ask the instance that runs beside this process, over its own HTTP port.

`supervisor health` runs every few seconds in the container that it looks at, and counts against its limits: so nothing
is imported here that is not needed, not even ``socket`` and ``re``.
"""

import _socket
import _thread
import os
import sys
import time
from collections.abc import Mapping

from supervisor.errors import SupervisorError

DEADLINE_S = 4.0
"""For the whole answer: below the probes' ``timeoutSeconds`` of 5."""

MAX_ANSWER_BYTES = 16 << 20

_DEFAULT_PORT = 8080
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it listens on every address


class NotAskedError(SupervisorError):
    """There was no answer to be had; the message says why, and what to do."""


def get(path: str, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> tuple[int, bytes]:
    """Status and body of a GET on the port that HTTP_HOST and HTTP_PORT name, as the running instance reads them."""
    host, port = address(environ)
    if port == 0:
        raise NotAskedError(
            "HTTP_PORT is 0: the Supervisor has no status and no health to ask for; set a port, for it and for this"
        )
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        answer = _exchange(host, port, path, time.monotonic() + deadline_s)
    except TimeoutError:
        raise NotAskedError(f"no answer from {where} within {deadline_s:g} s") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NotAskedError(
            f"no Supervisor answers at {where}: {why}; is it running, with the same HTTP_HOST and HTTP_PORT?"
        ) from None
    head, separator, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise NotAskedError(f"{where} answered as no Supervisor does; is its HTTP_PORT another one?")
    return int(words[1]), body


def address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Host to connect to and port, 0 where it is switched off.

    As the settings have it: of the two spellings the first that can be read, else the default.
    """
    ports = (int(text) for text in _given(environ, "HTTP_PORT") if text.isascii() and text.isdigit() and len(text) < 19)
    hosts = (text for text in _given(environ, "HTTP_HOST") if _is_host(text))
    host = next(hosts, "127.0.0.1")
    return _LOOPBACK.get(host, host), next((port for port in ports if port < 1 << 16), _DEFAULT_PORT)


def _given(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(environ[spelled] for spelled in (name, f"BDZ_{name}") if environ.get(spelled))


def _is_host(text: str) -> bool:
    if _family(text) is not None:
        return True
    words = text.replace("-", "").replace("_", "").replace(".", "")
    return words.isascii() and words.isalnum() and not words.isdigit() and text[0].isalnum() and text[-1] not in "-_"


def _family(host: str) -> int | None:
    """That of a numeric address, None of a name."""
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family
    return None


def _exchange(host: str, port: int, path: str, end_s: float) -> bytes:
    family, target = _resolved(host, port, end_s)
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        _bound(connection, end_s)
        connection.connect(target)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < MAX_ANSWER_BYTES:
            _bound(connection, end_s)
            piece = connection.recv(1 << 16)
            if not piece:
                break
            answer += piece
        return answer
    finally:
        connection.close()


def _resolved(host: str, port: int, end_s: float) -> tuple[int, tuple[object, ...]]:
    """Family and socket address. A name is looked up by the C library, which keeps to no deadline of ours."""
    family = _family(host)
    if family is not None:
        return family, (host, port)
    _thread.start_new_thread(_give_up, (host, end_s))
    found = _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
    return found[0][0], found[0][4]


def _give_up(host: str, end_s: float) -> None:
    time.sleep(max(0.0, end_s - time.monotonic()))
    sys.stderr.write(f"supervisor: the name {host} (HTTP_HOST) is not resolved in time\n")
    sys.stderr.flush()
    os._exit(1)


def _bound(connection: _socket.socket, end_s: float) -> None:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)
