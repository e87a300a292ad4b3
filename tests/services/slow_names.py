"""Names that are not resolved, neither found nor refused, for as long as a test says: `SlowNames`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

BROKER = "broker.slow.test:9092"
"""A broker whose name is looked up in vain."""

_SOURCE = Path(__file__).parents[1] / "programs" / "slow_names.c"


class SlowNames:
    """Look-ups of ``*.slow.test`` in processes with this ``env`` fail at once, or not before ``answer``."""

    def __init__(self, directory: Path) -> None:
        library = directory / "slow_names.so"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
        self._held = directory / "held"
        self.env = {"LD_PRELOAD": str(library), "SLOW_NAMES": str(self._held)}

    def hold(self) -> None:
        """From now on nobody answers."""
        self._held.touch()

    def answer(self) -> None:
        """Those who wait, and who come, are told at once that there is no answer."""
        self._held.unlink(missing_ok=True)
