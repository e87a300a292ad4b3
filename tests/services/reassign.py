"""Move a topic's partitions to other nodes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from .process import ServiceError
from .protocol import NO_TAGS, TIMEOUT_S, array, ask, string

_ALTER_PARTITION_REASSIGNMENTS = 45


def reassign(bootstrap: str, topic: str, replicas: Mapping[int, Sequence[int]]) -> None:
    """Ask the controller to put each of these partitions on these nodes; that it is done is not waited for."""
    partitions = [
        struct.pack(">i", number) + array([struct.pack(">i", node) for node in nodes]) + NO_TAGS
        for number, nodes in replicas.items()
    ]
    topics = array([string(topic) + array(partitions) + NO_TAGS])
    body = struct.pack(">i", 1000 * TIMEOUT_S) + topics + NO_TAGS
    answer = ask(bootstrap, _ALTER_PARTITION_REASSIGNMENTS, 0, body)
    errors = set(_errors(answer)) - {0}
    if errors:
        raise ServiceError(f"moving partitions of {topic} to {dict(replicas)}: Kafka's error codes {errors}")


def _errors(answer: bytes) -> list[int]:
    """Return the error codes of an answer: of the whole, then of each partition."""
    at = 4  # behind the throttling

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
            at += len(NO_TAGS)
        at += len(NO_TAGS)
    return errors
