"""How long to wait before the next start: at once the first time, then 1, 2, 4 … seconds up to a cap, with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_DELAY_S = 1.0
CRASH_LOOP_AFTER = 3


class Backoff:
    """Counts failures in a row, each a run that ended or a start that failed before a stable run wiped the slate.

    ``jitter`` gives a number in [0, 1). A delay lies between three quarters and the whole of its nominal value, so that
    replicas that crashed together do not come back together and no delay exceeds the cap.
    """

    def __init__(self, cap_s: float, *, jitter: Callable[[], float] = random.random) -> None:
        self.failures = 0
        self._cap_s = cap_s
        self._jitter = jitter

    @property
    def crash_loop(self) -> bool:
        """Whether so many runs in a row failed that it must be called a crash loop."""
        return self.failures >= CRASH_LOOP_AFTER

    def failed(self) -> float:
        """Count one more failure and return how long to wait, in seconds."""
        self.failures += 1
        if self.failures == 1:
            return 0.0
        # The exponent is bounded: a float overflows after a thousand crashes.
        nominal_s = min(self._cap_s, FIRST_DELAY_S * 2.0 ** min(self.failures - 2, 32))
        return nominal_s * (0.75 + 0.25 * self._jitter())

    def reset(self) -> None:
        """Forget the failures: there was a stable run."""
        self.failures = 0
