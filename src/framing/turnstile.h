/* A lock between a native loop that holds it nearly all the time and a Python call that needs it now and then.
 *
 * The loop holds it for one round and lets go while it waits for events. A plain mutex would starve the caller when the
 * loop is busy, so the caller announces itself first and the loop steps back. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "system.h"

typedef struct {
    pthread_mutex_t lock;
    atomic_int waiting;
} turnstile_t;

static inline void turnstile_open(turnstile_t *t) {
    pthread_mutex_init(&t->lock, NULL);
    atomic_init(&t->waiting, 0);
}

static inline void turnstile_enter_caller(turnstile_t *t) {
    atomic_fetch_add(&t->waiting, 1);
    pthread_mutex_lock(&t->lock);
    atomic_fetch_sub(&t->waiting, 1);
}

static inline void turnstile_enter_loop(turnstile_t *t) {
    while (atomic_load_explicit(&t->waiting, memory_order_relaxed) > 0)
        sys.yield();
    pthread_mutex_lock(&t->lock);
}

static inline void turnstile_leave(turnstile_t *t) { pthread_mutex_unlock(&t->lock); }
