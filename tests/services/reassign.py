"""Move a topic's partitions to other nodes: the one request of Kafka's protocol that no client library here makes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence

from .process import ServiceError

_ALTER_PARTITION_REASSIGNMENTS = 45
_TIMEOUT_S = 15
_NO_TAGS = b"\x00"


def reassign(bootstrap: str, topic: str, replicas: Mapping[int, Sequence[int]]) -> None:
    """Ask the controller to put each of these partitions on these nodes; that it is done is not waited for."""
    partitions = [
        struct.pack(">i", number) + _array([struct.pack(">i", node) for node in nodes]) + _NO_TAGS
        for number, nodes in replicas.items()
    ]
    topics = _array([_string(topic) + _array(partitions) + _NO_TAGS])
    header = struct.pack(">hhih", _ALTER_PARTITION_REASSIGNMENTS, 0, 1, -1) + _NO_TAGS
    request = header + struct.pack(">i", 1000 * _TIMEOUT_S) + topics + _NO_TAGS
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as stream:
            answer = stream.read(*struct.unpack(">i", stream.read(4)))
    errors = set(_errors(answer)) - {0}
    if errors:
        raise ServiceError(f"moving partitions of {topic} to {dict(replicas)}: Kafka's error codes {errors}")


def _errors(answer: bytes) -> list[int]:
    """Return the error codes of an answer: of the whole, then of each partition."""
    at = 4 + 1 + 4  # correlation, tags, throttling

    def number(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(form, answer, at)
        at += struct.calcsize(form)
        return int(value)

    def skip_text() -> None:
        nonlocal at
        at += max(0, number(">B") - 1)  # no text here has more than 126 bytes

    errors = [number(">h")]
    skip_text()
    for _ in range(number(">B") - 1):
        skip_text()
        for _ in range(number(">B") - 1):
            number(">i")
            errors.append(number(">h"))
            skip_text()
            at += len(_NO_TAGS)
        at += len(_NO_TAGS)
    return errors


def _array(items: Sequence[bytes]) -> bytes:
    return _size(len(items)) + b"".join(items)


def _string(text: str) -> bytes:
    return _size(len(text)) + text.encode()


def _size(size: int) -> bytes:
    """Return a size plus one as a varint."""
    size += 1
    return bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])
