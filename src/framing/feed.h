/* Feed by time: what is written ahead of the Calculator is bounded by what it takes in `ahead_ns` of its own work.
 *
 * A fast program has a full pipe and loses nothing; a slow one has a handful of records in hand instead of a megabyte. So
 * acknowledgements follow the work, a stop or a rebalance drains within its grace, and a crash doubles little.
 *
 * How fast the Calculator is shows in intervals at whose ends it had taken all that there was when they began, while more
 * was waiting for it. A run begins with one record. The allowance doubles at the
 * most from one interval to the next, and grows only while it holds records back: a program that was given ten records a
 * second has not shown that it can take a thousand.
 *
 * Pure: positions are bytes of STDIN, times are monotonic. One thread owns it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FEED_LOOK_SOONEST_NS 1000000
#define FEED_LOOK_LATEST_NS 20000000

typedef struct {
    int64_t ahead_ns;
    int64_t most_bytes;    /* what the pipe holds: a larger allowance bounds nothing */
    int64_t allowed_bytes; /* that may be written and not read */
    bool measured;         /* in this run: from then on, an interval that measures nothing changes nothing */
    bool held_back;        /* a record waits, for the allowance or for the pipe: an interval is under way */
    int64_t since_ns;      /* when it began, */
    int64_t given;         /* what had been written by then, */
    int64_t taken;         /* what had been read by then, */
    int64_t in_hand_bytes; /* and what was taken in the interval before; 0: that is not known */
} feed_t;

/* A new run. */
static inline void feed_reset(feed_t *f, int64_t ahead_ns, int64_t most_bytes) {
    *f = (feed_t){.ahead_ns = ahead_ns, .most_bytes = most_bytes, .allowed_bytes = 1};
}

/* Whether the pipe alone bounds what is written. */
static inline bool feed_is_full_speed(const feed_t *f) { return f->allowed_bytes >= f->most_bytes; }

static inline void feed_begin(feed_t *f, int64_t now_ns, int64_t written, int64_t read, int64_t in_hand_bytes) {
    f->since_ns = now_ns;
    f->given = written;
    f->taken = read;
    f->in_hand_bytes = in_hand_bytes;
}

/* A record waits, or none does, now that STDIN has been written and read up to here. */
static inline void feed_holds_back(feed_t *f, bool held_back, int64_t now_ns, int64_t written, int64_t read) {
    if (held_back && !f->held_back)
        feed_begin(f, now_ns, written, read, 0);
    f->held_back = held_back;
}

/* STDIN has been written and read up to here. Moves the allowance when the Calculator has shown what it takes. */
static inline void feed_look(feed_t *f, int64_t now_ns, int64_t written, int64_t read) {
    const int64_t moved = read - f->taken;
    const int64_t took_ns = now_ns - f->since_ns;
    if (!f->held_back || moved <= 0 || (read < f->given && took_ns < f->ahead_ns))
        return;
    if (f->measured && f->in_hand_bytes == 0) { /* it may have had nothing in hand, or much */
        feed_begin(f, now_ns, written, read, moved);
        return;
    }
    int64_t allowed = 2 * (moved > f->allowed_bytes ? moved : f->allowed_bytes);
    if (f->in_hand_bytes > 0 && took_ns > 0) {
        /* One that reads much at once worked on what it had taken before, one that reads record by record on what it took
         * meanwhile. The smaller is never too much, and in a steady flow both are the same. */
        const int64_t worked = f->in_hand_bytes < moved ? f->in_hand_bytes : moved;
        const double worth = (double)worked * (double)f->ahead_ns / (double)took_ns;
        if (worth < (double)allowed)
            allowed = (int64_t)worth;
        f->measured = true;
    }
    f->allowed_bytes = allowed < 1 ? 1 : allowed < f->most_bytes ? allowed : f->most_bytes;
    feed_begin(f, now_ns, written, read, moved);
}

/* How many bytes may be written now. One record may be, however large, when there is nothing left to read. */
static inline int64_t feed_room(const feed_t *f, int64_t written, int64_t read) {
    const int64_t room = f->allowed_bytes - (written - read);
    return room > 0 ? room : 0;
}

/* In how many ns to look again while a record waits for the allowance. */
static inline int64_t feed_again_ns(const feed_t *f, int64_t now_ns) {
    const int64_t quarter = (now_ns - f->since_ns) / 4;
    return quarter < FEED_LOOK_SOONEST_NS  ? FEED_LOOK_SOONEST_NS
           : quarter > FEED_LOOK_LATEST_NS ? FEED_LOOK_LATEST_NS
                                           : quarter;
}
