/* Records fed in batches with a rest between two, where only a rest shows what the Calculator is done with.
 *
 * A batch is as large as what was done in `ahead_ns` by the last one's measure, and at most twice as large as that one. Where a
 * rest has a price (ACK_IDLE of nothing going on), the window bounds the batch instead.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t ahead_ns;
    bool rest_is_dear; /* the last one was seen only after ACK_IDLE */
    int64_t from;      /* position of STDIN where the batch begins */
    int64_t bytes;     /* its size */
    int64_t since_ns;  /* when its first byte was written; 0: none is */
} batches_t;

static inline void batches_reset(batches_t *b, int64_t ahead_ns, int64_t position) {
    *b = (batches_t){.ahead_ns = ahead_ns, .from = position, .bytes = 1};
}

static inline void batches_wrote(batches_t *b, int64_t now_ns) {
    if (b->since_ns == 0)
        b->since_ns = now_ns;
}

/* How many bytes of the batch are still to be written; INT64_MAX where the window bounds it. */
static inline int64_t batches_room(const batches_t *b, int64_t written) {
    if (b->rest_is_dear)
        return INT64_MAX;
    return written - b->from < b->bytes ? b->bytes - (written - b->from) : 0;
}

/* Everything up to `written` is done with: the next batch may begin. */
static inline void batches_rested(batches_t *b, int64_t now_ns, int64_t written, bool dear) {
    const int64_t size = written - b->from;
    if (size > 0 && b->since_ns != 0) {
        const int64_t took_ns = now_ns > b->since_ns ? now_ns - b->since_ns : 1;
        const double worth = (double)size * (double)b->ahead_ns / (double)took_ns;
        const int64_t twice = 2 * (size > b->bytes ? size : b->bytes);
        b->bytes = worth < (double)twice ? (int64_t)worth + 1 : twice;
    }
    b->rest_is_dear = dear;
    b->from = written;
    b->since_ns = 0;
}
