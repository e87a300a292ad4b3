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

#include <stddef.h>
#include <stdint.h>

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

/* Returns 0, or -1 when memory is short. */
int delivery_open(delivery_t *d, size_t max_slab_bytes);

/* The current slab has not `need` bytes left: another one becomes it. As slab_reserve. */
int slab_change(delivery_t *d, size_t need);

/* Make sure the current slab has `need` bytes left; 0, or -1 when the bound on slabs is reached (wait for deliveries). */
static inline int slab_reserve(delivery_t *d, size_t need) {
    slab_t *slab = d->current;
    if (slab != NULL && slab->holders == 1)
        slab->used = 0; /* all of it is delivered: start over while it is warm */
    if (slab != NULL && slab->capacity - slab->used >= need)
        return 0;
    return slab_change(d, need);
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

/* One holder less. */
void slab_release(delivery_t *d, slab_t *slab);

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

void delivery_close(delivery_t *d);
