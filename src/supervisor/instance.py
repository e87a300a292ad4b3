"""The name of this instance: replicas share the workspace, restarts share the host."""

from __future__ import annotations

import re
import secrets
import socket


def new() -> str:
    """Return the host's name and something that no other instance has; letters, digits, ``.`` and ``-``."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:64]
    return f"{host}-{secrets.token_hex(4)}"
