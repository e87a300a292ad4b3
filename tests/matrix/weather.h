/* How records arrive and what goes on around: drawn from a seed, in phases of some tenths of a second. */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "lines.h"

typedef enum { ARRIVE_FAST, ARRIVE_SLOW, ARRIVE_BURSTY } arrival_t;

typedef struct {
    uint64_t state;
    arrival_t arrival;
    bool urgent;     /* somebody waits for what is done */
    bool restless;   /* look without waiting for anything, at moments of no pattern */
    bool drains;     /* at its end nothing more is written until all is answered, as before a rebalance */
    int64_t end_ns;  /* of the phase */
    int64_t next_ns; /* when the next records arrive */
    int64_t mean_ns; /* between arrivals */
    int64_t arrived; /* records, in all */
} weather_t;

static uint64_t draw(weather_t *w) { return mix(w->state++); }
static double draw_unit(weather_t *w) { return (double)(draw(w) >> 11) / 9007199254740992.0; }

static void weather_next_phase(weather_t *w, int64_t now_ns) {
    w->arrival = (arrival_t)(draw(w) % 3);
    w->urgent = draw(w) % 4 != 0; /* acknowledgements are seldom if not */
    w->restless = draw(w) % 3 == 0;
    w->drains = draw(w) % 6 == 0;
    w->end_ns = now_ns + 50000000 + (int64_t)(draw_unit(w) * 450e6);
    w->mean_ns = (int64_t)(200000 * pow(100, draw_unit(w))); /* 0.2 to 20 ms */
    w->next_ns = now_ns;
}

/* A line now and then from now on. */
static void weather_trickle(weather_t *w, int64_t now_ns, int64_t taken) {
    w->arrival = ARRIVE_SLOW;
    w->arrived = taken;
    w->mean_ns = 20000000;
    w->next_ns = now_ns;
}

/* Records that have arrived by now: many more than are wanted, one by one, or bursts from one to 20,000. */
static void weather_arrive(weather_t *w, int64_t now_ns, int64_t taken) {
    static const int sizes[] = {1, 3, 50, 2000, 20000};
    if (w->arrival == ARRIVE_FAST) {
        if (w->arrived < taken + 100000)
            w->arrived = taken + 100000;
        return;
    }
    if (w->arrived > taken + 20000) /* what a fast phase left */
        w->arrived = taken;
    while (w->next_ns <= now_ns) {
        w->arrived += w->arrival == ARRIVE_SLOW ? 1 : sizes[draw(w) % 5];
        w->next_ns += 1 + (int64_t)(-log(1 - draw_unit(w)) * (double)w->mean_ns);
        if (w->arrived > taken + 20000) {
            w->next_ns = now_ns + w->mean_ns;
            break;
        }
    }
}
