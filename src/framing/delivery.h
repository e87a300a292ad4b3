/* What was handed to librdkafka and not yet reported delivered: slabs of envelopes, and batches of lines in order.
 *
 * librdkafka reads the envelopes in place, so a slab lives until the last batch that has lines in it is delivered. A batch
 * is what was framed at once: lines that follow each other in STDOUT, all in one slab. Batches are kept in a ring in the
 * order of STDOUT; everything before the first undelivered batch is delivered, which is all that an acknowledgement needs
 * to know, at the cost of one decrement per delivery report.
 *
 * One thread owns it: the outlet's, which also serves the delivery reports.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "live.h"

#define SLAB_BYTES ((size_t)1 << 20)
#define SLABS_KEPT 4 /* free slabs kept for reuse; more are given back */
#define BATCHES 32768

typedef struct slab_s {
    struct slab_s *next;
    size_t capacity, used;
    int64_t holders; /* batches with lines in it, and 1 while it is the current one */
    uint8_t data[];
} slab_t;

typedef struct {
    slab_t *slab;
    int64_t end;         /* STDOUT position just past its last line; set when it is sealed */
    int64_t mark;        /* how far STDOUT acknowledges up to there (progress.h); likewise */
    int32_t outstanding; /* lines without a delivery report */
    int32_t sealed;
} batch_t;

typedef struct {
    batch_t *ring;
    unsigned first, count;
    slab_t *current;
    slab_t *free_slabs;
    int free_count;
    int64_t slabs_live;
    size_t slab_bytes, max_slab_bytes;
    int64_t done_end, done_mark; /* of the last batch before which, and with which, everything is delivered */
} delivery_t;

static int delivery_open(delivery_t *d, size_t max_slab_bytes) {
    memset(d, 0, sizeof *d);
    d->max_slab_bytes = max_slab_bytes;
    d->ring = calloc(BATCHES, sizeof *d->ring);
    return d->ring == NULL ? -1 : 0;
}

static void slab_free(delivery_t *d, slab_t *slab) {
    d->slab_bytes -= slab->capacity;
    d->slabs_live--;
    live_add(LIVE_slabs, -1);
    free(slab);
}

static void slab_release(delivery_t *d, slab_t *slab) {
    if (--slab->holders > 0)
        return;
    if (slab->capacity == SLAB_BYTES && d->free_count < SLABS_KEPT) {
        slab->next = d->free_slabs;
        d->free_slabs = slab;
        d->free_count++;
        return;
    }
    slab_free(d, slab);
}

/* Make sure the current slab has `need` bytes left; 0, or -1 when the bound on slabs is reached (wait for deliveries). */
static int slab_reserve(delivery_t *d, size_t need) {
    slab_t *slab = d->current;
    if (slab != NULL && slab->holders == 1)
        slab->used = 0; /* all of it is delivered: start over while it is warm */
    if (slab != NULL && slab->capacity - slab->used >= need)
        return 0;
    if (need <= SLAB_BYTES && d->free_slabs != NULL) {
        slab = d->free_slabs;
        d->free_slabs = slab->next;
        d->free_count--;
    } else {
        size_t capacity = need > SLAB_BYTES ? need : SLAB_BYTES;
        int none_in_use = d->slabs_live == d->free_count + (d->current != NULL && d->current->holders == 1);
        if (d->slab_bytes + capacity > d->max_slab_bytes && !none_in_use)
            return -1;
        slab = malloc(sizeof *slab + capacity);
        if (slab == NULL)
            return -1;
        slab->capacity = capacity;
        d->slab_bytes += capacity;
        d->slabs_live++;
        live_add(LIVE_slabs, 1);
    }
    if (d->current != NULL)
        slab_release(d, d->current);
    slab->next = NULL;
    slab->used = 0;
    slab->holders = 1;
    d->current = slab;
    return 0;
}

/* The batch that lines are added to now, or NULL when the ring is full (wait for deliveries). */
static inline batch_t *batch_open(delivery_t *d) {
    if (d->count > 0) {
        batch_t *last = &d->ring[(d->first + d->count - 1) % BATCHES];
        if (!last->sealed)
            return last;
    }
    if (d->count == BATCHES)
        return NULL;
    batch_t *batch = &d->ring[(d->first + d->count++) % BATCHES];
    *batch = (batch_t){0};
    return batch;
}

static inline void batch_add(delivery_t *d, batch_t *batch) {
    if (batch->slab == NULL) {
        batch->slab = d->current;
        d->current->holders++;
    }
    batch->outstanding++;
}

static inline void batch_seal(batch_t *batch, int64_t end, int64_t mark) {
    batch->end = end;
    batch->mark = mark;
    batch->sealed = 1;
}

/* Retire the delivered batches at the front: moves done_end and done_mark. */
static inline void delivery_advance(delivery_t *d) {
    while (d->count > 0) {
        batch_t *batch = &d->ring[d->first];
        if (!batch->sealed || batch->outstanding > 0)
            break;
        d->done_end = batch->end;
        d->done_mark = batch->mark;
        if (batch->slab != NULL)
            slab_release(d, batch->slab);
        d->first = (d->first + 1) % BATCHES;
        d->count--;
    }
}

static void delivery_close(delivery_t *d) {
    for (; d->count > 0; d->count--, d->first = (d->first + 1) % BATCHES)
        if (d->ring[d->first].slab != NULL)
            slab_release(d, d->ring[d->first].slab);
    if (d->current != NULL)
        slab_release(d, d->current);
    for (slab_t *slab = d->free_slabs, *next; slab != NULL; slab = next) {
        next = slab->next;
        slab_free(d, slab);
    }
    free(d->ring);
}
