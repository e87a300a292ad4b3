"""The two processors, and what each tool calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Machine:
    """``name`` is what uname -m says."""

    name: str
    debian: str
    triplet: str
    loader: str
    strip: str

    @property
    def zig_target(self) -> str:
        """The oldest glibc that confluent-kafka's wheels run on: ours need no newer one."""
        return f"{self.name}-linux-gnu.2.28"

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """The wheels of others that run with the directory's glibc, for pip."""
        return tuple(f"manylinux{version}_{self.name}" for version in ("_2_28", "_2_17", "2014"))


MACHINES: Final = {
    machine.name: machine
    for machine in (
        Machine("x86_64", "amd64", "x86_64-linux-gnu", "ld-linux-x86-64.so.2", "x86_64-linux-gnu-strip"),
        Machine("aarch64", "arm64", "aarch64-linux-gnu", "ld-linux-aarch64.so.1", "aarch64-linux-gnu-strip"),
    )
}
