/* The order of lines that came back undelivered: each partition's as they stood in STDOUT. librdkafka gives those that it
 * had sent and those that it had not back by themselves, but each belongs to a batch, batches are in a ring, and the lines
 * of one are in one slab, in order. */
#pragma once

#include "delivery.h"
#include "rdkafka_api.h"

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

static void returned_sort(const delivery_t *d, rd_kafka_message_t *messages, size_t count) {
    returned_of = d;
    qsort(messages, count, sizeof *messages, returned_compare);
}
