#include "throttle.h"

#include <stdlib.h>
#include <string.h>

#include "minmax.h"
#include "system.h"

#define SECOND_MS 1000
#define BROKERS_STEP 8

void throttle_open(throttle_t *t, bool forgets) {
    *t = (throttle_t){.forgets = forgets, .limits = true, .window_bytes = THROTTLE_FIRST_BYTES};
}

void throttle_close(throttle_t *t) { free(t->brokers); }

static throttled_broker_t *broker_of(throttle_t *t, int32_t id) {
    for (int i = 0; i < t->count; i++)
        if (t->brokers[i].id == id)
            return &t->brokers[i];
    if (t->count == t->capacity) {
        const int capacity = t->capacity + BROKERS_STEP;
        throttled_broker_t *grown = realloc(t->brokers, (size_t)capacity * sizeof *grown);
        if (grown == NULL)
            return t->count > 0 ? &t->brokers[0] : NULL; /* then another one gets the time */
        t->brokers = grown;
        t->capacity = capacity;
    }
    t->brokers[t->count] = (throttled_broker_t){.id = id};
    return &t->brokers[t->count++];
}

static void set_window(throttle_t *t, int64_t bytes) {
    t->limits = bytes < THROTTLE_WIDE_BYTES;
    t->window_bytes = t->limits ? max_i64(bytes, THROTTLE_LEAST_BYTES) : THROTTLE_WIDE_BYTES;
}

/* What was reported since the last look, which is noted with its second. */
static int64_t reported_since(throttle_t *t, int64_t now_ns) {
    const int64_t second = now_ns / (SECOND_MS * MS), bytes = t->reported_bytes - t->seen_bytes;
    for (int64_t over = min_i64(second - t->second, THROTTLE_PERIOD_S); over > 0; over--) {
        int64_t *oldest = &t->seconds[(second - over + 1) % THROTTLE_PERIOD_S];
        t->lately_bytes -= *oldest;
        *oldest = 0;
    }
    t->second = second;
    t->seconds[second % THROTTLE_PERIOD_S] += bytes;
    t->lately_bytes += bytes;
    t->seen_bytes = t->reported_bytes;
    return bytes;
}

void throttle_asked(throttle_t *t, int32_t broker, int ms, int64_t now_ns) {
    if (ms <= 0)
        return;
    throttled_broker_t *asking = broker_of(t, broker);
    const int64_t until_ns = now_ns + min_i64(ms, THROTTLE_LONGEST_MS) * MS;
    if (asking != NULL)
        asking->until_ns = max_i64(asking->until_ns, until_ns);
    t->until_ns = max_i64(t->until_ns, until_ns);
    t->met = t->forgets = true;
    reported_since(t, now_ns);
    const int64_t bytes = t->lately_bytes + throttle_under_way(t), period_ms = THROTTLE_PERIOD_S * SECOND_MS + ms;
    set_window(t, min_i64(throttle_window(t), bytes * SECOND_MS / period_ms));
}

void throttle_look(throttle_t *t, int64_t now_ns) {
    if (t->until_ns != 0 && now_ns >= t->until_ns)
        t->until_ns = 0;
    if (!t->limits && !t->forgets) {
        if (now_ns / (SECOND_MS * MS) != t->second) /* for the day that a quota is met */
            reported_since(t, now_ns);
        return;
    }
    const int64_t bytes = reported_since(t, now_ns);
    int64_t window = throttle_window(t);
    if (t->limits && t->until_ns == 0)
        window += bytes / THROTTLE_GROWTH;
    if (t->forgets)
        window =
            min_i64(window, THROTTLE_FIRST_BYTES + t->lately_bytes / (t->met ? THROTTLE_PERIOD_S : THROTTLE_GROWTH));
    set_window(t, window);
}

bool throttle_holds(const throttle_t *t, int32_t broker, int64_t now_ns) {
    if (t->until_ns <= now_ns)
        return false;
    for (int i = 0; i < t->count; i++)
        if (t->brokers[i].id == broker)
            return now_ns < t->brokers[i].until_ns;
    return broker < 0;
}

int64_t throttle_first_ns(const throttle_t *t, int64_t now_ns) {
    int64_t first_ns = t->until_ns > now_ns ? t->until_ns : 0;
    for (int i = 0; i < t->count; i++)
        if (now_ns < t->brokers[i].until_ns)
            first_ns = min_i64(first_ns, t->brokers[i].until_ns);
    return first_ns;
}
