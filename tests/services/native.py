"""Native memory: what a test makes must go with it."""

from __future__ import annotations

import gc

from supervisor._framing import live


def nothing_left() -> None:
    """AssertionError naming the native objects that are left."""
    if any(live().values()):
        gc.collect()  # some may only wait for it
    left = {kind: count for kind, count in live().items() if count}
    assert not left, f"native objects are left: {left}"
