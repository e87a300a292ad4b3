/* How far each partition is behind, worked out by the inlet's thread now and then. Its own lock is held for a copy. */
#pragma once

#include <pthread.h>
#include <stdint.h>

typedef struct {
    int32_t partition;
    int64_t acknowledged; /* offset up to which, and the high watermark: negative where not known yet */
    int64_t high;
} lag_entry_t;

typedef struct {
    pthread_mutex_t lock;
    lag_entry_t *shown; /* guarded by the lock; `next` is the inlet's alone, of the same capacity */
    lag_entry_t *next;
    int32_t shown_count, capacity;
} lag_t;

void lag_open(lag_t *l);
void lag_close(lag_t *l);

/* Room for so many partitions in `next`; 0, or -1 when memory is short. */
int lag_reserve(lag_t *l, int32_t partitions);

/* The first `count` of `next` are what is shown from now on. */
void lag_show(lag_t *l, int32_t count);

/* A copy of what is shown, to be freed, and its number in `*count`; NULL when there is none, or memory is short. */
lag_entry_t *lag_copy(lag_t *l, int32_t *count);
