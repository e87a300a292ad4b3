"""Give a client a quota."""

from __future__ import annotations

import struct

from .process import ServiceError
from .protocol import NO_TAGS, array, ask, string

_ALTER_CLIENT_QUOTAS = 49


def set_quota(bootstrap: str, client_id: str, **limits: float | None) -> None:
    """Set quotas of the clients with this client.id, such as ``producer_byte_rate``; None takes one back."""
    entity = array([string("client-id") + string(client_id) + NO_TAGS])
    changes = array(
        [string(name) + struct.pack(">d?", limit or 0.0, limit is None) + NO_TAGS for name, limit in limits.items()]
    )
    answer = ask(bootstrap, _ALTER_CLIENT_QUOTAS, 1, array([entity + changes + NO_TAGS]) + b"\x00" + NO_TAGS)
    (error,) = struct.unpack_from(">h", answer, 4 + 1)  # behind the throttling and the number of entries
    if error:
        raise ServiceError(f"quotas {limits} of {client_id}: Kafka's error code {error}")
