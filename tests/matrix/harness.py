"""Builds the programs and the driver, and runs one against the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.services.process import spawn

from .kinds import BUILT, PROGRAMS, Kind, Promise

_HERE: Final = Path(__file__).parent
_FRAMING: Final = _HERE.parents[1] / "src" / "framing"
_BUILD_DEADLINE_S: Final = 240.0
_SETTLE_S: Final = 30
LONGEST_MS: Final = 20_000  # without an acknowledgement, and something to acknowledge: a stall


class NotRunError(RuntimeError):
    """A kind cannot be run here; the message says what is missing."""


@dataclass(frozen=True)
class Workshop:
    """Where things are built, and the service that some programs ask."""

    directory: Path
    server: str
    building: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def command(self, kind: Kind) -> list[str]:
        """The kind's command, its program built; NotRunError if a tool for it is missing."""
        missing = [tool for tool in kind.needs if shutil.which(tool) is None]
        if missing:
            raise NotRunError(f"not run: {', '.join(missing)} not found on PATH")
        if kind.root and os.geteuid() != 0:
            raise NotRunError("not run: only root can become another user")
        if kind.build:
            self._build(kind)
        return [self._place(word) for word in kind.command]

    @property
    def driver(self) -> Path:
        """The driver, which has to be built first."""
        return self.directory / "driver"

    def build_driver(self) -> None:
        """Build it from the rule as it stands in src/framing."""
        sources = [_HERE / "driver.c", *sorted(_FRAMING.glob("*.c"))]
        includes = ["-I", str(_FRAMING), "-I", str(_HERE)]
        flags = ["-O2", "-g", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-function", "-pthread"]
        _make(["cc", *flags, *includes, "-o", str(self.driver), *map(str, sources), "-lm"])

    def environment(self) -> dict[str, str]:
        """What programs get to know."""
        # A Python that was told to flush would not be the ordinary one.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        return {**inherited, "SERVER": self.server}

    def _place(self, word: str) -> str:
        return word.replace(PROGRAMS, str(_HERE / "programs")).replace(BUILT, str(self.directory))

    def _build(self, kind: Kind) -> None:
        """Build its program, once for all kinds that are made of it: one that runs already cannot be written to."""
        command = [self._place(word) for word in kind.build]
        source = Path(command[-1])
        done = self.directory / f"made-{source.name}"
        with self.building:
            if not done.exists() or done.stat().st_mtime < source.stat().st_mtime:
                _make(command)
                done.touch()


def _make(command: list[str]) -> None:
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_DEADLINE_S)
    assert made.returncode == 0, f"{' '.join(command)}\n{made.stdout}{made.stderr}"


@contextmanager
def workshop(directory: Path) -> Iterator[Workshop]:
    """A workshop with its service running."""
    directory.mkdir(parents=True, exist_ok=True)
    with spawn([sys.executable, _HERE / "server.py"], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield Workshop(directory, server.stdout.readline().decode().strip())
        finally:
            server.kill()


@dataclass(frozen=True)
class Run:
    """What the driver saw of a kind."""

    kind: Kind
    seed: int
    found: Mapping[str, Any]
    text: str

    @property
    def early(self) -> int:
        """Steps that acknowledged what was not done."""
        return int(self.found["early"] + self.found["flow_early"])

    @property
    def stalled(self) -> str:
        """Why it made no progress, in words; nothing if it did."""
        found = self.found
        if found["broken"] or not found["ended"] or found["wrong_at"] >= 0 or found["out"] != found["written"]:
            return "it did not end with its answers in order"
        if found["settled_ms"] < 0 and found["left_bytes"] <= self.kind.behind_bytes:
            return ""
        if found["longest_ms"] > LONGEST_MS:
            return f"nothing was acknowledged for {found['longest_ms']} ms"
        if found["settled_ms"] < 0:
            return (
                f"{found['lines'] - found['acknowledged']} of {found['lines']} lines were not acknowledged in the end"
            )
        return ""

    @property
    def wrong(self) -> str:
        """What is not as promised, in words; nothing if all is."""
        if self.kind.promise is Promise.UNSAFE:
            return "" if self.early else "no early step: either it is safe, or the check cannot see that it is not"
        early = f"{self.early} early steps" if self.early else ""
        return "; ".join(filter(None, (early, self.stalled)))

    def __str__(self) -> str:
        found = self.found
        steps = (
            f"{found['steps']} steps ({found['by_rest']} at rest), {found['early']} early, by {found['worst_bytes']} B"
        )
        marks = f"{found['flow_steps']} moves of the write marks, {found['flow_early']} early"
        waits = f"longest wait {found['longest_ms']} ms, drained {found['drained']} of {found['drains']}"
        end = f"settled in {found['settled_ms']} ms, {found['in_hand_most']} B in hand, {found['unread_most']} B unread"
        seen = f"reader {found['reader']}, note {found['note']}, {found['looks']} looks, {found['probes']} probes"
        return (
            f"{self.kind.name}, seed {self.seed}: {steps}; {marks}; {found['lines']} lines, {waits}, {end}; {seen}; "
            f"{found['seconds']} s"
        )


def run(shop: Workshop, kind: Kind, *, seed: int, steps: int, seconds: float) -> Run:
    """One run of the driver; AssertionError if the driver itself fails."""
    command = shop.command(kind)
    settle_s = 0 if kind.promise is Promise.UNSAFE else _SETTLE_S
    with tempfile.TemporaryDirectory(prefix="matrix-") as scratch:
        side = Path(scratch) / "side"
        Path(scratch).chmod(0o755)
        options = [
            "--seed",
            str(seed),
            "--steps",
            str(steps),
            "--seconds",
            str(seconds),
            "--idle-ms",
            str(kind.idle_ms),
        ]
        options += ["--settle-s", str(settle_s)]
        options += ["--side", str(side)] if kind.side else []
        options += [] if kind.out else ["--no-out"]
        options += ["--no-ptrace"] if kind.hidden else []
        options += ["--trickle"] if kind.promise is Promise.SAFE_BUT_TAIL else []
        ran = subprocess.run(
            [shop.driver, *options, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + settle_s + 60,
            env=shop.environment(),
        )
    assert ran.returncode == 0, f"the driver ended with {ran.returncode}\n{ran.stderr}"
    return Run(kind, seed, json.loads(ran.stdout), ran.stderr)
