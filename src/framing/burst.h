/* When lines are handed to librdkafka: a burst at a time, which is no more than one request takes.
 *
 * An idempotent librdkafka sends one request of a partition at a time, and its thread spins, at the cost of a core, while a
 * message that could be sent waits behind it (rd_kafka_toppar_producer_serve works out its next wake-up from the queue
 * before it looks at what is under way). So nothing is put into its queue while a burst to that partition is out. What
 * comes meanwhile is gathered here, and is the next burst: a full one if the broker is the slower, and what there is
 * `gather_ns` after the last burst if it is not. So a line that comes alone goes at once. Nothing is gathered while every record of the window has been
 * written: what the Calculator prints then is what the next record waits for.
 *
 * A request has one result. So the first report that a line was delivered tells of all lines of its request, and the next
 * burst is handed over before the other reports are looked at; see partition.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BURST_RECORD_OVERHEAD 36 /* what librdkafka reckons for each record besides its value when it fills a request */
#define BURST_REQUEST_OVERHEAD 512 /* and for the request */

typedef struct {
    int max_lines;
    size_t max_bytes;  /* of what is gathered, overhead included */
    int64_t gather_ns; /* from one burst to the next, unless there are enough lines for it */
} burst_limits_t;

static inline size_t burst_bytes_of(size_t value_bytes) { return value_bytes + BURST_RECORD_OVERHEAD; }

static inline burst_limits_t burst_limits(int request_lines, size_t request_bytes, double gather_ms) {
    burst_limits_t limits = {.max_lines = request_lines, .gather_ns = (int64_t)(gather_ms * 1e6)};
    limits.max_bytes =
        request_bytes > 2 * BURST_REQUEST_OVERHEAD ? request_bytes - BURST_REQUEST_OVERHEAD : request_bytes;
    return limits;
}
