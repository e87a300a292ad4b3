/* Records fed in batches with a rest between two, where only a rest shows what the Calculator is done with.
 *
 * A batch is what was done in `ahead_ns` by the last one's measure, and at most twice as large as that one. Where a rest has a
 * price (so much time of nothing going on), it is what is done in five times that price: a sixth of the time goes to rests then,
 * and nothing waits for its acknowledgement for longer than a batch and a rest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BATCHES_OF_DEAR_REST 5 /* times its price */
#define BATCHES_DEAR_GROWTH 64 /* from one to the next: each costs a rest */

typedef struct {
    int64_t ahead_ns;
    bool rest_is_dear; /* the last one had a price */
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

/* How many bytes of the batch are still to be written. */
static inline int64_t batches_room(const batches_t *b, int64_t written) {
    return written - b->from < b->bytes ? b->bytes - (written - b->from) : 0;
}

/* Everything up to `written` is done with: the next batch may begin. ``price_ns``: for so long nothing had to go on before that
 * was seen. */
static inline void batches_rested(batches_t *b, int64_t now_ns, int64_t written, int64_t price_ns) {
    const int64_t size = written - b->from;
    const int64_t wanted_ns =
        BATCHES_OF_DEAR_REST * price_ns > b->ahead_ns ? BATCHES_OF_DEAR_REST * price_ns : b->ahead_ns;
    if (size > 0 && b->since_ns != 0) {
        const int64_t took_ns = now_ns - b->since_ns - price_ns;
        const double worth = (double)size * (double)wanted_ns / (double)(took_ns > 0 ? took_ns : 1);
        const int64_t most = (price_ns > 0 ? BATCHES_DEAR_GROWTH : 2) * (size > b->bytes ? size : b->bytes);
        b->bytes = worth < (double)most ? (int64_t)worth + 1 : most;
    }
    b->rest_is_dear = price_ns > 0;
    b->from = written;
    b->since_ns = 0;
}
