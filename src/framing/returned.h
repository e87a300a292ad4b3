/* Lines that came back undelivered, to be offered again.
 *
 * Room for a line that may come back is made before librdkafka gets it (returned_reserve): where memory is short nothing is
 * handed over, and nothing that comes back is lost. Lines are taken at the front, so the array creeps; what is in it moves
 * back to its beginning when the room is needed, and the room that a time of trouble took is given back when all of it is
 * through.
 *
 * Their order is each partition's as they stood in STDOUT. librdkafka gives those that it had sent and those that it had
 * not back by themselves, but each belongs to a batch, batches are in a ring, and the lines of one are in one slab, in
 * order.
 */
#pragma once

#include "delivery.h"
#include "rdkafka.h"

#define RETURNED_KEPT 1024 /* lines that room is kept for */

typedef struct {
    rd_kafka_message_t *messages; /* those that matter are [first, first + count) */
    size_t first, count, capacity;
} returned_t;

static inline rd_kafka_message_t *returned_first(const returned_t *r) { return r->messages + r->first; }

static int returned_resize(returned_t *r, size_t capacity) {
    rd_kafka_message_t *resized = realloc(r->messages, capacity * sizeof *resized);
    if (resized == NULL)
        return -1;
    r->messages = resized;
    r->capacity = capacity;
    return 0;
}

/* `under_way` lines are with librdkafka, `more` are to be, at least as many of them from the front as there are here. All may
 * come back. Returns 0, or -1: there is no memory for them, so they must not be handed over.
 *
 * With lines here none are under way but those that came from the front, which leave the place before the first. */
static int returned_reserve(returned_t *r, size_t under_way, size_t more) {
    size_t needed = r->count + under_way + more;
    if (r->first + needed <= r->capacity)
        return 0;
    if (r->first > 0 && under_way == 0) {
        memmove(r->messages, returned_first(r), r->count * sizeof *r->messages);
        r->first = 0;
        if (needed <= r->capacity - r->capacity / 8) /* else it would be moved again soon */
            return 0;
    }
    size_t spare = needed / 4;
    return returned_resize(r, r->first + needed + (spare < RETURNED_KEPT ? RETURNED_KEPT : spare));
}

/* The place for one more, for which there is room: it was reserved. */
static inline rd_kafka_message_t *returned_add(returned_t *r) {
    rd_kafka_message_t *slot = r->messages + r->first + r->count++;
    *slot = (rd_kafka_message_t){0};
    return slot;
}

/* Of the first `offered`, the last `left` were moved to the front of them and stay; the others are taken. `under_way` lines
 * are with librdkafka now. */
static void returned_taken(returned_t *r, size_t offered, size_t left, size_t under_way) {
    size_t taken = offered - left;
    memmove(returned_first(r) + taken, returned_first(r), left * sizeof *r->messages);
    r->first += taken;
    r->count -= taken;
    if (r->count > 0)
        return;
    r->first = 0;
    size_t needed = under_way < RETURNED_KEPT ? RETURNED_KEPT : under_way;
    if (taken > 0 && r->capacity > 2 * needed)
        returned_resize(r, needed); /* smaller; where that fails, it stays as it is */
}

/* The last `count` were the front before they came back, and are again. */
static void returned_to_front(returned_t *r, size_t count) {
    if (count == 0 || count == r->count)
        return;
    r->first -= count;
    memmove(returned_first(r), returned_first(r) + r->count, count * sizeof *r->messages);
}

static void returned_clear(returned_t *r) {
    free(r->messages);
    *r = (returned_t){0};
}

static __thread const delivery_t *returned_of; /* qsort has no argument for it */

static unsigned returned_batch(const rd_kafka_message_t *m) {
    const batch_t *batch = m->_private;
    return ((unsigned)(batch - returned_of->ring) + BATCHES - returned_of->first) % BATCHES;
}

static int returned_compare(const void *a, const void *b) {
    const rd_kafka_message_t *m = a, *n = b;
    if (m->partition != n->partition)
        return m->partition < n->partition ? -1 : 1;
    unsigned batch_m = returned_batch(m), batch_n = returned_batch(n);
    if (batch_m != batch_n)
        return batch_m < batch_n ? -1 : 1;
    return (const uint8_t *)m->payload < (const uint8_t *)n->payload ? -1 : 1;
}

static void returned_sort(const delivery_t *d, returned_t *r) {
    returned_of = d;
    qsort(returned_first(r), r->count, sizeof *r->messages, returned_compare);
}
