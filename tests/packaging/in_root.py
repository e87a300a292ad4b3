"""The directory's Supervisor as PID 1 of a root file system, as in a container, with this machine's network."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.services.pid1 import UNSHARE, AsPid1

COMMAND: Final = ("/opt/supervisor",)
_ENTER: Final = Path(__file__).with_name("enter.sh")


class InRoot(AsPid1):
    """``options`` are those of enter.sh, separated by commas; ``opt`` is what an image has at /opt."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        root: Path,
        opt: Path,
        options: str = "",
        launcher: Sequence[str] = COMMAND,
        **more: Any,
    ) -> None:
        prefix = (str(_ENTER), str(root), str(opt), options)
        super().__init__(command, prefix=prefix, launcher=launcher, **more)


def run_in(
    root: Path,
    opt: Path,
    *command: str,
    options: str = "",
    env: Mapping[str, str] | None = None,
    deadline_s: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run one command as PID 1 of the root to its end."""
    return subprocess.run(
        [*UNSHARE, str(_ENTER), str(root), str(opt), options, *command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=deadline_s,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})},
    )
