/* The outlet's lock, and what is shown of it: counters, which are read without the lock. */
#pragma once

#include <stdint.h>

#include "counters.h"

typedef struct outlet_s outlet_t;

/* Counted over the outlet's life. */
typedef struct {
    int64_t lines_read, bytes_read, markers_echoed, lines_delivered, bytes_produced, lines_discarded, lines_oversize;
    int64_t lines_lost, lines_unproducible, lines_abandoned, lines_not_json, lines_repaired, lines_with_nul, retries,
        reads;
    int64_t full_ns;
} outlet_counts_t;

/* What Python sees of it, all in one moment between two rounds; the last two become output_full_ns and call_ms when they are
 * looked at. */
/* clang-format off */
#define OUTLET_COUNTERS(X)                                                                                             \
    X(lines_read) X(markers_echoed) X(bytes_read) X(lines_delivered) X(bytes_produced) X(lines_discarded)              \
    X(lines_oversize) X(lines_unproducible) X(lines_abandoned) X(lines_lost) X(lines_not_json) X(lines_repaired)       \
    X(lines_with_nul)                                                                                                  \
    X(retries) X(undelivered) X(kept_bytes) X(last_error) X(dead_letters_delivered) X(dead_letter_error)               \
    X(dead_letters_waiting) X(dead_letters_in_flight) X(clients_renewed) X(transaction_open)                           \
    X(transactions_committed) X(transactions_aborted) X(lines_since_marker) X(output_full) X(output_full_ns)           \
    X(slabs_live) X(slab_bytes) X(returned_bytes) X(key_bytes) X(reads) X(brokers_up) X(notices_dropped)               \
    X(throttles) X(throttled_ms) X(throttled_last_ms) X(throttled_broker) X(window_bytes)                              \
    X(full_since_ns) X(call_since_ns)
/* clang-format on */

typedef struct {
#define X(name) int64_t name;
    OUTLET_COUNTERS(X)
#undef X
} outlet_counters_t;

#define OUTLET_COUNTER_COUNT ((int)(sizeof(outlet_counters_t) / sizeof(int64_t)))

/* In the order of outlet_counters_t. */
extern const char *const outlet_counter_names[];

/* By the outlet's thread. Never held round a call that waits. */
void outlet_lock(outlet_t *s);
void outlet_unlock(outlet_t *s);

/* By who gives an order, from another thread: it takes effect before this returns. */
void outlet_enter(outlet_t *s);
void outlet_leave(outlet_t *s);

/* Holding the lock: show how things are now. */
void outlet_publish(outlet_t *s);

/* Copy what was published last. From any thread. */
void outlet_read_counters(outlet_t *s, int64_t *counters);
