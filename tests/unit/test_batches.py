"""Batches with a rest between two, simulated: how large they get, by what a rest costs."""

from __future__ import annotations

import ctypes
import itertools

import pytest

from tests.unit.c_parts import compiled

MS = 1_000_000
AHEAD_MS, IDLE_MS = 200, 1000
RECORD = 100

_WRAPPER = """
#include "batches.h"
#include <stdlib.h>
void *batches_new(long long ahead_ns) {
    batches_t *b = malloc(sizeof *b);
    batches_reset(b, ahead_ns, 0);
    return b;
}
void batches_free(void *b) { free(b); }
void wrote(void *b, long long now_ns) { batches_wrote(b, now_ns); }
long long room(void *b, long long written) { return batches_room(b, written); }
void rested(void *b, long long now_ns, long long written, long long price_ns) {
    batches_rested(b, now_ns, written, price_ns);
}
"""


def sizes(record_ms: float, *, dear: bool, batches: int) -> list[int]:
    """Feed so many batches to something that takes ``record_ms`` for each record; their sizes in records."""
    part = compiled(_WRAPPER)
    part.batches_new.restype = ctypes.c_void_p
    part.room.restype = ctypes.c_longlong
    made = ctypes.c_void_p(part.batches_new(ctypes.c_longlong(AHEAD_MS * MS)))
    now_ms, written, found = 1.0, 0, []
    for _ in range(batches):
        records = max(1, part.room(made, ctypes.c_longlong(written)) // RECORD)
        part.wrote(made, ctypes.c_longlong(int(now_ms * MS)))
        written += records * RECORD
        assert part.room(made, ctypes.c_longlong(written)) < RECORD
        now_ms += records * record_ms + 1 + (IDLE_MS if dear else 0)
        price_ns = IDLE_MS * MS if dear else 0
        part.rested(made, *map(ctypes.c_longlong, (int(now_ms * MS), written, price_ns)))
        found.append(records)
    part.batches_free(made)
    return found


@pytest.mark.parametrize("record_ms", [0.01, 1.0, 20.0, 500.0])
def test_a_batch_is_what_is_done_in_feed_ahead(record_ms: float) -> None:
    """It grows from one record, twice at the most, and stays."""
    found = sizes(record_ms, dear=False, batches=40)
    assert found[0] == 1
    assert all(later <= 2 * earlier + 1 for earlier, later in itertools.pairwise(found))
    assert found[-1] == pytest.approx(max(1.0, AHEAD_MS / record_ms), rel=0.1, abs=1)


@pytest.mark.parametrize("record_ms", [0.01, 1.0, 20.0])
def test_where_a_rest_is_dear_a_batch_is_five_times_its_price(record_ms: float) -> None:
    """And it is that large after few rests."""
    found = sizes(record_ms, dear=True, batches=6)
    assert found[-1] == pytest.approx(5 * IDLE_MS / record_ms, rel=0.1)
