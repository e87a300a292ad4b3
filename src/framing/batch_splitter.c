#include "batch_splitter.h"

#define FIRST_GROUP_BYTES ((size_t)524288) /* half of the producer's batch.size */
#define GROUPS_BEFORE_MORE 64

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

void splitter_end(batch_splitter_t *b) { *b = (batch_splitter_t){0}; }

void splitter_forget_group(batch_splitter_t *b) { b->count = b->taken = 0; }

void splitter_found_in_transaction(batch_splitter_t *b) { b->most_bytes = 0; }

void splitter_refused_in_transaction(batch_splitter_t *b) {
    b->most_bytes = max_size(1, (b->count > 0 ? b->bytes : FIRST_GROUP_BYTES) / 2);
    b->limit_bytes = 1;
}

bool splitter_group_done(batch_splitter_t *b) {
    if (b->refused) {
        b->refused = false;
        b->limit_bytes = b->count > 0 ? max_size(1, b->bytes / 2) : FIRST_GROUP_BYTES;
        b->taken = 0;
    } else if (b->came_back == 0 && ++b->taken == GROUPS_BEFORE_MORE) { /* the topic may take more by now */
        b->taken = 0;
        b->limit_bytes = 2 * max_size(b->limit_bytes, b->bytes);
        if (b->most_bytes > 0) {
            if (b->limit_bytes > b->most_bytes)
                b->limit_bytes = b->most_bytes;
        } else if (b->limit_bytes > FIRST_GROUP_BYTES) {
            splitter_end(b);
            return false;
        }
    }
    b->came_back = 0;
    return true;
}

int splitter_next_group(batch_splitter_t *b, const rd_kafka_message_t *lines, int count) {
    b->bytes = 0;
    b->count = 0;
    while (b->count < count && (b->count == 0 || b->bytes + lines[b->count].len <= b->limit_bytes))
        b->bytes += lines[b->count++].len;
    return b->count;
}
