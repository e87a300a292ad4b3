/* How far each partition is behind, worked out by the inlet's thread now and then. Its own lock is held for a copy. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

static void lag_open(lag_t *l) { pthread_mutex_init(&l->lock, NULL); }

static void lag_close(lag_t *l) {
    free(l->shown);
    free(l->next);
}

/* Room for so many partitions in `next`; 0, or -1 when memory is short. */
static int lag_reserve(lag_t *l, int32_t partitions) {
    if (partitions <= l->capacity)
        return 0;
    lag_entry_t *shown = malloc((size_t)partitions * sizeof *shown);
    lag_entry_t *next = malloc((size_t)partitions * sizeof *next);
    if (shown == NULL || next == NULL) {
        free(shown);
        free(next);
        return -1;
    }
    pthread_mutex_lock(&l->lock);
    lag_entry_t *old = l->shown;
    if (l->shown_count > 0)
        memcpy(shown, old, (size_t)l->shown_count * sizeof *shown);
    l->shown = shown;
    l->capacity = partitions;
    pthread_mutex_unlock(&l->lock);
    free(old);
    free(l->next);
    l->next = next;
    return 0;
}

/* The first `count` of `next` are what is shown from now on. */
static void lag_show(lag_t *l, int32_t count) {
    pthread_mutex_lock(&l->lock);
    lag_entry_t *shown = l->next;
    l->next = l->shown;
    l->shown = shown;
    l->shown_count = count;
    pthread_mutex_unlock(&l->lock);
}

/* A copy of what is shown, to be freed, and its number in `*count`; NULL when there is none, or memory is short. */
static lag_entry_t *lag_copy(lag_t *l, int32_t *count) {
    lag_entry_t *copy = NULL;
    pthread_mutex_lock(&l->lock);
    *count = l->shown_count;
    if (*count > 0 && (copy = malloc((size_t)*count * sizeof *copy)) != NULL)
        memcpy(copy, l->shown, (size_t)*count * sizeof *copy);
    pthread_mutex_unlock(&l->lock);
    if (copy == NULL)
        *count = 0;
    return copy;
}
