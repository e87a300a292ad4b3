"""Requests of Kafka's protocol that no client library here makes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final

NO_TAGS: Final = b"\x00"
TIMEOUT_S: Final = 15


def ask(bootstrap: str, kind: int, version: int, body: bytes) -> bytes:
    """Send a request, of a version with tags, to the first of the brokers; return what follows the answer's header."""
    request = struct.pack(">hhih", kind, version, 1, -1) + NO_TAGS + body
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as stream:
            answer = stream.read(*struct.unpack(">i", stream.read(4)))
    return answer[4 + len(NO_TAGS) :]  # behind the correlation


def array(items: Sequence[bytes]) -> bytes:
    """Return a compact array."""
    return _size(len(items)) + b"".join(items)


def string(text: str) -> bytes:
    """Return a compact string."""
    return _size(len(text)) + text.encode()


def _size(size: int) -> bytes:
    """Return a size plus one as a varint."""
    size += 1
    return bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])
