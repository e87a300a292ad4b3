/* Quotas of the brokers: until when nothing is handed to one, and how much may be under way at once.
 *
 * A broker that finds a client over its quota answers at once, says for how long the client is to be silent, and reads
 * nothing of that connection until then. Whatever was sent meanwhile waits there unread: a request of at-most-once times
 * out and is lost, a transaction is aborted. So nothing is handed over for that time, and the window, what may be under
 * way at once, is a second of the measured rate. Brokers reckon over some 10 s: what was delivered in that time, divided
 * by it and by the silence asked for, is the quota, or our share of it.
 *
 * A window that is wide before a quota is known would be answered with minutes. So it begins small, and grows by a quarter
 * of what is delivered without such an answer, which is some 25 round trips until it is wider than anything there is to
 * send, and no limit any more. Where lines that time out are lost, it is also bound to what was delivered lately; where a
 * quota was met once, more closely.
 *
 * One thread owns it: the outlet's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_FIRST_BYTES 16384
#define THROTTLE_LEAST_BYTES 1024
#define THROTTLE_WIDE_BYTES ((int64_t)64 << 20) /* more than is ever under way: SLAB_BYTES of kafka.py is 32 MiB */
#define THROTTLE_PERIOD_S 10                    /* a broker's quota.window.num times quota.window.size.seconds, about */
#define THROTTLE_GROWTH 4                       /* by this part of what was delivered */
/* A broker whose quota was lowered while much was sent asks for hours. By then the window it reckons over is long past,
 * and the quota may be another one: it is asked again. */
#define THROTTLE_LONGEST_MS 300000

typedef struct {
    int32_t id;
    int64_t until_ns;
} throttled_broker_t;

typedef struct {
    throttled_broker_t *brokers; /* each that ever asked for time */
    int count, capacity;
    int64_t until_ns; /* of those that ask for time now, the last; 0: none does */
    bool met;         /* a quota was met: leaders of partitions are noted, to know whom lines go to */
    bool forgets;     /* the window is bound to what was delivered lately */
    bool limits;      /* the window does */
    int64_t window_bytes;
    int64_t handed_bytes, reported_bytes; /* of values: handed to librdkafka, and reported by it, delivered or not */
    int64_t seen_bytes;                   /* `reported_bytes` at the last look */
    int64_t second;                       /* of the last look */
    int64_t seconds[THROTTLE_PERIOD_S];   /* what was reported in each of the last ones, and in this one */
    int64_t lately_bytes;                 /* the sum of them */
} throttle_t;

void throttle_open(throttle_t *t, bool forgets);
void throttle_close(throttle_t *t);

/* This broker asks for so much time. */
void throttle_asked(throttle_t *t, int32_t broker, int ms, int64_t now_ns);

/* The window as it is now. Call it before anything is handed over. */
void throttle_look(throttle_t *t, int64_t now_ns);

/* Does this broker ask for time now? One that is not known (-1) may be any of those that do. */
bool throttle_holds(const throttle_t *t, int32_t broker, int64_t now_ns);

/* When the first of those that ask for time has had it; 0: none does. */
int64_t throttle_first_ns(const throttle_t *t, int64_t now_ns);

static inline int64_t throttle_under_way(const throttle_t *t) { return t->handed_bytes - t->reported_bytes; }

/* How many bytes more may be handed over. */
static inline int64_t throttle_room(const throttle_t *t) {
    return t->limits ? t->window_bytes - throttle_under_way(t) : INT64_MAX;
}

/* Likewise, when nothing is under way; INT64_MAX: no limit. */
static inline int64_t throttle_window(const throttle_t *t) { return t->limits ? t->window_bytes : INT64_MAX; }
