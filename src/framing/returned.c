#include "returned.h"

#include <stdlib.h>
#include <string.h>

static int returned_resize(returned_t *r, size_t capacity) {
    rd_kafka_message_t *resized = realloc(r->messages, capacity * sizeof *resized);
    if (resized == NULL)
        return -1;
    r->messages = resized;
    r->capacity = capacity;
    return 0;
}

int returned_reserve(returned_t *r, size_t under_way, size_t more) {
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

void returned_taken(returned_t *r, size_t offered, size_t left, size_t under_way) {
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

void returned_to_front(returned_t *r, size_t count) {
    if (count == 0 || count == r->count)
        return;
    r->first -= count;
    memmove(returned_first(r), returned_first(r) + r->count, count * sizeof *r->messages);
}

void returned_clear(returned_t *r) {
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

void returned_sort(const delivery_t *d, returned_t *r) {
    returned_of = d;
    qsort(returned_first(r), r->count, sizeof *r->messages, returned_compare);
}
