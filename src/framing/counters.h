/* Counters of a native loop, published between two rounds, and read by Python without the loop's lock.
 *
 * Two copies: who publishes, holding the lock, writes the one that is not being read and then turns. A reader takes a
 * copy and looks whether it was turned meanwhile. So nobody waits for anybody: not for a writer that was pre-empted
 * either, as readers of a sequence lock do. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define COUNTERS_MAX 64

typedef struct {
    _Atomic uint64_t turn; /* copy turn % 2 is the one to read */
    _Atomic int64_t copies[2][COUNTERS_MAX];
} counters_t;

static inline void counters_publish(counters_t *c, const int64_t *values, int count) {
    uint64_t turn = atomic_load_explicit(&c->turn, memory_order_relaxed) + 1;
    /* A reader of the copy that is written now has to see that it was turned before. */
    atomic_thread_fence(memory_order_release);
    for (int i = 0; i < count; i++)
        atomic_store_explicit(&c->copies[turn % 2][i], values[i], memory_order_relaxed);
    atomic_store_explicit(&c->turn, turn, memory_order_release);
}

static inline void counters_read(counters_t *c, int64_t *values, int count) {
    uint64_t before, after = atomic_load_explicit(&c->turn, memory_order_acquire);
    do {
        before = after;
        for (int i = 0; i < count; i++)
            values[i] = atomic_load_explicit(&c->copies[before % 2][i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&c->turn, memory_order_acquire);
    } while (before != after);
}
