/* The inlet's lock, and what is shown of it: counters and lag, which are read without the lock. */
#pragma once

#include <stdint.h>

#include "counters.h"
#include "lag.h"

typedef struct inlet_s inlet_t;

/* What Python sees of it, all in one moment between two rounds. */
typedef struct {
    int64_t assigned_partitions, unplaced_partitions, readable_partitions;
    int64_t records_read, bytes_read, tombstones, values_changed, lines_written, bytes_written, acknowledged, replayed;
    int64_t in_flight_records, in_flight_bytes, unacknowledged, unanswered;
    int64_t protocol_violations, markers_written, echo_owed, rule_broken, written_alone, written_carefully;
    int64_t dead_in_flight, lines_in_flight;
    int64_t stdin_unread_bytes, stdin_full, stdin_full_ns, stdin_broken;
    int64_t rounds, probes, watch_note, feed_bytes, brokers_up, group_steady, notices_dropped;
    int64_t throttles, throttled_ms, throttled_last_ms, throttled_broker;
    int64_t full_since_ns; /* becomes stdin_full_ns when it is looked at */
} inlet_counters_t;

/* Counted over the inlet's life. */
typedef struct {
    int64_t records_read, bytes_read, lines_written, bytes_written, acknowledged, replayed, tombstones;
    int64_t rules_broken;
    int64_t full_ns, rounds, probes; /* probes: of `line` and `marker` */
} inlet_counts_t;

typedef struct {
    counters_t published; /* an inlet_counters_t */
    lag_t lag;
    int64_t next_lag_ns, lag_acknowledged; /* `acknowledged` when it was worked out */
    int readable; /* likewise: of so many of our partitions the last answer to a fetch was no refusal */
} inlet_report_t;

/* By the inlet's thread. Never held round a call that waits. */
void inlet_lock(inlet_t *s);
void inlet_unlock(inlet_t *s);

/* Holding the lock: show how things are now. */
void report_publish(inlet_t *s);
void report_lag(inlet_t *s, int64_t now_ns);

/* Copy what was published last. From any thread. */
void report_read(inlet_t *s, inlet_counters_t *counters);

/* By who gives an order, from another thread: it takes effect before this returns. */
void inlet_enter(inlet_t *s);
void inlet_leave(inlet_t *s);
