"""A refused batch is split until the topic takes it: the logic alone, against a topic with a limit on a batch."""

from __future__ import annotations

import ctypes
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .c_parts import compiled

_WRAPPER: Final = """
#include <stdlib.h>
#include "batch_splitter.h"
size_t splitter_bytes(void) { return sizeof(batch_splitter_t); }
int next_group(batch_splitter_t *b, const size_t *sizes, int count) {
    rd_kafka_message_t *lines = calloc((size_t)count, sizeof *lines);
    for (int i = 0; i < count; i++)
        lines[i].len = sizes[i];
    int n = splitter_next_group(b, lines, count);
    free(lines);
    return n;
}
int is_on(const batch_splitter_t *b) { return splitter_is_on(b); }
int is_alone(const batch_splitter_t *b) { return splitter_is_alone(b); }
void refuse(batch_splitter_t *b, int lines) {
    b->refused = 1;
    while (lines-- > 0)
        splitter_came_back(b);
}
int group_done(batch_splitter_t *b) { return splitter_group_done(b); }
"""


class _Splitter:
    def __init__(self) -> None:
        self._c = compiled(_WRAPPER, "batch_splitter.c")
        self._state = ctypes.create_string_buffer(self._c.splitter_bytes())

    def next_group(self, sizes: list[int]) -> int:
        return int(self._c.next_group(self._state, (ctypes.c_size_t * len(sizes))(*sizes), len(sizes)))

    def refuse(self, lines: int) -> None:
        self._c.refuse(self._state, lines)

    def group_done(self) -> bool:
        return bool(self._c.group_done(self._state))

    def is_on(self) -> bool:
        return bool(self._c.is_on(self._state))

    def is_alone(self) -> bool:
        return bool(self._c.is_alone(self._state))


def _offer_all(sizes: list[int], batch_limit: int) -> tuple[list[int], list[int], int]:
    """What a topic takes and what it does not, each in order, and how many groups that took."""
    splitter, taken, dropped, groups = _Splitter(), [], [], 0
    waiting = list(sizes)
    splitter.refuse(0)  # all of them, in one request: they were no group
    while waiting:
        if not splitter.group_done():
            splitter.refuse(0)  # groups are over, and what comes next is refused like what came first
            continue
        count = splitter.next_group(waiting)
        group, waiting = waiting[:count], waiting[count:]
        groups += 1
        if sum(group) <= batch_limit:
            taken += group
        elif splitter.is_alone():
            dropped += group
        else:
            splitter.refuse(len(group))
            waiting = group + waiting
    return taken, dropped, groups


@settings(deadline=None)  # the first example waits for the compiler
@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=60), st.integers(1, 600_000))
def test_what_the_topic_takes_arrives_and_only_what_is_too_large_alone_is_dropped(sizes: list[int], limit: int) -> None:
    taken, dropped, groups = _offer_all(sizes, limit)
    assert taken == [size for size in sizes if size <= limit]
    assert dropped == [size for size in sizes if size > limit]
    assert groups <= 3 * len(sizes) + 20  # halved from half a megabyte, not once for each line


@pytest.mark.parametrize("line_bytes", [100, 9_000])
def test_groups_grow_again_and_end(line_bytes: int) -> None:
    """Where only one line was meant, the topic soon takes what it took before."""
    splitter = _Splitter()
    splitter.refuse(0)
    assert splitter.is_on()
    groups = 0
    while splitter.group_done():
        splitter.next_group([line_bytes] * 10_000)
        groups += 1
        assert groups < 200
    assert not splitter.is_on()
    assert groups == 64
