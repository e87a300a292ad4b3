"""The Supervisor as PID 1 of a PID namespace of its own, as in a container."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from .process import ServiceError
from .processes import children, until
from .supervised import Supervised

# An unprivileged user gets the namespace inside a user namespace, where that is allowed.
UNSHARE = (
    "unshare",
    *(() if os.geteuid() == 0 else ("--user", "--map-root-user")),
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
)


class AsPid1(Supervised):
    """Signals and exit status are the Supervisor's own; process IDs that it tells are those of its namespace."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        node_id: str,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        **more: Any,
    ) -> None:
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            raise ServiceError(
                f"no PID namespace can be made here ({tried.stderr.strip()}): run the tests as root with CAP_SYS_ADMIN,"
                " or allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1,"
                " user.max_user_namespaces above 0)"
            )
        super().__init__(command, node_id=node_id, env=env, prefix=(*UNSHARE, *prefix), **more)
        self._first = 0

    @property
    def pid(self) -> int:
        """Process ID of the Supervisor outside of its namespace."""
        if self._first == 0:
            until(lambda: children(self._started.pid), "unshare starts PID 1")
            self._first = children(self._started.pid)[0]
        return self._first
