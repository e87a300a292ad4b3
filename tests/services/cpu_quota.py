"""A share of one processor for some processes, as a container's CPU limit gives it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

_PERIOD_US = 100_000


class CpuQuota:
    """A control group with ``percent`` of one processor; ``available`` tells whether this machine lets us make one."""

    def __init__(self, percent: int) -> None:
        self._quota_us = _PERIOD_US * percent // 100
        v1, v2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
        self._is_v2 = not v1.is_dir()
        self._directory = (v2 if self._is_v2 else v1) / f"test-{uuid.uuid4().hex[:8]}"

    @property
    def available(self) -> bool:
        """Whether it could be made, which is tried."""
        try:
            with self:
                return True
        except OSError:
            return False

    def hold(self, pids: Iterable[int]) -> None:
        """Put processes into it; what they start later is in it too."""
        for pid in pids:
            (self._directory / "cgroup.procs").write_text(str(pid))

    def __enter__(self) -> Self:
        self._directory.mkdir()
        try:
            if self._is_v2:
                (self._directory / "cpu.max").write_text(f"{self._quota_us} {_PERIOD_US}")
            else:
                (self._directory / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (self._directory / "cpu.cfs_quota_us").write_text(str(self._quota_us))
        except OSError:
            self._directory.rmdir()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        parent = self._directory.parent / "cgroup.procs"
        for pid in (self._directory / "cgroup.procs").read_text().split():
            try:
                parent.write_text(pid)
            except ProcessLookupError:
                continue
        end = time.monotonic() + 5
        while self._directory.exists() and time.monotonic() < end:
            try:
                self._directory.rmdir()
            except OSError:  # a process is still on its way out
                time.sleep(0.05)
