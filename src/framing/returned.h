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

/* `under_way` lines are with librdkafka, `more` are to be, at least as many of them from the front as there are here. All may
 * come back. Returns 0, or -1: there is no memory for them, so they must not be handed over.
 *
 * With lines here none are under way but those that came from the front, which leave the place before the first. */
int returned_reserve(returned_t *r, size_t under_way, size_t more);

/* The place for one more, for which there is room: it was reserved. */
static inline rd_kafka_message_t *returned_add(returned_t *r) {
    rd_kafka_message_t *slot = r->messages + r->first + r->count++;
    *slot = (rd_kafka_message_t){0};
    return slot;
}

/* Of the first `offered`, the last `left` were moved to the front of them and stay; the others are taken. `under_way` lines
 * are with librdkafka now. */
void returned_taken(returned_t *r, size_t offered, size_t left, size_t under_way);

/* The last `count` were the front before they came back, and are again. */
void returned_to_front(returned_t *r, size_t count);

void returned_clear(returned_t *r);

/* In the order of each partition. */
void returned_sort(const delivery_t *d, returned_t *r);
